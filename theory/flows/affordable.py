"""Closures that would take too long to derive are refused before the work, with what they would take."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace

from ..algebra.nodes import Matrix
from ..algebra.scale.cost import ExpansionCost
from ..base.errors import FieldError
from ..models.model import Model
from .closure import EXACT, Closure
from .powers import leading_order

MOST_SECONDS = 60.0
REACH, FAR = (
    300,
    500,
)  # of higher orders it is enough to know that they take longer; no series is afforded beyond
ATTENTION = 8.0  # how much longer the gradients of an attention's series take than the series


def affordable(closure: Closure, model: Model) -> Closure:
    """Return a closure that can be derived in a minute on one core.

    Raises
    ------
    FieldError
        With what it would take, and the highest number that would do.
    """
    for part, least in (("activation", 1), ("attention", 0), ("softmax", 0)):
        value = getattr(closure, part)
        if value == EXACT or closure.minimal or _seconds(closure, part, value, model) <= MOST_SECONDS:
            continue
        least = max(least, leading_order(model, closure.linear) if part == "softmax" else 0)
        lower = range(least, min(value, FAR))
        best = least + bisect_right(lower, MOST_SECONDS, key=lambda k: _seconds(closure, part, k, model)) - 1
        more = "more than" if value > REACH and part != "activation" else "about"
        minutes = _seconds(closure, part, value, model) / 60.0
        raise FieldError(
            "closure",
            f"{closure.name!r} would take {more} {minutes:,.1f} minutes to derive for {model.name}: "
            f"use {'order' if closure.name == f'order={value}' else part}={best} or lower.",
        )
    return closure


def _seconds(closure: Closure, part: str, value: int, model: Model) -> float:
    """What a part of a closure takes to derive, kept up to a power."""
    cost = ExpansionCost(model.small_weights, min(value, REACH), closure.linear)
    if part == "activation":
        cost.squares = value**2
    elif part == "attention":
        cost.normalised({1})
        return ATTENTION * cost.seconds
    else:
        _count_loss(cost, replace(closure, softmax=EXACT, name="").logits(model), model)
    return cost.seconds


def _count_loss(cost: ExpansionCost, logits: Matrix, model: Model) -> None:
    """Products that the series of the loss takes besides that of its logits."""
    powers, loss = cost(logits), model.loss_function
    if not loss.endless:
        cost.product(powers, powers)
        return
    raised = cost.raised(powers)
    if loss.logarithmic:
        cost.raised(set().union(*raised[1:]))
