"""Result folders are written whole or not at all."""

import errno
import os

import pytest

from smallinit.theory.base.errors import InputError
from smallinit.theory.base.folders import check_folder, staged


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, ValueError])
def test_failure_while_writing_keeps_the_old_result(tmp_path, error):
    target = tmp_path / "out"
    with staged(target) as staging:
        (staging / "summary.json").write_text("old")

    def write_half():
        with staged(target, overwrite=True) as staging:
            (staging / "summary.json").write_text("half")
            raise error

    with pytest.raises(error):
        write_half()
    assert (target / "summary.json").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_staged_refuses_a_directory_filled_meanwhile(tmp_path):
    def race():
        with staged(tmp_path / "out") as staging:
            (staging / "summary.json").write_text("mine")
            (tmp_path / "out").mkdir()
            (tmp_path / "out" / "summary.json").write_text("theirs")

    with pytest.raises(InputError, match="--overwrite"):
        race()
    assert (tmp_path / "out" / "summary.json").read_text() == "theirs"


def test_staged_replaces_stale_files_too(tmp_path):
    for name in ("training.nc", "summary.json"):
        with staged(tmp_path / "out", overwrite=True) as staging:
            (staging / name).write_text(name)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["digests.json", "summary.json"]


def test_check_folder_leaves_nothing(tmp_path):
    assert check_folder(tmp_path / "a" / "b", overwrite=False) == tmp_path / "a" / "b"
    assert list(tmp_path.iterdir()) == []


def test_the_mask_of_new_files_is_read_without_changing_it(tmp_path, monkeypatch):
    """To ask the system for it is to change it, and another thread may be making a file just then."""
    before = os.umask(0o027)
    try:
        monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("the mask was changed"))
        with staged(tmp_path / "out") as folder:
            (folder / "report.html").write_text("x")
    finally:
        monkeypatch.undo()
        os.umask(before)
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o750


def test_what_cannot_be_written_is_named_as_the_user_knows_it(tmp_path):
    with pytest.raises(OSError, match="No space") as caught, staged(tmp_path / "out") as folder:
        raise OSError(errno.ENOSPC, "No space left on device", str(folder / "training.nc"))
    assert caught.value.filename == str(tmp_path / "out" / "training.nc")
    assert os.listdir(tmp_path) == []
