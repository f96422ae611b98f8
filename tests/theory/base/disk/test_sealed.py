"""Seals cover every byte; who can read a file without them still can."""

import io
import json
import pickle
import zipfile

import numpy as np
import pytest

from smallinit.theory.base.disk.npz import open_sealed_npz, write_npz
from smallinit.theory.base.disk.sealed import (
    UnsoundFile,
    append_seal,
    html_with_seal,
    is_sealed,
    open_sealed,
    read_sealed,
    with_seal,
)
from smallinit.theory.base.records import read_record, record_bytes, write_record


def record(path):
    write_record(path, {"b": [1.5, None], "a": {"c": "\N{GREEK SMALL LETTER ALPHA}"}})


def arrays(path):
    write_npz(path, {"x": np.arange(30.0), "names": np.array(["a", "bc"]), "note.json": b"[1]"})


def appended(path):
    path.write_bytes(bytes(range(256)) * 20)
    append_seal(path)


KINDS = {
    "record": record,
    "arrays": arrays,
    "appended": appended,
    "page": lambda p: p.write_bytes(html_with_seal("<p>")),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_bit_counts(tmp_path, kind):
    path = tmp_path / "file"
    KINDS[kind](path)
    content = path.read_bytes()
    assert read_sealed(path, 10**6) == content
    rng = np.random.default_rng(0)
    places = {
        *range(max(0, len(content) - 300), len(content)),
        *rng.integers(len(content), size=200).tolist(),
    }
    for place in sorted(places):
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(UnsoundFile, match="is damaged"):
            read_sealed(path, 10**6)
    for n in {0, 1, 50, len(content) // 2, *range(len(content) - 100, len(content))}:
        path.write_bytes(content[:n])
        with pytest.raises(UnsoundFile, match="is damaged"):
            read_sealed(path, 10**6)
    for more in (b"\n", content, bytes(300)):
        path.write_bytes(content + more)
        with pytest.raises(UnsoundFile, match="is damaged"):
            read_sealed(path, 10**6)


def test_others_read_our_files(tmp_path):
    record(tmp_path / "a.json")
    found = json.loads((tmp_path / "a.json").read_text())
    assert list(found) == ["b", "a", "seal"]
    arrays(tmp_path / "a.npz")
    np.testing.assert_array_equal(np.load(tmp_path / "a.npz")["x"], np.arange(30.0))
    assert zipfile.ZipFile(tmp_path / "a.npz").testzip() is None
    with open_sealed_npz(tmp_path / "a.npz") as archive:
        assert archive["note.json"].tobytes() == b"[1]"
        assert archive["names"].tolist() == ["a", "bc"]


def test_equal_contents_are_equal_files(tmp_path):
    for kind, write in KINDS.items():
        write(tmp_path / f"{kind} 1")
        write(tmp_path / f"{kind} 2")
        assert (tmp_path / f"{kind} 1").read_bytes() == (tmp_path / f"{kind} 2").read_bytes()


def test_a_seal_in_the_content_is_content(tmp_path):
    path = tmp_path / "a.json"
    write_record(
        path, {"quoted": record_bytes({"x": 1}).decode(), "seal": "smallinit-seal sha256 " + "1" * 64}
    )
    assert list(read_record(path)) == ["quoted"]
    with pytest.raises(LookupError):
        with_seal(b"no seal")
    assert is_sealed(path)
    (tmp_path / "b").write_bytes(b"")
    assert not is_sealed(tmp_path / "b")


def test_what_was_checked_is_what_is_read(tmp_path):
    """Somebody who renames another file onto the name meanwhile changes nothing."""
    write_record(tmp_path / "a", {"x": 1})
    write_record(tmp_path / "b", {"x": 2})
    with open_sealed(tmp_path / "a") as file:
        (tmp_path / "b").replace(tmp_path / "a")
        assert json.load(io.TextIOWrapper(file))["x"] == 1


@pytest.mark.parametrize(
    "content", ["[1]", "3", "null", "[" * 100_000 + "]" * 100_000, "{nan", '{"a": 1', "\x80"]
)
def test_sealed_records_that_are_none(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content.encode("latin-1"))
    append_seal(path)
    with pytest.raises(UnsoundFile, match=r"a\.json' is no record of results \(.*\): restore it") as caught:
        read_record(path)
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 -- as an error leaves a worker process
    assert (str(again), again.reason) == (str(caught.value), caught.value.reason)


def test_records_hold_numbers_that_json_has(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        record_bytes({"x": float("nan")})
    write_record(tmp_path / "a", {"x": float("inf")}, allow_nan=True)
    assert read_record(tmp_path / "a") == {"x": float("inf")}
