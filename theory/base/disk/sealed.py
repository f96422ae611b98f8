"""Seals: every file that we write holds a digest of all of it, and none is parsed before its digest is found right.

A seal is the line ``smallinit-seal sha256 <64 digits>`` near the end of a file, at a place where readers of its format
do not mind it: the last member of a JSON object, the comment of a zip archive, bytes behind the end of an HDF5 file, a
comment in HTML. The digits are the SHA-256 of the whole file with zeros in their place, so that no byte is left out,
nor any byte of the format's own framing. It is a check against damage and mixing, not a signature: whoever can edit a
file can seal it anew, which is why readers check meaning as well.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ..errors import InputError
from .regular import open_regular

BLANK = b"smallinit-seal sha256 " + b"0" * 64
TAIL = 256  # bytes at the end of a file within which its seal lies
_SEAL = re.compile(rb"smallinit-seal sha256 ([0-9a-f]{64})(?![0-9a-f])")
_CHUNK = 2**20


class UnsoundFile(InputError):
    """A file of ours that is not what was written.

    Parameters
    ----------
    path : path
        The file.
    reason : str
        What is wrong: the sentence goes on after the name.
    remedy : str
        What to do.
    """

    def __init__(
        self, path: str | Path, reason: str, remedy: str = "restore it, or make the results again"
    ) -> None:
        self.path, self.reason, self.remedy = str(path), reason, remedy
        super().__init__(f"{self.path!r} {reason}: {remedy}.")

    def __reduce__(self) -> tuple[type[UnsoundFile], tuple[str, str, str]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Restore from its parts: an error must survive its way out of a worker process."""
        return type(self), (self.path, self.reason, self.remedy)


def with_seal(content: bytes) -> bytes:
    """Fill in the blank seal that `content` ends with."""
    place = _digits(content, 0)
    digest = hashlib.sha256(content).hexdigest().encode()
    return content[: place[0]] + digest + content[place[1] :]


def html_with_seal(text: str) -> bytes:
    """Return a page with a seal in a comment at its end; bytes of a name that are no text are written as such."""
    return with_seal(text.encode(errors="backslashreplace") + b"<!-- " + BLANK + b" -->\n")


def seal_file(path: Path) -> None:
    """Fill in the blank seal that a file ends with."""
    with path.open("r+b") as file:
        start, stop = _find(file)
        digest = _digest(file, start, stop)
        file.seek(start)
        file.write(digest.encode())


def append_seal(path: Path) -> None:
    """Seal a file whose format ends by itself, such as HDF5: the line stands behind its end."""
    with path.open("ab") as file:
        file.write(b"\n" + BLANK + b"\n")
    seal_file(path)


def is_sealed(path: Path) -> bool:
    """Whether a file carries a seal, right or wrong."""
    try:
        with open_regular(path) as file:
            _find(file)
    except LookupError:
        return False
    return True


@contextmanager
def open_sealed(path: str | Path, limit: int | None = None) -> Iterator[BinaryIO]:
    """Open a file of ours once its digest is found right, at its beginning.

    What is read from the handle is what was checked, even if another file takes the name meanwhile.

    Raises
    ------
    UnsoundFile
        If it carries no seal, or another digest.
    InputError
        If it is no regular file, or larger than the limit.
    OSError
        If there is none, or it cannot be read.
    """
    with open_regular(path, limit) as file:
        try:
            start, stop = _find(file)
        except LookupError:
            raise UnsoundFile(
                path, "is damaged or was not written by smallinit (it ends without a seal)"
            ) from None
        file.seek(start)
        written = file.read(stop - start)
        if _digest(file, start, stop).encode() != written:
            raise UnsoundFile(path, "is damaged: its SHA-256 is not what was written")
        file.seek(0)
        yield file


def read_sealed(path: str | Path, limit: int) -> bytes:
    """Read a whole file of ours once its digest is found right; see `open_sealed`."""
    with open_sealed(path, limit) as file:
        return file.read()


def _find(file: BinaryIO) -> tuple[int, int]:
    """Where the digits of the seal are; LookupError if there is none."""
    size = file.seek(0, 2)
    begin = max(0, size - TAIL)
    file.seek(begin)
    return _digits(file.read(TAIL), begin)


def _digits(content: bytes, begin: int) -> tuple[int, int]:
    tail = max(0, len(content) - TAIL)
    found = list(_SEAL.finditer(content, tail))
    if not found:
        raise LookupError("there is no seal")
    start, stop = found[-1].span(1)
    return begin + start, begin + stop


def _digest(file: BinaryIO, start: int, stop: int) -> str:
    """SHA-256 of a file with zeros at the digits of its seal."""
    digest = hashlib.sha256()
    file.seek(0)
    left = start
    while left > 0 and (part := file.read(min(_CHUNK, left))):
        digest.update(part)
        left -= len(part)
    digest.update(b"0" * (stop - start))
    file.seek(stop)
    digest.update(file.read())
    return digest.hexdigest()
