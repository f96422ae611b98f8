"""Sealed netCDF4 files: written whole or not at all, and read only when every byte is what was written.

What a file says is checked before it is loaded: plain numeric arrays that lie in the file itself. A link to another
file, raw storage elsewhere, and arrays larger than the file are refused. xarray reads and writes the same files, and
takes longer to load than most runs take: it is left to those who ask for a dataset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ...theory.base.disk.files import whole_file
from ...theory.base.disk.sealed import UnsoundFile, append_seal, open_sealed
from .patient_file import patient_file

if TYPE_CHECKING:
    import h5netcdf
    import xarray


@dataclass(frozen=True, eq=False)
class Labelled:
    """An array with the names of its axes and what is said of it; an `xarray.Variable` has the same attributes."""

    dims: tuple[str, ...]
    values: np.ndarray
    attrs: Mapping[str, Any]


@dataclass(frozen=True)
class Contents:
    """What a file holds.

    Attributes
    ----------
    variables : Mapping[str, Labelled]
        All arrays by name.
    attrs : Mapping[str, Any]
        What is said of the whole.
    coords : frozenset of str
        Names of those arrays that label axes.
    """

    variables: Mapping[str, Labelled]
    attrs: Mapping[str, Any]
    coords: frozenset[str] = frozenset()

    def to_xarray(self) -> xarray.Dataset:
        """The same as an `xarray.Dataset`."""
        import xarray

        parts = {name: (array.dims, array.values, array.attrs) for name, array in self.variables.items()}
        labels = {name: parts.pop(name) for name in list(parts) if name in self.coords}
        return xarray.Dataset(parts, labels, self.attrs)


def write_netcdf(dataset: Contents | xarray.Dataset, path: Path) -> Path:
    """Write a dataset whole or not at all, sealed; "/" in names becomes "|", which netCDF allows."""
    with whole_file(path) as temporary:
        _write(dataset, temporary)
        append_seal(temporary)
    return path


def _write(dataset: Any, path: Path) -> None:
    """Write attributes, axes and arrays as xarray does."""
    import h5netcdf

    arrays: dict[str, Any] = {str(name): array for name, array in dataset.variables.items()}
    sizes = {str(d): n for a in arrays.values() for d, n in zip(a.dims, a.values.shape, strict=True)}
    shared = sorted(
        {str(name) for name in dataset.coords} - sizes.keys()
    )  # labels of axes that have others too
    with patient_file(path) as handle, h5netcdf.File(handle, "w") as file:
        file.attrs.update(dataset.attrs)
        file.dimensions = {_file_name(dim): size for dim, size in sizes.items()}
        for name, array in arrays.items():
            said = dict(array.attrs)
            its = [label for label in shared if set(arrays[label].dims) <= set(array.dims)]
            if its and name not in dataset.coords:
                said["coordinates"] = " ".join(its)
            _add(file, name, array, said)


def _add(file: h5netcdf.File, name: str, array: Any, said: Mapping[str, Any]) -> None:
    """Add an array: texts as such, real numbers with nan for what is missing."""
    import h5py

    values = np.asarray(array.values)
    texts, real = values.dtype.kind in "UO", values.dtype.kind == "f"
    axes, kind = [_file_name(str(dim)) for dim in array.dims], h5py.string_dtype() if texts else values.dtype
    missing = values.dtype.type(np.nan) if real else None
    added = file.create_variable(_file_name(name), axes, kind, fillvalue=missing)
    added.attrs.update(said)
    added[...] = values.astype(object) if texts else values


def read_netcdf(path: Path) -> Contents:
    """Read a file that `write_netcdf` wrote into memory; nothing in it can run code or claim more than it has bytes.

    Raises
    ------
    UnsoundFile
        If it is not what was written, or holds anything but plain arrays of numbers.
    InputError
        If it is no regular file.
    OSError
        If it cannot be read.
    """
    import h5netcdf

    with open_sealed(path) as file:
        try:
            _check_storage(file)
            with h5netcdf.File(file, "r") as content:
                arrays = {
                    name: Labelled(tuple(array.dimensions), np.asarray(array[...]), dict(array.attrs))
                    for name, array in content.variables.items()
                }
                return Contents(
                    arrays, dict(content.attrs), frozenset(arrays.keys() & content.dimensions.keys())
                )
        except MemoryError:
            raise
        except Exception as error:  # a forged HDF5 file raises nearly anything
            reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
            raise UnsoundFile(path, f"is no netCDF file of plain arrays ({reason})") from None


def _check_storage(file: BinaryIO) -> None:
    """Raise ValueError unless all there is are arrays of numbers, stored in the file."""
    import h5py

    size = file.seek(0, 2)
    with h5py.File(file, "r") as content:
        total = 0
        for name in content:
            if not isinstance(content.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"{name!r} is a link")
            array: Any = content[name]
            if not isinstance(array, h5py.Dataset):
                raise ValueError(f"{name!r} is no array")
            if array.external or array.is_virtual:
                raise ValueError(f"{name!r} is stored in another file")
            if array.dtype.kind not in "fiuU" or array.dtype.hasobject:
                raise ValueError(f"{name!r} holds no real numbers")
            total += array.size * array.dtype.itemsize
        if total > size:
            raise ValueError("its arrays are larger than the file")
    file.seek(0)


def _file_name(name: str) -> str:
    """Encode an observable's name for netCDF, which takes / for a folder."""
    return name.replace("%", "%25").replace("|", "%7C").replace("/", "|")
