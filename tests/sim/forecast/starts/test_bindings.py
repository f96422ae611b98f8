"""What binds in planted set-ups, and nothing in sane ones; what a decoder says of its own start."""

from dataclasses import replace
from math import inf

import numpy as np
import pytest

from smallinit.sim import GD, AdamW, Momentum, SignGD, WarmupCosine, scales
from smallinit.sim.compile.companions import largest_curvature
from smallinit.sim.forecast import escape
from smallinit.theory import CompositeTask, Decoder, EmbMLP, OneLayerTransformer, derive

DATA = CompositeTask(range(11, 31), range(1, 6), range(6, 11), masked=((6, 8), (8, 6))).dataset()
MLP = EmbMLP(51, 100, 100)
ADAM = AdamW(1e-3, weight_decay=0.0)
EVENLY = dict.fromkeys(("W_V", "W_O", "W_in", "W_out", "W_U", "W_Q", "W_K"), 4.0)


def decoder(**options):
    return Decoder(51, d_model=64, d_head=32, d_mlp=128, n_ctx=3, **options)


def transformer(**options):
    return OneLayerTransformer(51, 64, 32, 64, 3, **options)


def scaled(model, factors, gamma=0.8):
    """A usual start with some weights larger."""
    return {name: w * factors.get(name, 1.0) for name, w in model.init(gamma, 0).items()}


# name -> model, start, optimizer, steps, what binds, a part of the number to change
PLANTED = {
    "a norm's eps outweighs a small stream": (
        decoder(),
        decoder().init(1.6, 0, "d_model"),
        ADAM,
        None,
        "norm_eps",
        "norm_eps",
    ),
    "a norm's eps is set too large": (
        decoder(norm_eps=1e-2),
        decoder().init(0.8, 0, "d_model"),
        ADAM,
        None,
        "norm_eps",
        "norm_eps",
    ),
    "Adam's eps outweighs gradients": (MLP, MLP.init(0.8, 0), AdamW(1e-3, eps=1e-2), None, "adam_eps", "eps"),
    "positions swamp tokens": (decoder(), decoder().init(0.8, 0, "rows"), ADAM, None, "positions", "W_pos"),
    "positions swamp tokens, in theory": (
        transformer(positions=True),
        transformer(positions=True).init(0.8, 0, "rows"),
        ADAM,
        None,
        "positions",
        "W_pos",
    ),
    "gamma is too small": (MLP, MLP.init(0.3, 0), ADAM, None, "gamma", "gamma"),
    "gamma is too large for these steps": (MLP, MLP.init(1.6, 0), GD(0.1), 300, "gamma", "gamma"),
    "too few steps": (MLP, MLP.init(0.8, 0), GD(0.1), 200, "steps", "steps"),
    "a rate too small for these steps": (
        MLP,
        MLP.init(0.8, 0),
        AdamW(1e-5, weight_decay=0.0),
        50,
        "learning_rate",
        "learning_rate",
    ),
    "a rate too large for the start, Adam": (
        MLP,
        MLP.init(0.8, 0),
        AdamW(0.1),
        None,
        "learning_rate",
        "learning_rate",
    ),
    "a rate too large for the start, GD": (
        MLP,
        MLP.init(0.8, 0),
        GD(300.0),
        None,
        "learning_rate",
        "learning_rate",
    ),
    "decay beats growth": (
        MLP,
        MLP.init(0.8, 0),
        GD(0.1, weight_decay=0.1),
        None,
        "weight_decay",
        "weight_decay",
    ),
    "decay beats growth under AdamW": (
        MLP,
        MLP.init(0.8, 0),
        AdamW(1e-3, weight_decay=60.0),
        None,
        "weight_decay",
        "weight_decay",
    ),
    "the decay of one weight beats growth": (
        MLP,
        MLP.init(0.8, 0),
        GD(0.1, decays={"W_E": 0.1}),  # twice as late or more binds: here it is 2.5 times
        None,
        "weight_decay",
        "decays['W_E']",
    ),
    "one layer is large": (MLP, scaled(MLP, {"W_out": 12.0}), ADAM, None, "balance", "W_out"),
    "the activation saturates": (
        MLP,
        scaled(MLP, {"W_E": 8.0, "W_in": 12.0, "W_out": 3.0}),
        ADAM,
        None,
        "activations",
        "W_in",
    ),
    "logits are not small": (
        transformer(),
        scaled(transformer(), EVENLY | {"W_E": 14.0, "W_U": 14.0}),
        ADAM,
        None,
        "logits",
        "W_U",
    ),
    "attention is not the average": (
        transformer(),
        scaled(transformer(), EVENLY | {"W_E": 8.0, "W_Q": 20.0, "W_K": 20.0}),
        ADAM,
        None,
        "attention",
        "W_Q",
    ),
}
RATES = {  # optimizer and steps -> the rate to change to, within these
    "AdamW hardly moves": (AdamW(1e-9), 2000, (1e-5, 1e-3)),
    "AdamW with decay that has no time to act": (AdamW(1e-8, weight_decay=0.1), 600, (3e-5, 1e-3)),
    "gradient descent hardly moves": (GD(1e-6), 2000, (0.02, 0.2)),
    "with momentum": (Momentum(1e-7), 2000, (2e-3, 2e-2)),
    "gradient descent swings up": (GD(50.0), 2000, (0.05, 0.5)),
    "sign descent goes to and fro": (SignGD(1.0), 2000, (1e-5, 1e-2)),
    "sign descent hardly moves": (SignGD(1e-9), 2000, (1e-6, 1e-2)),
}


