"""Nothing is parsed before its digest is found right, and nothing is loaded that does not lie in the file."""

import h5py
import numpy as np
import pytest
import xarray

from smallinit.sim.trajectory.netcdf import read_netcdf, write_netcdf
from smallinit.theory.base.disk.sealed import UnsoundFile, append_seal


@pytest.fixture
def path(tmp_path):
    dataset = xarray.Dataset(
        {"a/b": (("t", "x"), np.arange(6.0).reshape(2, 3)), "c": ("t", [1, 2])}, attrs={"n": 1}
    )
    return write_netcdf(dataset, tmp_path / "a.nc")


def test_what_was_written_is_read_by_us_and_by_others(path):
    np.testing.assert_array_equal(read_netcdf(path).variables["a|b"].values, np.arange(6.0).reshape(2, 3))
    with xarray.open_dataset(path, engine="h5netcdf") as others, h5py.File(path) as bare:
        np.testing.assert_array_equal(others["c"], [1, 2])
        np.testing.assert_array_equal(bare["c"], [1, 2])


def test_a_dataset_is_written_as_xarray_writes_it(tmp_path):
    """Axes of names and of texts, labels that share an axis, and the attributes that go with them."""
    labels = {
        "t": [0.0, 1.0],
        "step": ("t", [0, 5]),
        "run": ["a", "bc"],
        "pair": (("t", "run"), np.ones((2, 2))),
    }
    arrays = {
        "loss": (("t", "run"), np.array([[1.0, np.nan], [3.0, 4.0]]), {"units": "nats"}),
        "how": ("run", np.array(["ended", ""])),
        "single": ("x", np.arange(3, dtype=np.float32)),
        "alone": ((), 2),
    }
    dataset = xarray.Dataset(arrays, labels, {"n": 1, "said": "so"})
    dataset.to_netcdf(tmp_path / "theirs.nc", engine="h5netcdf")
    write_netcdf(dataset, tmp_path / "ours.nc")
    ours, theirs = (
        xarray.open_dataset(tmp_path / f"{name}.nc", engine="h5netcdf") for name in ("ours", "theirs")
    )
    with ours, theirs:
        assert ours.identical(theirs)
        assert list(ours.variables) == list(theirs.variables)
        for name, array in theirs.variables.items():
            known = ("dtype", "_FillValue", "coordinates")
            assert str([ours[name].encoding.get(key) for key in known]) == str(
                [array.encoding.get(key) for key in known]
            )


def test_no_parser_sees_a_damaged_file(path, monkeypatch):
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    monkeypatch.setattr(h5py, "File", lambda *_, **__: pytest.fail("it was parsed"))
    with pytest.raises(UnsoundFile, match="is damaged: its SHA-256"):
        read_netcdf(path)


def external_link(file, folder):
    with h5py.File(folder / "other.h5", "w") as other:
        other["secret"] = np.zeros(3)
    file["secret"] = h5py.ExternalLink(str(folder / "other.h5"), "secret")


def raw_storage(file, folder):
    (folder / "passwords").write_bytes(bytes(24))
    file.create_dataset("raw", (3,), "f8", external=[(str(folder / "passwords"), 0, 24)])


def virtual(file, folder):
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "secret", (3,))
    file.create_virtual_dataset("virtual", layout)


HOSTILE = {
    "external link": external_link,
    "soft link": lambda file, _: file.__setitem__("soft", h5py.SoftLink("/c")),
    "raw storage": raw_storage,
    "virtual": virtual,
    "group": lambda file, _: file.create_group("group"),
    "complex": lambda file, _: file.create_dataset("z", data=np.zeros(3, complex)),
    "objects": lambda file, _: file.create_dataset("o", (3,), h5py.string_dtype()),
    "bomb": lambda file, _: file.create_dataset("b", (10**6, 10**6), "f8", chunks=(1000, 1000)),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_does_not_lie_in_the_file_is_refused(path, tmp_path, kind):
    with h5py.File(path, "a") as file:
        HOSTILE[kind](file, tmp_path)
    append_seal(path)
    with pytest.raises(UnsoundFile, match="is no netCDF file of plain arrays"):
        read_netcdf(path)
