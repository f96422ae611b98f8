"""The one way into a file that somebody names: regular and of bounded size, or refused before anything is read."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from ..errors import InputError

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}
# A pipe without a writer must not stop us between the two looks at it.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


def open_regular(path: str | Path, limit: int | None = None) -> BinaryIO:
    """Open a file for reading bytes; what may never end, or never begin, is refused before anything is read.

    Parameters
    ----------
    path : path
        The file; links are followed.
    limit : int, optional
        Most bytes it may have.

    Raises
    ------
    InputError
        If it is a folder, a pipe, a device or a socket, or larger than the limit.
    OSError
        If there is no such file, or it cannot be read.
    """
    _check(path, os.stat(path), limit)  # first of all: to open a device may do something
    handle = os.open(path, _FLAGS)
    try:
        _check(path, os.fstat(handle), limit)
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_regular(path: str | Path, limit: int) -> bytes:
    """Read a whole file of at most `limit` bytes; see `open_regular`."""
    with open_regular(path, limit) as file:
        content = file.read(limit + 1)  # files of the system say that they have 0 bytes, others grow
    if len(content) > limit:
        raise _too_large(path, limit)
    return content


def inside(folder: Path, path: Path) -> Path:
    """Return `path` unless it leads out of `folder` by a link.

    Raises
    ------
    InputError
        If it does.
    """
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{str(path)!r} is a link out of its folder: put the file itself there.")
    return path


def kind_of(found: os.stat_result) -> str | None:
    """Say what is no regular file; None for one."""
    return None if stat.S_ISREG(found.st_mode) else _KINDS.get(stat.S_IFMT(found.st_mode), "no regular file")


def _check(path: str | Path, found: os.stat_result, limit: int | None) -> None:
    if (kind := kind_of(found)) is not None:
        raise InputError(f"{str(path)!r} is {kind}: give the path of a file.")
    if limit is not None and found.st_size > limit:
        raise _too_large(path, limit)


def _too_large(path: str | Path, limit: int) -> InputError:
    return InputError(
        f"{str(path)!r} is larger than {limit:,} bytes, the most that is read: make it smaller."
    )
