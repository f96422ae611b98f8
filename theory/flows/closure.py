"""Closures: which terms of the loss a flow keeps (docs/ladder.md)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import sympy as sp

from ..algebra.matrices import total
from ..algebra.nodes import Matrix
from ..algebra.scale.cuts import Truncation
from ..algebra.scale.expansion import expand, truncated
from ..algebra.scale.series import Series
from ..base.errors import FieldError
from ..base.names import CLOSURE_PARTS, CLOSURES, NORM_PARTS
from ..base.validate import brief, choice, is_integer, unknown
from ..models.content import kept_by_content
from ..models.model import Model
from .powers import check_linear, first_terms, leading_order, linear_loss, loss_series, model_logits

EXACT, LINEAR = "exact", "norm=linear"
HIGHEST = 10**6  # that a closure can name; what it would cost is another matter


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
    norm : {"exact", "linear"}
        Normalisations: functions of direction, kept whole (in series, expanded about the direction of the stream's
        first terms), or linear, x / sqrt(norm_eps), as where the mean square of x lies far below norm_eps.
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
    norm: str = EXACT
    name: str = ""

    def __post_init__(self) -> None:
        """Check the parts and name the closure."""
        for part, lowest in zip(CLOSURE_PARTS, (1, 1, 0), strict=True):
            value = getattr(self, part)
            if value != EXACT and not (is_integer(value) and lowest <= value <= HIGHEST):
                raise FieldError(
                    part, f"must be 'exact' or an integer from {lowest} to {HIGHEST}, got {brief(value)}."
                )
        choice("norm", self.norm, NORM_PARTS)
        own = self.name or self._own_name()
        if self.linear and not own.endswith(LINEAR):
            own = LINEAR if own == EXACT else f"{own},{LINEAR}"
        object.__setattr__(self, "name", own)

    @property
    def linear(self) -> bool:
        """Whether normalisations are linear."""
        return self.norm == "linear"

    @property
    def truncation(self) -> Truncation:
        """What is kept of activations, attention and normalisations."""
        activation, attention = (None if p == EXACT else int(p) for p in (self.activation, self.attention))
        return Truncation(activation, attention, self.linear)

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
        if kept.linear:
            check_linear(model, "closure", kept.name)
        if not kept.whole_loss and leading_order(model, kept.linear) < 1:
            raise FieldError(
                "closure",
                f"{kept.name!r} expands the loss in the logits, but those of {model.name} do not vanish with the "
                "weights: take exact, softmax or another closure that keeps the loss whole.",
            )
        cut = kept.softmax != EXACT and not kept.minimal
        if cut and int(kept.softmax) < (lowest := leading_order(model, kept.linear)):
            raise FieldError(
                "closure", f"{kept.name!r} keeps nothing: the loss of {model.name} starts at order={lowest}."
            )
        return kept

    @property
    def minimal(self) -> bool:
        """Whether only the first terms of every weight are kept."""
        return self.name.partition(",")[0] in ("leading", "drive")

    @property
    def whole_loss(self) -> bool:
        """Whether the loss is kept as a function of the logits."""
        return self.softmax == EXACT and not self.minimal

    @property
    def cut(self) -> bool:
        """Whether all that is dropped is what lies beyond one power of the loss."""
        return (
            self.softmax != EXACT and (self.activation, self.attention) == (EXACT, EXACT) and not self.minimal
        )

    def moves(self, weight: sp.MatrixSymbol, model: Model) -> bool:
        """Whether the weight moves at all."""
        return self.name.partition(",")[0] != "drive" or weight.name in model.driven

    @kept_by_content(256)
    def logits(self, model: Model) -> Matrix:
        """The logits that the closure works with: truncated at its order, linearised, or the network's own."""
        if self.minimal:
            return total(*first_terms(model, self.linear).values())
        logits = self._truncated(model)
        if self.softmax == EXACT:
            return logits
        return total(*expand(logits, model.small_weights, int(self.softmax), self.linear).values())

    def _truncated(self, model: Model) -> Matrix:
        whole = self.truncation == Truncation()
        return model_logits(model) if whole else truncated(model_logits(model), self.truncation)

    def loss(self, model: Model) -> Matrix:
        """The kept part of the loss, a (1, 1) expression without its constant."""
        if self.minimal:
            return total(*(linear_loss(t, model) for t in first_terms(model, self.linear).values()))
        if self.softmax == EXACT:
            return model.loss_function.whole(self.logits(model))
        return total(*self.series(model, int(self.softmax)).values())

    def series(self, model: Model, order: int) -> Series:
        """The loss of the truncated network by powers of the weight scale."""
        if self.cut:
            return loss_series(model, order, self.linear)
        logits = expand(self._truncated(model), model.small_weights, order, self.linear)
        return model.loss_function.series(logits, order)


def _read(name: str) -> Closure:
    if isinstance(name, str):
        head, comma, last = name.rpartition(",")
        norm = last.removeprefix("norm=") if last.startswith("norm=") else EXACT
        rest = name if not last.startswith("norm=") else head if comma else EXACT
        kept = _parts(rest) if norm in NORM_PARTS else None
        if kept is not None:
            return Closure(**kept, norm=norm)
    forms = [*CLOSURES, "order=9", "activation=3,attention=0", "softmax,norm=linear"]
    use = f"use {', '.join(CLOSURES)}, order=k or activation=j,attention=m, each also with ,norm=linear."
    if isinstance(name, str) and re.fullmatch(r"(order|activation|attention)(=.*)?|softmax=.*", name):
        # the name is known, and what is wrong is its number: the nearest of the forms would be a guess
        raise FieldError("closure", f"{brief(name)} is unknown: {use}")
    raise unknown("closure", name, forms, use)


def _parts(name: str) -> dict[str, Any] | None:
    """Fields of a closure whose normalisations are whole; None if the name is none."""
    if name in ("leading", "drive"):
        return {"name": name}
    if name in ("softmax", "exact"):
        return {"activation": 1, "attention": 0} if name == "softmax" else {}
    if match := re.fullmatch(r"order=(\d{1,9})", name):
        return {"softmax": int(match[1])}
    if re.fullmatch(r"(softmax|activation|attention)=(exact|\d{1,9})(,\w+=(exact|\d{1,9}))*", name):
        parts = dict(part.split("=") for part in name.split(","))
        if set(parts) <= set(CLOSURE_PARTS):
            return {part: _part(text) for part, text in parts.items()}
    return None


def _part(text: str) -> int | str:
    return EXACT if text == EXACT else int(text)
