"""What one `solve` keeps: saved states, event points, the clock with its limits, the finished solution."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.base.errors import FieldError
from ...theory.base.validate import brief, callback, integer, is_real
from ..kernel.compile_clock import COMPILING
from .outcome import Outcome

if TYPE_CHECKING:
    from .events import Watch
    from .stepper import Stepper

StateMap = Callable[[np.ndarray], np.ndarray] | None  # (m, n) -> (m, q): what is kept in place of states

MOST_TIMES = 10**7  # saved, asked for by their number
MOST_SECONDS = 1e300  # of integers that no float holds
MOST_TRIALS = 2**62  # that a compiled loop can count to
_CALL_SECONDS = 0.05  # one compiled call lasts about this long, so that Ctrl-C and limits act soon


@dataclass(frozen=True, eq=False)
class Solution:
    """States of one `solve`, time first.

    Attributes
    ----------
    t : ndarray, shape (m,)
        Flow times: those of `save_at` that were reached, and the event points.
    y : ndarray, shape (m, n)
        Flat states at `t`.
    outcome : Outcome
        How the run ended.
    statistics : dict
        ``accepted``, ``rejected``, ``rhs_calls``, ``seconds``, and ``methods`` in words.
    events : dict
        Name of each event -> times of its zeros.
    """

    t: np.ndarray
    y: np.ndarray
    outcome: Outcome
    statistics: dict[str, Any]
    events: dict[str, np.ndarray] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Sizes and outcome instead of arrays."""
        return f"Solution({len(self.t)} times, {self.y.shape[1]} unknowns, {self.outcome})"


class Limits:
    """Trial steps, wall-clock time, and how many steps one compiled call may take."""

    def __init__(
        self, max_steps: int, max_seconds: float | None, progress: Callable[[float], None] | None
    ) -> None:
        steps = integer("max_steps", max_steps, 1, MOST_TRIALS)
        if max_seconds is not None and not (is_real(max_seconds) and max_seconds > 0.0):
            raise FieldError("max_seconds", f"must be positive or None, got {brief(max_seconds)}.")
        callback("progress", progress)
        self.max_steps, self.progress = steps, progress
        self.max_seconds = None if max_seconds is None else float(min(max_seconds, MOST_SECONDS))
        self.budget = 1
        self.start()

    def start(self) -> None:
        """Start the clock."""
        self._compiled = COMPILING.seconds
        self._begin = self._last_call = self._last_progress = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Wall-clock time since the start, without what was compiled meanwhile: dense output is for those who ask."""
        return time.perf_counter() - self._begin - (COMPILING.seconds - self._compiled)

    def exceeded(self, t: float) -> bool:
        """Report progress, adapt the budget to the speed, and say whether the time is used up."""
        now = time.perf_counter()
        spent, self._last_call = now - self._last_call, now
        self.budget = min(2 * self.budget, 10_000) if spent < _CALL_SECONDS else max(1, self.budget // 2)
        if self.progress is not None and now - self._last_progress >= 0.1:
            self._last_progress = now
            self.progress(t)
        return self.max_seconds is not None and self.seconds >= self.max_seconds

    @contextmanager
    def watching(self, stepper: Stepper) -> Iterator[None]:
        """Halt a stepper when the wall-clock time is used up, in the middle of a step too."""
        if self.max_seconds is None:
            yield
            return
        over = threading.Event()
        threading.Thread(
            target=self._halt_in_time, args=(stepper, self.max_seconds, over), daemon=True
        ).start()
        try:
            yield
        finally:
            over.set()

    def _halt_in_time(self, stepper: Stepper, most: float, over: threading.Event) -> None:
        """Halt a stepper once `most` seconds are used up, unless it is `over` before; compiling does not count."""
        while (left := most - self.seconds) > 0.0:
            if over.wait(min(left, threading.TIMEOUT_MAX)):
                return
        stepper.halt()

    def affords(self, stepper: Stepper, calls: int) -> bool:
        """Whether so many further evaluations are short against the wall-clock time that was given."""
        if self.max_seconds is None:
            return True
        return calls * self.seconds <= 0.05 * self.max_seconds * max(stepper.counts()["rhs_calls"], 1)


class Record:
    """Saved states, in memory reserved once, and event points; or what a view makes of them."""

    def __init__(self, saves: np.ndarray, n: int, view: StateMap = None) -> None:
        self._saves, self._n, self._view = saves, n, view
        self._states = np.empty((len(saves), n if view is None else 0))
        self._count = 0
        self._zeros: list[tuple[float, Any, np.ndarray]] = []

    @property
    def next_time(self) -> float:
        """Next time to save; inf if none is left."""
        return float(self._saves[self._count]) if self._count < len(self._saves) else math.inf

    def note_start(self, t0: float, y0: np.ndarray) -> None:
        """Save the start if it is asked for."""
        first = y0
        if self._view is not None:  # how much there is to keep of a state shows on the first
            first = self._view(_closed(y0))[0]
            self._states = np.empty((len(self._saves), len(first)))
        if self.next_time == t0:
            self._states[0] = first
            self._count = 1

    def note_step(self, stepper: Stepper, until: float) -> None:
        """Save what lies in the last step, up to `until`."""
        stop = int(np.searchsorted(self._saves, until, side="right"))
        if self._view is None:
            if stop > self._count:
                stepper.dense(self._saves[self._count : stop], self._states[self._count : stop])
        else:
            for i in range(self._count, stop):  # one at a time: the states are there for this moment only
                self._states[i] = self._view(_closed(self._state(stepper, i)))[0]
        self._count = max(stop, self._count)

    def _state(self, stepper: Stepper, i: int) -> np.ndarray:
        """State at a time to save; of a large vocabulary, one that is there already is not copied."""
        if self._saves[i] == stepper.t:
            return stepper.y
        state = np.empty((1, self._n))
        stepper.dense(self._saves[i : i + 1], state)
        return state[0]

    def note_zeros(self, zeros: list[tuple[float, Any, np.ndarray]]) -> None:
        """Keep event points."""
        view = self._view
        self._zeros.extend(zeros if view is None else [(t, e, view(_closed(y))[0]) for t, e, y in zeros])

    def solution(self, outcome: Outcome, statistics: dict[str, Any], watch: Watch) -> Solution:
        """Merge saved states and event points in order of time."""
        t, y = self._saves[: self._count], self._states[: self._count]
        times = {e.name: np.array([z[0] for z in self._zeros if z[1] is e]) for e in watch.events}
        known = set(t.tolist())
        extra = {z[0]: z[2] for z in self._zeros if z[0] not in known}
        if extra:
            t = np.concatenate([t, np.array(list(extra))])
            y = np.concatenate([y, np.array(list(extra.values()))])
            order = np.argsort(t, kind="stable")
            t, y = t[order], y[order]
        return Solution(t, y, outcome, statistics, times)


def _closed(state: np.ndarray) -> np.ndarray:
    """One state (n,) as a batch of one (1, n) that a view cannot write to, and may read until it returns."""
    row = state[None]
    row.flags.writeable = False
    return row
