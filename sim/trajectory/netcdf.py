"""Sealed netCDF4 files: written whole or not at all, and read only when every byte is what was written.

What a file says is checked before it is loaded: plain numeric arrays that lie in the file itself. A link to another
file, raw storage elsewhere, and arrays larger than the file are refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ...theory.base.disk.files import whole_file
from ...theory.base.disk.sealed import UnsoundFile, append_seal, open_sealed

if TYPE_CHECKING:
    import xarray


def write_netcdf(dataset: xarray.Dataset, path: Path) -> Path:
    """Write a dataset whole or not at all, sealed; "/" in names becomes "|", which netCDF allows."""
    names = {name: _file_name(str(name)) for name in [*dataset.variables, *dataset.dims] if "/" in str(name)}
    with whole_file(path) as temporary:
        dataset.rename(names).to_netcdf(temporary, engine="h5netcdf", format="NETCDF4")
        append_seal(temporary)
    return path


def read_netcdf(path: Path) -> xarray.Dataset:
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
    import xarray

    with open_sealed(path) as file:
        try:
            _check_storage(file)
            with xarray.open_dataset(file, engine="h5netcdf", decode_cf=False) as dataset:
                return dataset.load()
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
