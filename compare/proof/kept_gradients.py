"""Gradients at the scales of one direction, kept for the next proof: closures and claims of a model share them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.data.dataset import Dataset
from ...theory.models.model import Model

if TYPE_CHECKING:
    from jaxtyping import Float

Weights = Mapping[str, np.ndarray]
Gradient = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]
MOST = 4  # directions: a network and its mirror image, of two proofs by turns
LARGEST = 2**21  # numbers that one direction keeps: 16 MiB


class _Kept:
    """Of which model, data and direction, and the gradient at each scale that was asked for."""

    def __init__(
        self, source: Callable[[Model, Dataset], Gradient], model: Model, data: Dataset, direction: Weights
    ) -> None:
        self.source, self.model, self.content = source, model, model.content
        self.most = LARGEST // max(sum(value.size for value in direction.values()), 1)  # scales
        self.data = data.fingerprint
        self.direction = {w: value.copy() for w, value in direction.items()} if self.most else {}
        self.at: dict[float, dict[str, np.ndarray]] = {}

    def remember(self) -> None:
        """Have this found before any other; one of a large network is kept by nobody."""
        if self.most:
            _LATEST.appendleft(self)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Kept)
            and self.source is other.source
            and _same(self.model, other.model)
            and self.content == other.content
            and self.data == other.data
            and list(self.direction) == list(other.direction)
            and all(np.array_equal(value, other.direction[w]) for w, value in self.direction.items())
        )

    __hash__ = None  # type: ignore[assignment]


_LATEST: deque[_Kept] = deque(maxlen=MOST)  # newest first; never searched and changed in one go, for threads


class KeptGradients:
    """The gradient at any scale of one direction, computed once for all proofs that follow each other.

    The first scale of a proof at which one is kept is computed again: a network that is another by now, though its
    model says the same, is found out.

    Parameters
    ----------
    source : callable
        Model and data -> (weights -> gradient).
    model, data, direction
        As in `measure_residual`.
    """

    def __init__(
        self,
        source: Callable[[Model, Dataset], Gradient],
        model: Model,
        data: Dataset,
        direction: Mapping[str, Float[np.ndarray, "rows cols"]],
    ) -> None:
        self._gradient = source(model, data)  # of this proof alone: another thread's moves another network
        self._new = _Kept(source, model, data, direction)
        self._old = next((kept for kept in tuple(_LATEST) if kept == self._new), None)
        if self._old is None:
            self._new.remember()

    def __call__(
        self, scale: float, weights: dict[str, Float[np.ndarray, "rows cols"]]
    ) -> dict[str, Float[np.ndarray, "rows cols"]]:
        """Weight name -> dL/dW at a scale, where the weights are these."""
        if (known := self._new.at.get(scale)) is not None:
            return known
        found = self._gradient(weights)
        if self._old is not None and (known := self._old.at.get(scale)) is not None:
            self._replace(self._old, all(np.array_equal(found[w], value) for w, value in known.items()))
        if len(self._new.at) < self._new.most:
            for value in found.values():
                value.flags.writeable = False
            self._new.at[scale] = found
        return found

    def _replace(self, old: _Kept, same: bool) -> None:
        """Keep what is found from now on, with what is kept already if the network is the same."""
        self._old = None
        if same:
            old.at |= self._new.at
            self._new = old
        else:
            self._new.remember()


def _same(a: Model, b: Model) -> bool:
    """Whether two models are of one class and have equal fields; arrays count as equal where they are one object."""
    return type(a) is type(b) and all(_equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))


def _equal(a: Any, b: Any) -> bool:
    try:
        return a is b or bool(a == b)
    except ValueError:  # of arrays, which compare entry by entry
        return False
