"""Rows of an array asked for ahead of time, by loops that meet them in an order that no processor can guess.

A request changes no number. It goes to the second cache: to the first, such a loop has as many on their way as the
processor keeps, and more would only wait.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..inner import helper, inlined
from ._extremes import lesser
from ._operands import place

LINE = 8  # numbers that come together, in float64; in float32, each line is asked for twice
FAR = 2**23  # bytes of an array whose rows lie far away: of a smaller one, requests cost more than they save
LONG = 2**12  # bytes of a row that a processor fetches well by itself, once it has met the first of them
AHEAD = 2**14  # bytes on their way: enough to hide how long memory takes, few enough for the second cache


@intrinsic
def _request(typing_context, where):
    def build(context, builder, signature, args):
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        ask = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        address = builder.bitcast(args[0], byte)
        builder.call(ask, [address, number(0), number(2), number(1)])  # for reading; second cache; data
        return context.get_dummy_value()

    return types.void(where), build


request: Any = _request  # ask for the line that holds the number at a place


# How many rows ahead of its place a loop asks for those of b; 0 where it had better not.
@inlined()
def rows_ahead(b):
    size = b.shape[1] * b.itemsize
    if b.shape[0] * size <= FAR or size >= LONG:
        return 0
    return AHEAD // size


# Ask for the rows of b that the indices from p up to q name; beyond the end, for the last.
@helper()
def ask_for(b, indices, p, q):
    last, width = indices.size - 1, b.shape[1]
    for k in range(p, q):
        first = indices[lesser(k, last)] * width
        for j in range(0, width, LINE):
            request(place(b, first + j))
