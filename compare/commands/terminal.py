"""What a command has kept that was interrupted, or could not do all it was asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from ...theory.base.errors import FAILED, Interrupted, interrupt_behind, interrupts_held, one_line
from ...theory.base.waiting import waiting


@contextmanager
def interruptible(kept: Callable[[], str | None]) -> Iterator[None]:
    """Say what is kept if the block is interrupted: a sentence without its stop, or None if that is nothing."""
    try:
        yield
    except BaseException as error:
        if (interrupt := interrupt_behind(error)) is None:
            raise
        signal = getattr(interrupt, "signal", 2)
        said = kept()
        raise Interrupted(signal=signal) if said is None else Interrupted(said, signal) from None


def load_torch() -> None:
    """Load torch, during which nothing else is done and nothing is to be kept."""
    with waiting("loading torch"), interrupts_held():
        import_module("torch")


def checkpoint_kept(checkpoint: Path | str | None) -> str | None:
    """Say what an interrupted training has kept."""
    if checkpoint is None or not Path(checkpoint).is_file():
        return None
    return f"the training's state is in {checkpoint}: the same command goes on from there"


def no_picture(name: str, why: str) -> int:
    """Say why there is no picture of results that are saved; returns the exit status."""
    print(f"smallinit: {one_line(f'no {name}: {why}')}", file=sys.stderr)
    return FAILED
