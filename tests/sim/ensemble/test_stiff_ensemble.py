"""Ensembles that change their method by themselves: values, calls, ends, saved times, bits; named methods stay."""

import numpy as np
import pytest
from helpers import pairs_data, random_data

from smallinit.sim import Status, integrate, integrate_ensemble
from smallinit.theory import EmbMLP, derive

MODEL = EmbMLP(5, 4, 4)
DATA = random_data(d_vocab=5)
LARGER = EmbMLP(8, 6, 6)  # beyond what an ensemble takes Taylor series for


def starts(batch, gamma=0.8, model=MODEL):
    members = [model.init(gamma, seed) for seed in range(batch)]
    return {name: np.stack([m[name] for m in members]) for name in model.weights}


def member(batch, i):
    return {name: value[i] for name, value in batch.items()}


def member_as_batch(batch, i):
    return {name: value[i : i + 1] for name, value in batch.items()}


def deviation(found, reference):
    """Largest deviation of any weight at any saved time, relative to its largest entry."""
    return max(np.abs(found[w] - v).max() / np.abs(v).max() for w, v in reference.items())


@pytest.mark.parametrize(("closure", "times"), [("softmax", 7), ("exact", 3)])
def test_members_that_become_stiff_go_on_by_rkc(closure, times):
    """With the exact flow all have changed for good by t = 203; from there on series alone take more and more steps."""
    flow, batch, save_at = derive(MODEL, closure), starts(4), np.linspace(0.0, 2000.0, 7)[:times]
    known = {"t1": save_at[-1], "save_at": save_at}
    found, named = (integrate_ensemble(flow, DATA, batch, **known, method=m) for m in (None, "taylor"))
    assert all(words.startswith("taylor, rkc from t = ") for words in found.statistics["methods"])
    assert set(named.statistics["methods"]) == {"taylor"}
    assert np.all(2 * found.statistics["rhs_calls"] < named.statistics["rhs_calls"])
    assert found.provenance["method"] == "taylor"
    for i in range(4):
        path = member(batch, i)
        alone = integrate(flow, DATA, path, **known, rtol=1e-9)
        assert found.outcomes[i] == alone.outcome
        assert found.reached[i].all()
        assert deviation(found[i].weights, alone.weights) < 2e-4


def test_flows_too_large_for_lanes_do_what_integrate_does():
    flow, batch = derive(LARGER, "exact"), starts(2, model=LARGER)
    data = random_data(d_vocab=8)
    found = integrate_ensemble(flow, data, batch, t1=400.0, save_at=3)
    for i in range(2):
        alone = integrate(flow, data, member(batch, i), t1=400.0, save_at=3)
        assert "rkc from t = " in found.statistics["methods"][i]
        for name in ("methods", "accepted", "rejected", "rhs_calls"):
            assert found[i].statistics[name] == alone.statistics[name]
        assert deviation(found[i].weights, alone.weights) < 1e-6


def test_with_a_limit_of_time_members_do_what_integrate_does():
    """They are not in lanes, and the record of the run names the method that they began with."""
    flow, batch = derive(MODEL, "softmax"), starts(2)
    found = integrate_ensemble(flow, DATA, batch, t1=3.0, max_seconds=600.0)
    assert set(found.statistics["methods"]) == {"dop853"}
    assert found.provenance["method"] == "dop853"


def test_bits_depend_on_no_neighbour_and_no_thread():
    flow, batch = derive(MODEL, "softmax"), starts(11)
    whole = integrate_ensemble(flow, DATA, batch, t1=800.0, save_at=[0.0, 90.0, 91.0, 800.0], threads=1)
    assert any("rkc" in words for words in whole.statistics["methods"])
    backwards = {name: value[::-1] for name, value in batch.items()}
    others = integrate_ensemble(flow, DATA, backwards, t1=800.0, save_at=[0.0, 90.0, 91.0, 800.0], threads=3)
    alone = integrate_ensemble(
        flow, DATA, member_as_batch(batch, 7), t1=800.0, save_at=[0.0, 90.0, 91.0, 800.0]
    )
    for name, value in whole.weights.items():
        np.testing.assert_array_equal(others.weights[name][::-1], value)
        np.testing.assert_array_equal(alone.weights[name][0], value[7])
        np.testing.assert_array_equal(value[:, 0], batch[name])
    for name in ("methods", "accepted", "rejected", "rhs_calls"):
        assert others.statistics[name][::-1].tolist() == whole.statistics[name].tolist()
        assert alone.statistics[name][0] == whole.statistics[name][7]


