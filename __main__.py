"""Run the command line, ``python -m smallinit`` or ``smallinit``, which hears signals before anything loads."""

import os
import signal
import threading
from types import FrameType

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


def main() -> None:
    """Answer signals by a line from the first moment on, then load the command line and run it."""
    if threading.current_thread() is threading.main_thread():
        for name in SIGNALS:
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            if number is not None and signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, _end)
    from .cli import main as run_command

    run_command()


def _end(number: int, frame: FrameType | None) -> None:
    """End at once: nothing is begun, and an error raised here would end up in whatever is being imported."""
    del frame
    os.write(2, b"smallinit: interrupted; no result was written.\n")
    os._exit(128 + number)


if __name__ == "__main__":
    main()
