"""The command line ``smallinit``: one line per error, and nothing heavy loaded for help."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from cyclopts import App
from cyclopts.exceptions import CycloptsError, UnknownOptionError, UnusedCliTokensError

from .theory.base.disk.promised import forget_promises, so_far
from .theory.base.errors import (
    FAILED,
    InputError,
    Interrupted,
    forget_interrupts,
    interrupt,
    interrupt_behind,
    one_line,
)
from .theory.base.package.version import package_version
from .theory.base.waiting import as_command

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
BAD_INPUT, INTERRUPTED = 2, 128  # and the number of the signal: 130 for Ctrl-C

# Commands stand here by name only: what they need loads when they are called.
COMMANDS = {
    "overlay": "Derive, integrate, train, and lay theory over training: the whole path.",
    "derive": "Print the equations, the predicted order of their residual and what they conserve.",
    "simulate": "Derive and integrate every closure; nothing is trained.",
    "train": "Train the torch twin; nothing is derived.",
    "scales": "Say how large a start is, when it is left, what binds, and which number to change.",
    "sweep": "Simulate and train over axes of an experiment; run again to resume.",
    "figure": "Compute a figure of the paper, and decide its claims by numbers.",
    "report": "Turn a directory of results into one self-contained HTML page.",
    "verify": "Check that results are what was written, byte by byte.",
    "check": "Hold a claimed equation against the derived one: true to which order, and what it drops.",
    "claims": "Put the statements of the papers to the test, one by one.",
    "completion": "Print a script that completes commands and flags in your shell.",
}


def build_app() -> App:
    """Make the application; the commands are imported on first use."""
    app = App(
        name="smallinit",
        help="What does the theory of small initialisation say this model will do, and does it?",
        help_epilogue="Start with: smallinit overlay --preset demo",
        version=package_version,
        suppress_keyboard_interrupt=False,
    )
    for order, (name, text) in enumerate(COMMANDS.items()):
        if name == "completion":
            app.command(completion, name=name, help=text, sort_key=order)
            continue
        module = "experiments" if name in ("overlay", "derive", "simulate", "train") else f"{name}_command"
        app.command(f"{__package__}.compare.commands.{module}:{name}", name=name, help=text, sort_key=order)
    return app


def completion(shell: Literal["bash", "zsh", "fish"], /) -> None:
    """Print a script that completes commands and flags in your shell.

    In bash: source <(smallinit completion bash).

    Parameters
    ----------
    shell
        bash, zsh or fish.
    """
    print(build_app().generate_completion(shell=shell, prog_name="smallinit"))


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; those of the process by default.

    Raises
    ------
    SystemExit
        With 2 for bad input, 3 for a run that failed, 130 for an interrupt, 143 for SIGTERM, 129 for SIGHUP.
    """
    if argv is None:
        fill_closed_streams()
        spell_out()
    code = run(sys.argv[1:] if argv is None else list(argv), process=argv is None)
    if code > INTERRUPTED and argv is None:
        # CPython ends the process by the signal if the interrupt fell into an `exec`, handled or not; imports do that.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    if code:
        raise SystemExit(code)


def fill_closed_streams() -> None:
    """Give what is written to a closed stdout or stderr a place to go to, as after `smallinit derive >&-`."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 -- open to the end


def spell_out() -> None:
    """Write by numbers what the terminal's encoding lacks: a name must not end a command that has done its work."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def end_like_interrupts() -> dict[int, Any]:
    """Let signals end a command as Ctrl-C does, unless whoever started it has them ignored; returns what did before."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    forget_interrupts()
    before: dict[int, Any] = {}
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            before[number] = signal.signal(number, interrupt)
    return before


def _answer_as(before: dict[int, Any]) -> None:
    """Put back what answered signals: an interrupt of what has ended would be a traceback of Python's own end."""
    while before:
        number, answer = before.popitem()
        if answer is not None:  # not set from Python
            signal.signal(number, answer)


def run(argv: list[str], process: bool = False) -> int:
    """Run the command line and return the exit status; errors and warnings go to stderr as one line each.

    Where it is the whole of a `process` it answers signals meanwhile, from within what catches them.
    """
    before: dict[int, Any] = {}
    forget_promises()
    try:
        if process:
            before |= end_like_interrupts()
        with _warnings_as_lines(), as_command():
            code = build_app()(argv, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
        _answer_as(before)
        return code if isinstance(code, int) else 0
    except BaseException as error:
        _answer_as(before)
        if (found := interrupt_behind(error)) is None:
            return _failed(error)
        end = found if isinstance(found, Interrupted) else Interrupted()
        return _fail(f"interrupted; {so_far(end.kept)}.", INTERRUPTED + end.signal)


def _failed(error: BaseException) -> int:
    """Say why a command failed, and with which status it ends; what is nobody's mistake but ours is raised again."""
    try:
        raise error
    except BrokenPipeError:  # `smallinit derive | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except InputError as error:
        return _fail(error.sentence, BAD_INPUT, error.picture)
    except CycloptsError as error:
        return _fail(explained(error), BAD_INPUT)
    except MemoryError as error:
        return _fail(f"out of memory: {error or 'make the experiment smaller'}.", FAILED)
    except OSError as error:
        room = "; make room, or choose another place" if error.errno in NO_ROOM else ""
        what, why = error.filename or "a file", error.strerror or error
        return _fail(f"cannot read or write {what}: {why}{room}.", FAILED)
    except RuntimeError as error:
        if not _numerical(error):
            raise
        return _fail(str(error), FAILED)


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Say each warning once, as errors are said; Python would show where in the sources it was raised."""
    told = set[str]()

    def tell(message: Warning | str, *where: object) -> None:
        if (line := f"smallinit: warning: {one_line(str(message))}") not in told:
            told.add(line)
            print(line, file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = tell
        yield


def explained(error: CycloptsError) -> str:
    """Say in one sentence what was wrong with the arguments."""
    command = " ".join(error.command_chain or ())
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        return f"unexpected argument {error.unused_tokens[0]!r}: see smallinit {command} --help."
    if isinstance(error, UnknownOptionError) and command:
        from .compare.commands.flags import of_another_command

        flag = (error.token.keyword or error.token.value).partition("=")[0]
        if said := of_another_command(flag, command):
            return said
    error.verbose = False
    return str(error)


def _numerical(error: RuntimeError) -> bool:
    from .sim.ode.outcome import IntegrationError

    return isinstance(error, IntegrationError)


def _fail(message: str, code: int, picture: Sequence[str] = ()) -> int:
    print("\n".join([f"smallinit: {one_line(message)}", *picture]), file=sys.stderr)
    return code
