"""Exponential and hyperbolic tangent without branches or calls, so that LLVM carries them out on whole vectors.

exp(x) = 2^k exp(r) with r = x - k ln 2, of absolute value below 3/4 ln 2, where a Taylor polynomial of degree 15 leaves
out less than 3e-18. Errors stay below 2 units in the last place; nan stays nan, and what over- or underflows does so as
usual.
"""

import math
from typing import Any

from numba import njit, types
from numba.extending import intrinsic

INVERSE_LN2 = 1.4426950408889634
LN2_HIGH = 6.93147180369123816490e-01  # its last 21 bits are zero: products with whole k are exact
LN2_LOW = 1.90821492927058770002e-10
TO_WHOLE = 6755399441055744.0  # 1.5 * 2^52: added to a smaller number, it leaves the nearest whole one in the last bits
BIAS = 1023
MANTISSA = 52
C = tuple(1.0 / math.factorial(n) for n in range(16))
LARGEST, LEAST = 710.0, -746.0  # beyond, exp is inf or zero
FLAT = 20.0  # beyond, tanh rounds to 1
SIGN = -(2**63)


def _read_as(target, source):
    """The same 64 bits read as numbers of another kind."""

    def declare(typingctx, x):
        def build(context, builder, signature, args):
            return builder.bitcast(args[0], context.get_value_type(target))

        return target(source), build

    return intrinsic(declare)


bits_of: Any = _read_as(types.int64, types.float64)
float_of: Any = _read_as(types.float64, types.int64)


# (exp(r) - 1 - r) / r^2
@njit(nogil=True, error_model="numpy", fastmath={"contract"})
def _tail(r):
    p = C[15]
    p = p * r + C[14]
    p = p * r + C[13]
    p = p * r + C[12]
    p = p * r + C[11]
    p = p * r + C[10]
    p = p * r + C[9]
    p = p * r + C[8]
    p = p * r + C[7]
    p = p * r + C[6]
    p = p * r + C[5]
    p = p * r + C[4]
    p = p * r + C[3]
    return p * r + C[2]


@njit(nogil=True, error_model="numpy", fastmath={"contract"})
def exp(x):
    x = LARGEST if x > LARGEST else x
    x = LEAST if x < LEAST else x
    shifted = x * INVERSE_LN2 + TO_WHOLE
    whole = shifted - TO_WHOLE
    r = (x - whole * LN2_HIGH) - whole * LN2_LOW
    k = bits_of(shifted) - bits_of(TO_WHOLE)
    half = k >> 1  # two steps, as 2^k itself may be no number or a denormal one
    p = (r * r) * _tail(r) + r + 1.0
    return p * float_of((half + BIAS) << MANTISSA) * float_of((k - half + BIAS) << MANTISSA)


# e / (e + 2) with e = exp(2 |x|) - 1 = 2^k (exp(r) - 1) + (2^k - 1), which keeps its digits where x is small. Here r is
# -1/4 ln 2 or more: near -1/2 ln 2 the two parts of e would cancel.
@njit(nogil=True, error_model="numpy", fastmath={"contract"})
def tanh(x):
    y = 2.0 * abs(x)
    y = 2.0 * FLAT if y > 2.0 * FLAT else y
    shifted = (y * INVERSE_LN2 - 0.25) + TO_WHOLE
    whole = shifted - TO_WHOLE
    r = (y - whole * LN2_HIGH) - whole * LN2_LOW
    scale = float_of((bits_of(shifted) - bits_of(TO_WHOLE) + BIAS) << MANTISSA)
    e = scale * ((r * r) * _tail(r) + r) + (scale - 1.0)
    d = e + 2.0
    lost = e - (d - 2.0)
    share = 1.0 / d
    q = e * share
    q += ((e - q * d) - q * lost) * share
    return float_of(bits_of(q) | (bits_of(x) & SIGN))
