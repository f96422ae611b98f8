"""What a program is to write, and what of it is in place: right at any moment, that of the change of names included."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from .destination import folder_destination

Identity = tuple[int, int] | None  # of what a name leads to; None is nothing


@dataclass(frozen=True)
class Promise:
    """A file or folder that is to be written whole or not at all, and what was there before.

    Files take their place by a change of names, so that another identity is the new result: nothing has to be noted
    when it changes, between which and the change a signal could come.
    """

    path: Path
    shown: str
    before: Identity

    @property
    def kept(self) -> bool:
        """Whether the result is in place."""
        now = _identity(self.path)
        return now is not None and now != self.before


_promises: dict[Path, Promise] = {}


def promise(path: Path) -> None:
    """Note, before any work, what is to be written; its name is shown as it was given."""
    found = folder_destination(path)
    _promises[found] = Promise(found, _shown(path), _identity(found))


def withdraw(path: Path) -> None:
    """Promise no more what turns out to have nothing in it."""
    _promises.pop(folder_destination(path), None)


def forget_promises() -> None:
    """Begin anew, with nothing promised."""
    _promises.clear()


def promised() -> tuple[list[str], list[str]]:
    """Names of what is in place, and of what is not."""
    there, missing = [], []
    for one in _promises.values():
        (there if one.kept else missing).append(one.shown)
    return there, missing


def so_far(kept: str = "") -> str:
    """Say in a clause what was written and what was not, after what is kept of the work, if anything is."""
    there, missing = promised()
    written = ""
    if there:
        written = f"{_were(there)} written" + (f", {_listed(missing)} not" if missing else "")
    elif kept and missing:
        written = f"{_were(missing)} not written"
    return "; ".join(filter(None, (kept, written))) or "no result was written"


def _were(names: list[str]) -> str:
    return f"{_listed(names)} {'was' if len(names) == 1 else 'were'}"


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _shown(path: Path) -> str:
    """A name as it was given, relative to the current folder where that is shorter."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _identity(path: Path) -> Identity:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
