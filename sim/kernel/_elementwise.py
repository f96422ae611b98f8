"""Sums, products and scalar functions of arrays, element by element; read from a kernel's table."""

import math

import numpy as np
from numba import njit

from . import _functions
from ._operands import OPERAND, flat
from .operations import FUNCTIONS

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
@njit(nogil=True, error_model="numpy")
def _tiling(ints, o, p, n, step):
    for k in range(n):
        if ints[p + k * step + 4]:
            return ints[o + 2], ints[o + 3], SIDE, SIDE
    return 1, ints[o + 2] * ints[o + 3], 1, STRETCH


# n, place of the constant and the n coefficients in `floats`, result, operands: out = constant + sum_k c_k x_k
@njit(nogil=True, error_model="numpy")
def combine(buffers, ints, floats, p):
    n, c, o, x = ints[p], ints[p + 1], p + 2, p + 2 + OPERAND
    rows, cols, height, width = _tiling(ints, o, x, n, OPERAND)
    out = flat(buffers, ints, o)
    for i in range(0, rows, height):
        below = min(i + height, rows)
        for j in range(0, cols, width):
            right = min(j + width, cols)
            for r in range(i, below):
                out[r * cols + j : r * cols + right] = floats[c]
            k = 0
            while k < n:
                q = x + k * OPERAND
                source = flat(buffers, ints, q)
                if height == 1 and k + 1 < n:  # two at once: the result makes half as many journeys
                    second = flat(buffers, ints, q + OPERAND)[j:right]
                    _add_two(out[j:right], floats[c + 1 + k], source[j:right], floats[c + 2 + k], second)
                    k += 2
                    continue
                _add(out, floats[c + 1 + k], source, ints[q + 4], rows, cols, i, below, j, right)
                k += 1


# out += a x + b y, one after the other. Loops over slices from 0 on: numba cannot know of others that their places are
# not negative ones, counted from the end, and LLVM then does not use vectors.
@njit(nogil=True, error_model="numpy")
def _add_two(out, a, x, b, y):
    for s in range(out.size):
        out[s] = (out[s] + a * x[s]) + b * y[s]


# One tile: out += a x
@njit(nogil=True, error_model="numpy")
def _add(out, a, x, flipped, rows, cols, i, below, j, right):
    for r in range(i, below):
        row = out[r * cols + j : r * cols + right]
        if flipped:
            source = x[j * rows + r :]
            for s in range(row.size):
                row[s] += a * source[s * rows]
        else:
            source = x[r * cols + j : r * cols + right]
            for s in range(row.size):
                row[s] += a * source[s]


# n, result, (operand, power) n times: out = prod_k x_k^(power_k)
@njit(nogil=True, error_model="numpy")
def multiply(buffers, ints, p):
    n, o, x, step = ints[p], p + 1, p + 1 + OPERAND, OPERAND + 1
    rows, cols, height, width = _tiling(ints, o, x, n, step)
    out = flat(buffers, ints, o)
    for i in range(0, rows, height):
        below = min(i + height, rows)
        for j in range(0, cols, width):
            right = min(j + width, cols)
            for r in range(i, below):
                out[r * cols + j : r * cols + right] = 1.0
            for k in range(n):
                q = x + k * step
                source = flat(buffers, ints, q)
                for _ in range(ints[q + OPERAND]):
                    _times(out, source, ints[q + 4], rows, cols, i, below, j, right)


# One tile: out *= x
@njit(nogil=True, error_model="numpy")
def _times(out, x, flipped, rows, cols, i, below, j, right):
    for r in range(i, below):
        row = out[r * cols + j : r * cols + right]
        if flipped:
            source = x[j * rows + r :]
            for s in range(row.size):
                row[s] *= source[s * rows]
        else:
            source = x[r * cols + j : r * cols + right]
            for s in range(row.size):
                row[s] *= source[s]


# function, place of its scale and parameter in `floats`, result, operand (not transposed): out = f(scale x)
@njit(nogil=True, error_model="numpy")
def apply(buffers, ints, floats, p):
    code, scale, parameter = ints[p], floats[ints[p + 1]], floats[ints[p + 1] + 1]
    out, x = flat(buffers, ints, p + 2), flat(buffers, ints, p + 2 + OPERAND)
    if code == _POWER:
        for i in range(x.size):
            out[i] = (scale * x[i]) ** parameter
    elif code == _EXP:
        for i in range(x.size):
            out[i] = _functions.exp(scale * x[i])
    elif code == _TANH:
        for i in range(x.size):
            out[i] = _functions.tanh(scale * x[i])
    elif code == _ERF:
        for i in range(x.size):
            out[i] = math.erf(scale * x[i])
    elif code <= _AT_MOST:
        for i in range(x.size):
            out[i] = _compared(code, scale * x[i], parameter)
    else:
        for i in range(x.size):
            out[i] = _value(code, scale * x[i])


# What is no number stays none, so that a failure is seen.
@njit(nogil=True, error_model="numpy")
def _compared(code, x, p):
    if code == _ABOVE:
        return 1.0 if x > p else 0.0
    if code == _AT_LEAST:
        return p if x < p else x
    return p if x > p else x


@njit(nogil=True, error_model="numpy")
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


@njit(nogil=True, error_model="numpy")
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
        return max(x, 0.0) + math.log1p(small)
    return np.nan