def test_saved_times_between_steps_of_rkc():
    """How many times are saved changes no state, and all lie on the trajectory."""
    flow, batch = derive(MODEL, "softmax"), starts(2)
    times = np.linspace(0.0, 1500.0, 301)
    dense = integrate_ensemble(flow, DATA, batch, t1=1500.0, save_at=times)
    sparse = integrate_ensemble(flow, DATA, batch, t1=1500.0, save_at=times[::50])
    assert "rkc" in dense.statistics["methods"][0]
    np.testing.assert_array_equal(dense.weights["W_E"][:, ::50], sparse.weights["W_E"])
    reference = integrate(flow, DATA, member(batch, 0), t1=1500.0, save_at=times, rtol=1e-9)
    assert deviation(dense[0].weights, reference.weights) < 2e-4


def test_stiff_mild_and_bad_members_side_by_side():
    flow, batch = derive(MODEL, "softmax"), starts(5)
    for value in batch.values():
        value[3] = 1e200  # not finite at the start
    ends = [2000.0, 3.0, 2000.0, 2000.0, 30.0]
    found = integrate_ensemble(flow, DATA, batch, t1=ends)
    named = integrate_ensemble(flow, DATA, batch, t1=ends, method="taylor")
    assert [o.status for o in found.outcomes] == [o.status for o in named.outcomes]
    assert found.outcomes[3].status is Status.NON_FINITE
    assert ["rkc" in words for words in found.statistics["methods"]] == [True, False, True, False, False]
    for i in (1, 4):  # keep every bit, and every count
        np.testing.assert_array_equal(found.weights["W_in"][i], named.weights["W_in"][i])
        assert found.statistics["rhs_calls"][i] == named.statistics["rhs_calls"][i]
    assert np.all(found.statistics["rejected"][[1, 3, 4]] == 0)


def test_poles_are_not_taken_for_stiffness():
    flow, batch = derive(MODEL, "leading"), starts(6)
    for rtol in (1e-4, 1e-6, 1e-12):
        found = integrate_ensemble(flow, DATA, batch, t1=1e6, rtol=rtol)
        named = integrate_ensemble(flow, DATA, batch, t1=1e6, rtol=rtol, method="taylor")
        assert {o.status for o in found.outcomes} == {Status.BLOW_UP}
        assert [o.t for o in found.outcomes] == [o.t for o in named.outcomes]
        assert set(found.statistics["methods"]) == {"taylor"}


@pytest.mark.parametrize("limit", [100, 150, 180, 200])
def test_max_steps_counts_the_steps_of_all_methods(limit):
    flow, batch = derive(MODEL, "softmax"), starts(2)
    found = integrate_ensemble(flow, DATA, batch, t1=1e4, save_at=2000, max_steps=limit)
    free = integrate_ensemble(flow, DATA, batch, t1=1e4, save_at=2000)
    for i in range(2):
        one = found[i].statistics
        assert found.outcomes[i].status is Status.MAX_STEPS
        assert one["accepted"] + one["rejected"] == limit
        assert f"{limit} steps did not reach t1 = 10000" in found.outcomes[i].detail
        n = int(found.reached[i].sum())
        assert found.t[i, n - 1] <= found.outcomes[i].t < found.t[i, n]
        np.testing.assert_array_equal(found.weights["W_E"][i, :n], free.weights["W_E"][i, :n])


