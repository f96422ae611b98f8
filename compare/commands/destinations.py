"""Where a command is to write: refused before any work, and promised, so that an interrupt can say what is there."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from ...theory.base.disk.destination import file_destination
from ...theory.base.disk.files import check_file, check_room
from ...theory.base.disk.promised import promise
from ...theory.base.errors import InputError
from ...theory.base.folders import check_folder


def output_folder(path: Path, overwrite: bool) -> Path:
    """Return the absolute directory of the results, which is replaced or made.

    Raises
    ------
    InputError
        If it cannot be written, or holds what is not to be replaced.
    """
    folder = check_folder(path, overwrite)
    promise(folder)
    return folder


def output_file(flag: str, path: Path, overwrite: bool, ends: Collection[str] = ()) -> None:
    """Make sure that a file can be written that a flag asks for.

    Parameters
    ----------
    flag : str
        As it is typed, such as "--picture".
    path : Path
        The file.
    overwrite : bool
        Whether one that is there may be replaced.
    ends : collection of str
        What its name may end in; anything if empty.

    Raises
    ------
    InputError
        If it cannot be written, is there already, or ends in anything else.
    """
    file_destination(path)
    if ends and path.suffix.lower() not in ends:
        raise InputError(
            f"`{flag}` {str(path)!r} must end in {'one of ' * (len(ends) > 1)}{', '.join(ends)}."
        )
    try:
        check_file(path, overwrite)
    except FileExistsError:
        raise InputError(f"`{flag}` {str(path)!r} exists: add --overwrite or name another file.") from None
    except OSError as error:
        raise InputError(_refused(flag, path, error)) from error
    promise(path)


def output_picture(flag: str, path: Path, overwrite: bool) -> None:
    """The same of a picture, whose name says its format."""
    from ..plots.saving import METADATA

    output_file(flag, path, overwrite, METADATA)


def checkpoint_file(path: Path | str | None) -> None:
    """Make sure that a training can keep its state in a file, which may be there already.

    Raises
    ------
    InputError
        If it cannot.
    """
    if path is None:
        return
    try:
        check_file(Path(path), overwrite=True)
    except OSError as error:
        raise InputError(_refused("training.checkpoint", path, error)) from error


def sweep_folder(path: Path) -> None:
    """Make sure that points can be kept in a directory, which may be there already.

    Raises
    ------
    InputError
        If they cannot.
    """
    try:
        check_room(path)
    except OSError as error:
        raise InputError(f"cannot write to the output directory {str(path)!r}: {error.strerror}.") from error


def _refused(flag: str, path: Path | str, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"`{flag}` {str(path)!r} lies in a folder that does not exist: create it first."
    return f"`{flag}` {str(path)!r}: {error}"
