"""Files that the points of a sweep read, told apart by content and not by name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

FILES = (("data", "file"), ("init", "file"), ("training", "measure_on"))  # keys of an experiment


class ChangedInput(ValueError):
    """A file that is not the one with which the sweep was begun, or resumed."""


def files_of(config: Mapping[str, Any]) -> Iterator[str]:
    """Files that one experiment reads."""
    for section, key in FILES:
        if (name := (config.get(section) or {}).get(key)) is not None:
            yield str(name)


def digest_of(file: str | Path) -> str:
    """SHA-256 of a file's content."""
    with Path(file).open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def digests(configs: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """File -> digest of all that some experiments read; what is missing is for the points that need it to say."""
    names = dict.fromkeys(name for config in configs for name in files_of(config))
    return {name: digest_of(name) for name in names if Path(name).is_file()}


def check(config: Mapping[str, Any], known: Mapping[str, str]) -> None:
    """Refuse a point whose files have changed since the driver has looked at them.

    Raises
    ------
    ChangedInput
        Naming the file.
    """
    for name in files_of(config):
        if name in known and (not Path(name).is_file() or digest_of(name) != known[name]):
            raise ChangedInput(f"{name!r} has changed while the sweep was running: put it back, run again.")
