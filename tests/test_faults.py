"""Writers x calls x faults: old or new, whole; the next run finishes with the same bits; nothing is left behind.

The table with real kills and 2,000 bit flips: ``python tests/fault_table.py``.
"""

import faults
import pytest
from fault_table import SEALED, ends_of_runs, flipped, killed, tried
from fault_writers import WRITERS, measured

# The table tries all; here it is three of each run of equal calls, and only crashes of these writers, which make the
# calls of others.
LONG = ("new results", "results over old ones, in two steps", "a new sweep")
BY_NAME = {writer.name: writer for writer in WRITERS}


@pytest.mark.parametrize("name", BY_NAME)
def test_every_call_of_every_writer_may_fail(tmp_path, name):
    kinds = ("crash",) if name in LONG else faults.FAULTS
    calls, count, broken = tried(BY_NAME[name], tmp_path, kinds, ends_of_runs)
    assert len(calls) >= count["crash"] >= len(set(calls)) >= 4
    assert faults.unsafe(calls) == []
    assert broken == []


@pytest.mark.parametrize(("name", "part"), [("a trajectory", 0.6), ("results over old ones, exchanged", 0.9)])
def test_a_process_that_is_killed_for_good(tmp_path, name, part):
    for folder in ("clean", "killed"):
        (tmp_path / folder).mkdir()
    at = int(part * len(measured(BY_NAME[name], tmp_path / "clean")))
    assert killed(BY_NAME[name], tmp_path / "killed", at) == ""


@pytest.mark.parametrize("name", SEALED)
def test_no_flipped_bit_is_read_as_another_number(tmp_path, name):
    assert flipped(BY_NAME[name], tmp_path, 60) == []


def test_the_harness_finds_what_is_broken(tmp_path):
    """A writer that writes in place is caught."""
    sound = BY_NAME["a text"]
    bad = type(sound)("in place", lambda root, s: (root / "a").write_text(str(s) * 9), sound.look)
    measured(bad, faults_folder(tmp_path, "clean"))
    problems = [
        faults.survive(bad, faults_folder(tmp_path, f"{fault} {at}"), at, fault)
        for fault in ("crash", "ENOSPC")
        for at in range(len(bad.calls))
    ]
    assert any(problems)


def faults_folder(parent, name):
    (parent / name).mkdir()
    return parent / name
