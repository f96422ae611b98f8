"""Vector instructions over lanes: many small trajectories side by side, lane by lane the same arithmetic.

Written in LLVM's vector types because its loop vectoriser gives up on products of Taylor coefficients (the arrays might
overlap). `work` is one flat array in which a coefficient is `LANES` numbers in a row. Where only the first vector of
each coefficient is in use (`wide` is 0), the others are left out; what a lane computes is the same either way.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import float64, int64, types
from numba.core import cgutils
from numba.extending import intrinsic

WIDTH, GROUPS = 8, 4  # numbers a vector, vectors a coefficient: enough chains of sums to hide their latency
LANES = WIDTH * GROUPS
_VECTOR, _INTEGERS = ir.VectorType(ir.DoubleType(), WIDTH), ir.VectorType(ir.IntType(64), WIDTH)


def _address(builder: Any, base: Any, index: Any, group: int) -> Any:
    offset = builder.add(index, ir.Constant(index.type, group * WIDTH))
    return builder.bitcast(builder.gep(base, [offset]), _VECTOR.as_pointer())


def _load(builder: Any, base: Any, index: Any, group: int) -> Any:
    value = builder.load(_address(builder, base, index, group))
    value.align = 8
    return value


def _store(builder: Any, value: Any, base: Any, index: Any, group: int) -> None:
    builder.store(value, _address(builder, base, index, group)).align = 8


def _data(context: Any, builder: Any, signature: Any, value: Any) -> Any:
    return context.make_array(signature.args[0])(context, builder, value).data


def _broadcast(builder: Any, number: Any) -> Any:
    one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH))


def _for_groups(builder: Any, wide: Any, emit: Any) -> None:
    """Emit code for all vectors of a coefficient, and for the first alone."""
    with builder.if_else(builder.icmp_signed("!=", wide, ir.Constant(wide.type, 0))) as (all_groups, one):
        with all_groups:
            emit(GROUPS)
        with one:
            emit(1)


@intrinsic
def _cauchy(typing_context, work, first, last, count, scale, factor, out, wide):
    """``out = factor * scale * sum_(j < count) first_j * last_(-j)``: one coefficient of a product."""

    def codegen(context, builder, signature, args):
        base = _data(context, builder, signature, args[0])
        _, first, last, count, scale, factor, out, wide = args
        step = ir.Constant(ir.IntType(64), LANES)

        def emit(groups: int) -> None:
            zero = ir.Constant(_VECTOR, [0.0] * WIDTH)
            sums = [cgutils.alloca_once_value(builder, zero) for _ in range(groups)]
            with cgutils.for_range(builder, count) as loop:
                ahead = builder.mul(loop.index, step)
                a, b = builder.add(first, ahead), builder.sub(last, ahead)
                for g, total in enumerate(sums):
                    x, y = _load(builder, base, a, g), _load(builder, base, b, g)
                    builder.store(_call(builder, "fma", x, y, builder.load(total)), total)
            times = _broadcast(builder, factor)
            for g, total in enumerate(sums):
                weight = builder.fmul(_load(builder, base, scale, g), times)
                _store(builder, builder.fmul(builder.load(total), weight), base, out, g)

        _for_groups(builder, wide, emit)
        return context.get_dummy_value()

    array = types.Array(float64, 1, "C")
    return types.void(array, int64, int64, int64, int64, float64, int64, int64), codegen


@intrinsic
def _horner(typing_context, work, last, count, step, out, wide):
    """``out = sum_(k <= count) c_k step^k`` with c_count at `last` and c_0 `count` coefficients before it."""

    def codegen(context, builder, signature, args):
        base = _data(context, builder, signature, args[0])
        _, last, count, step, out, wide = args
        size = ir.Constant(ir.IntType(64), LANES)

        def emit(groups: int) -> None:
            sums = [cgutils.alloca_once_value(builder, _load(builder, base, last, g)) for g in range(groups)]
            with cgutils.for_range(builder, count) as loop:
                at = builder.sub(builder.sub(last, size), builder.mul(loop.index, size))
                for g, total in enumerate(sums):
                    h, c = _load(builder, base, step, g), _load(builder, base, at, g)
                    builder.store(_call(builder, "fma", builder.load(total), h, c), total)
            for g, total in enumerate(sums):
                _store(builder, builder.load(total), base, out, g)

        _for_groups(builder, wide, emit)
        return context.get_dummy_value()

    return types.void(types.Array(float64, 1, "C"), int64, int64, int64, int64, int64), codegen


@intrinsic
def _taylor_step(typing_context, work, first, size, factors, order, rtol, atol, shrink, out, wide):
    """Longest step at which the last two coefficients of all factors stay within the tolerance.

    Factor f starts at ``first + f size``. ``h^order = (rtol |y| + atol) / |c_order|`` and the same one order lower, the
    smaller of the two times `shrink`; logarithms come from the bits and are good to .01, exponentials to .002.
    """

    def codegen(context, builder, signature, args):
        base = _data(context, builder, signature, args[0])
        _, first, size, factors, order, rtol, atol, shrink, out, wide = args
        lanes = ir.Constant(ir.IntType(64), LANES)
        lower = builder.sub(order, ir.Constant(order.type, 1))
        rows = (ir.Constant(order.type, 0), order, lower)

        def emit(groups: int) -> None:
            for g in range(groups):
                tops = [cgutils.alloca_once_value(builder, ir.Constant(_VECTOR, [0.0] * WIDTH)) for _ in rows]
                with cgutils.for_range(builder, factors) as loop:
                    start = builder.add(first, builder.mul(loop.index, size))
                    for row, top in zip(rows, tops, strict=True):
                        at = builder.add(start, builder.mul(row, lanes))
                        x = _call(builder, "fabs", _load(builder, base, at, g))
                        builder.store(_call(builder, "maxnum", x, builder.load(top)), top)
                state, last, before = (builder.load(top) for top in tops)
                allowed = _log2(
                    builder,
                    _call(builder, "fma", state, _broadcast(builder, rtol), _broadcast(builder, atol)),
                )
                steps = []
                for top, power in ((last, order), (before, lower)):
                    gap = builder.fsub(allowed, _log2(builder, top))
                    count = _broadcast(builder, builder.sitofp(power, ir.DoubleType()))
                    steps.append(builder.fdiv(gap, count))
                h = _exp2(builder, _call(builder, "minnum", *steps))
                _store(builder, builder.fmul(h, _broadcast(builder, shrink)), base, out, g)

        _for_groups(builder, wide, emit)
        return context.get_dummy_value()

    array = types.Array(float64, 1, "C")
    return types.void(array, int64, int64, int64, int64, float64, float64, float64, int64, int64), codegen


def _call(builder: Any, name: str, *args: Any) -> Any:
    """One of LLVM's functions of vectors of doubles."""
    kind = ir.FunctionType(_VECTOR, [_VECTOR] * len(args))
    return builder.call(
        cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{WIDTH}f64"), args
    )


