"""The command that holds every byte of results against its digest."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ...theory.base.disk.owner import is_temporary
from ...theory.base.disk.regular import read_regular
from ...theory.base.disk.sealed import is_sealed, open_sealed
from ...theory.base.errors import InputError
from ...theory.base.folders import DIGESTS, digest_of, read_digests, recover
from ..experiment.own_model import FILE_BYTES, file_digest, own_file

DAMAGED = 3


def verify(path: Annotated[Path, Parameter(name="PATH")], /) -> int:
    """Check that results are what was written: every file against its digest, every directory against its list.

    Names what is damaged, missing or mixed up, and ends with status 3 then. Nothing is changed.

    Parameters
    ----------
    path
        A directory of results, of a sweep or of kept trainings, or a single file.
    """
    if not path.exists() and not path.is_symlink():
        recover(path.absolute())  # an overwrite that was killed halfway, where the system has no exchange
    if not path.exists():
        raise InputError(f"there is no file or directory {str(path)!r}: check the path.")
    found = examine(path)
    for name in found.unknown:
        print(
            f"unknown  {str(name)!r} has no digest: smallinit did not write it, or not as a part of results"
        )
    for fault in found.faults:
        print(f"DAMAGED  {fault}")
    if not found.sound and not found.faults:
        raise InputError(
            f"{str(path)!r} holds nothing that smallinit has sealed, so nothing was checked: name results of "
            "`overlay`, `simulate`, `train`, `sweep`, `figure` or `report`."
        )
    print(f"{len(found.sound)} files are what was written, {len(found.faults)} are not.")
    return DAMAGED if found.faults else 0


@dataclass
class Examined:
    """What was found of the files of a directory.

    Attributes
    ----------
    sound : list of Path
        Files that are what was written.
    faults : list of str
        What is wrong, a sentence a file.
    unknown : list of Path
        Files without a digest.
    """

    sound: list[Path] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    unknown: list[Path] = field(default_factory=list)


def examine(path: Path) -> Examined:
    """Hold a file, or all files under a directory, against their digests; links are not followed."""
    found = Examined()
    listed: dict[Path, str] = {}
    for file in _files(path):
        if file.name == DIGESTS:
            listed |= _listed(file.parent)
            found.faults += _changed_model(file.parent / "experiment.toml")
    for file in sorted({*_files(path), *listed}):
        _examine_file(file, listed.get(file), found)
    return found


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for folder, _, names in os.walk(path):
        yield from (Path(folder, name) for name in names if not is_temporary(name))


def _listed(folder: Path) -> dict[Path, str]:
    """Digests of the files of a results folder; a damaged list is found once more as a file."""
    try:
        return {folder / name: digest for name, digest in read_digests(folder).items()}
    except (InputError, OSError):
        return {}


def _changed_model(experiment: Path) -> list[str]:
    """Say that the file of a model of the user's own is no longer the one that results were made with."""
    try:
        model = tomllib.loads(read_regular(experiment, FILE_BYTES).decode()).get("model", {})
        name, written = model.get("name"), model.get("sha256")
    except (InputError, OSError, ValueError, AttributeError):
        return []  # there is none, or it is damaged, which `_examine_file` says
    if written is None or (file := own_file(name)) is None or (now := file_digest(name)) == written:
        return []
    what = "has changed since" if now else "cannot be read"
    return [
        f"{file!r} holds the model of {str(experiment.parent)!r} and {what}: its SHA-256 was {written[:12]}.."
    ]


def _examine_file(file: Path, written: str | None, found: Examined) -> None:
    try:
        if file.is_symlink():
            found.faults.append(f"{str(file)!r} is a link: put the file itself there.")
        elif written is not None:
            _examine_listed(file, written, found)
        elif is_sealed(file):
            with open_sealed(file):
                found.sound.append(file)
        elif file.suffix in (".nc", ".npz", ".json"):
            found.faults.append(f"{str(file)!r} ends without a seal: it was cut short, or is not ours.")
        else:
            found.unknown.append(file)
    except InputError as error:
        found.faults.append(error.sentence)
    except OSError as error:
        found.faults.append(f"{str(file)!r} cannot be read: {error.strerror}.")


def _examine_listed(file: Path, written: str, found: Examined) -> None:
    if not file.exists():
        found.faults.append(f"{str(file)!r} is missing: {DIGESTS} lists it.")
    elif digest_of(file) != written:
        found.faults.append(
            f"{str(file)!r} is damaged or was replaced: its SHA-256 is not that in {DIGESTS}."
        )
    else:
        found.sound.append(file)
