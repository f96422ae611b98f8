"""Where a name leads that somebody gives for results: links are followed, and what cannot be written is refused."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ..errors import InputError
from ..validate import brief
from .regular import kind_of

NAME_BYTES, PATH_BYTES = 255, 4095  # where the system does not say
ROOM = 512  # for the names of what is written into a folder, and for those it has until it is whole


def folder_destination(path: str | Path) -> Path:
    """Return the absolute path that a name leads to: a link stays a link, and what it points at is written.

    Raises
    ------
    InputError
        If links lead in a circle, or a name is longer than the file system can hold.
    """
    try:
        found = Path(os.path.realpath(path))
        os.fsencode(found)
    except ValueError:  # a zero byte, half of a pair
        raise InputError(f"{brief(str(path))} is no name that a file can have: choose another one.") from None
    if os.path.islink(found):
        raise InputError(f"{brief(str(path))} is a link that leads in a circle: name another one.")
    there = next(folder for folder in [*found.parents, found] if _exists(folder))
    most = _limit(there, "PC_NAME_MAX", NAME_BYTES)
    for name in found.relative_to(there).parts:
        if (length := len(os.fsencode(name))) > most:
            raise InputError(
                f"{brief(name)} is a name of {length} bytes: choose one of at most {most}, which is what fits there."
            )
    most = _limit(there, "PC_PATH_MAX", PATH_BYTES) - ROOM
    if (length := len(os.fsencode(found))) > most:
        raise InputError(f"the path of {brief(found.name)} has {length} bytes: choose one of at most {most}.")
    return found


def file_destination(path: str | Path) -> Path:
    """As `folder_destination`, of a file: one that is there already must be a regular one.

    Raises
    ------
    InputError
        If it is a folder, a pipe or a device, besides.
    """
    found = folder_destination(path)
    with suppress(OSError):  # of the name that was given: what it leads to may have none, as a pipe
        if (kind := kind_of(os.stat(path))) is not None:
            raise InputError(f"{str(path)!r} is {kind}: name a file.")
    return found


def _exists(folder: Path) -> bool:
    try:
        return folder.exists()
    except OSError:  # too long to ask
        return False


def _limit(folder: Path, name: str, otherwise: int) -> int:
    try:
        found = os.pathconf(folder, name)
    except (AttributeError, OSError, ValueError):
        return otherwise
    return min(found, otherwise) if found > 0 else otherwise
