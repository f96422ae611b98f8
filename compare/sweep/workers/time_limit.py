"""The time that a point may take."""

from __future__ import annotations

import time
from typing import Any


class TooSlow(RuntimeError):
    """A point that took longer than it may."""


class TimeLimit:
    """What is left of the seconds that a point has.

    Parameters
    ----------
    max_seconds : float or None
        All it has; None is without end.
    """

    def __init__(self, max_seconds: float | None) -> None:
        self.max_seconds, self._began = max_seconds, time.perf_counter()

    @property
    def left(self) -> float | None:
        """Seconds left, some at least: every part of a point is begun."""
        if self.max_seconds is None:
            return None
        return max(1e-9, self.max_seconds - (time.perf_counter() - self._began))

    def check(self, path: Any) -> Any:
        """Return a trajectory, unless it was cut short.

        Raises
        ------
        TooSlow
            If it ended by its time.
        """
        if path.outcome.status.name == "MAX_SECONDS":
            raise TooSlow(too_slow(self.max_seconds or 0.0, str(path.outcome)))
        return path


def too_slow(max_seconds: float, where: str) -> str:
    """One sentence."""
    return f"it took longer than {max_seconds:g} s ({where}): raise `max_seconds` to try again"
