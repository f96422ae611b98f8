"""Records with the right seal and any nonsense in them: a page or one sentence, never a traceback."""

import copy
import json
from contextlib import suppress

import numpy as np
import pytest
from helpers import TINY
from matplotlib.figure import Figure

from smallinit.cli import run
from smallinit.compare.report.directory import page_of
from smallinit.compare.sweep.store import Store
from smallinit.compare.sweep.surroundings import Surroundings
from smallinit.theory.base.errors import InputError
from smallinit.theory.base.records import write_record

DEEP = json.loads("[" * 400 + "]" * 400)
JUNK = (
    None,
    True,
    -1,
    1e300,
    float("inf"),
    10**400,
    "",
    "x\n\x00<b>",
    [],
    [[]],
    [1, "x"],
    {},
    {"": {}},
    DEEP,
)
FIGURE = {
    "name": "3b", "title": "t", "caption": "c",
    "settings": {"gamma": [0.5], "corpora": {"narrative": {"file": "a.txt"}}},
    "statistics": [{"claim": "a", "definition": "b", "values": [1.0, None], "reproduced": True, "note": "n"}],
    "provenance": {"size": "small", "seeds": [0]},
}  # fmt: skip


def places(value, path=()):
    """Paths to everything in a record."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield (*path, key)
        yield from places(part, (*path, key))


def mutants(record, number, seed=0):
    """The record with something in it replaced by junk or left out."""
    rng, known = np.random.default_rng(seed), list(places(record))
    for _ in range(number):
        changed = copy.deepcopy(record)
        *way, last = known[rng.integers(len(known))]
        holder = changed
        for key in way:
            holder = holder[key]
        if rng.random() < 0.15:
            del holder[last]
        else:
            holder[last] = JUNK[rng.integers(len(JUNK))]
        yield changed


def paged(folder, name, record):
    write_record(folder / name, record, allow_nan=True)
    with suppress(InputError):
        assert page_of(folder).html().startswith("<!")


@pytest.mark.parametrize("seed", range(3))
def test_figures(tmp_path, seed):
    Figure(figsize=(1, 1)).savefig(tmp_path / "figure.png")
    for record in mutants(FIGURE, 60, seed):
        paged(tmp_path, "figure.json", record)


def test_runs_and_sweeps(tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY)
    (tmp_path / "sweep.toml").write_text('[axes]\n"init.seed" = [0]\n[sweep]\nrun = ["simulate"]\n' + TINY)
    assert run(["overlay", str(tmp_path / "tiny.toml"), "--out", str(tmp_path / "run")]) == 0
    assert run(["sweep", str(tmp_path / "sweep.toml"), "--out", str(tmp_path / "sweep")]) == 0
    for folder, name in (("run", "summary.json"), ("sweep", "sweep.json"), ("sweep", "manifest.json")):
        path = tmp_path / folder / name
        whole = path.read_bytes()
        record = json.loads(whole)
        for changed in mutants(record, 60):
            paged(tmp_path / folder, name, changed)
        path.write_bytes(whole)


def test_failures(tmp_path):
    store = Store(tmp_path / "sweep", {"fixed": 1}, Surroundings({"code": "1"}, {}))
    store.write_failure("aa", "no")
    for changed in mutants({"reason": "no", "more": {}}, 40):
        write_record(store.failed / "aa.json", changed, allow_nan=True)
        assert isinstance(store.failures()["aa"], str)
    for text in ("", "{", "[" * 10**5, "null", '{"reason": 1}', "\x00"):
        (store.failed / "aa.json").write_text(text)
        assert "it is not known why" in store.failures()["aa"]
