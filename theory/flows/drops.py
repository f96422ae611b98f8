"""What a closure drops of the loss: its terms, and the power of the weight scale at which each weight meets them."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

import sympy as sp

from ..algebra.matrices import product, total
from ..algebra.nodes import Matrix, matrix_symbols
from ..algebra.rebuild import Substitution, distribute
from ..algebra.scale.counting import Count, Parts, Powers, lowest, members, raised, union, with_dropped
from ..algebra.scale.expansion import expand
from ..models.model import Model
from .closure import EXACT, Closure, linear_loss
from .powers import (
    first_terms,
    last_start,
    leading_order,
    logit_powers,
    logit_series,
    loss_series,
    model_logits,
    start_powers,
)

TRUNCATED = 60  # highest power of eps up to which the logits are searched for what a truncation drops
NEAR = 2  # multiples of the powers that a network needs, within which that is found nearly always


def first_dropped(closure: Closure, model: Model) -> dict[str, float]:
    """Weight name -> lowest power of eps of a dropped loss term that holds it; infinity where there is none."""
    if closure.minimal:
        return _beyond_first(closure, model)
    near = leading_order(model, closure.linear) + last_start(model, closure.linear)
    if closure.softmax != EXACT:
        return _met(closure, model, int(closure.softmax) + near)
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
    whole = closure.softmax == EXACT and not closure.minimal
    if whole and closure.logits(model) == model_logits(model):
        return
    logits = logit_powers(model, closure.truncation, TRUNCATED)
    powers = logits.dropped.every if whole else _loss_powers(logits, model).whole.every
    for power in members(powers):
        if closure.cut and power <= int(closure.softmax):
            continue
        gap = _gap(closure, model, power, whole)
        gap = gap if closure.cut else distribute(gap)
        if not isinstance(gap, sp.ZeroMatrix):
            yield power, gap


def _gap(closure: Closure, model: Model, power: int, whole: bool) -> Matrix:
    """Dropped part of the loss at one power."""
    zero = sp.ZeroMatrix(1, 1)
    if whole:
        kept = expand(closure.logits(model), model.small_weights, power, closure.linear)
        terms = [logit_series(model, power, closure.linear).get(power), kept.get(power)]
        a, b = (linear_loss({power: t}, model)[power] if t is not None else zero for t in terms)
        return total(a, product(-1, b))
    there = loss_series(model, power, closure.linear).get(power, zero)
    if not closure.minimal and power > int(closure.softmax):
        return there
    if closure.minimal:
        first = first_terms(model, closure.linear).get(power)
        kept = zero if first is None else linear_loss({power: first}, model)[power]
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
        later = (p for p in members(logits.held[w]) if starts[w.name] < p < beyond and _left(model, closure, w, p))
        found[w.name] = min(next(later, inf), beyond)
    return found


def _left(model: Model, closure: Closure, weight: sp.MatrixSymbol, power: int) -> bool:
    """Whether terms of a power hold a weight and none that is new at that power, with which they would be kept."""
    starts = start_powers(model, closure.linear)
    new = {w: sp.ZeroMatrix(*w.shape) for w in model.weight_symbols if starts[w.name] == power}
    rest = Substitution(new)(model_logits(model))
    count = Count(model.weight_symbols, model.small_weights, closure.truncation, power)
    return bool(weight in matrix_symbols(rest) and count(rest).whole.held.get(weight, 0) >> power & 1)
