"""Files are written whole or not at all, and are on the disk when they are."""

import os

import pytest

from smallinit.theory.base.disk import files
from smallinit.theory.base.disk.files import check_file, whole_file, write_whole


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, ValueError])
def test_failure_while_writing_keeps_the_old_file(tmp_path, error):
    path = tmp_path / "a.txt"
    write_whole(path, "old\n")

    def write_half():
        with whole_file(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        write_half()
    assert path.read_bytes() == b"old\n"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_keeps_the_old_file(tmp_path, monkeypatch, call):
    path = tmp_path / "a.txt"
    write_whole(path, "old")

    def no_space(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, call, no_space)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_file_and_folder_are_synced_around_the_renaming(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace

    def note_fsync(handle):
        calls.append("folder" if os.path.isdir(f"/proc/self/fd/{handle}") else "file")
        fsync(handle)

    def note_replace(*names):
        calls.append("replace")
        replace(*names)

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("this system does not say what a handle is of")
    monkeypatch.setattr(files.os, "fsync", note_fsync)
    monkeypatch.setattr(files.os, "replace", note_replace)
    write_whole(tmp_path / "a.txt", b"new")
    assert calls == ["file", "replace", "folder"]


def test_check_file(tmp_path):
    check_file(tmp_path / "a.txt", overwrite=False)
    (tmp_path / "a.txt").touch()
    check_file(tmp_path / "a.txt", overwrite=True)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        check_file(tmp_path / "a.txt", overwrite=False)
    with pytest.raises(FileNotFoundError, match="create it first"):
        check_file(tmp_path / "b" / "a.txt", overwrite=True)
