"""Products of dense matrices by BLAS, as numba calls it: transposes are flags, and not types to be compiled for."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..operations import DOT, DOT_ADDED
from ._addresses import operation
from ._operands import OPERAND, flat, numbers

_WORD, _CHAR, _CODE, _PLACE = ir.IntType(64), ir.IntType(8), ir.IntType(32), ir.IntType(8).as_pointer()


def _blas(name: str, order: str) -> Any:
    """One of numba's own functions, that find the BLAS of scipy.

    `order` says what its arguments after the kind of numbers are: "c" a flag, "w" a size, "p" an array, "a" the number
    1 that the product is multiplied by and "b" the 0 of what was there before.
    """
    kinds = {"c": _CHAR, "w": _WORD, "p": _PLACE, "a": _PLACE, "b": _PLACE}
    form = ir.FunctionType(_CODE, [_CHAR, *(kinds[each] for each in order)])

    @intrinsic
    def call(typing_context, arguments):
        real = next(kind.dtype for kind in arguments if isinstance(kind, types.CPointer))

        def build(context, builder, signature, args):
            number, given = context.get_value_type(real), iter(cgutils.unpack_tuple(builder, args[0]))
            found = [_CHAR(ord("d" if real == types.float64 else "s"))]
            for each in order:
                if each in "ab":
                    slot = cgutils.alloca_once_value(builder, ir.Constant(number, float(each == "a")))
                    found.append(builder.bitcast(slot, _PLACE))
                    continue
                value = next(given)
                if each == "c":
                    value = builder.trunc(value, _CHAR)
                elif each == "p":
                    value = builder.bitcast(value, _PLACE)
                found.append(value)
            function = cgutils.get_or_insert_function(builder.module, form, name)
            return builder.call(function, found)

        return types.int32(arguments), build

    return call


_dot, _vector = _blas("numba_xxdot", "cwppp"), _blas("numba_xxgemv", "cwwapwpbp")
_matrix = _blas("numba_xxgemm", "ccwwwapwpwbpw")
_matrix_added = _blas("numba_xxgemm", "ccwwwapwpwapw")  # to what was there
_REAL, _PLAIN, _TURNED = 0, ord("n"), ord("t")


# result, a, b. What is stored by rows is to BLAS the transpose, by columns: it computes b^T a^T.
@operation(DOT)
def product(buffers, ints, p):
    a, b = p + OPERAND, p + 2 * OPERAND
    out, x, y = flat(buffers, ints, p), numbers(flat(buffers, ints, a)), numbers(flat(buffers, ints, b))
    m, n, turned_x, turned_y = ints[p + 2], ints[p + 3], ints[a + 4] != 0, ints[b + 4] != 0
    k, wide_x, wide_y = ints[a + 2] if turned_x else ints[a + 3], ints[a + 3], ints[b + 3]
    failed = 0
    if out.size == 0 or k == 0:
        for i in range(out.size):
            out[i] = 0.0
    elif m == 1 and n == 1:
        failed = _dot((_REAL, k, x, y, numbers(out)))
    elif n == 1:
        turn = _PLAIN if turned_x else _TURNED
        failed = _vector((turn, wide_x, ints[a + 2], x, wide_x, y, numbers(out)))
    elif m == 1:
        turn = _TURNED if turned_y else _PLAIN
        failed = _vector((turn, wide_y, ints[b + 2], y, wide_y, x, numbers(out)))
    else:
        turn, turn_x = _TURNED if turned_y else _PLAIN, _TURNED if turned_x else _PLAIN
        failed = _matrix((turn, turn_x, n, m, k, y, wide_y, x, wide_x, numbers(out), n))
    if failed != 0:
        for i in range(out.size):
            out[i] = np.nan


# The same added to what is there, of several rows and columns.
@operation(DOT_ADDED)
def product_added(buffers, ints, p):
    a, b = p + OPERAND, p + 2 * OPERAND
    out, x, y = flat(buffers, ints, p), numbers(flat(buffers, ints, a)), numbers(flat(buffers, ints, b))
    m, n, turned_x, turned_y = ints[p + 2], ints[p + 3], ints[a + 4] != 0, ints[b + 4] != 0
    k, wide_x, wide_y = ints[a + 2] if turned_x else ints[a + 3], ints[a + 3], ints[b + 3]
    turn, turn_x = _TURNED if turned_y else _PLAIN, _TURNED if turned_x else _PLAIN
    if _matrix_added((turn, turn_x, n, m, k, y, wide_y, x, wide_x, numbers(out), n)) != 0:
        for i in range(out.size):
            out[i] = np.nan
