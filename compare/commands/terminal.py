"""Somebody who watches: progress is for eyes, not for log files."""

from __future__ import annotations

import sys


def on_terminal() -> bool:
    """Whether somebody watches."""
    return sys.stderr.isatty()


def note(text: str) -> None:
    """Tell somebody at a terminal what is going on."""
    if on_terminal():
        print(text, file=sys.stderr)
