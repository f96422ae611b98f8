"""Temporary names say whose they are, so that what the dead left is taken away and the living are left alone."""

import os
import subprocess
import sys
import time

import pytest

from smallinit.theory.base.disk import owner
from smallinit.theory.base.disk.owner import is_temporary, leftovers, remove_leftovers, temporary


@pytest.fixture
def dead():
    """Number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def named(path, **parts):
    token = {"host": owner.host(), "pid": os.getpid(), "start": owner._start(os.getpid())} | parts
    return path.with_name(f".{path.name}.{token['host']}-{token['pid']}-{token['start']}-{'0' * 12}.tmp")


def test_names_are_ours_and_unique(tmp_path):
    names = {temporary(tmp_path / "a.nc", kind).name for kind in ("tmp", "new", "old") for _ in range(100)}
    assert len(names) == 300
    assert all(is_temporary(name) for name in names)
    assert not any(map(is_temporary, ("a.tmp", ".a.tmp", ".a.0-1-2-3.tmp", f".a.{owner.host()}-1-2-3.nc")))


def test_long_names_fit(tmp_path):
    for name in ("x" * 255, "\N{GREEK SMALL LETTER ALPHA}" * 127):
        temporary(tmp_path / name, "tmp").touch()


def test_only_what_the_dead_left_goes(tmp_path, dead):
    target = tmp_path / "a.nc"
    mine, gone = temporary(target, "tmp"), named(target, pid=dead)
    reused, foreign = named(target, start=1), named(target, host="0" * 12)
    forgotten = named(tmp_path / "b.nc", host="1" * 12)
    old = time.time() - owner.WEEK - 60
    for path in (mine, gone, reused, foreign, forgotten, tmp_path / ".a.nc.tmp"):
        path.touch()
    os.utime(forgotten, (old, old))
    assert {path for _, path in leftovers(tmp_path, target)} == {gone, reused}
    remove_leftovers(tmp_path)
    assert set(tmp_path.iterdir()) == {mine, foreign, tmp_path / ".a.nc.tmp"}


def test_folders_that_cannot_be_listed_have_no_leftovers(tmp_path):
    assert list(leftovers(tmp_path / "nowhere")) == []


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux alone")
@pytest.mark.parametrize("name", [b"r\xff", b"\xe9" * 100, "ü".encode() * 100, b"a" * 119 + "ü".encode()])
def test_names_in_another_encoding_have_temporary_ones(tmp_path, name):
    """A name may be bytes that are no UTF-8; cut, it stays one that can be made."""
    target = tmp_path / os.fsdecode(name)
    made = temporary(target, "new")
    made.mkdir()
    assert os.fsencode(made.name).startswith(b"." + name[:118])
    assert is_temporary(made.name)
    assert list(leftovers(tmp_path, target)) == []  # this process is alive
