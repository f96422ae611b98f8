"""The line that says what is going on, for how long it has, and how long it will: renewed for eyes, seldom in a log."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from shutil import get_terminal_size
from typing import TextIO

from .errors import look_for_interrupt

SILENT = 1.0  # seconds that pass without a word
EVERY = 0.2  # seconds between two looks
KEPT = 2.0  # seconds: what took longer leaves a line behind
LINE = 30.0  # seconds until a command says so in a log, and between two lines at the least
GROWTH = 0.1  # of the time gone by: between two lines, where that is more
CLEAR = "\r\x1b[K"


class Wait:
    """What is being waited for; made by `waiting`. Without a stream it counts and says nothing.

    Parameters
    ----------
    what : str
        A few words, such as "training".
    total : float, optional
        What `done` counts to; the time still to come is only told if it is known.
    unit : str
        What is counted, such as "steps".
    stream : text file or None
        Where to write.
    in_place : bool
        Whether the line is written over the former one.
    """

    def __init__(
        self, what: str, total: float | None, unit: str, stream: TextIO | None, in_place: bool = True
    ) -> None:
        self.what, self.total, self.unit, self._stream = what, total, unit, stream
        self.done, self._detail = 0.0, ""
        self._in_place = in_place
        self._begin = time.perf_counter()
        # The count when it first was told: of a run that goes on from there.
        self._counted: float | None = None
        self._shown, self._lock = False, threading.Lock()

    @property
    def seconds(self) -> float:
        """Wall-clock time since the start."""
        return time.perf_counter() - self._begin

    @property
    def seconds_left(self) -> float | None:
        """Seconds that the rest will take at this rate; None if that is not known."""
        if not self.total or self._counted is None or self.done <= self._counted:
            return None
        return self.seconds * max(self.total - self.done, 0.0) / (self.done - self._counted)

    def tell(self, done: float | None = None, detail: str = "") -> None:
        """Say how far it is, and a detail; cheap enough for every step of a loop, which ends here if it is to."""
        look_for_interrupt()
        if done is not None:
            self._counted = done if self._counted is None else self._counted
            self.done = done
        if detail:
            self._detail = detail

    def say(self, text: str) -> None:
        """Go on to something else of the same work: a new text."""
        self.what = text.removesuffix("...").strip()

    def __str__(self) -> str:
        """The line as it is now."""
        parts = [self.what]
        if self.total and self._counted is not None:
            parts.append(f"{counted(self.done)} of {counted(self.total)} {self.unit}".rstrip())
        parts += [self._detail] if self._detail else []
        parts.append(f"{spoken(self.seconds)} so far")
        if (left := self.seconds_left) is not None:
            parts.append(f"about {spoken(left)} to go")
        return ", ".join(parts)

    def show(self) -> None:
        """Write the line, in place of the former one."""
        with self._lock:
            if not self._in_place:
                self._write(f"{self}\n")
            else:
                self._shown = True
                width = get_terminal_size().columns - 1  # a line that wraps cannot be written over
                self._write(f"{CLEAR}{str(self)[:width]}")

    def hide(self) -> None:
        """Take the line away, before something else is printed."""
        with self._lock:
            if self._shown:
                self._shown = False
                self._write(CLEAR)

    def leave(self) -> None:
        """Leave a line behind that says how long it took."""
        count = f" {counted(self.total)} {self.unit}," if self.total and self.unit else ""
        with self._lock:
            self._write(f"{self.what}:{count} {spoken(self.seconds)}\n")

    def _write(self, text: str) -> None:
        """Write, as long as it can be read: that the reader of a log is gone, or its disk full, ends no work."""
        if self._stream is None:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # closed from either side
            self._stream = None


def counted(number: float) -> str:
    """A count or a flow time: whole numbers whole, others to three digits."""
    return f"{number:,.0f}" if number >= 100.0 or number == round(number) else f"{number:.3g}"


def spoken(seconds: float) -> str:
    """Seconds as one says them: 3 s, 2 min 5 s, 1 h 20 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


@contextmanager
def waiting(
    what: str, total: float | None = None, unit: str = "", shown: bool | None = None
) -> Iterator[Wait]:
    """Say what is going on while the block runs, if it takes longer than a second and somebody watches.

    The line stands on stderr, is renewed in place, and goes when the block ends; of what took more than two seconds one
    line stays, with the time it took. What a command does where nobody watches, as in the log of a cluster, has a line
    of its own after half a minute, and then ever more seldom.

    Parameters
    ----------
    what, total, unit
        See `Wait`.
    shown : bool, optional
        Whether to show it: by default if stderr is a terminal or a command is under way. True shows it anywhere.
    """
    logged = _commands > 0 and shown is not False and not on_terminal()
    stream = sys.stderr if logged or (on_terminal() if shown is None else shown) else None
    wait = Wait(what, total, unit, stream, in_place=not logged)
    if stream is None:
        yield wait
        return
    over = threading.Event()
    thread = threading.Thread(target=_log if logged else _renew, args=(wait, over), daemon=True)
    thread.start()
    try:
        yield wait
    finally:
        over.set()
        thread.join()
        wait.hide()
    if wait.seconds > (LINE if logged else KEPT) or (shown and not logged):
        wait.leave()


def _renew(wait: Wait, over: threading.Event) -> None:
    rest = SILENT
    while not over.wait(rest):
        wait.show()
        rest = EVERY


def _log(wait: Wait, over: threading.Event) -> None:
    while not over.wait(max(LINE, GROWTH * wait.seconds)):
        wait.show()


_commands = 0  # that are under way


@contextmanager
def as_command() -> Iterator[None]:
    """What waits in the block is a command, which says how far it is in a log too."""
    global _commands
    _commands += 1
    try:
        yield
    finally:
        _commands -= 1


def on_terminal() -> bool:
    """Whether somebody watches, at a terminal that can write over a line."""
    return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
