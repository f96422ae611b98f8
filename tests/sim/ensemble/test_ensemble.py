"""Ensembles: a member is what it would be alone, each with its own end; what is kept; what is refused."""

import numpy as np
import pytest
from helpers import random_data

from smallinit.sim import IntegrationError, Status, integrate, integrate_ensemble
from smallinit.theory import EmbMLP, derive

MODEL = EmbMLP(7, 5, 4)
DATA = random_data()


def starts(batch, gamma=0.8):
    members = [MODEL.init(gamma, seed) for seed in range(batch)]
    return {name: np.stack([m[name] for m in members]) for name in MODEL.weights}


def test_members_are_what_integrate_makes_of_them():
    flow, batch = derive(MODEL, "softmax"), starts(4)
    found = integrate_ensemble(
        flow,
        DATA,
        batch,
        t1=[1.0, 2.0, 3.0, 0.5],
        save_at=5,
        observables=("loss", "norm/W_E"),
        method="dop853",
    )
    for i, t1 in enumerate((1.0, 2.0, 3.0)):
        alone = integrate(flow, DATA, {w: v[i] for w, v in batch.items()}, t1=t1, save_at=5)
        np.testing.assert_array_equal(found[i].t, alone.t)
        np.testing.assert_allclose(found.weights["W_E"][i], alone.weights["W_E"], rtol=1e-12)
        np.testing.assert_allclose(found["loss"][i], alone["loss"], rtol=1e-12)
        np.testing.assert_allclose(found["norm/W_E"][i], alone["norm/W_E"], rtol=1e-12)
        assert found.outcomes[i] == alone.outcome
        assert found[i]["accuracy"] == pytest.approx(alone["accuracy"])


@pytest.mark.parametrize("method", ["taylor", "dop853"])
def test_observables_of_members_that_reach_no_time_are_there(method):
    batch = {name: 8.0 * value for name, value in starts(2).items()}
    names = ("loss", "singular_values/W_in")
    found = integrate_ensemble(
        derive(MODEL, "leading"), DATA, batch, t1=1e3, method=method, observables=names
    )
    assert not found.reached.any()
    assert (found["loss"].shape, found["singular_values/W_in"].shape) == ((2, 1), (2, 1, 4))
    assert np.isnan(found["loss"]).all()


def test_one_failing_member_changes_no_bits_of_the_others():
    flow, batch = derive(MODEL, "leading"), starts(6)
    good = integrate_ensemble(flow, DATA, batch, t1=2.0, save_at=3)
    bad = {name: value.copy() for name, value in batch.items()}
    for value in bad.values():
        value[2] *= 8.0  # blows up
        value[4] = 1e200  # not finite at the start
    for threads in (1, 3):
        found = integrate_ensemble(flow, DATA, bad, t1=2.0, save_at=3, threads=threads)
        assert [o.status for o in found.outcomes].count(Status.REACHED_END) == 4
        assert found.outcomes[2].status is Status.BLOW_UP
        assert found.outcomes[4].status is Status.NON_FINITE
        for i in (0, 1, 3, 5):
            for name in MODEL.weights:
                np.testing.assert_array_equal(found.weights[name][i], good.weights[name][i])
        assert found.reached[2].tolist() == [True, *(found.t[2, 1:] <= found.outcomes[2].t)]
        assert np.isnan(found.weights["W_E"][2, -1]).all()
        assert len(found[2].t) == found.reached[2].sum() < 3
        assert "4 reached end, 1 blow up, 1 non finite" in repr(found)


def test_a_member_alone_has_the_same_bits():
    flow, batch = derive(MODEL, "exact"), starts(5)
    whole = integrate_ensemble(flow, DATA, batch, t1=5.0, threads=2)
    part = integrate_ensemble(flow, DATA, {w: v[3:4] for w, v in batch.items()}, t1=5.0)
    np.testing.assert_array_equal(whole.weights["W_in"][3], part.weights["W_in"][0])
    assert whole.t.tolist() == [[5.0]] * 5


def test_weights_that_a_closure_freezes_differ_between_members():
    flow, batch = derive(MODEL, "drive"), starts(3)
    found = integrate_ensemble(flow, DATA, batch, t1=1.0)
    np.testing.assert_array_equal(found.weights["W_in"][:, 0], batch["W_in"])
    alone = integrate(flow, DATA, {w: v[1] for w, v in batch.items()}, t1=1.0, save_at=1)
    np.testing.assert_allclose(found.weights["W_E"][1], alone.weights["W_E"], rtol=1e-10)


def test_observables_alone_and_progress():
    seen = []
    flow = derive(MODEL, "softmax")
    found = integrate_ensemble(
        flow, DATA, starts(3), t1=1.0, save_at=[0.5, 1.0], observables=["loss"], keep_weights=False,
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert found.weights == {}
    assert found["loss"].shape == (3, 2)
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert found.statistics["accepted"].shape == (3,)
    with pytest.raises(KeyError, match="no observable 'norm/W_E' was kept"):
        found["norm/W_E"]


def test_throw_and_limits():
    flow, batch = derive(MODEL, "softmax"), starts(2)
    found = integrate_ensemble(flow, DATA, batch, t1=500.0, max_steps=3)
    assert {o.status for o in found.outcomes} == {Status.MAX_STEPS}
    with pytest.raises(IntegrationError, match="2 of 2 members ended irregularly, member 0 first") as caught:
        integrate_ensemble(flow, DATA, batch, t1=500.0, max_steps=3, throw=True)
    assert len(caught.value.trajectory) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"starts": {"W_E": np.ones((7, 5))}}, "`starts` must have shapes"),
        ({"starts": starts(2) | {"W_E": np.ones((3, 7, 5))}}, "with one batch size"),
        ({"starts": {w: v[:0] for w, v in starts(1).items()}}, "at least one member"),
        (
            {"starts": starts(2) | {"W_E": np.stack([np.ones((7, 5)), np.full((7, 5), np.nan)])}},
            "member 1 of `starts`",
        ),
        ({"t1": [1.0, 2.0, 3.0]}, "`t1` must be a finite flow time or 2 of them"),
        ({"t1": [1.0, 0.0]}, "`t1` must lie after the start"),
        ({"save_at": 0}, "`save_at` must be from 1 to"),
        ({"save_at": [0.5, 2.0]}, "`save_at` must lie within"),
        ({"observables": ["los"]}, "`observables` has no 'los' among them: did you mean 'loss'?"),
        ({"threads": 0}, "`threads` must be an integer of at least 1"),
        ({"method": "euler1"}, "`method`"),
        ({"rtol": 2.0}, "`rtol` must lie in"),
        ({"max_steps": 2.5}, "`max_steps` must be an integer of at least 1"),
        ({"max_steps": 0}, "`max_steps` must be an integer of at least 1"),
    ],
)
def test_bad_input(change, message):
    arguments = {"starts": starts(2), "t1": 1.0} | change
    with pytest.raises(ValueError, match=message):
        integrate_ensemble(derive(MODEL, "softmax"), DATA, **arguments)


@pytest.mark.parametrize("key", [slice(0, 1), True, 1.0, None])
def test_what_is_no_member_is_refused_in_one_sentence(key):
    found = integrate_ensemble(derive(MODEL, "leading"), DATA, starts(1), 1.0)
    with pytest.raises(TypeError, match="`key` must be the number of a member or name an observable, got"):
        found[key]
    with pytest.raises(IndexError, match="one of 1 members, got 1"):
        found[1]
    assert found[-1].provenance["member"] == 0
    assert len(list(found)) == 1
