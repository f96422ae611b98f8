"""Sums, products and scalar functions of arrays, element by element; read from a kernel's table."""

import math

import numpy as np

from ..inner import helper, inlined, subroutine
from ..operations import FLOATS, FUNCTIONS, HADAMARD, MAP, SUM
from ._addresses import operation
from ._extremes import greater, lesser
from ._functions import exp, tanh
from ._operands import OPERAND, flat, place, start

# Arrays are gone through in tiles that stay in the first cache while the operands are met one after the other: long
# stretches where all lie alike, squares where one is transposed.
STRETCH = 2048
SIDE = 32
(
    _POWER, _ABOVE, _AT_LEAST, _AT_MOST,
    _EXP, _LOG, _SIN, _COS, _TAN, _ASIN, _ACOS, _ATAN, _SINH, _COSH, _TANH, _ASINH, _ACOSH, _ATANH, _ERF, _ERFC,
    _GAMMA, _LOGGAMMA, _EXPIT, _SOFTPLUS,
) = range(len(FUNCTIONS))  # fmt: skip


# Rows and columns to go through, and height and width of a tile, for the result at o and the n operands at p.
@inlined()
def _tiling(ints, o, p, n, step):
    rows, cols, height, width = 1, ints[o + 2] * ints[o + 3], 1, STRETCH
    for k in range(n):
        if ints[p + k * step + 4]:
            rows, cols, height, width = ints[o + 2], ints[o + 3], SIDE, SIDE
            break
    return rows, cols, height, width


# n, place of the constant and the n coefficients in `floats`, result, operands: out = constant + sum_k c_k x_k
@operation(SUM)
def combine(buffers, ints, p):
    n, c, o, x, floats = ints[p], ints[p + 1], p + 2, p + 2 + OPERAND, buffers[FLOATS]
    rows, cols, height, width = _tiling(ints, o, x, n, OPERAND)
    out = start(buffers, ints, o)
    for i in range(0, rows, height):
        below = lesser(i + height, rows)
        for j in range(0, cols, width):
            right = lesser(j + width, cols)
            _fill(out, floats[c], cols, i, below, j, right)
            k = 0
            while k < n:
                q = x + k * OPERAND
                source = start(buffers, ints, q)
                if height == 1 and k + 1 < n:  # two at once: the result makes half as many journeys
                    second, target = place(start(buffers, ints, q + OPERAND), j), place(out, j)
                    _add_two(
                        target, right - j, floats[c + 1 + k], place(source, j), floats[c + 2 + k], second
                    )
                    k += 2
                    continue
                _add(out, floats[c + 1 + k], source, ints[q + 4], rows, cols, i, below, j, right)
                k += 1


# One tile: out = value
@subroutine()
def _fill(out, value, cols, i, below, j, right):
    for r in range(i, below):
        tile = place(out, r * cols + j)
        for s in range(right - j):
            tile[s] = value


# out += a x + b y, one after the other
@subroutine()
def _add_two(out, n, a, x, b, y):
    for s in range(n):
        out[s] = (out[s] + a * x[s]) + b * y[s]


# One tile: out += a x
@subroutine()
def _add(out, a, x, flipped, rows, cols, i, below, j, right):
    for r in range(i, below):
        row = place(out, r * cols + j)
        if flipped:
            source = place(x, j * rows + r)
            for s in range(right - j):
                row[s] += a * source[s * rows]
        else:
            source = place(x, r * cols + j)
            for s in range(right - j):
                row[s] += a * source[s]


# n, result, (operand, power) n times: out = prod_k x_k^(power_k)
@operation(HADAMARD)
def multiply(buffers, ints, p):
    n, o, x, step = ints[p], p + 1, p + 1 + OPERAND, OPERAND + 1
    rows, cols, height, width = _tiling(ints, o, x, n, step)
    out = start(buffers, ints, o)
    for i in range(0, rows, height):
        below = lesser(i + height, rows)
        for j in range(0, cols, width):
            right = lesser(j + width, cols)
            _fill(out, 1.0, cols, i, below, j, right)
            for k in range(n):
                q = x + k * step
                source = start(buffers, ints, q)
                for _ in range(ints[q + OPERAND]):
                    _times(out, source, ints[q + 4], rows, cols, i, below, j, right)


