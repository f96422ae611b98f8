"""Balanced starts of a reduced flow: the closed form against the integrator and the whole flow, and what is refused."""

import numpy as np
import pytest
from helpers import random_data, relative

from smallinit.sim import Status, balanced_start, integrate, reduce
from smallinit.theory import EmbedUnembed, EmbMLP, derive
from smallinit.theory.exact.closed_forms import ascent_blow_up, ascent_mode


def case(model, modes=None):
    data = random_data(d_vocab=12, n=8)
    flow = derive(model, "leading")
    return flow, data, reduce(flow, data, modes)


@pytest.mark.parametrize("model", [EmbMLP(12, 11, 13), EmbedUnembed(12, 11)])
def test_closed_form_against_the_integrator_and_the_whole_flow(model):
    flow, data, small = case(model)
    sizes = np.random.default_rng(0).uniform(0.1, 0.3, small.modes)
    sizes[2] = 0.0
    start = balanced_start(small, sizes)
    closed = integrate(small, data, start, t1=3.0, save_at=7)
    assert closed.statistics["methods"] == "closed form"
    stepped = integrate(small, data, start, t1=3.0, save_at=7, method="dop853", rtol=1e-11)
    whole = integrate(flow, data, start, t1=3.0, save_at=7, rtol=1e-11)
    lifted = small.lift(closed)
    for name in model.weights:
        assert relative(closed.weights[name], stepped.weights[name]) < 1e-10
        assert relative(lifted.weights[name], whole.weights[name]) < 1e-10
        assert relative(whole.weights[name][-1], whole.weights[name][0]) > 1e-3  # something has moved


def test_the_blow_up_is_that_of_the_first_mode():
    model = EmbMLP(12, 11, 13)
    _, data, small = case(model, modes=3)
    start = balanced_start(small, [0.1, 0.2, 0.3])
    closed = integrate(small, data, start, t1=1e6, save_at=[0.0, 1.0, 1e6])
    stepped = integrate(small, data, start, t1=1e6, save_at=[0.0, 1.0, 1e6], method="dop853", rtol=1e-9)
    assert closed.outcome.status is Status.BLOW_UP
    np.testing.assert_array_equal(closed.t, [0.0, 1.0])
    assert closed.outcome.t == pytest.approx(stepped.outcome.t, rel=1e-9)
    first = min(ascent_blow_up(3, s, a) for s, a in zip(small.strengths, [0.1, 0.2, 0.3], strict=True))
    assert closed.outcome.t == pytest.approx(first, rel=1e-14)


@pytest.mark.parametrize("weight", ["W_E", "W_in", "W_out"])
def test_a_start_that_is_not_balanced_is_integrated(weight):
    _, data, small = case(EmbMLP(12, 11, 13))
    start = balanced_start(small, np.full(small.modes, 0.2))
    start[weight] = start[weight] * (1.0 + 1e-6)
    path = integrate(small, data, start, t1=1.0, save_at=2)
    assert path.statistics["methods"] == "dop853"
    assert path.statistics["rhs_calls"] > 0


def test_what_stands_beside_the_modes_stands_still():
    model = EmbMLP(12, 13, 14)
    _, data, small = case(model)
    start = balanced_start(small, np.full(small.modes, 0.2))
    beside = [np.linalg.svd(start["W_in"])[i] for i in (0, 2)]
    start["W_in"] += 0.3 * np.outer(beside[0][:, -1], beside[1][-1])  # orthogonal to all modes on both sides
    closed = integrate(small, data, start, t1=2.0, save_at=3)
    assert closed.statistics["methods"] == "closed form"
    stepped = integrate(small, data, start, t1=2.0, save_at=3, method="dop853", rtol=1e-11)
    for name in model.weights:
        assert relative(closed.weights[name], stepped.weights[name]) < 1e-10


def test_ascent_in_closed_form():
    t = np.linspace(0.0, 5.0, 6)
    np.testing.assert_allclose(ascent_mode(t, 2, 0.5, 0.1), 0.1 * np.exp(0.5 * t), rtol=1e-14)
    a = ascent_mode(np.array([1.0, 1.0 + 1e-6]), 4, 0.5, 0.3)
    assert (a[1] - a[0]) / 1e-6 == pytest.approx(0.5 * a[0] ** 3, rel=1e-5)
    with pytest.raises(ValueError, match="before the blow-up at 20"):
        ascent_mode(20.0, 3, 0.5, 0.1)


def test_refused():
    _, _, small = case(EmbMLP(12, 11, 13))
    with pytest.raises(ValueError, match="one for each mode"):
        balanced_start(small, [0.1])
    _, _, narrow = case(EmbMLP(12, 4, 13))
    with pytest.raises(ValueError, match="narrowest layer of 4"):
        balanced_start(narrow, np.full(narrow.modes, 0.1))


@pytest.mark.parametrize("wrong", [{"rtol": 5.0}, {"atol": -1.0}, {"max_steps": 0}, {"first_step": -1.0}])
def test_settings_are_checked_in_closed_form_too(wrong):
    _, data, small = case(EmbMLP(12, 11, 13))
    start = balanced_start(small, np.full(small.modes, 0.2))
    with pytest.raises(ValueError, match=f"`{next(iter(wrong))}` must"):
        integrate(small, data, start, t1=1.0, **wrong)
