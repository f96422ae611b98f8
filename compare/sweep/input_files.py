"""Files that the points of a sweep read, told apart by content and not by name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..experiment.own_model import own_file

FILES = (("data", "file"), ("init", "file"), ("training", "measure_on"))  # keys of an experiment


class ChangedInput(ValueError):
    """A file that is not the one with which the sweep was begun, or resumed."""


def files_of(config: Mapping[str, Any]) -> Iterator[str]:
    """Files that one experiment reads."""
    for section, key in FILES:
        if (name := (config.get(section) or {}).get(key)) is not None:
            yield str(name)
    if file := own_file((config.get("model") or {}).get("name")):
        yield file


def digest_of(file: str | Path) -> str:
    """SHA-256 of a file's content."""
    with Path(file).open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def digests(configs: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """File -> digest of all that some experiments read; what is missing is for the points that need it to say."""
    names = dict.fromkeys(name for config in configs for name in files_of(config))
    return {name: digest_of(name) for name in names if Path(name).is_file()}


class BatchFiles:
    """Files that a batch of points meets, each read once to tell what it is.

    Parameters
    ----------
    expected : dict
        File -> digest that it had when the driver looked.
    """

    def __init__(self, expected: Mapping[str, str] | None = None) -> None:
        self.expected, self._found = expected or {}, dict[str, str]()

    def digest(self, file: str) -> str:
        """SHA-256 of a file's content as the batch met it; "none" if there is no such file."""
        if file not in self._found:
            self._found[file] = digest_of(file) if Path(file).is_file() else "none"
        return self._found[file]

    def shared(self, config: Mapping[str, Any]) -> str:
        """Digests of the files of data and model, if there are any: others may lie at the same places by now."""
        files = ((config.get("data") or {}).get("file"), own_file((config.get("model") or {}).get("name")))
        return " ".join("" if file is None else self.digest(file) for file in files)

    def check(self, config: Mapping[str, Any]) -> None:
        """Refuse a point whose files have changed since the driver has looked at them.

        Raises
        ------
        ChangedInput
            Naming the file.
        """
        for name in files_of(config):
            if name in self.expected and self.digest(name) != self.expected[name]:
                raise ChangedInput(
                    f"{name!r} has changed while the sweep was running: put it back, run again."
                )
