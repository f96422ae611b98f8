"""Run the command line, ``python -m smallinit`` or ``smallinit``, which hears signals before anything loads."""

import os
import signal
from collections.abc import Callable
from types import FrameType

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


def main() -> None:
    """Answer signals by a line from the first moment on, then load the command line and run it."""
    _answer(_end)
    from .cli import main as run_command

    _answer(_over)  # which the command line puts back when it has run
    run_command()


def _answer(answer: Callable[[int, FrameType | None], None]) -> None:
    for name in SIGNALS:
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is None or signal.getsignal(number) == signal.SIG_IGN:
            continue
        try:
            signal.signal(number, answer)
        except ValueError:  # in another thread than the main one, which alone may
            return


def _end(number: int, frame: FrameType | None) -> None:
    """End at once: nothing is begun, and an error raised here would end up in whatever is being imported."""
    try:
        os.write(2, b"smallinit: interrupted; no result was written.\n")
    finally:  # stderr may be closed
        _over(number, frame)


def _over(number: int, frame: FrameType | None) -> None:
    """End at once: the command has said what it had to say."""
    del frame
    os._exit(128 + number)


if __name__ == "__main__":
    main()
