"""Which members of an ensemble go in lanes: all of a small flow, and those of a larger one that are over soon."""

import contextlib

import numpy as np
import pytest
from helpers import random_data

from smallinit.sim import Status, integrate_ensemble
from smallinit.sim.compile.compiler import compile_flow
from smallinit.sim.ensemble import integrate_ensemble as module
from smallinit.sim.ensemble.lane_ensemble import LOOSEST, PAYS, SOON, over_soon
from smallinit.sim.ode.taylor.series_program import series_program
from smallinit.theory import EmbMLP, derive

MODEL = EmbMLP(8, 6, 6)
DATA = random_data(d_vocab=8)
FLOW = derive(MODEL, "exact")


def starts(gammas=(0.8,) * 4):
    """Starts of these gammas."""
    drawn = [MODEL.init(gamma, seed) for seed, gamma in enumerate(gammas)]
    return {name: np.stack([weights[name] for weights in drawn]) for name in MODEL.weights}


def compiled(flow=FLOW, model=MODEL, data=DATA):
    return compile_flow(flow, data, model.init(0.8, 0), fold=False)


def first_methods(runs):
    return [words.split(",")[0] for words in runs.statistics["methods"]]


def said(t1, rtol=1e-6, problem=None, members=None):
    members = members or [MODEL.init(0.8, 0)]
    ends = np.broadcast_to(np.asarray(t1, float), (len(members),))
    return over_soon(problem or compiled(), members, ends, 0.0, rtol).tolist()


def test_short_runs_of_a_larger_flow_go_in_lanes():
    """All members of such a flow went one at a time, at up to four times the processor time."""
    assert series_program(compiled()).work > PAYS
    found = integrate_ensemble(FLOW, DATA, starts(), t1=1.0)
    assert first_methods(found) == ["taylor"] * 4
    named = integrate_ensemble(FLOW, DATA, starts(), t1=1.0, method="dop853", rtol=1e-9)
    for name, w in named.weights.items():
        np.testing.assert_allclose(found.weights[name], w, rtol=0, atol=1e-5)
    assert first_methods(integrate_ensemble(FLOW, DATA, starts(), t1=100.0)) == ["dop853"] * 4


def test_each_member_is_judged_by_its_own_start_and_end():
    """In an ensemble of both kinds order is kept, and every member is what it is by itself."""
    batch, ends = starts((0.8, 0.5, 0.8, 0.3, 0.8)), np.array([100.0, 1.0, 1.0, 60.0, 40.0])
    known = {"save_at": 3}
    found = integrate_ensemble(FLOW, DATA, batch, t1=ends, **known)
    assert first_methods(found) == ["dop853", "taylor", "taylor", "dop853", "dop853"]
    assert [outcome.t for outcome in found.outcomes] == ends.tolist()
    for i, end in enumerate(ends):
        one = {name: value[i : i + 1] for name, value in batch.items()}
        alone = integrate_ensemble(FLOW, DATA, one, t1=end, **known)
        assert found[i].statistics["methods"] == alone[0].statistics["methods"]
        for name in MODEL.weights:
            np.testing.assert_array_equal(found[i].weights[name], alone[0].weights[name])


def test_the_faster_a_start_grows_the_shorter_a_run_is_short():
    ends = np.geomspace(0.1, 100.0, 40)
    slow, fast = (sum(said(end, members=[MODEL.init(gamma, 0)])[0] for end in ends) for gamma in (1.6, 0.4))
    assert 0 < fast < slow < len(ends)


def test_what_is_never_over_soon():
    large = EmbMLP(40, 24, 24)
    flow, data = derive(large, "exact"), random_data(d_vocab=40, n=200)
    problem = compiled(flow, large, data)
    with contextlib.suppress(ValueError):  # too large to be written out at all
        assert series_program(problem).work > SOON
    assert said(1e-6, problem=problem, members=[large.init(0.8, 0)]) == [False]
    assert said(1.0, rtol=2 * LOOSEST) == [False]
    zero = {name: 0.0 * w for name, w in MODEL.init(0.8, 0).items()}
    assert said(1.0, members=[zero]) == [False]


@pytest.mark.parametrize("options", [{"method": "dop853"}, {"max_seconds": 100.0}])
def test_methods_named_and_clocks_of_their_own_are_kept(options, monkeypatch):
    monkeypatch.setattr(module, "over_soon", lambda *given: pytest.fail("asked"), raising=False)
    found = integrate_ensemble(FLOW, DATA, starts(), t1=1.0, **options)
    assert {outcome.status for outcome in found.outcomes} == {Status.REACHED_END}
    assert first_methods(found) == ["dop853"] * 4
