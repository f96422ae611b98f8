import hashlib
import runpy
from pathlib import Path

import pytest

FETCH = Path(__file__).parents[1] / "docs" / "fetch_novel.py"


@pytest.fixture(scope="module")
def fetch():
    return runpy.run_path(str(FETCH))


def test_without_an_index_it_says_so(fetch, monkeypatch, tmp_path):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(fetch["Unavailable"], match="pip cannot download sentencepiece"):
        fetch["novel"](tmp_path / "novel.txt")
    assert not list(tmp_path.iterdir())


def test_anything_but_the_novel_is_refused(fetch):
    fetch["_verify"](b"text", hashlib.sha256(b"text").hexdigest(), "a file")
    with pytest.raises(ValueError, match=r"a file has the sha256 .* do not use it"):
        fetch["_verify"](b"text", fetch["TEXT_HASH"], "a file")


def test_a_file_that_is_there_is_kept(fetch, tmp_path):
    path = tmp_path / "novel.txt"
    path.write_text("mine")
    assert fetch["novel"](path).read_text() == "mine"


def test_preface_and_licence_are_cut_off(fetch):
    raw = f"\ufefftitle\n{fetch['START']} BOOK ***\nstory\n{fetch['END']} BOOK ***\nlicence".encode()
    assert fetch["_body"](raw) == "story\n"
