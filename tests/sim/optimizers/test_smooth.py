"""Optimizers as flows: against their steps, against a flow written here, and what they refuse."""

import numpy as np
import pytest
from helpers import random_data
from optimizer_flows import by_hand
from scipy.integrate import solve_ivp

from smallinit.sim import (
    GD,
    AdamW,
    Linear,
    Momentum,
    SignGD,
    Spectral,
    Status,
    WarmupCosine,
    integrate,
)
from smallinit.sim.optimizers.schedule import Clock
from smallinit.theory import CompositeTask, EmbMLP, derive, exact

MODEL, DATA = EmbMLP(6, 5, 4), random_data(d_vocab=6, n=25, n_ctx=3)
START = MODEL.init(0.5, 0)
EXACT = derive(MODEL, "exact")
OPTIMIZERS = {
    "gd": GD(0.05, weight_decay=0.1, rates={"W_in": 0.3}),
    "momentum": Momentum(0.02, momentum=0.8, weight_decay=0.05),
    "nesterov": Momentum(0.02, momentum=0.8, nesterov=True, rates={"W_E": 2.0}),
    "adam": AdamW(0.01, weight_decay=0.0),
    "adamw": AdamW(0.01, betas=(0.8, 0.95), eps=1e-4, rates={"W_E": 0.5}, decays={"W_in": 2.0}),
    "rmsprop": AdamW(0.01, betas=(0.0, 0.9), eps=1e-2, weight_decay=0.0),
    "sign": SignGD(0.01, eps=1e-2, weight_decay=0.1),
    "spectral": Spectral(0.01, momentum=0.5, eps=0.1, rates={"W_out": 2.0}),
}


def followed(optimizer, steps, **options):
    return integrate(
        EXACT, DATA, START, steps=steps, optimizer=optimizer, rtol=1e-8, method="flow", **options
    )


def gap(a, b):
    """Largest distance of a weight at the end, relative to its displacement."""
    return max(
        np.linalg.norm(a.weights[k][-1] - b.weights[k][-1]) / np.linalg.norm(b.weights[k][-1] - START[k])
        for k in START
    )


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_flow_is_the_one_that_pages_state(name):
    o, shapes = OPTIMIZERS[name], {k: v.shape for k, v in START.items()}
    y = np.concatenate([START[k].ravel() for k in shapes])
    slope = EXACT.rhs(DATA, START)
    g = np.concatenate([-slope[k].ravel() for k in shapes])
    decay = np.concatenate([np.full(v.size, o.decays.get(k, o.weight_decay)) for k, v in START.items()])
    fed = g + decay * y if isinstance(o, Momentum) else g
    first = [[fed] if m == "v" else [g] if m == "a" else [g**2] for m in o.moments]
    state = np.concatenate([y, *(m[0] for m in first)])
    found = followed(o, 30, save_at=[0, 30], discrete_start=0)
    expected = solve_ivp(
        lambda s, z: by_hand(o, EXACT, DATA, s, z, shapes), (0, 30), state, rtol=1e-8, atol=1e-11
    ).y[:, -1]
    low = 0
    for k, v in START.items():
        end = expected[low : low + v.size].reshape(v.shape)
        assert np.abs(found.weights[k][-1] - end).max() < 1e-5 * np.abs(end - v).max()
        low += v.size


@pytest.mark.parametrize("name", [n for n in OPTIMIZERS if n != "adam"])  # its eps is too small: see below
def test_errors_fall_as_the_rate(name):
    o, gaps, rates = OPTIMIZERS[name], [], (0.1, 0.05, 0.025)
    for rate in rates:
        slower = type(o)(**{**vars(o), "learning_rate": rate * o.learning_rate})
        steps = round(40 / rate)
        recursion = integrate(
            EXACT, DATA, START, steps=steps, optimizer=slower, method="steps", save_at=[steps]
        )
        gaps.append(gap(followed(slower, steps, save_at=[steps], discrete_start=0), recursion))
    slope = np.polyfit(np.log(rates), np.log(gaps), 1)[0]
    assert slope == pytest.approx(1.0, abs=0.15), gaps


