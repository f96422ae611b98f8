"""A file that takes all that is written to it, and says afterwards what did not fit.

HDF5 cannot give up: where a disk is full it tries once more to write when its handles are let go, and the process ends
by a segmentation fault. It is told that all went well, and the fault is raised once it is done.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any


@contextmanager
def patient_file(path: Path) -> Iterator[PatientFile]:
    """Open a new file for HDF5; what went wrong with it is raised when the block has ended.

    Raises
    ------
    OSError
        If not all could be written.
    """
    with path.open("w+b", buffering=0) as raw:
        file = PatientFile(raw)
        try:
            yield file
        except Exception:
            if file.fault is None:
                raise
            raise file.fault from None  # what HDF5 made of it says less
    if file.fault is not None:
        raise file.fault


class PatientFile:
    """What HDF5 sees of a file.

    Attributes
    ----------
    fault : BaseException or None
        The first thing that went wrong, an interrupt included; nothing is written after it.
    """

    def __init__(self, raw: FileIO) -> None:
        self._raw = raw
        self.fault: BaseException | None = None

    def write(self, content: Any) -> int:
        """Write all bytes, or take them without."""
        left = memoryview(content).cast("B")
        size = len(left)
        try:
            while self.fault is None and len(left):
                left = left[self._raw.write(left) :]
        except BaseException as error:  # raised by `patient_file`
            self.fault = error
        return size

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with what is there; after a fault, with zeros where there is nothing."""
        view = memoryview(buffer).cast("B")
        found = self._raw.readinto(view) or 0
        if self.fault is not None:
            view[found:] = bytes(len(view) - found)
            return len(view)
        return found

    def read(self, size: int = -1) -> bytes:
        """Read what is there; `readinto` is what HDF5 uses, and this is what h5py knows a file by."""
        return self._raw.read(size) or b""

    def seek(self, place: int, whence: int = 0) -> int:
        """Go to a place."""
        return self._raw.seek(place, whence)

    def tell(self) -> int:
        """Where it stands."""
        return self._raw.tell()

    def truncate(self, size: int) -> int:
        """Set the size."""
        try:
            return self._raw.truncate(size) if self.fault is None else size
        except OSError as error:
            self.fault = error
            return size

    def flush(self) -> None:
        """Nothing is held back."""
