"""Result folders: written all at once or not at all, with the digests of their files."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .disk.destination import folder_destination
from .disk.exchange import exchange
from .disk.files import make_folder, sync
from .disk.owner import leftovers, remove_tree, temporary
from .disk.regular import open_regular
from .disk.sealed import UnsoundFile
from .errors import InputError
from .records import read_record, write_record

DIGESTS = "digests.json"  # name -> SHA-256 of every file that was written with it
# Everything that a command writes; `--overwrite` replaces a directory that holds nothing else.
RESULT = re.compile(
    r"overlay\.png|summary\.json|experiment\.toml|equations\.tex|training\.nc|theory-[a-z0-9=,]+\.nc"
    r"|report(-embeddings)?\.html|report-embeddings\.gif|figure\.png|figure\.json|data\.npz|digests\.json"
)


def check_folder(target: Path, overwrite: bool) -> Path:
    """Return the absolute output directory after making sure, before any work, that it can be written.

    Nothing is left behind: a trial directory is made beside the target and removed. What a killed process left
    half done there is put right first; see `recover`.

    Raises
    ------
    InputError
        If results are there already and `overwrite` is not set, if the directory holds anything that no
        command wrote, if its name is too long, or if it cannot be created.
    """
    target = folder_destination(target)
    try:
        recover(target)
        _check_content(target, overwrite)
        parent = next(p for p in target.parents if p.exists())
        trial = temporary(parent / target.name, "new")
        trial.mkdir(mode=0o700)
        trial.rmdir()
    except OSError as error:
        reason = error.strerror or str(error)
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
            f"{str(target)!r} is not empty, it holds {content[0]!r}: add --overwrite or choose another --out."
        )
    if foreign := [name for name in content if not RESULT.fullmatch(name)]:
        raise InputError(
            f"{str(target)!r} holds {foreign[0]!r}, which smallinit did not write: "
            "move it away or choose another --out."
        )


@contextmanager
def staged(target: Path, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary directory that takes the place of `target` when the block ends without an error.

    An older result goes only once the new one is complete and on the disk; an error or an interrupt leaves nothing
    behind, a kill nothing that the next run does not put right.

    Raises
    ------
    InputError
        If the target has meanwhile been filled by somebody else.
    """
    target = folder_destination(target)
    make_folder(target.parent)
    recover(target)
    staging, older = temporary(target, "new"), temporary(target, "old")
    try:
        staging.mkdir(mode=0o700)
        yield staging
        _write_digests(staging)
        for path in staging.iterdir():
            sync(path)
        sync(staging)
        staging.chmod(0o777 & ~_umask())
        _check_content(target, overwrite)
        _replace(staging, target, older)
        sync(target.parent)  # before the older one goes
    except OSError as error:
        name = Path(str(error.filename))
        if name.is_relative_to(staging):  # which nobody has heard of, and is gone
            error.filename = str(target / name.relative_to(staging))
        raise
    finally:
        for path in (staging, older):
            if path.exists():
                remove_tree(path)


def _replace(staging: Path, target: Path, older: Path) -> None:
    """Let the new directory take the place of the old one: in one step where the system has one.

    Elsewhere the older one steps aside, to `older`, and returns on failure; between these two steps it is there under
    the name that `recover` looks for.
    """
    if not target.exists():
        staging.rename(target)
        return
    if exchange(staging, target):  # the older one is now `staging`, which goes
        return
    target.rename(older)
    try:
        staging.rename(target)
    except BaseException:
        older.rename(target)
        raise


def recover(target: Path) -> None:
    """Put right what killed processes left of `target`: an older result returns to its place, all else goes.

    What belongs to living processes, or to those of another host within a week, is left alone.
    """
    found = list(leftovers(target.parent, target))
    for kind, path in found:
        if kind == "old" and not target.exists():
            with suppress(OSError):
                path.rename(target)
                sync(target.parent)
    for _, path in found:
        if path.is_dir() and not path.is_symlink():
            remove_tree(path)


def _write_digests(folder: Path) -> None:
    files = sorted(path for path in folder.iterdir() if path.is_file())
    write_record(folder / DIGESTS, {"format": 1, "sha256": {path.name: digest_of(path) for path in files}})


def read_digests(folder: Path) -> dict[str, str]:
    """Return name -> SHA-256 of the files that were written together into a results folder.

    Raises
    ------
    UnsoundFile
        If the list is damaged.
    FileNotFoundError
        If there is none.
    """
    found = read_record(folder / DIGESTS)
    listed = found.get("sha256")
    if found.get("format") != 1 or not isinstance(listed, dict):
        raise UnsoundFile(folder / DIGESTS, "is no list of digests that this version reads")
    if not all(isinstance(value, str) and RESULT.fullmatch(name) for name, value in listed.items()):
        raise UnsoundFile(folder / DIGESTS, "names a file that no command writes")
    return listed


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    with open_regular(path) as file:
        digest = hashlib.sha256()
        while part := file.read(2**20):
            digest.update(part)
        return digest.hexdigest()


def _umask() -> int:
    """Read the mask of new files off a new folder: to ask the system is to change it, under the eyes of all threads."""
    private = Path(tempfile.mkdtemp(prefix="smallinit-"))
    try:
        (private / "new").mkdir()
        return 0o777 & ~(private / "new").stat().st_mode
    finally:
        shutil.rmtree(private, ignore_errors=True)
