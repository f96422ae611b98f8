"""Closures: which terms of the loss a flow keeps (docs/ladder.md)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import sympy as sp

from ..algebra.expansion import expand, truncated
from ..algebra.matrices import total
from ..algebra.nodes import Matrix, matrix_symbols
from ..algebra.series import Series, subtract
from ..base.errors import FieldError
from ..base.names import CLOSURE_PARTS, CLOSURES
from ..base.validate import brief, is_integer, unknown
from ..models.content import kept_by_content
from ..models.model import Model
from .powers import (
    distributed,
    first_terms,
    last_start,
    leading_order,
    logit_series,
    loss_series,
    model_logits,
    start_powers,
)

EXACT = "exact"
HIGHEST = 10**6  # that a closure can name; what it would cost is another matter
LOGIT_DEPTH = 60  # highest power of eps up to which the logits are searched for what a truncation drops


@dataclass(frozen=True)
class Closure:
    """What a flow keeps of the loss.

    Parameters
    ----------
    softmax : "exact" or int
        The loss as a function of the logits: whole, or all terms of the loss up to this power of eps.
    activation : "exact" or int
        Activations: whole, or their Taylor polynomials up to this power (at least the first non-zero term).
    attention : "exact" or int
        Softmax attention: whole, or its series in the scores up to this power; 0 is the uniform average.
    name : str, optional
        "leading" keeps, for every weight, the terms of lowest power that hold it, and nothing else; "drive" the same,
        with all weights but the embedding frozen. Other closures are named by what they keep.

    Raises
    ------
    ValueError
        If a part is neither "exact" nor an integer in range.
    """

    softmax: int | str = EXACT
    activation: int | str = EXACT
    attention: int | str = EXACT
    name: str = ""

    def __post_init__(self) -> None:
        """Check the parts and name the closure."""
        for part, lowest in zip(CLOSURE_PARTS, (1, 1, 0), strict=True):
            value = getattr(self, part)
            if value != EXACT and not (is_integer(value) and lowest <= value <= HIGHEST):
                raise FieldError(
                    part, f"must be 'exact' or an integer from {lowest} to {HIGHEST}, got {brief(value)}."
                )
        if not self.name:
            object.__setattr__(self, "name", self._own_name())

    def _own_name(self) -> str:
        parts = (self.softmax, self.activation, self.attention)
        if parts == (EXACT, EXACT, EXACT):
            return "exact"
        if parts == (EXACT, 1, 0):
            return "softmax"
        if parts[1:] == (EXACT, EXACT):
            return f"order={self.softmax}"
        return ",".join(
            f"{part}={value}" for part, value in zip(CLOSURE_PARTS, parts, strict=True) if value != EXACT
        )

    @classmethod
    def of(cls, closure: str | Closure, model: Model) -> Closure:
        """Read a closure's name: "leading", "order=7", "activation=3,attention=0", ...

        Raises
        ------
        ValueError
            If the name is unknown or the order lies below the model's leading order.
        """
        kept = closure if isinstance(closure, Closure) else _read(closure)
        cut = kept.softmax != EXACT and not kept.minimal
        if cut and int(kept.softmax) < (lowest := leading_order(model)):
            raise FieldError(
                "closure", f"{kept.name!r} keeps nothing: the loss of {model.name} starts at order={lowest}."
            )
        return kept

    @property
    def minimal(self) -> bool:
        """Whether only the first terms of every weight are kept."""
        return self.name in ("leading", "drive")

    def moves(self, weight: sp.MatrixSymbol, model: Model) -> bool:
        """Whether the weight moves at all."""
        return self.name != "drive" or weight.name in model.driven

    @kept_by_content(256)
    def logits(self, model: Model) -> Matrix:
        """The logits that the closure works with: truncated at its order, linearised, or the network's own."""
        if self.minimal:
            return total(*first_terms(logit_series(model, last_start(model)), model).values())
        logits = self._truncated(model)
        if self.softmax == EXACT:
            return logits
        return total(*expand(logits, model.weight_symbols, int(self.softmax)).values())

    def _truncated(self, model: Model) -> Matrix:
        parts = (self.activation, self.attention)
        if parts == (EXACT, EXACT):
            return model_logits(model)
        return truncated(model_logits(model), *(None if p == EXACT else int(p) for p in parts))

    def loss(self, model: Model) -> Matrix:
        """The kept part of the loss, a (1, 1) expression without its constant."""
        if self.minimal:
            series = loss_series(model, last_start(model))
            return total(*first_terms(series, model).values())
        if self.softmax == EXACT:
            return model.loss_function.whole(self.logits(model))
        return total(*self.series(model, int(self.softmax)).values())

    def series(self, model: Model, order: int) -> Series:
        """The loss of the truncated network by powers of the weight scale."""
        if (self.activation, self.attention) == (EXACT, EXACT):
            return loss_series(model, order)
        logits = expand(self._truncated(model), model.weight_symbols, order)
        return model.loss_function.series(logits, order)

    def dropped(self, model: Model) -> Iterator[tuple[int, Matrix]]:
        """Terms of the loss that are dropped, by rising power of eps; nothing if the closure is exact.

        For a closure that keeps the loss function whole, the terms that are linear in the dropped part of the logits.
        """
        if self.softmax != EXACT or self.minimal:
            yield from self._dropped_by_power(model)
        elif self.logits(model) != model_logits(model):
            yield from _loss_of_gap(self._logit_gap(model), model)

    def _dropped_by_power(self, model: Model) -> Iterator[tuple[int, Matrix]]:
        if (self.activation, self.attention) == (EXACT, EXACT) and not self.minimal:
            yield from self._beyond_order(model)
            return
        kept_up_to = last_start(model) if self.minimal else int(self.softmax)
        # Cumulants give a term at every multiple of the leading order, so one block holds the next one; a quadratic
        # loss may have gaps, and then ends.
        near = leading_order(model) + last_start(model)
        gap: Series = {}
        far = () if model.loss_function.endless else (LOGIT_DEPTH,)
        for reach in (leading_order(model), near, *far):
            full = loss_series(model, kept_up_to + reach)
            if self.minimal:
                kept = first_terms(full, model)
            else:
                kept = {d: t for d, t in self.series(model, kept_up_to).items() if d <= kept_up_to}
            gap = subtract(distributed(full), distributed(kept))
            if all(_first_power(sorted(gap.items()), w) < float("inf") for w in model.weight_symbols):
                break
        yield from sorted(gap.items())

    def _beyond_order(self, model: Model) -> Iterator[tuple[int, Matrix]]:
        """What a cut of the loss at a power of eps drops: term after term, until every weight has shown."""
        missing = set(model.weight_symbols)
        reach = leading_order(model) + last_start(model)
        if (
            not model.loss_function.endless
        ):  # a quadratic loss may have gaps, as wide as those of the activation
            reach = max(reach, LOGIT_DEPTH)
        for order in range(int(self.softmax) + 1, int(self.softmax) + reach + 1):
            term = loss_series(model, order).get(order)
            if term is not None:
                yield order, term
                missing -= matrix_symbols(term)
            if not missing:
                return

    def _logit_gap(self, model: Model) -> Series:
        """Dropped part of the logits, up to the power at which it has met every weight."""
        kept, starts = self.logits(model), start_powers(model)
        for order in range(leading_order(model) + 1, LOGIT_DEPTH):
            gap = subtract(
                distributed(logit_series(model, order)),
                distributed(expand(kept, model.weight_symbols, order)),
            )
            terms = sorted(gap.items())
            met = (
                min(_first_power(terms, w), min(gap) + starts[w.name]) for w in model.weight_symbols if gap
            )
            if gap and max(met) <= order:
                return dict(terms)
        raise ValueError(
            f"the logits of {model.name} differ from those of the closure {self.name!r} only beyond "
            f"eps^{LOGIT_DEPTH}: use the closure 'exact'."
        )

    def first_dropped(self, model: Model) -> dict[str, float]:
        """Weight name -> lowest power of eps of a dropped loss term that holds it; infinity where there is none."""
        dropped = list(self.dropped(model))
        found = {w: _first_power(dropped, w) for w in model.weight_symbols}
        if dropped and self.softmax == EXACT and not self.minimal:
            # Products of a dropped and a kept logit term: the curvature of the loss joins the first of each.
            first, starts = dropped[0][0], start_powers(model)
            found = {w: min(power, first + starts[w.name]) for w, power in found.items()}
        return {w.name: power for w, power in found.items()}