# One tile: out *= x
@subroutine()
def _times(out, x, flipped, rows, cols, i, below, j, right):
    for r in range(i, below):
        row = place(out, r * cols + j)
        if flipped:
            source = place(x, j * rows + r)
            for s in range(right - j):
                row[s] *= source[s * rows]
        else:
            source = place(x, r * cols + j)
            for s in range(right - j):
                row[s] *= source[s]


# A scalar function: its number, place of its scale and parameter in `floats`, result, operand (not transposed);
# out = f(scale x).
@inlined()
def _argument(buffers, ints, p):
    floats = buffers[FLOATS]
    scale, parameter = floats[ints[p + 1]], floats[ints[p + 1] + 1]
    return scale, parameter, flat(buffers, ints, p + 2), flat(buffers, ints, p + 2 + OPERAND)


@operation(MAP, "power")
def _power(buffers, ints, p):
    scale, parameter, out, x = _argument(buffers, ints, p)
    for i in range(x.size):
        out[i] = (scale * x[i]) ** parameter


@operation(MAP, "exp")
def _exponential(buffers, ints, p):
    scale, _, out, x = _argument(buffers, ints, p)
    for i in range(x.size):
        out[i] = exp(scale * x[i])


@operation(MAP, "tanh")
def _hyperbolic(buffers, ints, p):
    scale, _, out, x = _argument(buffers, ints, p)
    for i in range(x.size):
        out[i] = tanh(scale * x[i])


@operation(MAP, "erf")
def _error_function(buffers, ints, p):
    scale, _, out, x = _argument(buffers, ints, p)
    for i in range(x.size):
        out[i] = math.erf(scale * x[i])


# What is no number stays none, so that a failure is seen.
@operation(MAP, "above", "at_least", "at_most")
def _comparison(buffers, ints, p):
    scale, limit, out, source = _argument(buffers, ints, p)
    code = ints[p]
    for i in range(source.size):
        x = scale * source[i]
        if code == _ABOVE:
            out[i] = 1.0 if x > limit else 0.0
        elif code == _AT_LEAST:
            out[i] = limit if x < limit else x
        else:
            out[i] = limit if x > limit else x


@operation(
    MAP, "log", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh", "erfc",
    "gamma", "loggamma", "expit", "softplus",
)  # fmt: skip
def _function(buffers, ints, p):
    scale, _, out, x = _argument(buffers, ints, p)
    code = ints[p]
    for i in range(x.size):
        out[i] = _value(code, scale * x[i])


@helper()
def _value(code, x):  # one branch per function: numba has no table of functions
    if code == _LOG:
        return math.log(x)
    if code == _SIN:
        return math.sin(x)
    if code == _COS:
        return math.cos(x)
    if code == _TAN:
        return math.tan(x)
    if code == _ASIN:
        return math.asin(x)
    if code == _ACOS:
        return math.acos(x)
    if code == _ATAN:
        return math.atan(x)
    return _rarer(code, x)


@helper()
def _rarer(code, x):
    if code == _SINH:
        return math.sinh(x)
    if code == _COSH:
        return math.cosh(x)
    if code == _ASINH:
        return math.asinh(x)
    if code == _ACOSH:
        return math.acosh(x)
    if code == _ATANH:
        return math.atanh(x)
    if code == _ERFC:
        return math.erfc(x)
    if code == _GAMMA:
        return math.gamma(x)
    if code == _LOGGAMMA:
        return math.lgamma(x)
    small = math.exp(-abs(x))
    if code == _EXPIT:
        return 1.0 / (1.0 + small) if x >= 0.0 else small / (1.0 + small)
    if code == _SOFTPLUS:
        return greater(x, 0.0) + math.log1p(small)
    return np.nan