def demo(optimizer):
    """Largest error of a group's loss over 600 steps, on the demo's task."""
    task = CompositeTask(range(11, 31), range(1, 6), range(6, 11), masked=((6, 8), (8, 6)))
    model, data = EmbMLP(51, 100, 100, "tanh"), task.dataset()
    flow, start = derive(model, "exact"), model.init(0.8, 0)
    options = {"steps": 600, "optimizer": optimizer, "save_at": 21}
    steps = integrate(flow, data, start, method="steps", **options)
    found = integrate(flow, data, start, method="flow", rtol=1e-4, **options)
    np.testing.assert_array_equal(found.t, steps.t)
    groups = ("memory", "reasoning-train", "reasoning-test")
    return max(np.abs(found[f"loss/{g}"] / steps[f"loss/{g}"] - 1).max() for g in groups)


def test_adam_on_the_demo():
    assert demo(AdamW(1e-3, weight_decay=0.0)) < 0.015


def test_adamw_with_warm_up_cosine_and_decay_on_the_demo():
    assert demo(AdamW(1e-3, weight_decay=0.1, schedule=WarmupCosine(60, 600, 0.1))) < 0.01


def test_gradient_descent_is_gradient_flow_in_the_sum_of_the_rates():
    o = GD(0.2, schedule=Linear(50, 0.1), rates={})
    found = followed(o, 50, save_at=6, discrete_start=0)
    plain = integrate(EXACT, DATA, START, t1=float(found.t[-1]), save_at=found.t, rtol=1e-10)
    for k in START:
        np.testing.assert_allclose(found.weights[k], plain.weights[k], rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(found.t, o.clock(50).times[::10])
    assert found.statistics["methods"].startswith(("flow, tsit5 from step", "flow, dop853 from step"))
    assert " from t = " not in found.statistics["methods"]


@pytest.mark.parametrize(
    "schedule", [None, WarmupCosine(7, 40), Linear(40), lambda s: 1.0 if s < 20 else 0.1]
)
def test_a_smooth_rate_has_each_steps_integral(schedule):
    clock = Clock.of(0.3, schedule, 40)
    c0, c1, c2 = clock.parabolas().T
    np.testing.assert_allclose(c0 + c1 / 2 + c2 / 3, clock.rates, rtol=1e-12)
    np.testing.assert_array_equal(clock.smooth_time(np.arange(41)), clock.times)
    inside = clock.smooth_time(np.linspace(0, 40, 1001))
    assert (np.diff(inside) > 0).all()
    x = 0.3
    np.testing.assert_allclose(
        clock.smooth_time(np.arange(40) + x),
        clock.times[:-1] + x * (c0 + x * (c1 / 2 + x * c2 / 3)),
        rtol=1e-12,
    )


def test_a_run_within_its_discrete_start_is_the_recursion():
    o = AdamW(0.01)
    for steps in (0, 1, 20):
        found = followed(o, steps, save_at=[steps])
        recursion = integrate(EXACT, DATA, START, steps=steps, optimizer=o, method="steps", save_at=[steps])
        for k in START:
            np.testing.assert_array_equal(found.weights[k], recursion.weights[k])


def test_looking_changes_nothing():
    o = AdamW(0.01)
    few = followed(o, 60, save_at=[60])
    many = followed(o, 60, save_at=range(61), events=lambda t, w: w["W_E"][0, 0] - 100.0)
    for k in START:
        np.testing.assert_array_equal(few.weights[k][-1], many.weights[k][-1])
    kept = followed(o, 60, save_at=range(61), observables=["loss"])
    np.testing.assert_allclose(kept["loss"], many["loss"], rtol=1e-12)


def test_events_lie_at_the_flow_time_of_parts_of_steps():
    o = GD(0.2, schedule=WarmupCosine(10, 100))

    def half(t, weights):
        return t - 3.3

    found = followed(o, 100, save_at=[0, 100], events=half)
    assert found.events["half"][0] == pytest.approx(3.3, rel=1e-12)


@pytest.mark.parametrize("optimizer", [AdamW(0.01), Momentum(0.02)], ids=["adam", "momentum"])
def test_a_weight_may_start_at_zero(optimizer):
    start = START | {"W_out": np.zeros_like(START["W_out"])}
    options = {"steps": 60, "optimizer": optimizer, "save_at": [60]}
    steps = integrate(EXACT, DATA, start, method="steps", **options)
    found = integrate(EXACT, DATA, start, method="flow", **options)
    for k in START:
        moved = np.linalg.norm(steps.weights[k][-1] - start[k])
        assert np.linalg.norm(found.weights[k][-1] - steps.weights[k][-1]) < 0.03 * moved


def test_limits_end_a_run_with_what_there_is():
    few = followed(AdamW(0.01), 200, save_at=[0, 10, 200], max_steps=30, throw=False)
    assert few.outcome.status is Status.MAX_STEPS
    assert few.steps.tolist() == [0, 10]
    assert 0.2 < few.outcome.t < 2.0
    said = str(few.outcome)
    assert (
        f"`max_steps` used up at t = {few.outcome.t:#.7g}: step {few.outcome.t / 0.01:.6g} of 200 was reached"
        in said
    )
    assert 'use a larger `rtol`, a higher limit, or method "steps"' in said
    assert "rkc" not in said
    assert "t1" not in said
    short = followed(AdamW(0.01), 10_000_000 // 100, save_at=[0], max_seconds=0.2, throw=False)
    assert short.outcome.status is Status.MAX_SECONDS
    assert " of 100000 was reached; " in str(short.outcome)


def test_what_diverges_in_the_discrete_start_says_so():
    leading = derive(MODEL, "leading")
    found = integrate(leading, DATA, START, steps=50, optimizer=GD(1e60), method="flow", throw=False)
    assert not found.outcome.success
    assert np.isfinite(found.weights["W_E"]).all()


def test_a_blow_up_is_a_regular_end_in_flow_time():
    model = EmbMLP(6, 5, 4)
    leading = derive(model, "leading")
    plain = integrate(leading, DATA, START, t1=1e4, save_at=1, rtol=1e-8)
    assert plain.outcome.status is Status.BLOW_UP
    found = integrate(
        leading, DATA, START, steps=100_000, optimizer=GD(0.1), method="flow", rtol=1e-8, discrete_start=0
    )
    assert found.outcome.status is Status.BLOW_UP
    assert found.outcome.t == pytest.approx(plain.outcome.t, rel=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"optimizer": SignGD(0.1), "method": "flow"}, '`eps` is 0, but method "flow" cannot follow sign'),
        (
            {"optimizer": GD(0.1), "method": "steps", "discrete_start": 3},
            "`discrete_start` belongs to the method",
        ),
        (
            {"optimizer": GD(0.1), "method": "flow", "discrete_start": -3},
            "`discrete_start` must be an integer",
        ),
        ({"optimizer": GD(0.1), "method": "flow", "rtol": 2.0}, r"`rtol` must lie in \(0, 1\)"),
    ],
)
def test_refusals(options, words):
    with pytest.raises(ValueError, match=words):
        integrate(EXACT, DATA, START, steps=10, **options)


