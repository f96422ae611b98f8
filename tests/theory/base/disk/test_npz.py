"""One bounded reader: whatever a file promises, nothing is run and nothing larger than the limit allocated."""

import zipfile

import numpy as np
import pytest

from smallinit.theory.base.disk.npz import DamagedArchive, open_npz, read_arrays
from smallinit.theory.base.errors import InputError


def npy(shape, descr="<f8", version=b"\x01\x00"):
    """An array's file with a header and no content."""
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    size = len(header).to_bytes(2 if version[0] == 1 else 4, "little")
    return b"\x93NUMPY" + version + size + header


def archive(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in members.items():
            out.writestr(f"{name}.npy", content)
    return path


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_back_bit_for_bit(tmp_path, save):
    rng = np.random.default_rng(0)
    arrays = {
        "a": rng.normal(size=(3, 4)), "b": np.asfortranarray(rng.normal(size=(5, 2))), "c": np.array(7),
        "d": np.zeros((0, 3)), "e": np.array(["memory", "x"]), "f": np.array([True, False]),
    }  # fmt: skip
    save(tmp_path / "a.npz", **arrays)
    with open_npz(tmp_path / "a.npz") as found:
        found.check()
        assert list(found) == list(arrays)
        for name, value in arrays.items():
            np.testing.assert_array_equal(found[name], value)
            assert found[name].dtype == value.dtype
            assert found[name].flags.writeable
        with pytest.raises(KeyError):
            found["g"]


def test_other_members_are_bytes(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as out:
        out.writestr("points.json", "[1]")
    with open_npz(tmp_path / "a.npz") as found:
        assert found["points.json"].tobytes() == b"[1]"


HOSTILE = {
    "huge": npy("(1000000000000,)"),
    "overflow": npy("(4294967296, 4294967296, 4294967296)"),
    "negative": npy("(-3,)"),
    "cut short": npy("(3,)"),
    "too long": npy("(1,)") + bytes(16),
    "objects": npy("(1,)", "|O") + bytes(8),
    "nothing wide": npy("(1000000000000,)", "<U0"),
    "code": npy("__import__('os').abort()"),
    "version": npy("(1,)", version=b"\x09\x00") + bytes(8),
    "no array": b"hello",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_members_are_refused(tmp_path, kind):
    path = archive(tmp_path / "a.npz", a=HOSTILE[kind])
    with open_npz(path) as found, pytest.raises(DamagedArchive):
        found["a"]
    with pytest.raises(
        InputError, match=r"'.*a\.npz' is not a readable \.npz file of plain arrays: [^\n]*\.$"
    ):
        read_arrays(path, ("a",))


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    path = archive(tmp_path / "a.npz", a=npy("(1250000,)") + bytes(10**7))
    assert path.stat().st_size < 10**5
    with pytest.raises(DamagedArchive, match="unpacks to 10,000,"), open_npz(path, 10**6):
        pass


def test_a_flipped_bit_is_found(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, a=np.arange(1000.0))
    content = bytearray(path.read_bytes())
    content[4000] ^= 1
    path.write_bytes(content)
    with open_npz(path) as found:
        with pytest.raises(DamagedArchive):
            found["a"]
        with pytest.raises(DamagedArchive):
            found.check()


def test_an_error_of_the_block_is_its_own(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.zeros(1))
    with pytest.raises(ZeroDivisionError), open_npz(tmp_path / "a.npz"):
        raise ZeroDivisionError
    with pytest.raises(FileNotFoundError), open_npz(tmp_path / "b.npz"):
        pass
