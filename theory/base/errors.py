"""Errors that carry more than their sentence, so that nobody has to read it to know what happened."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

FAILED = 3  # exit status of a command whose results are not all there


class FieldError(ValueError):
    """An argument that was refused.

    Parameters
    ----------
    field : str
        Name of the argument; whoever knows where it was set can say so.
    reason : str
        What is wrong and the remedy: the sentence that goes on after the name.
    """

    def __init__(self, field: str, reason: str) -> None:
        self.field, self.reason = field, reason
        super().__init__(f"`{field}` {reason}")

    def __reduce__(self) -> tuple[type[FieldError], tuple[str, str]]:
        """Restore from both parts: an error must survive its way out of a worker process."""
        return type(self), (self.field, self.reason)


class InputError(ValueError):
    """Something the user gave cannot be used; the message is one sentence with the remedy.

    Parameters
    ----------
    sentence : str
        The message.
    picture : tuple of str
        Lines that belong under the sentence as they are, such as a text and a finger on one character of it.
    """

    def __init__(self, sentence: str, picture: tuple[str, ...] = ()) -> None:
        self.sentence, self.picture = sentence, picture
        super().__init__("\n".join([sentence, *picture]))

    def __reduce__(self) -> tuple[type[InputError], tuple[str, tuple[str, ...]]]:
        """Restore from both parts: an error must survive its way out of a worker process."""
        return type(self), (self.sentence, self.picture)


class Interrupted(KeyboardInterrupt):
    """The user or the system wants the program to end.

    Parameters
    ----------
    kept : str
        What is kept of the work and how to go on; "" if nothing is. Which results are there is known without it.
    signal : int
        Number of the signal; 2 is that of Ctrl-C.
    """

    def __init__(self, kept: str = "", signal: int = 2) -> None:
        self.kept, self.signal = kept, signal
        super().__init__(kept or "interrupted")


_heard: list[int] = []  # numbers of the signals that a command was sent
_holding: list[bool] = []  # something while the first is not answered yet


def interrupt(number: int, frame: object = None) -> None:
    """Answer a signal to a command, by an error, and by one at each later `look_for_interrupt`.

    Libraries drop an error now and then that is raised in a function of theirs, and the command would go on.
    """
    _heard.append(number)
    if not _holding or len(_heard) > 1:
        raise Interrupted(signal=number)


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Answer a first signal when the block has ended: an error within the imports of a library can end the process."""
    _holding.append(True)
    try:
        yield
    finally:
        _holding.pop()
    look_for_interrupt()


def look_for_interrupt() -> None:
    """Raise what a signal was answered by, where that was lost: nothing that ends because of it comes here."""
    if _heard and threading.current_thread() is threading.main_thread():
        raise Interrupted(signal=_heard[0])


def forget_interrupts() -> None:
    """Begin a command, to which no signal has been sent."""
    _heard.clear()


def interrupt_behind(error: BaseException) -> KeyboardInterrupt | None:
    """Find the interrupt that an error is, or came from: Python and libraries wrap what falls into code of theirs."""
    seen, left = set[int](), [error]
    while left:
        one = left.pop()
        if isinstance(one, KeyboardInterrupt):
            return one
        if id(one) not in seen:
            seen.add(id(one))
            left += [e for e in (one.__cause__, one.__context__) if e is not None]
    return None


def one_line(text: str) -> str:
    """Replace line breaks and control characters, whatever a file or a name had in it."""
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))
