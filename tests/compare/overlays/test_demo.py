"""The demo preset: how well theory and training agree, two seeds."""

from functools import cache

import numpy as np
import pytest

from smallinit.compare import overlay, train
from smallinit.sim import integrate
from smallinit.theory import CompositeTask, EmbMLP, derive

# Where the seeds end. The first goes as far as the demo, the other over the escape.
ENDS = {0: 200.0, 1: 100.0}
# Twice the demo's own: half as many steps, which part further from the flow and keep the bounds with less room.
RATE = 0.2


@pytest.fixture(scope="module", params=ENDS)
def seed(request):
    """All tests of one seed before those of the next: they share its training."""
    return request.param


@cache
def setting():
    task = CompositeTask(
        keys=range(11, 31),
        memory_anchors=range(1, 6),
        reasoning_anchors=range(6, 11),
        masked=((6, 8), (8, 6)),
    )
    return task.dataset(), EmbMLP(51, 100, 100)


@cache
def run(seed):
    data, model = setting()
    start = model.init(0.8, seed)
    steps, saved = round(ENDS[seed] / RATE), round(ENDS[seed] / 2) + 1
    return start, train(model, data, start, learning_rate=RATE, steps=steps, save_at=saved)


@cache
def theory(closure, seed):
    data, model = setting()
    start, training = run(seed)
    return integrate(derive(model, closure), data, start, t1=ENDS[seed], save_at=training.t, rtol=1e-6)


def test_leading_follows_the_embedding_until_shortly_before_its_blow_up(seed):
    flow = theory("leading", seed)
    laid = overlay(flow, run(seed)[1])
    error = np.interp([0.5 * flow.outcome.t, 0.7 * flow.outcome.t], laid.t, laid.relative_error["W_E"])
    assert error[0] < 0.04
    assert error[1] < 0.10
    assert 0.5 * flow.outcome.t < laid.horizon(0.05) < flow.outcome.t


def test_softmax_predicts_every_group_loss(seed):
    laid = overlay(theory("softmax", seed), run(seed)[1])
    for group in ("memory", "reasoning-train", "reasoning-test"):
        assert np.max(laid.relative_error[f"loss/{group}"]) < 0.08, group


def test_memory_waits_on_its_plateau_while_reasoning_falls():
    training = run(0)[1]
    late = training.t >= 60.0
    assert np.abs(training["loss/memory"][late] - np.log(20)).max() < 0.1
    assert training["loss/reasoning-train"][-1] < 1.8
    assert training["loss/reasoning-test"][-1] < 1.8


def test_leading_improves_as_the_start_shrinks():
    """The gap at half the blow-up time falls with gamma."""
    data, model = setting()
    gaps = []
    for gamma in (0.7, 0.8, 0.9):
        start = model.init(gamma, 0)
        flow = integrate(derive(model, "leading"), data, start, t1=1000.0, save_at=[0.0], rtol=1e-8)
        half = 0.5 * flow.outcome.t
        rate = half / round(half / RATE)
        training = train(
            model, data, start, learning_rate=rate, steps=round(half / rate), save_at=[round(half / rate)]
        )
        at = integrate(derive(model, "leading"), data, start, t1=half, save_at=[half], rtol=1e-8)
        moved = training.weights["W_E"][-1] - start["W_E"]
        gaps.append(np.linalg.norm(at.weights["W_E"][-1] - start["W_E"] - moved) / np.linalg.norm(moved))
    assert gaps[0] > gaps[1] > gaps[2]


def test_the_cubic_term_helps_while_pre_activations_are_small():
    """Beside the exact softmax it is closer up to t = 50 and worse at the end: its range is left between."""
    plain, cubic = (theory(closure, 0) for closure in ("softmax", "activation=3,attention=0"))
    early, late = plain.t <= 50.0, plain.t == 200.0
    errors = [overlay(flow, run(0)[1]).relative_error["loss/reasoning-train"] for flow in (plain, cubic)]
    assert 3 * errors[1][early].max() < errors[0][early].max() < 0.03
    assert errors[1][late] > errors[0][late]
    assert 30.0 < plain.left_range["pre-activations"] < cubic.left_range["pre-activations"] < 120.0
