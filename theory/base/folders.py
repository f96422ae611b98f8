"""Result folders: written all at once or not at all."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import InputError
from .files import sync

# Everything that a command writes; `--overwrite` replaces a directory that holds nothing else.
RESULT = re.compile(
    r"overlay\.png|summary\.json|experiment\.toml|equations\.tex|training\.nc|theory-[a-z0-9=,]+\.nc"
    r"|report\.html|figure\.png|figure\.json|data\.npz"
)


def check_folder(target: Path, overwrite: bool) -> Path:
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
        for path in staging.iterdir():
            sync(path)
        sync(staging)
        staging.chmod(0o777 & ~_umask())  # mkdtemp makes private directories
        _check_content(target, overwrite)
        _replace(staging, target)
        sync(target.parent)
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


def _umask() -> int:
    """Read the mask of new files off a new folder: to ask the system is to change it, under the eyes of all threads."""
    private = Path(tempfile.mkdtemp(prefix="smallinit-"))
    try:
        (private / "new").mkdir()
        return 0o777 & ~(private / "new").stat().st_mode
    finally:
        shutil.rmtree(private, ignore_errors=True)
