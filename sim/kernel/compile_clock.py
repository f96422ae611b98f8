"""How long this process has spent compiling and loading compiled code: time that no limit of a computation counts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class CompileClock:
    """A clock that runs while code is compiled or loaded, in one thread at a time (see `cache.LOCK`)."""

    def __init__(self) -> None:
        # time spent before, and monotonic time at which what is under way began: one pair, as other threads read them
        self._reading: tuple[float, float | None] = 0.0, None

    @property
    def seconds(self) -> float:
        """Time spent so far, what is under way included."""
        spent, since = self._reading
        return spent if since is None else spent + time.monotonic() - since

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let the clock run; where it runs already, one compilation asks for another and it goes on."""
        spent, since = self._reading
        if since is not None:
            yield
            return
        self._reading = spent, time.monotonic()
        try:
            yield
        finally:
            self._reading = self.seconds, None


COMPILING = CompileClock()
