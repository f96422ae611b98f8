"""A claimed equation beside the derived one, power by power of the weight scale."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import sympy as sp

from ...theory.algebra.adjoint import gradients
from ...theory.algebra.matrices import product, total
from ...theory.algebra.nodes import Matrix, RowNorm, nodes_within
from ...theory.algebra.scale.expansion import expand
from ...theory.algebra.scale.series import Series, subtract
from ...theory.flows.powers import (
    derived_exactly,
    leading_order,
    loss_series,
    model_logits,
    never_linear,
    start_powers,
)
from ...theory.models.model import Model
from .draws import FUNCTIONS, Draws

EXACT, LEADING, FACTOR, WRONG = "exact", "leading order", "wrong by a constant factor", "wrong"
BETTER_FIRST = (EXACT, LEADING, FACTOR, WRONG)
SEARCH = 12  # powers of eps beyond the first that are searched for a missing term
Gap = tuple[int, Matrix]  # a power, and derived minus claimed at it


@dataclass(frozen=True)
class Comparison:
    """What the two series say.

    Attributes
    ----------
    linear : bool
        Whether normalisations are near zero, and linear; else far above their eps.
    start : int
        The derived equation's first power of eps.
    leading : Matrix
        Its term.
    stated : dict
        The claim's terms by power.
    gap : tuple or None
        The first power at which they differ, with derived minus claimed.
    status : str
        EXACT, LEADING, FACTOR or WRONG.
    factor : float or None
        What the claim's leading term must be divided by, for FACTOR.
    """

    linear: bool
    start: int
    leading: Matrix
    stated: Series
    gap: Gap | None
    status: str
    factor: float | None

    @property
    def first(self) -> Matrix | None:
        """The claim's term at the derived equation's first power."""
        return self.stated.get(self.start)

    @property
    def beyond(self) -> Iterator[Gap]:
        """Claimed terms of higher power than the first missing one."""
        for power, term in sorted(self.stated.items()):
            if self.gap is not None and power > self.gap[0] > self.start:
                yield power, term


def compared(model: Model, weight: sp.MatrixSymbol, claimed: Matrix, draws: Draws) -> Comparison:
    """Compare a claim for a weight with the derived equation, of normalisations far above their eps or else near zero.

    Raises
    ------
    ValueError
        If no difference is found up to the highest power that is searched.
    """
    exact = draws.equal(derived_exactly(model, weight), claimed)
    found = _Sides(model, weight, claimed, draws, exact, linear=False).compared()
    norms = nodes_within(model_logits(model), RowNorm)
    if found.status not in (FACTOR, WRONG) or not norms or never_linear(model):
        return found
    near = _Sides(model, weight, claimed, draws, exact, linear=True).compared()
    return min(found, near, key=lambda side: BETTER_FIRST.index(side.status))


@dataclass(frozen=True)
class _Sides:
    """The derived equation and the claim, about to be expanded."""

    model: Model
    weight: sp.MatrixSymbol
    claimed: Matrix
    draws: Draws
    exact: bool  # whether the claim is the whole derived equation
    linear: bool

    def compared(self) -> Comparison:
        start = start_powers(self.model, self.linear)[self.weight.name] - self._own
        derived, stated, gap = self._first_gap(start)
        status, factor = self._status(gap, start, stated.get(start), derived[start])
        return Comparison(self.linear, start, derived[start], stated, gap, status, factor)

    @property
    def _own(self) -> int:
        """The power that the gradient loses."""
        return int(self.weight in self.model.small_weights)

    def _first_gap(self, start: int) -> tuple[Series, Series, Gap | None]:
        """Both series, and the first power at which they differ, with the term."""
        closed = not self.claimed.has(*FUNCTIONS)  # a polynomial: all its terms, whatever their power
        for order in range(start, start + SEARCH + 1):
            derived, stated = self._derived(order), self._stated(start + SEARCH if closed else order)
            if self.exact and order >= start + leading_order(self.model, self.linear):
                return derived, stated, None
            gap = subtract(derived, stated)
            for power in (p for p in sorted(gap) if p <= order):
                if not self.exact and not self.draws.equal(derived.get(power), stated.get(power)):
                    return derived, stated, (power, gap[power])
        raise ValueError(
            f"the claim agrees with the derived equation up to relative power {SEARCH}, but is not the exact one: "
            "no term beyond is searched for."
        )

    def _derived(self, order: int) -> Series:
        series = loss_series(self.model, order + self._own, self.linear)
        sides = {
            d - self._own: gradients(total(product(-1, t)), [self.weight])[self.weight]
            for d, t in series.items()
        }
        return {d: t for d, t in sides.items() if not isinstance(t, sp.ZeroMatrix)}

    def _stated(self, order: int) -> Series:
        return expand(self.claimed, self.model.small_weights, order, self.linear, self.draws.norms)

    def _status(
        self, gap: Gap | None, start: int, stated: Matrix | None, leading: Matrix
    ) -> tuple[str, float | None]:
        if gap is None:
            return EXACT, None
        if gap[0] > start:
            return LEADING, None
        factor = self.draws.factor(stated, leading) if gap[0] == start and stated is not None else None
        return (WRONG, None) if factor is None else (FACTOR, factor)
