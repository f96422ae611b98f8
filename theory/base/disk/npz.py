"""The one reader of .npz files: it unpickles nothing, and never claims more memory than the file may hold."""

from __future__ import annotations

import errno
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from ..errors import InputError
from .files import whole_file
from .regular import open_regular
from .sealed import BLANK, UnsoundFile, open_sealed, seal_file

ARRAY_BYTES = 2**31  # larger files are refused before they are unpacked
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class DamagedArchive(ValueError):
    """A file that is no sound .npz of plain arrays; the message is the reason, without the file's name."""


class Archive(Mapping[str, np.ndarray]):
    """The arrays of an open .npz file, each read when it is asked for; made by `open_npz`.

    Other members are there under their names, as arrays of bytes.
    """

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        if len(self._members) < len(archive.infolist()):
            raise DamagedArchive("two members have one name")

    def __getitem__(self, name: str) -> np.ndarray:
        """Read one array to its end, which checks its sum.

        Raises
        ------
        KeyError
            If there is none of that name.
        DamagedArchive
            If it is not what was written, or no plain array.
        """
        member = self._members[name]
        with _damage_named(), self._archive.open(member) as file:
            if not member.filename.endswith(".npy"):
                return np.frombuffer(file.read(), dtype=np.uint8)
            return _array(file, member)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names, in the order of the file."""
        return iter(self._members)

    def __len__(self) -> int:
        """Return the number of members."""
        return len(self._members)

    def check(self) -> None:
        """Read all members through, keeping nothing.

        Raises
        ------
        DamagedArchive
            If one is not what was written.
        """
        with _damage_named():
            if (bad := self._archive.testzip()) is not None:
                raise DamagedArchive(f"member {bad!r} is damaged")


@contextmanager
def open_npz(path: Path, limit: int = ARRAY_BYTES) -> Iterator[Archive]:
    """Open an .npz file of whatever origin, refusing what is none.

    Parameters
    ----------
    path : Path
        The file.
    limit : int
        Bytes that all its members may unpack to.

    Raises
    ------
    DamagedArchive
        If it is no .npz file, or too large.
    InputError
        If it is no regular file.
    FileNotFoundError
        If there is no such file.
    """
    with open_regular(path) as file, _opened(file, limit) as archive:
        yield archive


@contextmanager
def open_sealed_npz(path: Path, limit: int = ARRAY_BYTES) -> Iterator[Archive]:
    """Open what `write_npz` wrote, once the digest of all its bytes is found right.

    Raises
    ------
    UnsoundFile
        If the file is not what was written, or no .npz file of plain arrays, or too large.
    InputError
        If it is no regular file.
    OSError
        If there is none, or it cannot be read.
    """
    with open_sealed(path) as file:
        try:
            with _opened(file, limit) as archive:
                yield archive
        except DamagedArchive as error:
            raise UnsoundFile(path, f"is no archive of plain arrays ({error})") from None


def write_npz(path: Path, members: Mapping[str, np.ndarray | bytes]) -> None:
    """Write a sealed .npz file whole or not at all; equal members give equal files.

    Parameters
    ----------
    path : Path
        File to write; replaced if there.
    members : mapping
        Name -> array, or bytes for a member that is no array and keeps its name.
    """
    with whole_file(path) as written:
        with zipfile.ZipFile(written, "w") as archive:
            for name, value in members.items():
                _write_member(archive, name, value)
            archive.comment = BLANK
        seal_file(written)


def _write_member(archive: zipfile.ZipFile, name: str, value: np.ndarray | bytes) -> None:
    plain = isinstance(value, bytes)
    info = zipfile.ZipInfo(name if plain else f"{name}.npy")  # without a time stamp
    info.external_attr = 0o600 << 16
    with archive.open(info, "w", force_zip64=True) as file:
        if plain:
            file.write(value)
        else:
            np.lib.format.write_array(file, np.asanyarray(value), allow_pickle=False)


@contextmanager
def _opened(file: IO[bytes], limit: int) -> Iterator[Archive]:
    with _damage_named():
        archive = zipfile.ZipFile(file)
    with archive:
        size = sum(member.file_size for member in archive.infolist())
        if size > limit:
            raise DamagedArchive(f"it unpacks to {size:,} bytes: the limit is {limit:,}")
        yield Archive(archive)


@contextmanager
def _damage_named() -> Iterator[None]:
    try:
        yield
    except (DamagedArchive, MemoryError):
        raise
    # A damaged archive fails in many ways: zipfile, zlib, struct, numpy's parser of headers.
    except Exception as error:
        if (
            isinstance(error, OSError) and error.errno != errno.EINVAL
        ):  # the system's own troubles are no damage
            raise
        detail = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise DamagedArchive(detail) from error


def _array(file: IO[bytes], member: zipfile.ZipInfo) -> np.ndarray:
    """Read one array whose header must fit the member before anything is allocated."""
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise DamagedArchive(f"member {member.filename!r} has the unknown format {version}")
    shape, fortran, dtype = _HEADERS[version](file)
    if dtype.hasobject:
        raise DamagedArchive(f"member {member.filename!r} holds objects, which are never unpickled")
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if size > member.file_size or min(shape, default=0) < 0:
        raise DamagedArchive(f"member {member.filename!r} has an impossible header")
    content = file.read()
    if len(content) != size:
        raise DamagedArchive(f"member {member.filename!r} is cut short")
    return np.frombuffer(content, dtype=dtype).reshape(shape, order="F" if fortran else "C").copy()


def read_arrays(path: Path, needed: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """Read the named arrays of a user's .npz file.

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
    if not path.exists():
        raise InputError(f"there is no file {str(path)!r}: give the path of an .npz file.")
    try:
        with open_npz(path) as arrays:
            if wrong := _wrong_names(list(arrays), needed, optional):
                raise InputError(f"{str(path)!r} {wrong}")
            return dict(arrays)
    except DamagedArchive as error:
        raise InputError(f"{str(path)!r} is not a readable .npz file of plain arrays: {error}.") from error


def _wrong_names(names: list[str], needed: tuple[str, ...], optional: tuple[str, ...]) -> str:
    for name in needed:
        if name not in names:
            return f"lacks the array {name!r}: it holds {', '.join(names) or 'nothing'}."
    listed = needed + optional
    unknown = [name for name in names if name not in listed]
    return f"has an unknown array {unknown[0]!r}: it may hold {', '.join(listed)}." if unknown else ""
