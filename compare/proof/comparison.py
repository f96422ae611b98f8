"""A claimed equation beside the derived one, power by power of the weight scale."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import sympy as sp

from ...theory.algebra.nodes import Matrix, RowNorm, nodes_within
from ...theory.algebra.norms import without_eps
from ...theory.algebra.scale.expansion import expand
from ...theory.algebra.scale.series import Series, subtract
from ...theory.flows.powers import leading_order, model_logits, never_linear
from .draws import FUNCTIONS, Draws
from .motion import Motion

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
        What powers are relative to: the derived equation's first power of eps; where something that is no weight rests,
        or is claimed to, that of its parts.
    lead : int
        The derived equation's first power of eps; `start` if it is zero.
    leading : Matrix
        Its term.
    still : bool
        Whether `start` is that of the parts.
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
    lead: int
    leading: Matrix
    still: bool
    stated: Series
    gap: Gap | None
    status: str
    factor: float | None

    @property
    def first(self) -> Matrix | None:
        """The claim's term at the derived equation's first power."""
        return self.stated.get(self.lead)

    @property
    def beyond(self) -> Iterator[Gap]:
        """Claimed terms of higher power than the first missing one."""
        for power, term in sorted(self.stated.items()):
            if self.gap is not None and power > self.gap[0] > self.start:
                yield power, term


def compared(motion: Motion, claimed: Matrix, draws: Draws) -> Comparison:
    """Compare a claim with the derived equation, of normalisations far above their eps or else near zero.

    Raises
    ------
    ValueError
        If no difference is found up to the highest power that is searched.
    """
    derived = motion.exactly
    exact = draws.equal(derived, claimed)
    still = not motion.of_weight and (isinstance(claimed, sp.ZeroMatrix) or draws.equal(derived, None))
    found = _Sides(motion, claimed, draws, exact, still, linear=False).compared()
    norms = nodes_within(model_logits(motion.model), RowNorm)
    if found.status not in (FACTOR, WRONG) or not norms or never_linear(motion.model):
        return found
    near = _Sides(motion, claimed, draws, exact, still, linear=True).compared()
    return min(found, near, key=lambda side: BETTER_FIRST.index(side.status))


@dataclass(frozen=True)
class _Sides:
    """The derived equation and the claim, about to be expanded."""

    motion: Motion
    claimed: Matrix
    draws: Draws
    exact: bool  # whether the claim is the whole derived equation
    still: bool
    linear: bool

    def compared(self) -> Comparison:
        first = self.motion.start(self.linear)
        start = first if self.still or self.motion.of_weight else self._first_power(first)
        derived, stated, gap = self._first_gap(start)
        lead = self._lead(start, derived, gap)
        leading = derived.get(lead, sp.ZeroMatrix(*self.claimed.shape))
        status, factor = self._status(gap, start, stated.get(start), derived.get(start))
        return Comparison(self.linear, start, lead, leading, self.still, stated, gap, status, factor)

    def _first_power(self, first: int) -> int:
        """The derived equation's first power, where those of its parts may cancel."""
        for power in range(first, first + SEARCH + 1):
            if self._stands(self.motion.series(power, self.linear).get(power)):
                return power
        raise ValueError(
            f"what moves by the claim rests up to relative power {SEARCH}, but not for ever: no motion beyond is "
            "searched for."
        )

    def _lead(self, start: int, derived: Series, gap: Gap | None) -> int:
        """The derived equation's first power: if its parts cancel at the start, that of the gap, or it has none."""
        if not self.still:
            return start
        powers = range(start, start if gap is None else gap[0] + 1)
        return next((p for p in powers if self._stands(derived.get(p))), start)

    def _stands(self, term: Matrix | None) -> bool:
        """Whether a term of the derived equation does not cancel."""
        return term is not None and not self._equal(term, None)

    def _equal(self, a: Matrix | None, b: Matrix | None) -> bool:
        """Whether two terms are the same, far above the eps of norms: an invariance to scale is one up to that eps."""
        if self.linear or not self.draws.norms:
            return self.draws.equal(a, b)
        return self.draws.equal(*(t and without_eps(t, self.draws.norms) for t in (a, b)))

    def _first_gap(self, start: int) -> tuple[Series, Series, Gap | None]:
        """Both series, and the first power at which they differ, with the term."""
        closed = not self.claimed.has(*FUNCTIONS)  # a polynomial: all its terms, whatever their power
        for order in range(start, start + SEARCH + 1):
            if self.exact and self.still:
                return {}, {}, None
            derived = self.motion.series(order, self.linear)
            stated = self._stated(start + SEARCH if closed else order)
            if self.exact and order >= start + leading_order(self.motion.model, self.linear):
                return derived, stated, None
            gap = subtract(derived, stated)
            for power in (p for p in sorted(gap) if p <= order):
                if not self.exact and not self._equal(derived.get(power), stated.get(power)):
                    return derived, stated, (power, gap[power])
        raise ValueError(
            f"the claim agrees with the derived equation up to relative power {SEARCH}, but is not the exact one: "
            "no term beyond is searched for."
        )

    def _stated(self, order: int) -> Series:
        return expand(self.claimed, self.motion.model.small_weights, order, self.linear, self.draws.norms)

    def _status(
        self, gap: Gap | None, start: int, stated: Matrix | None, leading: Matrix | None
    ) -> tuple[str, float | None]:
        if gap is None:
            return EXACT, None
        if self.still and not isinstance(self.claimed, sp.ZeroMatrix):
            return WRONG, None  # it rests
        if gap[0] > start:
            return LEADING, None
        both = gap[0] == start and stated is not None and leading is not None
        factor = self.draws.factor(stated, leading) if both else None
        return (WRONG, None) if factor is None else (FACTOR, factor)
