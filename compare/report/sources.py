"""Files that a page is made from, read within limits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ...theory.base.errors import InputError

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
    try:
        if path.stat().st_size > limit:
            raise InputError(f"{str(path)!r} is larger than {limit:,} bytes: no report embeds it.")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {str(path)!r}: {error.strerror}.") from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    InputError
        If it is none.
    """
    try:
        found = json.loads(read_utf8(path))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{str(path)!r} is damaged ({str(error)[:80]}): make the results again.") from error
    if not isinstance(found, dict):
        raise InputError(f"{str(path)!r} holds no record of results: make them again.")
    return found
