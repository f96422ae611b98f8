"""Trajectories of one flow from many starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.base.frozen import FrozenRecord, sealed
from ...theory.base.validate import brief, is_integer
from ..ode.outcome import Outcome
from ..trajectory.trajectory import Trajectory

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int, Shaped

    from ...theory.data.dataset import Dataset
    from ...theory.flows.flow import Flow


@dataclass(frozen=True, eq=False, repr=False)
class Ensemble(FrozenRecord):
    """Trajectories of one flow from many starts.

    ``ensemble[i]`` is member i as a `Trajectory`; ``ensemble["loss"]`` an observable of all, if it was asked for.

    Attributes
    ----------
    t : ndarray, shape (batch, n_t)
        Flow times asked for.
    reached : ndarray of bool, shape (batch, n_t)
        Whether the member got there; nothing else may be read where it did not (nan).
    weights : dict
        Weight name -> (batch, n_t, rows, cols); empty without ``keep_weights``.
    observables : dict
        Observable name -> (batch, n_t, ...).
    outcomes : tuple of Outcome
        How each member ended.
    statistics : dict
        "accepted", "rejected", "rhs_calls", "seconds", "methods", each (batch,).
    flow, data : Flow, Dataset
        What was integrated.
    provenance : dict
        JSON-able record of what it was made with.
    steps : ndarray or None, shape (n_t,)
        Steps of the optimizer that were asked for, of all members.
    """

    t: Float[np.ndarray, "batch n_t"]
    reached: Bool[np.ndarray, "batch n_t"]
    weights: dict[str, Float[np.ndarray, "batch n_t rows cols"]]
    observables: dict[str, Float[np.ndarray, "batch n_t ..."]]
    outcomes: tuple[Outcome, ...]
    statistics: dict[str, Shaped[np.ndarray, " batch"]]
    flow: Flow
    data: Dataset
    provenance: Mapping[str, Any] = field(default_factory=dict)
    steps: Int[np.ndarray, " n_t"] | None = None

    def __len__(self) -> int:
        """Return the number of members."""
        return len(self.outcomes)

    def __repr__(self) -> str:
        """Sizes, and how many ended how."""
        ends = [o.status.name.lower().replace("_", " ") for o in self.outcomes]
        counts = ", ".join(f"{ends.count(end)} {end}" for end in dict.fromkeys(ends))
        return f"Ensemble({self.flow.closure!r}: {len(self)} members, {self.t.shape[1]} times; {counts})"

    def _ipython_key_completions_(self) -> list[str]:
        """Names that a notebook completes in brackets."""
        return list(self.observables)

    def __getitem__(self, key: int | str) -> Any:
        """Return a member, or an observable of all members.

        Raises
        ------
        KeyError
            If the observable was not asked for.
        IndexError
            If there is no such member.
        TypeError
            If `key` is neither a name nor a whole number.
        """
        if isinstance(key, str):
            if key not in self.observables:
                kept = ", ".join(self.observables) or "none"
                raise KeyError(f"no observable {key!r} was kept ({kept} were): ask for it by `observables`.")
            return self.observables[key]
        key = self._member(key)
        there = self.reached[key]
        return Trajectory(
            t=self.t[key][there],
            weights={name: sealed(w[key][there]) for name, w in self.weights.items()},
            outcome=self.outcomes[key],
            label=self.flow.closure,
            closure=self.flow.closure,
            statistics={name: v[key].item() for name, v in self.statistics.items()},
            provenance={**self.provenance, "member": key},
            model=self.flow.model,
            data=self.data,
            steps=None if self.steps is None else self.steps[there],
        )

    def _member(self, key: Any) -> int:
        """Number of a member, from 0; negative ones count from the end."""
        if not is_integer(key):
            raise TypeError(f"`key` must be the number of a member or name an observable, got {brief(key)}.")
        if not -len(self) <= key < len(self):
            raise IndexError(f"`key` must be the number of one of {len(self)} members, got {key}.")
        return int(key) % len(self)


def gather(
    found: list[dict[str, Any]], flow: Flow, data: Dataset, record: dict, steps: np.ndarray | None = None
) -> Ensemble:
    """Stack what was kept of the members."""
    t = np.stack([member["t"] for member in found])
    reached = np.arange(t.shape[1]) < np.array([member["n"] for member in found])[:, None]
    counts = ("accepted", "rejected", "rhs_calls", "seconds", "methods")
    return Ensemble(
        t=t,
        reached=reached,
        weights=_stacked([m["weights"] for m in found], t.shape[1]),
        observables=_stacked([m["observables"] for m in found], t.shape[1]),
        outcomes=tuple(member["outcome"] for member in found),
        statistics={name: np.array([member[name] for member in found]) for name in counts},
        flow=flow,
        data=data,
        provenance=record,
        steps=None if steps is None else sealed(steps),
    )


def _stacked(parts: list[dict[str, np.ndarray]], n_times: int) -> dict[str, np.ndarray]:
    """Arrays of all members in one; nan from where a member ended."""
    shapes = {name: value.shape[1:] for part in parts for name, value in part.items()}
    stacked = {}
    for name, shape in shapes.items():
        stacked[name] = np.full((len(parts), n_times, *shape), np.nan)
        for row, part in zip(stacked[name], parts, strict=True):
            if name in part:
                row[: len(part[name])] = part[name]
    return {name: sealed(value) for name, value in stacked.items()}
