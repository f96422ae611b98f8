"""Relative errors of a theory against a training run, by name, each computed when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

import numpy as np

from ...theory.base.frozen import sealed
from ...theory.base.validate import did_you_mean
from .align import Alignment

# Observables with one number per time; matrices and spectra have no single relative error.
SCALARS = ("loss", "accuracy", "norm", "effective_rank", "invariant")


class RelativeErrors(Mapping[str, np.ndarray]):
    """Name -> relative error (n_t,): of weights' displacements and of scalar observables; lazy, cached."""

    def __init__(self, alignment: Alignment) -> None:
        self._alignment = alignment
        self._known: dict[str, np.ndarray] = {}

    @cached_property
    def _names(self) -> tuple[str, ...]:
        both = self._alignment
        scalars = [name for name in both.shared_observables if name.partition("/")[0] in SCALARS]
        return (*both.theory.weights, *scalars)

    def __getitem__(self, name: str) -> np.ndarray:
        """Return one error over the common times; KeyError if there is none of that name."""
        if name not in self._known:
            if name not in self._names:
                hint = did_you_mean(name, self._names, f"there are {', '.join(self._names)}.")
                raise KeyError(f"no error of {name!r}; {hint}")
            weight = name in self._alignment.theory.weights
            self._known[name] = sealed(self._displacement(name) if weight else self._observable(name))
        return self._known[name]

    def __repr__(self) -> str:
        """The names; computes nothing."""
        return f"RelativeErrors({', '.join(self._names)})"

    def _ipython_key_completions_(self) -> list[str]:
        """Names that a notebook completes in brackets."""
        return list(self._names)

    def __contains__(self, name: object) -> bool:
        """Whether there is such an error; computes nothing."""
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names, weights first."""
        return iter(self._names)

    def __len__(self) -> int:
        """Return the number of names."""
        return len(self._names)

    def _displacement(self, name: str) -> np.ndarray:
        start_theory, start_training = self._alignment.starts[name]
        norms = []
        for ours, theirs in zip(*self._alignment.weights(name), strict=True):
            moved = theirs - start_training
            norms.append((np.linalg.norm((ours - start_theory) - moved), np.linalg.norm(moved)))
        return _ratio(*np.array(norms).T)

    def _observable(self, name: str) -> np.ndarray:
        ours, theirs = self._alignment.observable(name)
        return _ratio(np.abs(ours - theirs), np.abs(theirs))


def _ratio(difference: np.ndarray, scale: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(difference == 0, 0.0, difference / scale)