def _fill(number: float) -> Any:
    return ir.Constant(_VECTOR, [number] * WIDTH)


def _integers(number: int) -> Any:
    return ir.Constant(_INTEGERS, [number] * WIDTH)


def _log2(builder: Any, x: Any) -> Any:
    """Logarithm of positive numbers from exponent and mantissa; 0 gives -1023."""
    bits = builder.bitcast(x, _INTEGERS)
    exponent = builder.sub(builder.lshr(bits, _integers(52)), _integers(1023))
    one = builder.or_(builder.and_(bits, _integers((1 << 52) - 1)), _integers(1023 << 52))
    f = builder.fsub(builder.bitcast(one, _VECTOR), _fill(1.0))
    curve = builder.fmul(f, builder.fsub(_fill(1.3465), builder.fmul(_fill(0.3465), f)))
    return builder.fadd(builder.sitofp(exponent, _VECTOR), curve)


def _exp2(builder: Any, x: Any) -> Any:
    """Power of two, from -1000 to 1000."""
    x = _call(builder, "minnum", _call(builder, "maxnum", x, _fill(-1000.0)), _fill(1000.0))
    whole = _call(builder, "floor", x)
    f = builder.fsub(x, whole)
    mantissa = builder.fadd(
        _fill(1.0), builder.fmul(f, builder.fadd(_fill(0.6565), builder.fmul(_fill(0.3435), f)))
    )
    exponent = builder.shl(builder.add(builder.fptosi(whole, _INTEGERS), _integers(1023)), _integers(52))
    return builder.fmul(mantissa, builder.bitcast(exponent, _VECTOR))


cauchy: Any = _cauchy  # type checkers see the typing context, which numba supplies
horner: Any = _horner
taylor_step: Any = _taylor_step