def test_a_discrete_start_needs_an_optimizer():
    with pytest.raises(ValueError, match="`discrete_start` belongs to an `optimizer`"):
        integrate(EXACT, DATA, START, t1=1.0, discrete_start=3)


@pytest.mark.parametrize("seed", range(20))
def test_decay_ends_in_a_blow_up_or_none_as_predicted(seed):
    """20 starts of a degree-3 flow, with decays on both sides of 1/tau*."""
    rng, leading = np.random.default_rng(seed), derive(MODEL, "leading")
    start = {k: rng.normal(size=v.shape) for k, v in START.items()}
    plain = integrate(leading, DATA, start, t1=1e4, save_at=1, rtol=1e-9).outcome.t
    share = np.linspace(0.3, 1.7, 20)[seed]
    decay = share / plain
    predicted = exact.homogeneous_decayed_blow_up(3, plain, decay)
    assert np.isfinite(predicted) == (share < 1)
    rate = 0.01 * plain
    found = integrate(
        leading, DATA, start, steps=1500, optimizer=GD(rate, weight_decay=decay), method="flow", rtol=1e-8,
        discrete_start=0, save_at=1,
    )  # fmt: skip
    assert found.outcome.status is (Status.BLOW_UP if share < 1 else Status.REACHED_END)
    if share < 1:
        assert found.outcome.t == pytest.approx(predicted, rel=1e-5)
