"""Where a command is to write: refused before any work, and promised, so that an interrupt can say what is there."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from ...theory.base.disk.destination import file_destination, folder_destination
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


def checkpoint_file(path: Path | str | None, folder: Path) -> None:
    """Make sure that a training can keep its state in a file, which may be there already.

    Raises
    ------
    InputError
        If it cannot, or if the file would be in the way of the results, which take the place of all of `folder`.
    """
    if path is None:
        return
    flag, found = "training.checkpoint", folder_destination(path)
    if found == folder or folder in found.parents:
        raise InputError(
            f"`{flag}` {str(path)!r} lies in the output directory, which results replace as a whole: "
            "keep it beside that one."
        )
    if found in folder.parents:
        raise InputError(_both(flag, path, folder))
    try:
        check_file(Path(path), overwrite=True)
    except OSError as error:
        raise InputError(_refused(flag, path, error)) from error


def sweep_folder(path: Path, files: Mapping[str, Path | None]) -> None:
    """Make sure that points can be kept in a directory, which may be there already.

    Parameters
    ----------
    path : Path
        The directory.
    files : mapping
        Flag -> file that is to be written too.

    Raises
    ------
    InputError
        If they cannot, or if a file is to have the name of the directory, or of one that it lies in.
    """
    folder = folder_destination(path)
    for flag, file in files.items():
        if file is not None and folder_destination(file) in (folder, *folder.parents):
            raise InputError(_both(flag, file, folder))
    try:
        check_room(path)
    except OSError as error:
        raise InputError(f"cannot write to the output directory {str(path)!r}: {error.strerror}.") from error


def _both(flag: str, path: Path | str, folder: Path) -> str:
    return f"`{flag}` {str(path)!r} cannot be a file and hold {str(folder)!r}: name another one, or another --out."


def _refused(flag: str, path: Path | str, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"`{flag}` {str(path)!r} lies in a folder that does not exist: create it first."
    return f"`{flag}` {str(path)!r}: {error}"