def test_methods_named_are_those_that_took_steps():
    """The limit is reached before RKC, at the change to it, within it, and after the first stay with it."""
    flow, batch = derive(MODEL, "softmax"), starts(1)
    named = {}
    for limit in (39, 40, 41, 50, 60):
        found = integrate_ensemble(flow, DATA, batch, t1=1e4, max_steps=limit)
        named[limit] = [one.split(" from ")[0] for one in found.statistics["methods"][0].split(", ")]
        assert ('use method="rkc"' in found.outcomes[0].detail) == (named[limit][-1] == "taylor")
    before, within = ["taylor"], ["taylor", "rkc"]
    assert named == {39: before, 40: before, 41: within, 50: within, 60: [*within, "taylor"]}


def test_a_named_method_stays_and_names_the_cure():
    flow, batch = derive(MODEL, "softmax"), starts(2)
    for name in ("taylor", "dop853"):
        found = integrate_ensemble(flow, DATA, batch, t1=1e5, max_steps=400, method=name)
        alone = integrate(flow, DATA, member(batch, 0), t1=1e5, max_steps=400, method=name, throw=False)
        for end in (*found.outcomes, alone.outcome):
            assert end.status is Status.MAX_STEPS
            assert (
                'held down by stability (the problem is stiff), not accuracy: use method="rkc"' in end.detail
            )
        assert set(found.statistics["methods"]) == {name}
    early = integrate_ensemble(flow, DATA, batch, t1=1e5, max_steps=3, method="taylor")
    assert "stiff" not in early.outcomes[0].detail


def mild():
    """Members that become slow altogether: stiff to every method, or to none."""
    model = EmbMLP(6, 4, 4)
    members = [model.init(1.5, seed) for seed in range(12)]
    return (
        derive(model, "softmax"),
        pairs_data("random"),
        {name: np.stack([m[name] for m in members]) for name in model.weights},
    )


def test_members_that_become_slow_altogether_come_back():
    """RKC is cheap against what series took at first, but up to 1.7 times as dear as what they would take by now."""
    case, known = mild(), {"t1": 1e4, "rtol": 1e-8, "save_at": 7}
    found, named = (integrate_ensemble(*case, **known, method=method) for method in (None, "taylor"))
    assert sum("taylor from t = " in words for words in found.statistics["methods"]) > 6
    assert np.all(found.statistics["rhs_calls"] < 1.1 * named.statistics["rhs_calls"])
    for i in range(len(found)):
        assert found.outcomes[i] == named.outcomes[i]
        assert deviation(found[i].weights, named[i].weights) < 1e-5


def test_bits_of_members_that_come_back_depend_on_no_neighbour():
    (flow, data, batch), known = mild(), {"t1": 1e4, "rtol": 1e-8, "save_at": np.geomspace(1.0, 1e4, 60)}
    whole = integrate_ensemble(flow, data, batch, **known, threads=1)
    backwards = {name: value[::-1] for name, value in batch.items()}
    others = integrate_ensemble(flow, data, backwards, **known, threads=3)
    for name, value in whole.weights.items():
        np.testing.assert_array_equal(others.weights[name][::-1], value)
    assert others.statistics["methods"][::-1].tolist() == whole.statistics["methods"].tolist()
    for i in (0, 5):
        alone = integrate_ensemble(flow, data, member_as_batch(batch, i), **known)
        assert alone.statistics["methods"][0] == whole.statistics["methods"][i]
        np.testing.assert_array_equal(alone.weights["W_in"][0], whole.weights["W_in"][i])
        few = integrate_ensemble(flow, data, member_as_batch(batch, i), **(known | {"save_at": 1}))
        np.testing.assert_array_equal(few.weights["W_in"][0, -1], whole.weights["W_in"][i, -1])


def test_max_steps_counts_the_steps_of_all_stays():
    flow, data, batch = mild()
    one, known = member_as_batch(batch, 2), {"t1": 1e4, "rtol": 1e-8, "save_at": 1}
    free = integrate_ensemble(flow, data, one, **known)[0].statistics
    assert free["methods"].count("rkc") > 1
    for limit in range(39, free["accepted"] + free["rejected"], 6):
        found = integrate_ensemble(flow, data, one, **known, max_steps=limit)
        part = found[0].statistics
        assert found.outcomes[0].status is Status.MAX_STEPS
        assert part["accepted"] + part["rejected"] == limit
        assert free["methods"].startswith(part["methods"])
