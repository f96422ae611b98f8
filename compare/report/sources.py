"""Files that a page is made from, read within limits."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

from ...theory.base.disk.regular import inside, read_regular
from ...theory.base.disk.sealed import UnsoundFile
from ...theory.base.errors import InputError
from ...theory.base.folders import DIGESTS, read_digests
from ...theory.base.records import read_record

TEXT_BYTES, IMAGE_BYTES = 2**26, 2**26  # what a page may embed of one file


def read_utf8(path: Path) -> str:
    """Read a text file that a page embeds.

    Raises
    ------
    InputError
        If it cannot be read, or is too large.
    """
    return _read(path, TEXT_BYTES).decode("utf-8", errors="replace")


def read_png(path: Path) -> bytes:
    """Read a PNG that a page embeds.

    Raises
    ------
    InputError
        If it cannot be read, is too large, or is no PNG.
    """
    content = _read(path, IMAGE_BYTES)
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        raise InputError(f"{str(path)!r} is not a PNG image: remove it and run the report again.")
    return content


def _read(path: Path, limit: int) -> bytes:
    """Content of a file of a results folder, what it was when the folder was written."""
    try:
        content = read_regular(inside(path.parent, path), limit)
        if (path.parent / DIGESTS).exists():
            _check_digest(path, content)
        return content
    except OSError as error:
        raise _unreadable(path, error) from error


def _check_digest(path: Path, content: bytes) -> None:
    written = read_digests(path.parent).get(path.name)
    if written != sha256(content).hexdigest():
        what = "is damaged: its SHA-256 is not what was written"
        raise UnsoundFile(path, what if written else f"was not written with the other results (by {DIGESTS})")


def read_json(path: Path) -> dict[str, Any]:
    """Read a sealed record of a results folder.

    Raises
    ------
    InputError
        If it is none, or not what was written.
    """
    try:
        return read_record(inside(path.parent, path))
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(f"cannot read {str(path)!r}: {error.strerror}.")
