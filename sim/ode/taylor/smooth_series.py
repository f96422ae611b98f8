"""Series of smooth functions, each from its slope: f(x)' = f'(x) x', with f' written in functions that are known.

What sympy says of the slope is all that is needed: tanh' = 1 - tanh^2 and erf' = 2 / sqrt(pi) exp(-x^2) become sums of
products of series, coefficient k of the function from coefficients below k of the slope. Values at the point of
expansion are the kernel's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import sympy as sp

from ....theory.algebra.scalars.functions import KNOWN, X
from ....theory.algebra.traversal import Traversal, UnknownNodeError, rule
from ...kernel import operations as op
from .program import Entries, ProgramWriter

_OF_NAME = {kind.__name__: kind for kind in KNOWN}


def function_of(writer: ProgramWriter, name: str, parameter: float, x: Entries) -> Entries:
    """Entries of a function of the kernel's list, entry by entry.

    Raises
    ------
    UnknownNodeError
        If its slope is not made of such functions.
    """
    if name in op.PARAMETRIC and name != "power":
        raise UnknownNodeError(f"{name} is not smooth")
    power = int(parameter) if parameter == int(parameter) else sp.Float(parameter)
    expr = X**power if name == "power" else _OF_NAME[name](X)
    ids = writer.moving(x)
    found = _Function(writer, ids.ravel())(expr)
    return found.reshape(ids.shape), np.zeros(ids.shape)


def softmax_of(
    writer: ProgramWriter, x: np.ndarray, scale: float, table: list[int], rows: np.ndarray
) -> np.ndarray:
    """Slots of the softmax p of scale x: p_i' = scale p_i (x_i' - sum_j p_j x_j'), which overflows nowhere.

    Parameters
    ----------
    writer : ProgramWriter
        What writes it.
    x : ndarray, shape (n,)
        Slots.
    scale : float
        Factor of x.
    table : list of int
        The operation that gives values, of x as state and of p as result.
    rows : ndarray, shape (n,)
        Which entries share a sum.
    """
    p, rates = writer.values(table, x), writer.rates(x)
    members, place = _gathered(rows)
    inside = members >= 0
    mean = writer.contract(*(_padded(e[members], inside) for e in (p, rates)), late=True)
    pair = tuple(np.column_stack([e, of_rows[place]]) for e, of_rows in zip(_slots(rates), mean, strict=True))
    signs = np.full(2, -1), np.array([scale, -scale])
    apart = writer.moving(writer.contract(signs, pair, late=True))
    _integrate(writer, p, p, apart)
    return p


def _gathered(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Entries of each row, filled up with -1, and the number of the row that an entry is of."""
    _, place, counts = np.unique(rows, return_inverse=True, return_counts=True)
    members = np.full((len(counts), counts.max()), -1)
    order = np.argsort(place, kind="stable")
    members[np.arange(counts.max()) < counts[:, None]] = order
    return members, place


def _slots(ids: np.ndarray) -> Entries:
    return ids, np.zeros(ids.shape)


def _padded(ids: np.ndarray, inside: np.ndarray) -> Entries:
    return _slots(np.where(inside, ids, -1))


def _integrate(writer: ProgramWriter, f: np.ndarray, slope: np.ndarray, rates: np.ndarray) -> None:
    """Let f' be slope times rates."""
    product = writer.contract(_slots(slope[:, None]), _slots(rates[:, None]), late=True)
    writer.integrals(product[0], f)


class _Function(Traversal):
    """Writes expressions in `X`, whose slots are given; each result is the slots of all entries."""

    purpose = "Taylor series"

    def __init__(self, writer: ProgramWriter, x: np.ndarray) -> None:
        super().__init__()
        self.writer, self.x = writer, x

    @rule(sp.Symbol)
    def variable(self, expr: sp.Symbol) -> np.ndarray:
        return self.x

    @rule(sp.Add)
    def add(self, expr: sp.Add) -> np.ndarray:
        constant, rest = expr.as_independent(X)
        parts = [self(term) for term in sp.Add.make_args(rest)]
        return self._combined([float(constant), *np.ones(len(parts))], parts)

    @rule(sp.Mul)
    def mul(self, expr: sp.Mul) -> np.ndarray:
        constant, rest = expr.as_independent(X)
        first, *others = (self(factor) for factor in sp.Mul.make_args(rest))
        for other in others:
            first = self._times(first, other)
        return first if constant == 1 else self._combined([0.0, float(constant)], [first])

    @rule(sp.Pow)
    def power(self, expr: sp.Pow) -> np.ndarray:
        base, exponent = expr.args
        if exponent == -1:
            return self._from_slope(expr, base, lambda f: self._scaled(-1.0, self._times(f, f)))
        if exponent.is_Integer:
            return self._whole_power(self(base if exponent > 0 else 1 / base), abs(int(exponent)))
        reciprocal = 1 / base
        return self._from_slope(
            expr, base, lambda f: self._scaled(float(exponent), self._times(f, self(reciprocal)))
        )

    @rule(*KNOWN)
    def function(self, expr: sp.Function) -> np.ndarray:
        (argument,) = expr.args
        return self._from_slope(expr, argument, lambda _: self(expr.func(X).diff(X).xreplace({X: argument})))

    def _from_slope(
        self, expr: sp.Expr, argument: sp.Expr, slope: Callable[[np.ndarray], np.ndarray]
    ) -> np.ndarray:
        """A function of an argument, in whose slope the function itself may stand."""
        writer, x = self.writer, self(argument)
        power = isinstance(expr, sp.Pow)
        name, parameter = ("power", float(expr.exp)) if power else (type(expr).__name__, 0.0)
        numbers = op.FUNCTIONS.index(name), writer.store([1.0, parameter])
        self.known[expr] = f = writer.values(
            value_table(op.MAP, [*numbers, *result_and_argument(1, x.size)]), x
        )
        rates, place = writer.rates(x), writer.place()
        slopes = slope(f)
        after = writer.cut(place)  # a coefficient of the slope may need that of the function
        _integrate(writer, f, slopes, rates)
        writer.paste(after)
        return f

    def _whole_power(self, x: np.ndarray, power: int) -> np.ndarray:
        if power == 1:
            return x
        half = self._whole_power(x, power // 2)
        square = self._times(half, half)
        return self._times(square, x) if power % 2 else square

    def _times(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return self.writer.contract(_slots(x[:, None]), _slots(y[:, None]))[0]

    def _scaled(self, factor: float, x: np.ndarray) -> np.ndarray:
        return self._combined([0.0, factor], [x])

    def _combined(self, factors: list[float], parts: list[np.ndarray]) -> np.ndarray:
        """A constant, and slots times factors."""
        ones = np.full(parts[0].shape, -1), np.ones(parts[0].shape)
        columns = [ones, *map(_slots, parts)]
        stacked = tuple(np.stack([c[k] for c in columns], axis=-1) for k in (0, 1))
        constants = np.array(factors, dtype=float)
        return self.writer.contract((np.full(constants.shape, -1), constants), stacked)[0]


def value_table(code: int, numbers: list[int], indices: Sequence[int] = ()) -> list[int]:
    """A table of one operation, see `smallinit.sim.kernel`."""
    operation = [code, len(numbers) + 2, *numbers]
    return [1, len(operation) + 2, *operation, *indices]


def result_and_argument(rows: int, cols: int) -> list[int]:
    """The operands of an operation from the state to the result, of one shape."""
    return [op.OUT, 0, rows, cols, 0, op.Y, 0, rows, cols, 0]
