import sys
from math import inf

import numpy as np
import pytest

from smallinit.sim import (
    GD,
    AdamW,
    IntegrationError,
    Linear,
    Momentum,
    SignGD,
    Spectral,
    certificate,
    integrate,
)
from smallinit.sim.compile.compiler import compile_flow
from smallinit.theory import CompositeTask, Dataset, EmbMLP, OneLayerTransformer, derive

TASK = CompositeTask(range(5, 10), (1, 2), (3, 4), masked=())
DATA = TASK.dataset()
MODEL = EmbMLP(DATA.d_vocab, 12, 14)
START = MODEL.init(0.8, seed=1)


def true_error(flow, times, rate=0.0, model=MODEL, data=DATA, start=START):
    """Relative error of W_E's displacement against the exact flow, or gradient descent (Euler's method on it)."""
    exact = derive(model, "exact")
    if rate:
        wanted = descend(exact, data, start, np.rint(times / rate).astype(int), rate)
    else:
        wanted = integrate(exact, data, start, t1=times[-1], save_at=times, rtol=1e-9).weights["W_E"]
    ours = integrate(flow, data, start, t1=times[-1], save_at=times, rtol=1e-9).weights["W_E"]
    gone, moved = (np.linalg.norm(d, axis=(1, 2)) for d in (ours - wanted, wanted - start["W_E"]))
    return gone[1:] / moved[1:]


def descend(flow, data, start, steps, rate):
    """W_E after some numbers of steps of full-batch gradient descent."""
    problem = compile_flow(flow, data, start)
    y, slope, kept = problem.pack(start), np.empty(problem.n), []
    for step in range(steps[-1] + 1):
        if step in steps:
            kept.append(problem.unpack(y.copy())["W_E"])
        problem(0.0, y, slope)
        y += rate * slope
    return np.array(kept)


@pytest.mark.parametrize("closure", ["leading", "softmax", "activation=3"])
def test_the_estimated_error_is_that_of_the_exact_flow(closure):
    flow = derive(MODEL, closure)
    says = certificate(flow, DATA, START, t1=30.0)
    assert 0.0 < says.horizon < 30.0
    error = true_error(flow, says.t)
    small = error < 0.5 * says.tol  # the estimate is of first order
    assert says.error[1:][small] == pytest.approx(error[small], rel=0.2)
    assert error[says.t[1:] <= says.horizon].max() < says.tol
    assert np.interp(says.horizon, says.t[1:], error) > 0.5 * says.tol


@pytest.mark.parametrize("rate", [0.05, 0.1])
def test_a_learning_rate_enters_to_first_order(rate):
    """The exact closure lacks nothing but the steps of gradient descent."""
    says = certificate(derive(MODEL, "exact"), DATA, START, t1=24.0, learning_rate=rate, points=61)
    np.testing.assert_allclose(says.residual, 0.0, atol=1e-12)
    times = rate * np.arange(round(24.0 / rate) + 1)
    error = np.interp(says.t, times[1:], true_error(derive(MODEL, "exact"), times, rate))
    later = says.t > 10 * rate
    assert later.sum() > 10
    assert says.error[later] == pytest.approx(error[later], rel=0.15)


def test_a_coarse_learning_rate_shortens_the_horizon():
    flow = derive(MODEL, "softmax")
    found = [
        certificate(flow, DATA, START, t1=24.0, learning_rate=rate).horizon for rate in (0.0, 0.1, 0.2, 2.0)
    ]
    assert found[0] > found[1] > found[2] > found[3] == 0.0


def test_the_exact_closure_holds_for_ever():
    says = certificate(derive(MODEL, "exact"), DATA, START, t1=20.0)
    assert says.horizon == inf
    assert "to the end, t = 20" in repr(says)


def test_a_blow_up_ends_every_horizon():
    flow = derive(MODEL, "leading")
    end = integrate(flow, DATA, START, t1=1e6).outcome.t
    for tol in (0.05, 0.9):
        assert certificate(flow, DATA, START, t1=1e6, tol=tol).horizon < end


