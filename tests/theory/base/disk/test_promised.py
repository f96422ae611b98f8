"""What a program is to write, and what of it is in place, at any moment."""

import os

import pytest

from smallinit.theory.base.disk.files import write_whole
from smallinit.theory.base.disk.promised import forget_promises, promise, promised, so_far
from smallinit.theory.base.folders import staged


@pytest.fixture(autouse=True)
def nothing_promised():
    forget_promises()
    yield
    forget_promises()


def test_files_and_folders_count_from_the_moment_they_are_in_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page, folder, picture = (tmp_path / name for name in ("a.html", "out", "b.png"))
    for path in (page, folder, picture):
        promise(path)
    assert so_far() == "no result was written"
    assert so_far("x is kept") == "x is kept; a.html, out and b.png were not written"
    write_whole(page, "x")
    assert so_far() == "a.html was written, out and b.png not"
    assert so_far("x is kept") == "x is kept; a.html was written, out and b.png not"
    with staged(folder) as staging:
        (staging / "summary.json").write_text("{}")
        assert promised() == (["a.html"], ["out", "b.png"])
    write_whole(picture, "y")
    assert so_far() == "a.html, out and b.png were written"


def test_what_was_there_before_is_no_result(tmp_path):
    page, folder = tmp_path / "a.html", tmp_path / "out"
    page.write_text("older")
    folder.mkdir()
    (folder / "summary.json").write_text("{}")
    promise(page)
    promise(folder)
    with pytest.raises(KeyboardInterrupt), staged(folder, overwrite=True):
        raise KeyboardInterrupt
    assert promised()[0] == []
    write_whole(page, "newer")
    with staged(folder, overwrite=True) as staging:
        (staging / "summary.json").write_text("{}")
    assert promised()[1] == []


def test_the_change_of_names_itself_is_the_moment(tmp_path, monkeypatch):
    """A signal that comes with the very call that renames finds the file there."""
    plain, seen = os.replace, []

    def replace(*names):
        seen.append(promised()[0])
        plain(*names)
        seen.append(promised()[0])

    monkeypatch.setattr(os, "replace", replace)
    promise(tmp_path / "a.txt")
    write_whole(tmp_path / "a.txt", "x")
    assert [len(names) for names in seen] == [0, 1]
