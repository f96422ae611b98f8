"""What a closure drops of the loss: its terms, and the power of the weight scale at which each weight meets them."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

import sympy as sp

from ..algebra.matrices import product, total
from ..algebra.nodes import Matrix, RowNorm, matrix_symbols
from ..algebra.norms import written_out
from ..algebra.rebuild import Rebuild, Substitution, distribute
from ..algebra.scale.cost import ExpansionCost
from ..algebra.scale.counting import Count, Parts, lowest, members, raised, union, with_dropped
from ..algebra.scale.expansion import expand
from ..algebra.terms import CountSymbols, CountTerms
from ..algebra.traversal import rule
from ..models.model import Model
from .closure import EXACT, Closure
from .powers import (
    MOST_TERMS,
    first_terms,
    last_start,
    leading_order,
    linear_loss,
    logit_powers,
    logit_series,
    loss_series,
    model_logits,
    start_powers,
)

LONGEST, MOST_SECONDS = 400, 2.0  # symbols of a term that a page shows, and time that finding it may take
TRUNCATED = 60  # highest power of eps up to which the logits are searched for what a truncation drops
NEAR = 2  # multiples of the powers that a network needs, within which that is found nearly always


def first_dropped(closure: Closure, model: Model) -> dict[str, float]:
    """Weight name -> lowest power of eps of a dropped loss term that holds it; infinity where there is none."""
    if closure.minimal:
        return _beyond_first(closure, model)
    near = leading_order(model, closure.linear) + last_start(model, closure.linear)
    if closure.softmax != EXACT:
        # The series of a quadratic loss may have gaps.
        further = near if model.loss_function.endless else max(near, TRUNCATED)
        return _met(closure, model, int(closure.softmax) + further)
    found = _met(closure, model, NEAR * near)
    return found if max(found.values()) < inf else _met(closure, model, TRUNCATED)


def _met(closure: Closure, model: Model, most: int) -> dict[str, float]:
    """The same as far as powers go up to `most`."""
    logits = logit_powers(model, closure.truncation, most)
    if closure.cut:  # one cut of the loss, nothing is truncated before
        logits = Parts(logits.whole)
    loss = _loss_powers(logits, model)
    beyond = 0 if closure.softmax == EXACT else int(closure.softmax) + 1
    held = {w: p >> beyond << beyond for w, p in loss.kept.held.items()} if beyond else {}
    dropped = loss.dropped.held
    return {w.name: lowest(dropped.get(w, 0) | held.get(w, 0)) for w in model.weight_symbols}


def dropped_terms(closure: Closure, model: Model) -> Iterator[tuple[int, Matrix]]:
    """Terms of the loss that are dropped, by rising power of eps; nothing if the closure is exact.

    For a closure that keeps the loss function whole, the terms that are linear in the dropped part of the logits.
    """
    for power in _powers(closure, model):
        gap = _gap(closure, model, power)
        if not isinstance(gap, sp.ZeroMatrix):
            yield power, gap


def shown_drop(closure: Closure, model: Model) -> tuple[int, Matrix | None] | None:
    """The first of `dropped_terms`, without the term where it is too long for a page; None if nothing is dropped."""
    for power in _powers(closure, model):
        cost = ExpansionCost(model.small_weights, power, closure.linear)
        cost(model_logits(model))
        if cost.seconds > MOST_SECONDS:
            return power, None
        gap = _gap(closure, model, power)
        if not isinstance(gap, sp.ZeroMatrix):
            return power, gap if CountSymbols()(gap) <= LONGEST else None
    return None


def _powers(closure: Closure, model: Model) -> Iterator[int]:
    """Powers at which terms may be dropped, rising."""
    if closure.whole_loss and closure.logits(model) == model_logits(model):
        return
    kept = above = int(closure.softmax) if closure.cut else 0
    near = NEAR * (leading_order(model, closure.linear) + last_start(model, closure.linear))
    for reach in (kept + near, kept + max(near, TRUNCATED)):
        logits = logit_powers(model, closure.truncation, reach)
        powers = logits.dropped.every if closure.whole_loss else _loss_powers(logits, model).whole.every
        yield from (power for power in members(powers) if above < power <= reach)
        above = reach


def _gap(closure: Closure, model: Model, power: int) -> Matrix:
    """Dropped part of the loss at one power, multiplied out to see whether it cancels; a long one is taken not to."""
    gap = _difference(closure, model, power)
    if closure.cut or CountTerms()(gap) > MOST_TERMS:
        return gap
    whole = distribute(gap)
    plain = distribute(_PlainNorms()(whole))
    return plain if isinstance(plain, sp.ZeroMatrix) else whole


class _PlainNorms(Rebuild):
    """Writes normalisations out, which series hold both ways."""

    purpose = "writing norms out"

    @rule(RowNorm)
    def norm(self, node: RowNorm) -> Matrix:
        return written_out(node.of(self(node.args[0])))


def _difference(closure: Closure, model: Model, power: int) -> Matrix:
    zero = sp.ZeroMatrix(1, 1)
    if closure.whole_loss:
        kept = expand(closure.logits(model), model.small_weights, power, closure.linear)
        terms = [logit_series(model, power, closure.linear).get(power), kept.get(power)]
        a, b = (linear_loss(t, model) if t is not None else zero for t in terms)
        return total(a, product(-1, b))
    there = loss_series(model, power, closure.linear).get(power, zero)
    if not closure.minimal and power > int(closure.softmax):
        return there
    if closure.minimal:
        first = first_terms(model, closure.linear).get(power)
        kept = zero if first is None else linear_loss(first, model)
    else:
        kept = closure.series(model, power).get(power, zero)
    return total(there, product(-1, kept))


def _loss_powers(logits: Parts, model: Model) -> Parts:
    """Powers of the loss, whose series in the logits has terms of some degrees."""
    has = model.loss_function.has_degree
    kept = union(p for k, p in enumerate(raised(logits.kept), 1) if has(k))
    return Parts(kept, union(p for k, p in enumerate(with_dropped(logits), 1) if has(k)))


def _beyond_first(closure: Closure, model: Model) -> dict[str, float]:
    """Of the first terms of every weight: those of higher degree in the logits, and later ones that hold it."""
    starts = start_powers(model, closure.linear)
    most = last_start(model, closure.linear) + leading_order(model, closure.linear)
    most = most if model.loss_function.endless else TRUNCATED
    logits = logit_powers(model, closure.truncation, most).whole
    degrees = enumerate(raised(logits), 1)
    higher = union(p for k, p in degrees if k > 1 and model.loss_function.has_degree(k))
    found = {}
    for w in model.weight_symbols:
        beyond = lowest(higher.held.get(w, 0))
        later = (
            p for p in members(logits.held[w]) if starts[w.name] < p < beyond and _left(model, closure, w, p)
        )
        found[w.name] = min(next(later, inf), beyond)
    return found


def _left(model: Model, closure: Closure, weight: sp.MatrixSymbol, power: int) -> bool:
    """Whether terms of a power hold a weight and none that is new at that power, with which they would be kept."""
    starts = start_powers(model, closure.linear)
    new = {w: sp.ZeroMatrix(*w.shape) for w in model.weight_symbols if starts[w.name] == power}
    rest = Substitution(new)(model_logits(model))
    count = Count(model.weight_symbols, model.small_weights, closure.truncation, power)
    return bool(weight in matrix_symbols(rest) and count(rest).whole.held.get(weight, 0) >> power & 1)