@pytest.mark.parametrize("case", RATES)
def test_a_rate_that_no_start_can_make_up_for_is_named(case, monkeypatch):
    monkeypatch.setattr(escape, "WORK", 2e7)  # spent on what is too far
    optimizer, steps, (low, high) = RATES[case]
    found = scales(MLP, MLP.init(0.8, 0), DATA, optimizer, steps)
    assert found.binds == "learning_rate", found.verdict
    assert found.change[0] == "learning_rate"
    assert low < found.change[1] < high
    better = scales(MLP, MLP.init(0.8, 0), DATA, replace(optimizer, learning_rate=found.change[1]), steps)
    assert better.binds != "learning_rate", better.verdict


def test_a_run_of_which_little_could_be_looked_at_is_not_blamed(monkeypatch):
    monkeypatch.setattr(escape, "WORK", 0.0)
    found = scales(MLP, MLP.init(0.8, 0), DATA, AdamW(1e-3, weight_decay=0.0), 600)
    assert found.escape.t == np.inf
    assert found.escape.steps1 < 600
    assert not found.binds, found.verdict
    assert "not left up to step 2" in str(found)


def test_the_curvature_is_that_of_the_loss():
    start = MLP.init(0.8, 0)
    flow = derive(MLP, "exact")
    h = 1e-6
    found = largest_curvature(flow, DATA, start)
    rng = np.random.default_rng(1)
    v = {name: rng.standard_normal(w.shape) for name, w in start.items()}
    for _ in range(60):
        size = np.sqrt(sum((x**2).sum() for x in v.values()))
        ends = [flow.rhs(DATA, {n: w + s * h / size * v[n] for n, w in start.items()}) for s in (1, -1)]
        v = {n: (ends[0][n] - ends[1][n]) / (2 * h) for n in v}
    assert found == pytest.approx(np.sqrt(sum((x**2).sum() for x in v.values())), rel=0.1)


SANE = {
    "the demo": (MLP, MLP.init(0.8, 0), GD(0.1), 2000),
    "the demo under AdamW, with warm-up and decay": (
        MLP,
        MLP.init(0.8, 0),
        AdamW(1e-3, weight_decay=0.1, schedule=WarmupCosine(60, 600)),
        600,
    ),
    "the usual scale": (MLP, MLP.init(0.5, 1), Momentum(0.01), 500),
    "a transformer": (transformer(), transformer().init(0.8, 0), ADAM, 600),
    "the group's decoder": (decoder(), decoder().init(0.8, 0, "d_model"), ADAM, 600),
    "the usual decoder": (decoder(), decoder().init(0.5, 0, "d_model"), ADAM, 600),
    "gamma 1 under AdamW": (MLP, MLP.init(1.0, 2), ADAM, 600),
    "GPT-2's ends": (decoder(), decoder().init(0.8, 0, "gpt2"), ADAM, 600),
}


@pytest.mark.parametrize("case", PLANTED)
def test_the_binding_constraint_is_named(case):
    model, start, optimizer, steps, name, change = PLANTED[case]
    found = scales(model, start, DATA, optimizer, steps)
    assert found.binds == name, found.verdict
    what, to = found.change
    assert change in what
    assert 0.0 < to < inf
    assert f"{name} binds" in found.verdict


@pytest.mark.parametrize("case", SANE)
def test_a_sane_start_is_left_in_peace(case):
    model, start, optimizer, steps = SANE[case]
    found = scales(model, start, DATA, optimizer, steps)
    assert found.bindings == (), found.verdict
    assert found.verdict == f"The start is {found.regime}, and nothing binds."
