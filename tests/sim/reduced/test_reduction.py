"""Reduction: the projected flow is the whole one, cut-off flows stay within their bound, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import sympy as sp
from helpers import MODELS, random_data, random_weights, relative

from smallinit.sim import GD, AdamW, Momentum, WarmupCosine, integrate, load_trajectory, reduce
from smallinit.theory import Dataset, EmbedUnembed, EmbMLP, derive
from smallinit.theory.base.errors import FieldError
from smallinit.theory.flows.projection import project
from smallinit.theory.flows.statistics import statistics


def bigrams(d_vocab, n, seed=0):
    """Zipf-like weighted bigrams: sequences of one token."""
    rng = np.random.default_rng(seed)
    law = 1.0 / np.arange(1, d_vocab + 1)
    tokens, labels = rng.choice(d_vocab, (2, n), p=law / law.sum())
    return Dataset(tokens[:, None], (tokens + labels) % d_vocab, d_vocab, weights=rng.uniform(0.5, 1.5, n))


@pytest.mark.parametrize("model", [EmbMLP(12, 5, 4), EmbedUnembed(12, 5)])
def test_the_reduced_flow_is_the_whole_one(model):
    data = random_data(d_vocab=12, n=8)  # rank below the vocabulary
    flow, start = derive(model, "leading"), random_weights(model, scale=0.3)
    small = reduce(flow, data)
    assert small.modes < 12
    assert small.tail == 0.0
    inside = integrate(small, data, start, t1=2.0, save_at=5, rtol=1e-10)
    whole = integrate(flow, data, start, t1=2.0, save_at=5, rtol=1e-10)
    assert inside.weights["W_E"].shape == (5, small.modes, 5)
    with pytest.raises(
        KeyError, match=r"`loss` is of full weights, and these are reduced: take that of .*lift"
    ):
        inside["loss"]
    lifted = small.lift(inside)
    for w in model.weights:
        assert relative(lifted.weights[w], whole.weights[w]) < 1e-9
    assert lifted["loss"] == pytest.approx(whole["loss"], rel=1e-9)
    picked = small.lift(inside, at=[0, 4])
    np.testing.assert_array_equal(picked.weights["W_E"], lifted.weights["W_E"][[0, 4]])


def test_a_closure_that_freezes_weights():
    model, data = EmbMLP(7, 5, 4), random_data()
    flow, start = derive(model, "drive"), random_weights(model)
    small = reduce(flow, data)
    lifted = small.lift(integrate(small, data, start, t1=1.0, save_at=3))
    whole = integrate(flow, data, start, t1=1.0, save_at=3)
    assert relative(lifted.weights["W_E"], whole.weights["W_E"]) < 1e-9


def test_the_complement_stands_still_in_the_whole_flow():
    model, data = EmbMLP(12, 5, 4), random_data(d_vocab=12, n=8)
    flow, start = derive(model, "leading"), random_weights(model)
    small, rate = reduce(flow, data), flow.rhs(data, start)
    outside = np.eye(12) - small.U @ small.U.T
    assert np.abs(outside @ rate["W_E"]).max() < 1e-14
    assert np.abs(rate["W_out"] @ (np.eye(12) - small.V @ small.V.T)).max() < 1e-14


@pytest.mark.parametrize("modes", [2, 5, 10, 20])
@pytest.mark.parametrize("model", [EmbMLP(40, 10, 12), EmbedUnembed(40, 10)])
def test_the_bound_bounds_the_truth(model, modes):
    data, flow = bigrams(40, 600), derive(model, "leading")
    start = model.init(0.9, 0)
    t1 = 60.0
    end = integrate(flow, data, start, t1=t1, save_at=2, throw=False).outcome.t
    t1 = min(t1, 0.8 * end)
    whole = integrate(flow, data, start, t1=t1, save_at=41, rtol=1e-9)
    small = reduce(flow, data, modes=modes)
    inside = integrate(small, data, start, t1=t1, save_at=41, rtol=1e-9)
    lifted, bound = small.lift(inside), small.error_bound(inside)
    for w in model.weights:
        error = np.linalg.norm(lifted.weights[w] - whole.weights[w], axis=(1, 2))
        moved = np.linalg.norm(whole.weights[w] - start[w], axis=(1, 2))
        assert np.all(error <= bound[w] * (1 + 1e-6) + 1e-9 * moved), w
        if error[20] > 1e-6:  # halfway it says something: it is within a factor of ten
            assert bound[w][20] < 10 * error[20], w


def test_sparse_decomposition_is_the_dense_one(monkeypatch):
    import smallinit.sim.reduced.reduction as module

    data, flow = bigrams(60, 900), derive(EmbMLP(60, 5, 4), "leading")
    dense = reduce(flow, data, modes=6)
    monkeypatch.setattr(module, "DENSE", 10)
    sparse = reduce(flow, data, modes=6)
    np.testing.assert_allclose(sparse.strengths, dense.strengths, rtol=1e-10)
    assert sparse.tail == pytest.approx(dense.tail, rel=1e-10)
    assert (
        relative(
            sparse.U @ np.diag(sparse.strengths) @ sparse.V.T, dense.U @ np.diag(dense.strengths) @ dense.V.T
        )
        < 1e-9
    )
    with pytest.raises(ValueError, match="`modes` must be given"):
        reduce(flow, data)


def _product(small):
    return small.U @ np.diag(small.strengths) @ small.V.T


def test_signature_of_the_data():
    data = random_data()
    small = reduce(derive(EmbMLP(7, 5, 4), "leading"), data)
    np.testing.assert_allclose(_product(small), data.signature(), atol=1e-15)


@pytest.mark.parametrize("name", ["two-token", "classifier", "transformer", "attention-only"])
def test_flows_that_do_not_close_are_refused(name):
    with pytest.raises(ValueError, match="can be reduced only if"):
        project(derive(MODELS[name][0], "leading"))


def test_a_flow_whose_complement_moves_is_refused():
    """The proof is made from the equations: here a second product brings the complement in."""

    flow = derive(EmbMLP(7, 3, 3), "leading")
    W_E, W_in, W_out = flow.model.weight_symbols
    M = next(s for s in statistics(flow.model) if s.name == "M")
    moved = dict(flow.equations) | {"W_E": flow.equations["W_E"] + W_E * W_in * W_in.T}
    object.__setattr__(flow, "equations", moved)
    with pytest.raises(ValueError, match="W_E moves outside"):
        project.__wrapped__(flow)
    moved["W_E"], moved["W_in"] = sp.MatMul(M, W_out.T, W_in.T), W_E.T * W_E * W_in
    with pytest.raises(ValueError, match="dW_in/dt depends on W_E_perp"):
        project.__wrapped__(flow)


@pytest.mark.parametrize("modes", [0, 7, -1, 2.5, True, [1.0], "3", float("nan"), 10**400])
def test_bad_numbers_of_modes(modes):
    with pytest.raises(
        FieldError, match=r"`modes` must be (an integer of at least 1|below 7, or None for all), got"
    ):
        reduce(derive(EmbMLP(7, 5, 4), "leading"), random_data(), modes=modes)


def test_other_data_and_other_trajectories_are_refused():
    model, data = EmbMLP(7, 5, 4), random_data()
    flow, start = derive(model, "leading"), random_weights(model)
    small = reduce(flow, data, modes=3)
    with pytest.raises(ValueError, match="`data` must be the data"):
        integrate(small, random_data(seed=5), start, t1=1.0)
    whole = integrate(flow, data, start, t1=0.1, save_at=2)
    with pytest.raises(ValueError, match="`trajectory` must be one"):
        small.lift(whole)
    with pytest.raises(ValueError, match="needs a reduced trajectory"):
        small.error_bound(whole)


@pytest.mark.parametrize("closure", ["leading", "drive"])
def test_a_reduced_trajectory_that_was_saved_can_be_lifted(closure, tmp_path):
    model, data = EmbMLP(7, 5, 4), random_data()
    small = reduce(derive(model, closure), data, modes=3)
    path = integrate(small, data, random_weights(model), t1=0.5, save_at=3)
    loaded = load_trajectory(path.save(tmp_path / "a.nc"))
    here, there = small.lift(path), reduce(derive(model, closure), data, modes=3).lift(loaded)
    for name in model.weights:
        np.testing.assert_array_equal(there.weights[name], here.weights[name])
    np.testing.assert_array_equal(there["loss"], here["loss"])
    if closure == "leading":
        bounds = small.error_bound(path)
        for name, bound in small.error_bound(loaded).items():
            np.testing.assert_array_equal(bound, bounds[name])


def test_a_reduction_on_other_modes_of_the_same_shapes_lifts_nothing(tmp_path):
    model, data = EmbMLP(7, 5, 4), random_data()
    flow, start = derive(model, "leading"), random_weights(model)
    small = reduce(flow, data, modes=3)
    path = integrate(small, data, start, t1=0.5, save_at=3)
    other = reduce(flow, random_data(seed=5), modes=3)
    turned = replace(small, U=-small.U, V=-small.V)  # as another seed may find them
    loaded = load_trajectory(path.save(tmp_path / "a.nc"))
    for reduction in (other, turned, reduce(flow, data, modes=2)):
        for trajectory in (path, loaded):
            with pytest.raises(ValueError, match="`trajectory` must be one that `integrate` made of this"):
                reduction.lift(trajectory)


@pytest.mark.parametrize("method", ["steps", None, "flow"])
@pytest.mark.parametrize(
    "optimizer", [GD(0.2, rates={"W_E": 0.5}), Momentum(0.05, schedule=WarmupCosine(3, 12))], ids=str
)
def test_steps_along_the_gradient_stay_within_the_modes(optimizer, method):
    model, data = EmbMLP(12, 5, 4), random_data(d_vocab=12, n=8)
    flow, start = derive(model, "leading"), random_weights(model, scale=0.3)
    how = {"steps": 12, "optimizer": optimizer, "save_at": 4, "method": method}
    how |= {} if method == "steps" else {"rtol": 1e-8}
    small = reduce(flow, data)
    inside, whole = integrate(small, data, start, **how), integrate(flow, data, start, **how)
    assert inside.weights["W_E"].shape == (4, small.modes, 5)
    lifted = small.lift(inside)
    np.testing.assert_array_equal(lifted.steps, whole.steps)
    for w in model.weights:
        assert relative(lifted.weights[w], whole.weights[w]) < (1e-12 if method == "steps" else 1e-6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"optimizer": AdamW(0.1)}, "leave the modes of a reduced flow"),
        ({"optimizer": GD(0.1, weight_decay=0.1)}, "`weight_decay` moves what lies outside"),
        ({"optimizer": GD(0.1, decays={"W_E": 0.1})}, "`weight_decay` moves what lies outside"),
        ({"optimizer": GD(0.1), "batch_size": 3}, "`batch_size` needs the rows"),
        ({"optimizer": GD(0.1), "observables": ["loss"]}, "`lift` them"),
    ],
)
def test_optimizers_that_leave_the_modes_are_refused(options, words):
    model, data = EmbMLP(7, 5, 4), random_data()
    small = reduce(derive(model, "leading"), data)
    with pytest.raises(FieldError, match=words):
        integrate(small, data, random_weights(model), steps=3, **options)
