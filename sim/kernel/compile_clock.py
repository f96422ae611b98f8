"""How long this process has spent compiling and loading compiled code: time that no limit of a computation counts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class CompileClock:
    """A clock that runs while code is compiled or loaded, in one thread at a time (see `cache.LOCK`)."""

    def __init__(self) -> None:
        self._spent = 0.0
        self._since: float | None = None  # monotonic time at which what is under way began

    @property
    def seconds(self) -> float:
        """Time spent so far, what is under way included."""
        since = self._since
        return self._spent + (0.0 if since is None else time.monotonic() - since)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let the clock run; where it runs already, one compilation asks for another and it goes on."""
        if self._since is not None:
            yield
            return
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._spent, self._since = self.seconds, None


COMPILING = CompileClock()
