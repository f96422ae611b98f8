"""Ensembles of independent three-factor modes, by Taylor series in lanes."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ....theory.base.arrays import real_array
from ....theory.base.cores import usable_cores
from ....theory.base.errors import FieldError
from ....theory.base.frozen import FrozenRecord, sealed
from ....theory.base.validate import brief, integer, real
from ..outcome import Outcome, Status

CHUNK = 8192  # modes that one task takes; results do not depend on it


@dataclass(frozen=True, eq=False, repr=False)
class ModeEnsemble(FrozenRecord):
    """End states of an ensemble of modes.

    Attributes
    ----------
    t : ndarray, shape (batch, r)
        Flow time that each mode reached; for a blow-up, the blow-up time itself.
    states : ndarray, shape (batch, 3, r)
        a, b, c at `t`; at a blow-up, just before it.
    ends : ndarray of int, shape (batch, r)
        0 reached t1, 1 blew up, 2 ran out of steps, 3 left the range of float64.
    steps : ndarray of int, shape (batch, r)
        Steps taken.
    order : int
        Order of the Taylor series.
    """

    t: npt.NDArray[np.float64]
    states: npt.NDArray[np.float64]
    ends: npt.NDArray[np.int8]
    steps: npt.NDArray[np.int64]
    order: int

    def __repr__(self) -> str:
        """Sizes and how many ended how."""
        names = ("reached t1", "blew up", "ran out of steps", "left the range of float64")
        found = [
            f"{n} {name}"
            for name, n in zip(names, np.bincount(self.ends.ravel(), minlength=4), strict=True)
            if n
        ]
        return f"ModeEnsemble({self.t.shape[0]} x {self.t.shape[1]} modes: {', '.join(found)})"

    @cached_property
    def outcomes(self) -> tuple[Outcome, ...]:
        """One per member: that of the mode which ended worst, of several blow-ups the first."""
        rank = np.where(self.ends == 1, self.t, np.inf)
        worst = np.where((self.ends == 1).any(axis=1), rank.argmin(axis=1), self.ends.argmax(axis=1))
        return tuple(self._outcome(i, int(k)) for i, k in enumerate(worst))

    def _outcome(self, i: int, k: int) -> Outcome:
        end, t = int(self.ends[i, k]), float(self.t[i, k])
        if end == 0:
            return Outcome(Status.REACHED_END, t)
        if end == 1:
            return Outcome(Status.BLOW_UP, t)
        if end == 2:
            return Outcome(
                Status.MAX_STEPS, t, f"mode {k} needs more; use a higher limit or a larger `rtol`."
            )
        return Outcome(Status.NON_FINITE, t, f"mode {k} has left the range of float64.")


def integrate_modes(
    strengths: npt.ArrayLike,
    starts: npt.ArrayLike,
    t1: npt.ArrayLike,
    rtol: float = 1e-8,
    atol: float = 1e-12,
    *,
    max_steps: int = 100_000,
    threads: int | None = None,
) -> ModeEnsemble:
    """Integrate a_k' = s_k b_k c_k, b_k' = s_k c_k a_k, c_k' = s_k a_k b_k from t = 0 to t1, for many members at once.

    The leading flow of a three-factor chain in the singular basis of its signature matrix, for factors aligned with
    it. Each mode has a step of its own; a mode's result does not depend on what else is in the batch.

    Parameters
    ----------
    strengths : array_like, shape (batch, r) or (r,)
        Singular values s_k.
    starts : array_like, shape (batch, 3, r)
        a, b, c at t = 0.
    t1 : float or array_like, shape (batch,)
        End in flow time.
    rtol, atol : float
        Tolerance of a step: ``rtol`` times the mode's largest factor, plus ``atol``.
    max_steps : int
        Most steps of a mode.
    threads : int or None
        Threads to use; None takes one per core.

    Raises
    ------
    ValueError
        For shapes that do not fit, numbers that are not finite, or tolerances out of range.
    """
    s, y, end = _arrays(strengths, starts, t1)
    for name, value, least in (("rtol", rtol, 1e-14), ("atol", atol, 0.0)):
        if not least <= real(name, value) < 1.0:
            raise FieldError(name, f"must lie in [{least:g}, 1), got {brief(value)}.")
    integer("max_steps", max_steps, 1)
    if threads is not None:
        integer("threads", threads, 1)
    batch, _, r = y.shape
    order = max(4, math.ceil(-0.5 * math.log(rtol) + 3.0))
    states, times = np.empty(y.shape), np.empty((batch, r))
    ends, steps = np.empty((batch, r), np.int8), np.empty((batch, r), np.int64)
    settings = (order, float(rtol), float(atol), int(max_steps))
    size, run_modes = max(1, CHUNK // r), _loop().run_modes

    def work(first: int) -> None:
        run_modes(s, y, end, *settings, first, min(first + size, batch), states, times, ends, steps)

    if batch <= size:  # a pool of threads takes longer to start than a few trajectories to run
        work(0)
    else:
        with ThreadPoolExecutor(threads or usable_cores()) as pool:
            list(pool.map(work, range(0, batch, size)))
    return ModeEnsemble(sealed(times), sealed(states), sealed(ends), sealed(steps), order)


@cache
def _loop() -> Any:
    """The compiled loop, asked for when it is needed; an import statement takes as long as a third of a small run."""
    from . import mode_steps

    return mode_steps


def _arrays(strengths: Any, starts: Any, t1: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if type(strengths) is type(starts) is type(t1) is np.ndarray:
        with suppress(TypeError, ValueError):  # of another type, order or number of axes
            if _loop().ready(strengths, starts, t1):
                return strengths, starts, t1
    y = real_array("starts", starts)
    if y.ndim != 3 or y.shape[1] != 3 or 0 in y.shape:
        raise ValueError(f"`starts` must have shape (batch, 3, r), got {y.shape}.")
    s, end = real_array("strengths", strengths), real_array("t1", t1)
    for name, value, shape in (("strengths", s, (y.shape[0], y.shape[2])), ("t1", end, (y.shape[0],))):
        if value.shape not in (shape, shape[1:]):
            raise ValueError(f"`{name}` must have shape {shape} or {shape[1:]}, got {value.shape}.")
    if end.min() < 0.0:
        raise ValueError(f"`t1` must not be negative, got {end.min():g}.")
    return _spread(s, (y.shape[0], y.shape[2])), y, _spread(end, y.shape[:1])


def _spread(value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """One value for each member."""
    return _plain(value if value.shape == shape else np.broadcast_to(value, shape))


def _plain(value: np.ndarray) -> np.ndarray:
    """The same in one piece of memory that is not read-only, which the compiled loop takes for granted."""
    return value if value.flags.c_contiguous and value.flags.writeable else np.array(value, order="C")
