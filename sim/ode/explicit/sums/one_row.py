"""Sums of slopes by one row of a table: machine code of its own, for whatever is compiled to call.

Loops over steps, points between steps and stages between them all form such sums. As a part of each they would be made
into machine code three times, which is most of what the others are. Callers know the code by a name that is looked up
when theirs is loaded, so that no address is ever stored. Importing compiles it or loads it.
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding
from numba import boolean, float64, int64, types
from numba.core import cgutils
from numba.extending import intrinsic

from ....kernel.cache import compiled, source_hash
from ....kernel.calls._operands import address_of, place
from ....kernel.inner import INNER, inlined

FEW = 8  # numbers of a vector for which setting up vector code costs more than it saves
SYMBOL = f"smallinit_sum_{source_hash()}"
_REALS, _WHOLES = types.CPointer(float64), types.CPointer(int64)
_KINDS = (
    boolean, _REALS, _REALS, float64, int64, _REALS, int64, _WHOLES, _WHOLES, _REALS, int64, int64, float64,
)  # fmt: skip
_SIGNATURE = types.void(*_KINDS)


@inlined()
def four_from(k, n, rows, col, j):
    """Where the four stages begin whose columns stand from the j-th on."""
    return (
        place(k, rows[col[j]] * n),
        place(k, rows[col[j + 1]] * n),
        place(k, rows[col[j + 2]] * n),
        place(k, rows[col[j + 3]] * n),
    )


@inlined()
def times_four(h, val, j):
    """The four numbers of a table from the j-th on, times h."""
    return h * val[j], h * val[j + 1], h * val[j + 2], h * val[j + 3]


@inlined()
def _begin(out, y, lead, m, k, n, rows, col, val, first, last, h):
    """Write lead * y + h * (the first stages of the row); returns where the others stand."""
    if first + 4 <= last:
        k0, k1, k2, k3 = four_from(k, n, rows, col, first)
        c0, c1, c2, c3 = times_four(h, val, first)
        for i in range(m):
            out[i] = lead * y[i] + ((c0 * k0[i] + c1 * k1[i]) + (c2 * k2[i] + c3 * k3[i]))
        return first + 4
    if first + 2 <= last:
        k0, k1 = place(k, rows[col[first]] * n), place(k, rows[col[first + 1]] * n)
        c0, c1 = h * val[first], h * val[first + 1]
        for i in range(m):
            out[i] = (lead * y[i] + c0 * k0[i]) + c1 * k1[i]
        return first + 2
    if first < last:
        k0, c0 = place(k, rows[col[first]] * n), h * val[first]
        for i in range(m):
            out[i] = lead * y[i] + c0 * k0[i]
        return first + 1
    for i in range(m):
        out[i] = lead * y[i]
    return first


@compiled(_SIGNATURE, **INNER)
def _sum(anew, out, y, lead, m, k, n, rows, col, val, first, last, h):
    """What `sum_up` writes, or where it is not `anew`, what `accumulate` adds."""
    if anew and n < FEW:
        for i in range(m):
            total = 0.0
            for j in range(first, last):
                total += val[j] * k[rows[col[j]] * n + i]
            out[i] = lead * y[i] + h * total
        return
    j = _begin(out, y, lead, m, k, n, rows, col, val, first, last, h) if anew else first
    while j + 4 <= last:
        k0, k1, k2, k3 = four_from(k, n, rows, col, j)
        c0, c1, c2, c3 = times_four(h, val, j)
        for i in range(m):
            out[i] += (c0 * k0[i] + c1 * k1[i]) + (c2 * k2[i] + c3 * k3[i])
        j += 4
    if j + 2 <= last:
        k0, k1 = place(k, rows[col[j]] * n), place(k, rows[col[j + 1]] * n)
        c0, c1 = h * val[j], h * val[j + 1]
        for i in range(m):
            out[i] = (out[i] + c0 * k0[i]) + c1 * k1[i]
        j += 2
    if j < last:
        k0, c0 = place(k, rows[col[j]] * n), h * val[j]
        for i in range(m):
            out[i] += c0 * k0[i]


if not binding.address_of_symbol(SYMBOL):  # code that is loaded already knows where it lies
    binding.add_symbol(SYMBOL, address_of(_sum, _SIGNATURE))


@intrinsic
def _call(typing_context, anew, out, y, lead, m, k, n, rows, col, val, first, last, h):
    def build(context, builder, signature, args):
        convention = context.call_conv
        kind = convention.get_function_type(types.none, _KINDS)
        code = cgutils.get_or_insert_function(builder.module, kind, SYMBOL)
        convention.call_function(builder, code, types.none, _KINDS, args)
        return context.get_dummy_value()

    return types.none(*_KINDS), build


_by_name: Any = _call  # type checkers see its first argument, which numba supplies


@inlined()
def sum_up(out, y, lead, m, k, n, rows, col, val, first, last, h):
    """Write lead * y + h * (row of the table) applied to the first m entries of the stages."""
    _by_name(True, out, y, lead, m, k, n, rows, col, val, first, last, h)


@inlined()
def accumulate(out, m, k, n, rows, col, val, first, last, h):
    """Add h * (row of the table) applied to the first m entries of the stages, four stages at a time."""
    _by_name(False, out, out, 1.0, m, k, n, rows, col, val, first, last, h)
