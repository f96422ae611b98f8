"""Ensembles moved by optimizers: every member is what `integrate` makes of it alone."""

import numpy as np
import pytest

from smallinit.sim import GD, AdamW, Spectral, WarmupCosine, integrate, integrate_ensemble
from smallinit.sim.optimizers.specs import optimizer_of
from smallinit.theory import CompositeTask, EmbMLP, derive

DATA = CompositeTask(range(5, 9), (3, 4), (1, 2), masked=((1, 2),)).dataset()
MODEL = EmbMLP(DATA.d_vocab, 5, 6)
FLOW = derive(MODEL, "softmax")
STARTS = {name: np.stack([MODEL.init(0.8, seed)[name] for seed in range(3)]) for name in MODEL.weights}


@pytest.mark.parametrize("method", [None, "steps"])
def test_members_are_what_they_are_alone(method):
    adam = AdamW(1e-2, schedule=WarmupCosine(3, 20), decays={"W_E": 0.0})
    found = integrate_ensemble(
        FLOW,
        DATA,
        STARTS,
        optimizer=adam,
        steps=20,
        save_at=[0, 7, 20],
        observables=["loss"],
        method=method,
        threads=2,
    )
    for i in range(3):
        alone = integrate(
            FLOW,
            DATA,
            {n: w[i] for n, w in STARTS.items()},
            optimizer=adam,
            steps=20,
            save_at=[0, 7, 20],
            method=method,
        )
        member = found[i]
        np.testing.assert_array_equal(member.steps, [0, 7, 20])
        np.testing.assert_array_equal(member.t, alone.t)
        np.testing.assert_array_equal(found["loss"][i], alone["loss"])
        for name, value in alone.weights.items():
            np.testing.assert_array_equal(member.weights[name], value)
        assert member.statistics["rhs_calls"] == alone.statistics["rhs_calls"]
    assert optimizer_of(found.provenance["optimizer"]) == adam


@pytest.mark.parametrize("method", ["steps", "multirate", "flow"])
@pytest.mark.parametrize(
    "optimizer", [AdamW(1e-2), GD(0.1, weight_decay=0.5), GD(0.1, decays={"W_in": 0.5})], ids=str
)
def test_no_decay_moves_a_weight_that_rests(optimizer, method):
    flow, options = derive(MODEL, "drive"), {"steps": 20, "save_at": [0, 20], "method": method}
    found = integrate_ensemble(flow, DATA, STARTS, optimizer=optimizer, **options)
    start = {n: w[1] for n, w in STARTS.items()}
    alone = integrate(flow, DATA, start, optimizer=optimizer, **options)
    for name in ("W_in", "W_out"):
        np.testing.assert_array_equal(found.weights[name][1], alone.weights[name])
    np.testing.assert_allclose(found.weights["W_E"][1], alone.weights["W_E"], rtol=1e-6)
    assert optimizer_of(found.provenance["optimizer"]) == optimizer


@pytest.mark.parametrize("closure", ["softmax", "drive"])  # of which the latter lets weights rest
@pytest.mark.parametrize("seed", [None, 3, [4, 0, 9]])
def test_minibatches_are_those_of_integrate(closure, seed):
    adam, options = AdamW(1e-2), {"steps": 20, "save_at": [0, 7, 20], "batch_size": 4}
    found = integrate_ensemble(
        derive(MODEL, closure), DATA, STARTS, optimizer=adam, seed=seed, threads=2, **options
    )
    for i in range(3):
        own = seed[i] if isinstance(seed, list) else seed
        start = {n: w[i] for n, w in STARTS.items()}
        alone = integrate(derive(MODEL, closure), DATA, start, optimizer=adam, seed=own, **options)
        for name, value in alone.weights.items():
            np.testing.assert_array_equal(found[i].weights[name], value)
        assert found[i].provenance["batch_size"] == 4
    assert found.provenance["seed"] == (None if seed is None else (3, 3, 3) if seed == 3 else (4, 0, 9))


def test_a_member_that_diverges_ends_alone():
    starts = {n: w * np.array([1.0, 1e4, 1.0])[:, None, None] for n, w in STARTS.items()}
    found = integrate_ensemble(FLOW, DATA, starts, optimizer=GD(0.5), steps=30, save_at=4, threads=1)
    assert [o.success for o in found.outcomes] == [True, False, True]
    assert "diverged at step" in str(found.outcomes[1])
    assert "lower `learning_rate`" in str(found.outcomes[1])
    assert "softmax" not in str(found.outcomes[1])  # which it is


def test_a_member_of_a_series_that_diverges_is_told_of_softmax():
    """As by `integrate`: the flow of a series may blow up, and then no rate helps."""
    starts = {n: w * np.array([1.0, 1e4, 1.0])[:, None, None] for n, w in STARTS.items()}
    how = {"optimizer": GD(0.5), "steps": 30, "method": "steps"}
    found = integrate_ensemble(derive(MODEL, "leading"), DATA, starts, threads=1, **how).outcomes
    assert "or take the closure softmax" in str(found[1])
    alone = integrate(
        derive(MODEL, "leading"), DATA, {n: w[1] for n, w in starts.items()}, throw=False, **how
    )
    assert found[1] == alone.outcome


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"optimizer": GD(0.1)}, "`steps` is missing"),
        ({"steps": 3}, "`optimizer` must be an Optimizer"),
        ({"optimizer": GD(0.1), "steps": 0}, "`steps` must be an integer of at least 1, got 0"),
        ({"optimizer": GD(0.1), "steps": 3, "t1": 2.0}, "`t1` is 2.0 beside an `optimizer`"),
        ({"optimizer": GD(0.1), "steps": 3, "method": "tsit5"}, "`method` 'tsit5' is unknown"),
        ({"optimizer": Spectral(0.1), "steps": 3, "method": "multirate"}, "spectral"),
        ({"optimizer": GD(0.1, rates={"W_X": 1.0}), "steps": 3}, "`rates` names the weight 'W_X'"),
        ({"optimizer": GD(0.1), "steps": 3, "save_at": [4]}, "`save_at` must lie in"),
        ({"t1": 1.0, "batch_size": 4}, "`batch_size` is 4 without an `optimizer`"),
        (
            {"optimizer": GD(0.1), "steps": 3, "seed": [1, 2, 3]},
            r"`seed` is \[1, 2, 3\] without a `batch_size`",
        ),
        (
            {"optimizer": GD(0.1), "steps": 3, "batch_size": 4, "seed": [1, 2]},
            "one for each of the 3 members",
        ),
        ({"optimizer": GD(0.1), "steps": 3, "batch_size": 4, "seed": 0.5}, "one for each of the 3 members"),
        (
            {"optimizer": GD(0.1), "steps": 3, "batch_size": 4, "seed": [1, 2, -1]},
            "`seed` must be an integer of at",
        ),
        ({"optimizer": GD(0.1), "steps": 3, "batch_size": 400}, "`batch_size` is 400 but the data has"),
        ({"optimizer": Spectral(0.1), "steps": 3, "batch_size": 4}, "give a `seed`"),
    ],
)
def test_bad_input_is_one_sentence(options, says):
    with pytest.raises(ValueError, match=says):
        integrate_ensemble(FLOW, DATA, STARTS, **options)
