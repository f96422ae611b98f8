import json

import pytest

from smallinit.sim import IntegrationError, Outcome, Status, provenance
from smallinit.sim.trajectory.provenance import git_commit


def test_outcomes_are_sentences():
    assert str(Outcome(Status.BLOW_UP, 1.0)) == "blow-up at t = 1.000000"
    assert str(Outcome(Status.REACHED_END, 200.0)) == "reached t = 200.0000"
    assert str(Outcome(Status.EVENT, 0.5, "half")) == "stopped by event `half` at t = 0.5000000"
    assert str(Outcome(Status.NON_FINITE, 0.5, "why.")) == "no finite continuation beyond t = 0.5000000: why."


@pytest.mark.parametrize("status", list(Status))
def test_outcome_survives_json(status):
    outcome = Outcome(status, 0.1 + 0.2, "detail")
    assert Outcome.from_dict(json.loads(json.dumps(outcome.to_dict()))) == outcome
    assert outcome.success == (status.name in ("REACHED_END", "BLOW_UP", "SINGULAR", "EVENT"))


@pytest.mark.parametrize(
    "values", [{}, {"status": "FINE", "t": 1.0}, {"status": "BLOW_UP", "t": "1", "detail": ""}]
)
def test_outcome_from_anything_else_is_refused(values):
    with pytest.raises(ValueError, match="`outcome` must hold status, t and detail"):
        Outcome.from_dict(values)


def test_error_carries_the_partial_result():
    assert IntegrationError("why", "partial").trajectory == "partial"


def test_provenance_is_json_and_repeatable():
    record = provenance(seed=3, method="dop853")
    assert json.loads(json.dumps(record)) == record
    assert record["seed"] == 3
    assert {"python", "numpy", "numba", "cpu", "threads", "dtype", "git_commit", "platform"} <= set(record)
    assert provenance(seed=3, method="dop853") == record


def test_git_commit_of_every_kind_of_checkout(tmp_path):
    assert git_commit(tmp_path) is None
    git = tmp_path / ".git"
    (git / "refs" / "heads").mkdir(parents=True)
    (git / "HEAD").write_text("0123abc\n")
    assert git_commit(tmp_path) == "0123abc"
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    assert git_commit(tmp_path) is None
    (git / "packed-refs").write_text("# pack-refs\nfeed01 refs/heads/other\nfeed02 refs/heads/main\n")
    assert git_commit(tmp_path) == "feed02"
    (git / "refs" / "heads" / "main").write_text("feed03\n")
    assert git_commit(tmp_path) == "feed03"