def test_nothing_is_certified_beyond_the_last_look(monkeypatch):
    found = iter((0.01, inf))
    module = sys.modules[certificate.__module__]  # the function has the module's name
    monkeypatch.setattr(module, "_horizon", lambda t, error, level: next(found))
    assert certificate(derive(MODEL, "softmax"), DATA, START, t1=20.0).horizon == pytest.approx(0.02)


def test_a_theory_that_never_held_has_no_horizon():
    says = certificate(derive(MODEL, "leading"), DATA, MODEL.init(0.2, 0), t1=1.0)
    assert says.horizon == 0.0
    assert says.residual[0] > 0.05
    assert len(says.error) == len(says.t) == 1


def test_frozen_weights_count_as_lacking():
    """`drive` moves the embedding only: for W_in it has no horizon, for W_E an early one."""
    flow = derive(MODEL, "drive")
    assert certificate(flow, DATA, START, t1=20.0, weight="W_in").horizon == 0.0
    drive, leading = (certificate(derive(MODEL, c), DATA, START, t1=20.0) for c in ("drive", "leading"))
    assert 0.0 < drive.horizon < leading.horizon


def test_the_transformer_is_certified():
    model = OneLayerTransformer(DATA.d_vocab, DATA.d_vocab, 4, 9, DATA.n_ctx, unembed=False)
    start = model.init(0.8, 0)
    flow = derive(model, "softmax")
    says = certificate(flow, DATA, start, t1=60.0)
    assert says.horizon < 60.0
    error = true_error(flow, says.t, model=model, start=start)
    assert error[says.t[1:] <= says.horizon].max() < says.tol
    assert np.interp(says.horizon, says.t[1:], error) > 0.5 * says.tol


def test_early_horizons_are_looked_at_closely():
    flow = derive(MODEL, "softmax")
    wide, close = (certificate(flow, DATA, START, t1=t1) for t1 in (300.0, 20.0))
    assert wide.horizon == pytest.approx(close.horizon, rel=0.03)
    assert close.t1 == 20.0


MOVERS = {
    "adamw": (AdamW(5e-3, weight_decay=0.1, schedule=Linear(200)), 150),
    "sign": (SignGD(1e-3), 150),
    "momentum": (Momentum(0.02), 250),
    "spectral": (Spectral(2e-3), 400),
    "gd": (GD(0.1, rates={"W_E": 0.5}), 400),
}


@pytest.mark.parametrize("name", MOVERS)
def test_steps_are_certified_as_they_are_lost(name):
    optimizer, steps = MOVERS[name]
    flow, every = derive(MODEL, "softmax"), np.arange(steps + 1)
    start = MODEL.init(
        0.8 if name in ("momentum", "spectral", "gd") else 1.4, seed=1
    )  # where the first signs are right
    says = certificate(flow, DATA, start, optimizer=optimizer, steps=steps)
    options = {"steps": steps, "optimizer": optimizer, "save_at": every, "method": "steps"}
    ours, wanted = (
        integrate(f, DATA, start, **options).weights["W_E"] for f in (flow, derive(MODEL, "exact"))
    )
    gone, moved = (np.linalg.norm(d, axis=(1, 2))[1:] for d in (ours - wanted, wanted - start["W_E"]))
    error = gone / moved
    assert says.error[1:] == pytest.approx(error[says.steps[1:] - 1], rel=0.1, abs=1e-3)
    assert 0 < says.horizon_steps < steps
    assert error[: says.horizon_steps].max() < says.tol
    assert error[says.horizon_steps] > 0.6 * says.tol
    assert f"step {says.horizon_steps}" in repr(says)
    np.testing.assert_allclose(says.t, optimizer.clock(steps).times[says.steps])


def test_the_flow_of_an_optimizer_is_certified_for_its_steps():
    adam = AdamW(5e-3, weight_decay=0.0)
    found = certificate(derive(MODEL, "exact"), DATA, START, optimizer=adam, steps=60, method="flow", tol=0.3)
    assert 0.0 < np.nanmax(found.error) < 0.3
    np.testing.assert_allclose(found.residual, 0.0, atol=1e-12)
    none = certificate(derive(MODEL, "exact"), DATA, START, optimizer=adam, steps=60)
    assert none.horizon == none.horizon_steps == inf
    assert none.error.max() < 1e-3


