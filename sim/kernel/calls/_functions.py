"""Exponential and hyperbolic tangent without branches or calls, so that LLVM carries them out on whole vectors.

exp(x) = 2^k exp(r) with r = x - k ln 2, of absolute value below 3/4 ln 2, where a Taylor polynomial leaves out less
than a tenth of the last place (3e-18 in float64, 8e-9 in float32). Errors stay below 2 units in the last place; nan
stays nan, and what over- or underflows does so as usual.
"""

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from ..inner import INNER
from ..parts import PartCompiler

LN2, BEYOND = math.log(2.0), 2.3190468138462996e-17  # as a float64, and what ln 2 is beyond it


def _read_as(target, source):
    """The same bits read as numbers of another kind."""

    def declare(typingctx, x):
        def build(context, builder, signature, args):
            return builder.bitcast(args[0], context.get_value_type(target))

        return target(source), build

    return intrinsic(declare)


def _horner(number, coefficients):
    """A polynomial, written out; the highest power first."""

    @intrinsic
    def polynomial(typingctx, r):
        def build(context, builder, signature, args):
            each = [ir.Constant(args[0].type, float(c)) for c in coefficients]
            p = each[0]
            for c in each[1:]:
                p = builder.fadd(builder.fmul(p, args[0]), c)
            return p

        return number(number), build

    return polynomial


def _power_of_two(number, integer, mantissa, bias):
    """2^k for whole k."""

    @intrinsic
    def power(typingctx, k):
        def build(context, builder, signature, args):
            kind = args[0].type
            bits = builder.shl(builder.add(args[0], kind(bias)), kind(mantissa))
            return builder.bitcast(bits, context.get_value_type(number))

        return number(integer), build

    return power


class _Precision:
    """What the functions of one type of numbers are made of, in that type: literals would make float64 of them.

    `mantissa` is the number of its bits and `high` ln 2 with so few that products with whole k are exact. Beyond
    `largest` and `least` exp is inf or zero, and beyond `flat` tanh rounds to 1.
    """

    def __init__(self, real, whole, mantissa, degree, high, largest, least, flat):
        number, integer = types.float64, types.int64
        if real is np.float32:
            number, integer = types.float32, types.int32
        self.bits_of: Any = _read_as(integer, number)
        self.float_of: Any = _read_as(number, integer)
        self.whole, self.inverse = whole, real(1.0 / LN2)
        self.high, self.low = real(high), real((LN2 - high) + BEYOND)
        # Added to a smaller number, it leaves the nearest whole one in the last bits.
        self.to_whole = real(1.5 * 2.0**mantissa)
        self.to_bits, self.sign = whole(self.to_whole.view(whole)), whole(np.iinfo(whole).min)
        self.largest, self.least, self.flat = real(largest), real(least), real(2.0 * flat)
        self.quarter, self.one, self.two = real(0.25), real(1.0), real(2.0)
        # (exp(r) - 1 - r) / r^2
        self.tail: Any = _horner(number, [real(1.0 / math.factorial(n)) for n in range(degree, 1, -1)])
        self.power: Any = _power_of_two(number, integer, mantissa, int(np.finfo(real).maxexp) - 1)


def _exp_of(c):
    bits_of, tail, power, whole = c.bits_of, c.tail, c.power, c.whole
    inverse, high, low, one = c.inverse, c.high, c.low, c.one
    to_whole, to_bits, largest, least = c.to_whole, c.to_bits, c.largest, c.least

    def exp(x):
        x = largest if x > largest else x
        x = least if x < least else x
        shifted = x * inverse + to_whole
        nearest = shifted - to_whole
        r = (x - nearest * high) - nearest * low
        k = whole(bits_of(shifted) - to_bits)
        half = whole(k >> 1)  # two steps, as 2^k itself may be no number or a denormal one
        p = (r * r) * tail(r) + r + one
        return p * power(half) * power(whole(k - half))

    return exp


def _tanh_of(c):
    bits_of, float_of, tail, power, whole = c.bits_of, c.float_of, c.tail, c.power, c.whole
    inverse, high, low, quarter, one, two = c.inverse, c.high, c.low, c.quarter, c.one, c.two
    to_whole, to_bits, sign, flat = c.to_whole, c.to_bits, c.sign, c.flat

    # e / (e + 2) with e = exp(2 |x|) - 1 = 2^k (exp(r) - 1) + (2^k - 1), which keeps its digits where x is small. Here
    # r is -1/4 ln 2 or more: near -1/2 ln 2 the two parts of e would cancel.
    def tanh(x):
        y = two * abs(x)
        y = flat if y > flat else y
        shifted = (y * inverse - quarter) + to_whole
        nearest = shifted - to_whole
        r = (y - nearest * high) - nearest * low
        scale = power(whole(bits_of(shifted) - to_bits))
        e = scale * ((r * r) * tail(r) + r) + (scale - one)
        d = e + two
        lost = e - (d - two)
        share = one / d
        q = e * share
        q += ((e - q * d) - q * lost) * share
        return float_of(whole(bits_of(q) | (bits_of(x) & sign)))

    return tanh


DOUBLE = _Precision(np.float64, np.int64, 52, 15, 6.93147180369123816490e-01, 710.0, -746.0, 20.0)
SINGLE = _Precision(np.float32, np.int32, 23, 8, 0.693359375, 89.0, -104.0, 10.0)


def _by_type(make):
    """A function that compiled code finds by the type of its argument."""
    double, single = make(DOUBLE), make(SINGLE)

    def function(x):
        raise NotImplementedError("for compiled code alone")

    options: Any = INNER | {"error_model": "numpy", "fastmath": {"contract"}, "pipeline_class": PartCompiler}

    @overload(function, jit_options=options)
    def choose(x):
        return single if x == types.float32 else double

    return function


exp, tanh = _by_type(_exp_of), _by_type(_tanh_of)