def _read(name: str) -> Closure:
    if name in ("leading", "drive"):
        return Closure(name=name)
    if name in ("softmax", "exact"):
        return Closure(EXACT, 1, 0) if name == "softmax" else Closure()
    if isinstance(name, str):
        if match := re.fullmatch(r"order=(\d{1,9})", name):
            return Closure(softmax=int(match[1]))
        if match := re.fullmatch(
            r"(softmax|activation|attention)=(exact|\d{1,9})(,\w+=(exact|\d{1,9}))*", name
        ):
            parts = dict(part.split("=") for part in name.split(","))
            if set(parts) <= set(CLOSURE_PARTS):
                softmax, activation, attention = (_part(parts.get(part, EXACT)) for part in CLOSURE_PARTS)
                return Closure(softmax, activation, attention)
    forms = [*CLOSURES, "order=9", "activation=3,attention=0"]
    raise unknown("closure", name, forms, f"use {', '.join(CLOSURES)}, order=k or activation=j,attention=m.")


def _part(text: str) -> int | str:
    return EXACT if text == EXACT else int(text)


def _loss_of_gap(gap: Series, model: Model) -> Iterator[tuple[int, Matrix]]:
    """The part of the loss that is linear in a dropped part of the logits."""
    for power, term in gap.items():
        yield power, model.loss_function.series({power: term}, power)[power]


def _first_power(terms: list[tuple[int, Matrix]], weight: sp.MatrixSymbol) -> float:
    return next((power for power, term in terms if weight in matrix_symbols(term)), float("inf"))
