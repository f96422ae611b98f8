"""What every figure's `run` does with its arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from ...theory.base.errors import FieldError
from ...theory.base.validate import choice, integer
from .result import FigureResult

Progress = Callable[[str], None] | None
T = TypeVar("T")


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


@dataclass(frozen=True)
class Asked:
    """What a figure is to be computed for.

    Attributes
    ----------
    size : {"small", "paper"}
        "small" takes minutes on a CPU; "paper" has the paper's task and widths.
    seeds : sequence of int
        Of initial weights, data and minibatches.
    progress : callable, optional
        Called with a line of text before every run.
    state : FigureState, optional
        Where trainings keep their state, to be taken up when the figure is run again.

    Raises
    ------
    ValueError
        If there are no seeds, one of them is none, or is there twice.
    """

    size: str = "small"
    seeds: Sequence[int] = (0, 1, 2)
    progress: Progress = None
    state: FigureState | None = None

    def __post_init__(self) -> None:
        """Check the seeds."""
        clean = tuple(integer("seeds", seed, 0) for seed in self.seeds)
        if not clean or len(set(clean)) < len(clean):
            raise FieldError("seeds", f"must be distinct integers, at least one, got {clean}.")
        object.__setattr__(self, "seeds", clean)

    def pick(self, sizes: Mapping[str, T]) -> T:
        """What stands for the size; an unknown one is refused."""
        return sizes[choice("size", self.size, tuple(sizes))]

    def tell(self, text: str) -> None:
        """Report where the figure is."""
        if self.progress is not None:
            self.progress(text)

    def kept(self, *run: object) -> dict[str, Any]:
        """The arguments of `train` that keep the state of a run, see `resumable`."""
        return resumable(self.state, *run)


def figure(compute: Callable[..., FigureResult]) -> Callable[..., FigureResult]:
    """Give a figure the arguments of `Asked`; what else it takes is passed on."""

    @wraps(compute)
    def run(
        size: str = "small", seeds: Sequence[int] = (0, 1, 2), progress: Progress = None,
        state: FigureState | None = None, **more: Any,
    ) -> FigureResult:  # fmt: skip
        return compute(Asked(size, seeds, progress, state), **more)

    del run.__wrapped__  # the signature is that of `run`
    return run
