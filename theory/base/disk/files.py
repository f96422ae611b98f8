"""Files written whole or not at all: a kill or a full disk leaves the old one or the new, never half of one."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..validate import flag
from .destination import file_destination, folder_destination
from .owner import remove_leftovers, temporary


def check_file(path: Path, overwrite: bool) -> None:
    """Refuse a path that cannot be written, before anything is computed; of a link, what it points at is written.

    Raises
    ------
    InputError
        If it is no file, or its name is too long.
    FileExistsError
        If the file exists and `overwrite` is False.
    FileNotFoundError
        If its folder does not exist.
    OSError
        If that cannot be written to; its `errno` says why.
    """
    target = file_destination(path)
    if not flag("overwrite", overwrite) and target.exists():
        raise FileExistsError(f"{path} exists; pass overwrite=True or choose another name.")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"the folder {_shown(path, target).parent} does not exist; create it first.")
    try:
        check_room(target.parent)
    except OSError as error:
        refusal = OSError(
            f"the folder {_shown(path, target).parent} cannot be written to ({error.strerror}); choose another."
        )
        refusal.errno = error.errno
        raise refusal from error


def check_room(folder: Path) -> None:
    """Make and remove a file in a folder, or in the nearest one above it that is there: rights alone do not tell.

    Raises
    ------
    OSError
        If it cannot be made.
    """
    folder = folder_destination(folder)
    there = next(p for p in (folder, *folder.parents) if p.exists())
    remove_leftovers(there)  # of a trial that could not be removed too
    trial = temporary(there / "trial", "tmp")
    trial.touch(exist_ok=False)
    trial.unlink()


def _shown(path: Path, target: Path) -> Path:
    """The name as it was given, unless it is a link."""
    return target if path.is_symlink() else path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give the name of a temporary file that takes the place of `path` when the block ends without an error.

    It lies in the same folder; file and folder are on the disk when the block has ended. After an error or an
    interrupt the old file is as it was, and nothing is left behind; what killed processes left behind is removed.

    Parameters
    ----------
    path : Path
        File to write; replaced if there. Its folder must exist. A link stays, and what it points at is written.

    Raises
    ------
    InputError
        If it is a folder, a pipe or a device, or its name is too long.
    OSError
        If it cannot be written.
    """
    path = file_destination(path)
    remove_leftovers(path.parent)
    written = temporary(path, "tmp")
    try:
        yield written
        sync(written)
        os.replace(written, path)
    except OSError as error:
        if error.errno is not None and error.filename is None:  # of a write, which knows its handle alone
            error.filename = str(path)
        raise
    finally:
        with suppress(OSError):  # that of the block says more; what stays is removed by the next run
            written.unlink(missing_ok=True)
    sync(path.parent)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all; text as UTF-8, line ends as they are. See `whole_file`."""
    with whole_file(path) as written:
        written.write_bytes(content.encode() if isinstance(content, str) else content)


def make_folder(path: Path) -> None:
    """Make a folder and those above it, if they are not there, and bring their names to the disk."""
    path = folder_destination(path)
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync(folder.parent)


def sync(path: Path) -> None:
    """Bring a file or a folder to the disk, where the system and the file system can."""
    if path.is_dir() and os.name != "posix":
        return  # elsewhere folders cannot be opened
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems sync no folders
            raise
    finally:
        os.close(handle)
