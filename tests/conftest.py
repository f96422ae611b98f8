import runpy
from pathlib import Path

import pytest
from helpers import TINY

FETCH = Path(__file__).parents[1] / "docs" / "fetch_novel.py"


@pytest.fixture(scope="session")
def novel(request):
    """Path of a real novel, downloaded once into pytest's cache."""
    fetch = runpy.run_path(str(FETCH))
    try:
        return fetch["novel"](Path(request.config.cache.mkdir("novel")) / "botchan.txt")
    except fetch["Unavailable"] as error:
        pytest.skip(f"the novel is not in reach: {error}")


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path
