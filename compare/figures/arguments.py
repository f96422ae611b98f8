"""What every figure's `run` does with its arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ...theory.base.errors import FieldError
from ...theory.base.validate import choice, integer

Progress = Callable[[str], None] | None
T = TypeVar("T")


def pick(sizes: Mapping[str, T], size: str, seeds: Sequence[int]) -> tuple[T, tuple[int, ...]]:
    """Check the arguments of a figure's `run`: what stands for the size, and the seeds.

    Raises
    ------
    ValueError
        If the size is unknown, or there are no seeds or one of them twice.
    """
    clean = tuple(integer("seeds", seed, 0) for seed in seeds)
    if not clean or len(set(clean)) < len(clean):
        raise FieldError("seeds", f"must be distinct integers, at least one, got {clean}.")
    return sizes[choice("size", size, tuple(sizes))], clean


def tell(progress: Progress, text: str) -> None:
    """Report where a figure is."""
    if progress is not None:
        progress(text)


@dataclass
class FigureState:
    """Where a figure's trainings keep their state.

    Attributes
    ----------
    folder : path
        A folder that exists.
    accept_changes : bool
        Go on from kept states although inputs, sources or versions are others; see `train`.
    used : list of path
        Files that the figure's trainings have been given so far.
    """

    folder: Path
    accept_changes: bool = False
    used: list[Path] = field(default_factory=list)


def resumable(state: FigureState | None, *run: object) -> dict[str, Any]:
    """Return the arguments of `train` that keep a run's state, and take up what is there.

    Parameters
    ----------
    state : FigureState or None
        None keeps nothing.
    run : object
        What tells the run from the figure's others.
    """
    if state is None:
        return {}
    state.used.append(state.folder / f"{'-'.join(map(str, run))}.npz")
    return {"checkpoint": state.used[-1], "resume": True, "accept_changes": state.accept_changes}
