"""The sums of an unrolled flow on Taylor coefficients, one vector of lanes a coefficient.

`work` holds ``order + 1`` coefficients of `WIDTH` numbers for each slot; `at` is the coefficient wanted, in numbers.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import float64, int64, types
from numba.core import cgutils
from numba.extending import intrinsic

from .lanes import WIDTH, _broadcast, _call, _data, _fill, _load, _store
from .program import CHAINS

_F1, _I1 = types.Array(float64, 1, "C"), types.Array(int64, 1, "C")
_I64 = ir.IntType(64)


def _number(value: int) -> Any:
    return ir.Constant(_I64, value)


def _array(context: Any, builder: Any, signature: Any, args: Any, i: int) -> Any:
    return context.make_array(signature.args[i])(context, builder, args[i]).data


def _at(builder: Any, array: Any, *parts: Any) -> Any:
    """Number of an array, at a place that is a sum."""
    place = parts[0]
    for part in parts[1:]:
        place = builder.add(place, part)
    return builder.load(builder.gep(array, [place]))


def _sums_of_products(pairs: Any, places: int) -> Any:
    """What emits code for coefficient `at` of n products, summed, for four results: ``sum_terms sum_j a_j b_(at - j)``.

    A term is given by `places` factors, those that ascend first, and `pairs` says which two each result takes. The four
    sums run side by side, which hides the latency of an addition.
    """
    ascending = sorted({a for a, _ in pairs})

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        base, table = (
            _data(context, builder, signature, args[0]),
            _array(context, builder, signature, args, 1),
        )
        _, _, results, n, at = args
        sums = [cgutils.alloca_once_value(builder, _fill(0.0)) for _ in range(CHAINS)]
        count = builder.add(builder.sdiv(at, _number(WIDTH)), _number(1))
        with cgutils.for_range(builder, n) as term:
            place = builder.add(
                results, builder.add(_number(CHAINS), builder.mul(term.index, _number(places)))
            )
            starts = [_at(builder, table, place, _number(i)) for i in range(places)]
            with cgutils.for_range(builder, count) as loop:
                up = builder.mul(loop.index, _number(WIDTH))
                down = builder.sub(at, up)
                values = [
                    _load(builder, base, builder.add(start, up if i in ascending else down), 0)
                    for i, start in enumerate(starts)
                ]
                for (a, b), total in zip(pairs, sums, strict=True):
                    builder.store(_call(builder, "fma", values[a], values[b], builder.load(total)), total)
        for i, total in enumerate(sums):
            out = builder.add(_at(builder, table, results, _number(i)), at)
            _store(builder, builder.load(total), base, out, 0)
        return context.get_dummy_value()

    return types.void(_F1, _I1, int64, int64, int64), codegen


@intrinsic
def _products(typing_context, work, ints, results, n, at):
    """Four sums of products that share nothing: a (4), b (4)."""
    return _sums_of_products([(i, CHAINS + i) for i in range(CHAINS)], 2 * CHAINS)


@intrinsic
def _squares(typing_context, work, ints, results, n, at):
    """Four sums of products of two a with two b, as entries of a matrix product have them: half as many loads."""
    return _sums_of_products([(0, 2), (0, 3), (1, 2), (1, 3)], CHAINS)


@intrinsic
def _linear(typing_context, work, ints, floats, place, n, result, constant, at):
    """Coefficient `at` of a linear combination; `result` is where its slot stands, the operands' slots behind it."""

    def codegen(context, builder, signature, args):
        base, table = (
            _data(context, builder, signature, args[0]),
            _array(context, builder, signature, args, 1),
        )
        numbers = _array(context, builder, signature, args, 2)
        _, _, _, place, n, result, constant, at = args
        total = cgutils.alloca_once_value(builder, _broadcast(builder, constant))
        with cgutils.for_range(builder, n) as term:
            ahead = builder.add(term.index, _number(1))
            x = _load(builder, base, builder.add(_at(builder, table, result, ahead), at), 0)
            factor = _broadcast(builder, _at(builder, numbers, place, ahead))
            builder.store(_call(builder, "fma", x, factor, builder.load(total)), total)
        out = builder.add(_at(builder, table, result), at)
        _store(builder, builder.load(total), base, out, 0)
        return context.get_dummy_value()

    return types.void(_F1, _I1, _F1, int64, int64, int64, float64, int64), codegen


@intrinsic
def _scaled(typing_context, work, source, factor, out):
    """One coefficient, times a factor, to another place."""

    def codegen(context, builder, signature, args):
        base = _data(context, builder, signature, args[0])
        _, source, factor, out = args
        value = builder.fmul(_load(builder, base, source, 0), _broadcast(builder, factor))
        _store(builder, value, base, out, 0)
        return context.get_dummy_value()

    return types.void(_F1, int64, float64, int64), codegen


squares: Any = _squares
products: Any = _products  # type checkers see the typing context, which numba supplies
linear: Any = _linear
scaled: Any = _scaled
