"""Observables in place of states: what is kept of a trajectory whose weights would fill the memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...theory.base.errors import FieldError
from ...theory.base.validate import names as distinct
from .observables import check_observables, observable_names, observe

if TYPE_CHECKING:
    from ...theory.data.dataset import Dataset
    from ...theory.flows.flow import Flow
    from ..kernel.problem import Problem

Array = np.ndarray


class LiveView:
    """Turns flat states into observables, and back into their names.

    Raises
    ------
    ValueError
        If there is no such observable, or none is named, or one twice.
    """

    def __init__(self, flow: Flow, data: Dataset, problem: Problem, names: Sequence[str]) -> None:
        self.flow, self.data, self.problem, self.names = flow, data, problem, distinct("observables", names)
        if not self.names:
            raise FieldError("observables", 'must be at least one, such as ["loss"], got none.')
        self.shapes: dict[str, tuple[int, ...]] = {}
        weights = {name: np.empty((0, *shape)) for name, shape in flow.model.weights.items()}
        check_observables(self.names, observable_names(weights, flow.model, data))

    def __call__(self, y: Array) -> Array:
        """Observables (m, q) of states (m, n)."""
        weights, found = self.problem.unpack(y), dict[str, Array]()
        for name in self.names:
            if name not in found:  # one call gives the losses of all groups
                found |= observe(name, weights, self.flow.model, self.data, self.flow.closure)
        self.shapes = {name: found[name].shape[1:] for name in self.names}
        return np.concatenate([found[name].reshape(len(y), -1) for name in self.names], axis=1)

    def named(self, rows: Array) -> dict[str, Array]:
        """Observable -> array, time first, from rows (m, q) of observables."""
        ends = np.cumsum([int(np.prod(shape)) for shape in self.shapes.values()])
        parts = np.split(rows, ends[:-1], axis=1)
        return {
            name: part.reshape(len(rows), *self.shapes[name])
            for name, part in zip(self.names, parts, strict=True)
        }
