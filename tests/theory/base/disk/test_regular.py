"""What may never begin or never end is refused before a byte of it is read."""

import os
import socket

import pytest

from smallinit.theory.base.disk.regular import inside, open_regular, read_regular
from smallinit.theory.base.errors import InputError


def test_regular_files_are_read(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert read_regular(tmp_path / "a", 3) == read_regular(str(tmp_path / "link"), 3) == b"abc"
    with open_regular(tmp_path / "a") as file:
        assert file.read() == b"abc"
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "b", 3)


@pytest.mark.timeout(20)
def test_what_is_no_file_is_refused(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        for path, kind in {
            "pipe": "a pipe",
            "/dev/zero": "a device",
            ".": "a folder",
            "socket": "a socket",
        }.items():
            with pytest.raises(InputError, match=f"is {kind}: give the path of a file"):
                read_regular(path, 100)


def test_files_that_have_no_size_end_at_the_limit(tmp_path):
    (tmp_path / "a").write_bytes(bytes(5))
    for path in [tmp_path / "a", "/proc/cpuinfo"]:
        if os.path.exists(path):
            with pytest.raises(InputError, match="is larger than 4 bytes"):
                read_regular(path, 4)


def test_a_file_that_becomes_a_pipe_between_two_looks(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"abc")
    look = os.stat

    def then_swap(path, *args, **kwargs):
        found = look(path, *args, **kwargs)
        if str(path).endswith("/a"):
            os.unlink(path)
            os.mkfifo(path)
        return found

    monkeypatch.setattr(os, "stat", then_swap)
    with pytest.raises(InputError, match="is a pipe"):
        open_regular(tmp_path / "a")


def test_links_out_of_a_folder(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").write_text("")
    (tmp_path / "in" / "a").write_text("")
    (tmp_path / "in" / "here").symlink_to("a")
    (tmp_path / "in" / "there").symlink_to("../out")
    for name in ("a", "here", "not yet"):
        assert inside(tmp_path / "in", tmp_path / "in" / name).name == name
    with pytest.raises(InputError, match="is a link out of its folder"):
        inside(tmp_path / "in", tmp_path / "in" / "there")
