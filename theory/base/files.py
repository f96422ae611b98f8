"""Files of the command line: arrays read safely, results written all at once or not at all."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

# Everything that a command writes; `--overwrite` replaces a directory that holds nothing else.
RESULT = re.compile(
    r"overlay\.png|summary\.json|experiment\.toml|equations\.tex|training\.nc|theory-[a-z0-9=,]+\.nc"
    r"|report\.html|figure\.png|figure\.json|data\.npz"
)
ARRAY_BYTES = 2**31  # larger inputs are refused before they are unpacked


class InputError(ValueError):
    """Something the user gave cannot be used; the message is one sentence with the remedy."""


def read_arrays(path: Path, needed: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """Read the named arrays of an .npz file, without unpickling anything.

    Parameters
    ----------
    path : Path
        A file written by ``numpy.savez``.
    needed, optional : tuple of str
        Names of the arrays; any other name in the file is refused.

    Returns
    -------
    dict
        Name -> array.

    Raises
    ------
    InputError
        If the file is missing, is no .npz, lacks an array, has an unknown or pickled one, or is too large.
    """
    import numpy as np

    if not path.is_file():
        raise InputError(f"there is no file {str(path)!r}: give the path of an .npz file.")
    try:
        _check_members(path, needed, optional)
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except InputError:
        raise
    except (
        Exception
    ) as error:  # a damaged archive fails in many ways: zipfile, zlib, struct, numpy's header parser
        detail = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{str(path)!r} is not a readable .npz file of plain arrays: {detail}") from error


def _check_members(path: Path, needed: tuple[str, ...], optional: tuple[str, ...]) -> None:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    names = [member.filename.removesuffix(".npy") for member in members]
    listed = ", ".join(needed + optional)
    for name in needed:
        if name not in names:
            raise InputError(
                f"{str(path)!r} lacks the array {name!r}: it holds {', '.join(names) or 'nothing'}."
            )
    for name in names:
        if name not in needed + optional:
            raise InputError(f"{str(path)!r} has an unknown array {name!r}: it may hold {listed}.")
    size = sum(member.file_size for member in members)
    if size > ARRAY_BYTES:
        raise InputError(f"{str(path)!r} unpacks to {size:,} bytes: the limit is {ARRAY_BYTES:,}.")


def check_target(target: Path, overwrite: bool) -> Path:
    """Return the absolute output directory after making sure, before any work, that it can be written.

    Nothing is left behind: a trial directory is made beside the target and removed.

    Raises
    ------
    InputError
        If results are there already and `overwrite` is not set, if the directory holds anything that no
        command wrote, or if it cannot be created.
    """
    try:
        target = target.resolve()
        _check_content(target, overwrite)
        parent = next(p for p in target.parents if p.exists())
        os.rmdir(tempfile.mkdtemp(prefix=".smallinit-", dir=parent))
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot write to the output directory {str(target)!r}: {reason}.") from error
    return target


def _check_content(target: Path, overwrite: bool) -> None:
    if target == Path.cwd():
        raise InputError(
            f"the output directory {str(target)!r} is the current one: name a new one with --out."
        )
    if not target.exists():
        return
    if not target.is_dir():
        raise InputError(f"the output directory {str(target)!r} is a file: name another one with --out.")
    content = sorted(entry.name for entry in target.iterdir())
    if content and not overwrite:
        raise InputError(
            f"{str(target)!r} holds {content[0]!r} already: add --overwrite or choose another --out."
        )
    if foreign := [name for name in content if not RESULT.fullmatch(name)]:
        raise InputError(
            f"{str(target)!r} holds {foreign[0]!r}, which smallinit did not write: "
            "move it away or choose another --out."
        )


@contextmanager
def staged(target: Path, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary directory that takes the place of `target` when the block ends without an error.

    An older result goes only once the new one is complete; an error or an interrupt leaves nothing behind.

    Raises
    ------
    InputError
        If the target has meanwhile been filled by somebody else.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.new-", dir=target.parent))
    try:
        yield staging
        _sync(staging)
        staging.chmod(0o777 & ~_umask())  # mkdtemp makes private directories
        _check_content(target, overwrite)
        _replace(staging, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _replace(staging: Path, target: Path) -> None:
    """Swap two directories; no exchange is atomic, so the older one steps aside and returns on failure."""
    if not target.exists():
        staging.rename(target)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.old-", dir=target.parent))
    try:
        target.rename(aside / target.name)
        try:
            staging.rename(target)
        except BaseException:
            (aside / target.name).rename(target)
            raise
    except BaseException:
        with suppress(OSError):
            aside.rmdir()  # only if the older result is back in its place
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _sync(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("rb") as file, suppress(OSError):  # not every file system can
            os.fsync(file.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
