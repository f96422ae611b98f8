import errno
import sys

import pytest

from smallinit.theory.base.disk import exchange as module
from smallinit.theory.base.disk.exchange import exchange


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has this call")
def test_two_folders_change_places(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    if not exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("this file system cannot exchange")
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b"]
    assert [p.name for p in (tmp_path / "b").iterdir()] == ["a"]
    with pytest.raises(OSError, match="No such file") as caught:
        exchange(tmp_path / "a", tmp_path / "c")
    assert caught.value.errno == errno.ENOENT


def test_where_the_system_cannot_nothing_is_done(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_renameat2", lambda: None)
    (tmp_path / "a").touch()
    (tmp_path / "b").write_text("b")
    assert not exchange(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_text() == "b"
