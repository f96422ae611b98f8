"""First escapes against closed forms and against training in numpy."""

from itertools import count
from math import inf, isnan, log

import numpy as np
import pytest
from helpers import MODELS, data_for, random_weights

from smallinit.sim import GD, AdamW, Linear, Momentum, SignGD, Spectral
from smallinit.sim.forecast import escape
from smallinit.sim.forecast.escape import PART, predict_escape
from smallinit.theory import CompositeTask, Dataset, Decoder, EmbedUnembed, EmbMLP, derive

TASK = CompositeTask(range(5, 9), (3, 4), (1, 2), masked=((1, 2),)).dataset()
MODEL = EmbMLP(13, 20, 20)


def trained_steps(data, start, step, most=20_000):
    """Steps in which a network written by hand loses its part, W by W moved by `step(name, gradient, number)`."""
    w = {name: value.copy() for name, value in start.items()}
    rows = ~data.held_out
    x = np.stack([np.bincount(s, minlength=data.d_vocab) for s in data.sequences[rows]]).astype(float)
    y, share = np.eye(data.d_vocab)[data.labels[rows]], data.weights[rows][:, None]
    first = None
    for number in range(most):
        z = x @ w["W_E"] @ w["W_in"]
        s = np.tanh(z)
        f = s @ w["W_out"]
        p = np.exp(f - f.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        loss = -np.sum(share * y * np.log(p))
        first = loss if first is None else first
        if loss <= (1.0 - PART) * first:
            return number
        d = share * (p - y)
        dz = (d @ w["W_out"].T) * (1 - s**2)
        g = {"W_out": s.T @ d, "W_in": (x @ w["W_E"]).T @ dz, "W_E": x.T @ (dz @ w["W_in"].T)}
        for name, slope in g.items():
            w[name] -= step(name, slope, number)
    return inf


class Adam:
    """As in its paper, with the moments of each weight."""

    def __init__(self, rate):
        self.rate, self.moments = rate, {}

    def __call__(self, name, g, number):
        a, b = self.moments.get(name, (0.0, 0.0))
        a, b = 0.9 * a + 0.1 * g, 0.999 * b + 0.001 * g**2
        self.moments[name] = a, b
        n = number + 1
        return self.rate * (a / (1 - 0.9**n)) / (np.sqrt(b / (1 - 0.999**n)) + 1e-8)


class HeavyBall:
    def __init__(self, rate):
        self.rate, self.speeds = rate, {}

    def __call__(self, name, g, number):
        self.speeds[name] = 0.9 * self.speeds.get(name, 0.0) + g
        return self.rate * self.speeds[name]


OPTIMIZERS = {
    "GD": (GD(0.1), lambda name, g, number: 0.1 * g),
    "momentum": (Momentum(0.02), HeavyBall(0.02)),
    "AdamW": (AdamW(2e-3, weight_decay=0.0), Adam(2e-3)),
    "linear schedule": (
        GD(0.2, schedule=Linear(300, 0.2)),
        lambda name, g, number: 0.2 * max(1 - 0.8 * number / 300, 0.2) * g,
    ),
    "rates": (GD(0.1, rates={"W_in": 3.0}), lambda name, g, number: (0.3 if name == "W_in" else 0.1) * g),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("seed", [0, 1])
def test_steps_are_those_of_a_network_written_by_hand(name, seed):
    optimizer, step = OPTIMIZERS[name]
    start = MODEL.init(1.1, seed)
    wanted = trained_steps(TASK, start, type(step)(step.rate) if hasattr(step, "rate") else step)
    found = predict_escape(MODEL, TASK, start, optimizer)
    assert found.closure == "softmax"
    assert found.steps == pytest.approx(wanted - 0.5, rel=0.02, abs=0.6)


def test_decay_moves_the_escape_as_it_does_training():
    start = MODEL.init(1.1, 0)
    moved = {name: w.copy() for name, w in start.items()}

    def step(name, g, number):
        change = 0.1 * (g + 0.005 * moved[name])
        moved[name] = moved[name] - change
        return change

    wanted = trained_steps(TASK, start, step)
    assert wanted > 1.05 * trained_steps(TASK, start, OPTIMIZERS["GD"][1])
    assert predict_escape(MODEL, TASK, start, GD(0.1, weight_decay=0.005)).steps == pytest.approx(
        wanted - 0.5, rel=0.02
    )


@pytest.mark.parametrize("optimizer", [None, AdamW(2e-3)])
def test_a_machine_that_is_busy_changes_nothing(optimizer, monkeypatch):
    start, hours = MODEL.init(1.1, 0), count(0.0, 3600.0)
    wanted = predict_escape(MODEL, TASK, start, optimizer)
    monkeypatch.setattr("smallinit.sim.ode.record.time.perf_counter", lambda: next(hours))
    found = predict_escape(MODEL, TASK, start, optimizer)
    assert (found.t, found.holds, found.fallen) == (wanted.t, wanted.holds, wanted.fallen)
    assert wanted.t < inf


@pytest.mark.parametrize("optimizer", [None, AdamW(2e-3), SignGD(1e-5)])
def test_what_was_not_looked_at_is_said(optimizer, monkeypatch):
    monkeypatch.setattr(escape, "WORK", 0.0)
    monkeypatch.setattr(escape, "FEWEST_LOOKED", 5)
    found = predict_escape(MODEL, TASK, MODEL.init(1.1, 0), optimizer)
    assert found.t == inf > found.t1 > 0.0
    end = "t = " if optimizer is None else "step 5."
    assert next(found.sentences()).startswith(f"The start is not left up to {end}")


def test_decay_that_wins_is_known_before_anything_is_integrated():
    start = MODEL.init(0.8, 0)
    free = predict_escape(MODEL, TASK, start).t
    never = predict_escape(MODEL, TASK, start, GD(0.1, weight_decay=1.01 / free))
    assert (never.t, never.steps, never.t1) == (inf, inf, inf)
    assert list(never.sentences()) == ["The start is never left."]
    assert trained_steps(TASK, start, lambda name, g, number: 0.1 * g) < inf


def test_a_linear_mode_escapes_in_closed_form():
    """Two factors, one input, two labels, from a balanced start of strength w0^2."""
    data = Dataset([[0]], [1], 2)
    model, w0 = EmbedUnembed(2, 1), 1e-4
    start = {"W_E": np.array([[w0 * np.sqrt(2.0)], [0.0]]), "W_U": np.array([[-w0, w0]])}
    # W_U stays (-b, b) and W_E[0] = a with a^2 = 2 b^2: f = (-s, s), s = a b, ds/dt = 2 sqrt(2) s / (1 + e^(2 s)).
    level = (1.0 - PART) * np.log1p(np.exp(-2 * np.sqrt(2) * w0**2))
    end = -0.5 * log(np.expm1(level))
    s = np.geomspace(np.sqrt(2) * w0**2, end, 200_001)
    wanted = np.trapezoid((1 + np.exp(2 * s)) / (2 * np.sqrt(2) * s), s)
    found = predict_escape(model, data, start)
    assert found.t == pytest.approx(wanted, rel=1e-3)
    assert isnan(found.steps)


def test_what_is_learnt_first_is_said():
    found = predict_escape(MODEL, TASK, MODEL.init(0.8, 0), GD(0.1))
    assert set(found.fallen) == set(TASK.group_names)
    order = sorted(found.fallen, key=found.fallen.get)
    assert order[-1] in found.first
    assert 0.0 < found.shared <= 1.0 + 1e-9
    assert found.holds > 0.5 * found.steps


def test_labels_without_frequencies_are_learnt_by_tokens():
    """A label for each token, all equally often: the mean logits can bring nothing."""
    data = Dataset(np.arange(6)[:, None], np.arange(6), 6)
    model = EmbMLP(6, 8, 8)
    found = predict_escape(model, data, model.init(0.7, 0), GD(0.1))
    assert found.shared == pytest.approx(0.0, abs=0.02)
    assert found.first.startswith("what tokens say of their labels")


@pytest.mark.parametrize("name", MODELS)
def test_every_model_escapes(name):
    model, data = MODELS[name][0], data_for(name)
    found = predict_escape(model, data, random_weights(model, scale=0.1), AdamW(1e-2))
    assert 0.0 < found.steps < inf
    assert found.holds >= 0.0
    assert len(list(found.sentences())) == 3


@pytest.mark.parametrize("optimizer", [SignGD(1e-3), Spectral(1e-2), AdamW(1e-3)], ids=lambda o: o.label)
def test_every_optimizer_has_a_clock(optimizer):
    found = predict_escape(MODEL, TASK, MODEL.init(0.8, 0), optimizer)
    assert 0.0 < found.steps < inf
    assert found.t == pytest.approx(found.steps * optimizer.learning_rate)


def test_more_data_are_looked_at_for_fewer_steps():
    """A right-hand side of a decoder costs by its rows, not by its weights."""
    model, rng = Decoder(12, 8, 4, 8, 4), np.random.default_rng(0)
    few, many = (Dataset(rng.integers(0, 12, (n, 4)), rng.integers(0, 12, n), 12) for n in (2000, 20_000))
    start, flow = model.init(0.8, 0), derive(model, "softmax")
    looked = [escape._steps_looked(flow, data, start, 12) for data in (few, many)]
    assert escape.FEWEST_LOOKED < looked[1] < looked[0] / 4
    assert looked[0] == pytest.approx(escape._steps_looked(flow, few, start, 1) / 12, rel=0.1)
