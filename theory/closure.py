"""Closures: which terms of the loss a flow keeps (the ladder of theory.md, section 0)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache

import sympy as sp

from .expansion import Series, cross_entropy, expand, linearised
from .matrices import hadamard, product, total, transpose
from .model import D_VOCAB, ROWS, Model
from .nodes import Matrix, RowLogSumExp, StochasticSymbol

LABELS = StochasticSymbol("Y", ROWS, D_VOCAB)  # label law of each distinct sequence
ROW_WEIGHTS = sp.MatrixSymbol("omega", ROWS, 1)  # weights of the sequences, summing to one
NAMES = ("drive", "leading", "softmax", "exact")
LOGIT_DEPTH = 60  # highest power of eps up to which the logits are searched for what a linearisation drops
SEARCH_DEPTH = 24  # powers searched for the leading order


@dataclass(frozen=True)
class Closure:
    """A named closure, or the order up to which the loss is kept.

    Attributes
    ----------
    name : str
        "drive", "leading", "softmax", "exact" or "order=k".
    order : int or None
        The highest power of eps kept in the loss; None where the cut is not at a power.
    """

    name: str
    order: int | None = None

    @classmethod
    def of(cls, closure: str, model: Model) -> Closure:
        """Read a closure's name.

        Raises
        ------
        ValueError
            If the name is unknown or the order lies below the model's leading order.
        """
        lowest = leading_order(model)
        if closure in ("drive", "leading"):
            return cls(closure, lowest)
        if closure in NAMES:
            return cls(closure)
        match = re.fullmatch(r"order=(\d+)", closure) if isinstance(closure, str) else None
        if match is None:
            near = get_close_matches(str(closure), [*NAMES, "order=9"], 1)
            hint = f"did you mean {near[0]!r}?" if near else f"use {', '.join(NAMES)} or order=k."
            raise ValueError(f"`closure` {closure!r} is unknown: {hint}")
        order = int(match[1])
        if order < lowest:
            raise ValueError(
                f"`closure` {closure!r} keeps nothing: the loss of {model.name} starts at order={lowest}."
            )
        return cls(closure, order)

    def moves(self, weight: sp.MatrixSymbol) -> bool:
        """Whether the weight moves at all."""
        return self.name != "drive" or str(weight) == "W_E"

    def logits(self, model: Model) -> Matrix:
        """The logits that the closure works with: truncated at its order, linearised, or the network's own."""
        if self.order is not None:
            return total(*expand(model.logits, model.weight_symbols, self.order).values())
        return model.logits if self.name == "exact" else linearised(model.logits)

    def loss(self, model: Model) -> Matrix:
        """The kept part of the loss, a (1, 1) expression without its constant log V."""
        if self.order is not None:
            return total(*loss_series(model, self.order).values())
        logits = self.logits(model)
        fit = product(-1, hadamard(LABELS, logits), sp.OneMatrix(D_VOCAB, 1))
        return product(transpose(ROW_WEIGHTS), total(RowLogSumExp(logits), fit))

    def dropped(self, model: Model) -> Iterator[tuple[int, Matrix]]:
        """Terms of the loss that are dropped, by rising power of eps; nothing if the closure is exact."""
        if self.order is None:
            yield from self._dropped_from_logits(model)
            return
        # Cumulants alone give a term at every multiple of the leading order: one block holds the next one.
        reach = self.order + leading_order(model)
        yield from sorted((d, t) for d, t in loss_series(model, reach).items() if d > self.order)

    def _dropped_from_logits(self, model: Model) -> Iterator[tuple[int, Matrix]]:
        """Dropped terms of a closure with the exact softmax: those that enter the loss linearly in the logits.

        Products of two dropped or of a dropped and a kept logit term are of higher power than the first of these.
        """
        full, kept = model.logits, self.logits(model)
        if full == kept:
            return
        lowest = leading_order(model)
        for order in range(lowest + 1, LOGIT_DEPTH):
            a, b = (expand(logits, model.weight_symbols, order).get(order) for logits in (full, kept))
            if a is not None and a != b:
                gap: Series = {order: a if b is None else total(a, product(-1, b))}
                yield order, cross_entropy(gap, LABELS, ROW_WEIGHTS, order)[order]
                return  # products of this term with others are of higher power and not searched for
        raise ValueError(
            f"the activation of {model.name} differs from its tangent only beyond eps^{LOGIT_DEPTH}: "
            "use the closure 'exact', or 'softmax' with activation='identity'."
        )


@lru_cache(maxsize=64)
def loss_series(model: Model, order: int) -> Series:
    """Loss of the model by powers of the weight scale, up to eps^order, without its constant log V."""
    logits = expand(model.logits, model.weight_symbols, order)
    return cross_entropy(logits, LABELS, ROW_WEIGHTS, order)


def leading_order(model: Model) -> int:
    """Lowest power of the weight scale in the logits, hence in the loss."""
    for order in range(1, SEARCH_DEPTH):
        if series := expand(model.logits, model.weight_symbols, order):
            return min(series)
    raise ValueError(f"the logits of {model.name} do not depend on its weights up to eps^{SEARCH_DEPTH}.")
