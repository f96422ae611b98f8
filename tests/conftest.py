import gc
import os
import runpy
from pathlib import Path

import pytest
from helpers import TINY
from shares import compile_share

FETCH = Path(__file__).parents[1] / "docs" / "fetch_novel.py"


def pytest_configure(config):
    """Give BLAS and torch one thread in workers, and in the processes that tests start there.

    All cores have a worker: more threads in each wait for one another, at up to fifty times the work. Set where workers
    are started, as numpy reads it when it is loaded, which a plugin does.
    """
    if (config.getoption("numprocesses", None) or 0) > 1:
        os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(wrapper=True)
def pytest_collection(session):
    """Look for no garbage among the modules and tests that stay to the end: that takes a quarter of collecting them.

    Nor later, and what tests leave is looked through less often than by default, where each small object counts.
    """
    gc.disable()
    compile_share(session.config)
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()
        gc.set_threshold(10_000, 10, 10)


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
