"""Records: sealed JSON objects, which any reader of JSON can read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .disk.files import write_whole
from .disk.sealed import BLANK, UnsoundFile, read_sealed, with_seal

RECORD_BYTES = 2**26
DEPTH = 50  # of values in values; whoever walks through a record may recurse
SEAL = "seal"  # the last key of every record; readers take it away


def record_bytes(values: Mapping[str, Any], *, allow_nan: bool = False) -> bytes:
    """Return a sealed JSON object.

    Raises
    ------
    ValueError
        If a value is nan or infinite, which JSON has not, unless `allow_nan`: Python reads them.
    """
    kept = {key: value for key, value in values.items() if key != SEAL}
    text = json.dumps({**kept, SEAL: BLANK.decode()}, indent=2, allow_nan=allow_nan)
    return with_seal(text.encode() + b"\n")


def write_record(path: Path, values: Mapping[str, Any], *, allow_nan: bool = False) -> None:
    """Write a sealed JSON object whole or not at all; see `record_bytes`."""
    write_whole(path, record_bytes(values, allow_nan=allow_nan))


def read_record(path: Path) -> dict[str, Any]:
    """Read a sealed JSON object.

    Raises
    ------
    UnsoundFile
        If it is not what was written, or no JSON object.
    InputError
        If it is no regular file, or too large.
    OSError
        If there is none, or it cannot be read.
    """
    content = read_sealed(path, RECORD_BYTES)
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UnsoundFile(path, f"is no record of results ({str(error)[:80]})") from None
    if not isinstance(found, dict):
        raise UnsoundFile(path, "is no record of results (it holds no object)")
    if not _shallow(found):
        raise UnsoundFile(path, f"is no record of results (it is nested more than {DEPTH} deep)")
    found.pop(SEAL, None)
    return found


def _shallow(value: Any) -> bool:
    """Whether values lie at most `DEPTH` deep in one another."""
    level = [value]
    for _ in range(DEPTH):
        parts = (v.values() if isinstance(v, dict) else v for v in level)
        level = [inner for part in parts for inner in part if isinstance(inner, dict | list)]
        if not level:
            return True
    return False