def test_batches_shorten_what_their_mean_path_loses():
    adam, flow = AdamW(5e-3, weight_decay=0.0), derive(MODEL, "softmax")
    whole, batches = (
        certificate(flow, DATA, START, optimizer=adam, steps=200, batch_size=b) for b in (None, 5)
    )
    assert batches.horizon != whole.horizon


def test_a_theory_that_diverges_is_certified_to_there_at_most():
    found = certificate(derive(MODEL, "leading"), DATA, START, optimizer=GD(0.5), steps=2000, tol=0.9)
    end = integrate(
        derive(MODEL, "leading"), DATA, START, optimizer=GD(0.5), steps=2000, throw=False
    ).outcome.t
    assert 0.0 < found.horizon <= end
    with pytest.raises(IntegrationError, match="diverged at step 0"):
        certificate(derive(MODEL, "leading"), DATA, START, optimizer=GD(1e300), steps=9)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tol": 1.5}, "`tol` must lie between 0 and 1, got 1.5"),
        ({"weight": "W_e"}, "`weight` 'W_e' is unknown: did you mean 'W_E'"),
        ({"learning_rate": -1.0}, "`learning_rate` must not be negative, got -1.0"),
        ({"points": 3}, "`points` must be an integer of at least 9, got 3"),
        ({"optimizer": GD(0.1)}, "`t1` is 1.0 beside an `optimizer`|`steps` is missing"),
        ({"optimizer": GD(0.1), "steps": 3}, "`t1` is .* beside an `optimizer`"),
        ({"optimizer": GD(0.1), "steps": 0, "t1": None}, "`steps` must be an integer of at least 1, got 0"),
        (
            {"optimizer": GD(0.1), "steps": 9, "t1": None, "learning_rate": 0.1},
            "`learning_rate` is 0.1 beside",
        ),
        (
            {"optimizer": GD(0.1), "steps": 9, "t1": None, "batch_size": 999},
            "`batch_size` is 999 but the data has",
        ),
        ({"batch_size": 4}, "`batch_size` is 4 without an `optimizer`"),
        ({"method": "steps"}, "`method` is none of a flow's"),
        ({"t1": None}, "`t1` is missing"),
    ],
)
def test_malformed_input_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        certificate(derive(MODEL, "leading"), DATA, START, **({"t1": 1.0} | options))


def attention():
    model, rng = OneLayerTransformer(4, 3, 2, 3, n_ctx=3), np.random.default_rng(0)
    data = Dataset(rng.integers(0, 4, (9, 3)), rng.integers(0, 4, 9), 4)
    return model, data, {name: 0.3 * rng.normal(size=shape) for name, shape in model.weights.items()}


def test_a_weight_that_nothing_moves_holds_to_the_end():
    """Queries and keys at zero stay there, in the closure as in training; this went on for ever."""
    model, data, start = attention()
    start |= {name: np.zeros_like(start[name]) for name in ("W_Q", "W_K")}
    found = certificate(derive(model, "softmax"), data, start, t1=2.0, weight="W_Q")
    assert found.horizon == inf
    np.testing.assert_array_equal(found.error, 0.0)
    nothing = {name: np.zeros(shape) for name, shape in MODEL.weights.items()}
    still = certificate(derive(MODEL, "softmax"), DATA, nothing, t1=2.0)
    assert still.horizon == inf
    np.testing.assert_array_equal(still.residual, 0.0)


def test_an_exact_gradient_beyond_the_floats_is_beyond_the_horizon():
    """`drive` lets the embedding grow for ever, and the exponential loss of such logits overflows."""
    model, rng = EmbMLP(4, 3, 3, "identity", loss="exponential"), np.random.default_rng(0)
    data = Dataset(rng.integers(0, 4, (9, 2)), rng.integers(0, 4, 9), 4)
    start = {name: 0.1 * rng.normal(size=shape) for name, shape in model.weights.items()}
    far, near = (
        certificate(derive(model, "drive"), data, start, t1, learning_rate=0.01).horizon for t1 in (1e7, 1.0)
    )
    assert 0.1 < near < 0.9
    assert far == pytest.approx(near, rel=0.01)
