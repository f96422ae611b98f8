"""Decoders: the derived flow and the torch twin against a network written by hand, over random configurations."""

from functools import cache

import numpy as np
import pytest
import torch
from hand_decoder import HandDecoder, hand_gradient
from helpers import relative

from smallinit.compare import train
from smallinit.compare.training.networks import network
from smallinit.sim import integrate
from smallinit.sim.compile.logits import logits
from smallinit.theory import Activation, Dataset, Decoder, derive
from smallinit.theory.base.errors import FieldError

V, N = 7, 6
CHOICES = {
    "n_layers": (1, 2, 3),
    "n_heads": (1, 2, 3, 4),
    "norm": (None, "pre", "post"),
    "norm_kind": ("layer", "rms"),
    "norm_eps": (1e-5, 0.0, 0.1),
    "gains": (True, False),
    "biases": (True, False),
    "tied": (True, False),
    "positions": ("learned", "rotary", None),
    "activation": ("tanh", "gelu", "relu", "silu", "sin"),
    "predict": ("last", "all"),
    "padding": (None, 0),
}
# Of thirty seeds those that have every choice, and together nearly all the pairs of choices that the thirty have.
SEEDS = (1, 2, 3, 4, 5, 6, 11, 12, 14, 15, 20, 23, 26, 28)


@cache  # tests that meet the same data share their kernel
def configuration(seed):
    """A random model with data and weights of order one: repeated tokens, unequal weights, padding anywhere."""
    rng = np.random.default_rng(seed)
    options = {name: some[rng.integers(len(some))] for name, some in CHOICES.items()}
    n_ctx = int(rng.integers(3, 6))
    model = Decoder(V, d_model=6, d_head=4, d_mlp=5, n_ctx=n_ctx, **options)
    tokens = rng.integers(1, V, (N, n_ctx))
    if model.padding is not None:
        for row in tokens:
            row[rng.permutation(n_ctx)[: rng.integers(0, n_ctx)]] = model.padding
    held_out = np.arange(N) == N - 1
    data = Dataset(tokens, rng.integers(1, V, N), V, weights=rng.uniform(0.5, 2.0, N), held_out=held_out)
    weights = {
        name: rng.normal(0.0, 0.4, shape) + model.start_values.get(name, 0.0)
        for name, shape in model.weights.items()
    }
    return model, data, weights


def hand_values(model, weights, sequences):
    leaves = {name: torch.tensor(w) for name, w in weights.items()}
    return HandDecoder(model, leaves).logits(sequences).numpy()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_exact_flow_is_the_gradient_of_a_network_written_by_hand(seed):
    model, data, weights = configuration(seed)
    wanted = hand_gradient(model, weights, data)
    slopes = derive(model, "exact").rhs(data, weights)
    size = max(np.abs(g).max() for g in wanted.values())
    for name, gradient in wanted.items():
        np.testing.assert_allclose(-slopes[name], gradient, rtol=0.0, atol=1e-11 * size, err_msg=name)


@pytest.mark.parametrize("seed", range(30))
def test_the_twin_is_a_network_written_by_hand(seed):
    model, data, weights = configuration(seed)
    wanted = hand_values(model, weights, data.sequences)
    net = network(model, weights)
    ours = net(torch.tensor(data.sequences))
    np.testing.assert_allclose(ours.detach().numpy(), wanted, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(logits(model, weights, data.sequences), wanted, rtol=1e-11, atol=1e-12)
    run = train(model, data, weights, "gd", 1.0, 1, [0, 1])
    gradient = hand_gradient(model, weights, data)
    size = max(np.abs(g).max() for g in gradient.values())
    for name, g in gradient.items():
        step = run.weights[name][0] - run.weights[name][1]
        np.testing.assert_allclose(step, g, rtol=0.0, atol=1e-11 * size, err_msg=name)


@pytest.mark.parametrize("seed", SEEDS[:6])
def test_euler_steps_are_those_of_gradient_descent(seed):
    model, data, start = configuration(seed)
    run = train(model, data, start, "gd", 0.05, 40, [0, 40])
    flow = derive(model, "exact")
    path = integrate(flow, data, start, t1=40 * 0.05, method="euler", fixed_step=0.05, save_at=[0.0, 2.0])
    for name in model.weights:
        size = np.abs(run.weights[name][1]).max()
        np.testing.assert_allclose(
            path.weights[name][-1], run.weights[name][1], rtol=0, atol=1e-13 * max(size, 1)
        )


def test_choices_all_occur():
    models = [configuration(seed)[0] for seed in SEEDS]
    for name, some in CHOICES.items():
        assert {str(getattr(m, name)) for m in models} == {str(value) for value in some}, name


def test_positions_count_what_is_no_padding():
    model = Decoder(V, 6, 4, 5, 4, padding=0)
    weights = {name: w + 0.3 for name, w in model.init(0.5, 0).items()}
    rows = np.array([[0, 3, 0, 5], [3, 5, 0, 0], [3, 0, 0, 5]])
    net = network(model, weights)(torch.tensor(rows)).detach().numpy()
    np.testing.assert_allclose(net[1:], net[:1].repeat(2, axis=0), rtol=1e-13)
    ours = logits(model, weights, rows)
    np.testing.assert_allclose(ours[1:], ours[:1].repeat(2, axis=0), rtol=1e-13)


def test_gains_start_at_one_and_biases_at_zero():
    model = Decoder(V, 6, 4, 5, 3, biases=True)
    start = model.init(0.8, 0)
    assert (start["blocks.1.ln2.w"] == 1.0).all()
    for name in ("blocks.0.ln1.b", "ln_final.b", "blocks.0.b_in", "blocks.1.b_out", "b_U"):
        assert (start[name] == 0.0).all(), name
    assert not {"b_U", "ln_final.b"} & set(Decoder(V, 6, 4, 5, 3).weights)
    assert "ln_final.b" not in Decoder(V, 6, 4, 5, 3, biases=True, norm_kind="rms").weights
    assert not [name for name in Decoder(V, 6, 4, 5, 3, biases=True, gains=False).weights if "ln" in name]


def test_activations_are_those_of_torch_or_rescaled_if_one_says_so():
    """GELU by its name has slope 1/2 at 0; the theory's, given as an object, has slope 1, in the twin too."""
    sizes, rows = (V, 6, 4, 5, 3), np.array([[1, 2, 3], [4, 5, 6]])
    plain, rescaled = Decoder(*sizes, activation="gelu"), Decoder(*sizes, activation=Activation.of("gelu"))
    weights = plain.init(0.4, 0)
    for model in (plain, rescaled):
        twin = network(model, weights)(torch.tensor(rows)).detach().numpy()
        np.testing.assert_allclose(twin, logits(model, weights, rows), rtol=1e-12)
    assert relative(logits(plain, weights, rows), logits(rescaled, weights, rows)) > 1e-3


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"d_head": 3, "positions": "rotary"},
            "`d_head` is 3, but rotary positions turn pairs of entries: make it",
        ),
        ({"norm_eps": -1e-5}, "`norm_eps` must be zero or more, got -1e-05"),
        ({"norm_eps": float("nan")}, "`norm_eps` must be a finite number"),
        ({"padding": 7}, "`padding` must be a token below 7, got 7"),
        ({"padding": -1}, "`padding` must be an integer of at least 0"),
        ({"padding": 1.5}, "`padding` must be an integer"),
        ({"norm": "before"}, "`norm` 'before' is unknown"),
        ({"norm_kind": "batch"}, "`norm_kind` 'batch' is unknown"),
        ({"positions": True}, "`positions` True is unknown"),
        ({"positions": "rotari"}, "`positions` 'rotari' is unknown: did you mean 'rotary'"),
        ({"predict": "next"}, "`predict` 'next' is unknown"),
        ({"activation": "rleu"}, "`activation` 'rleu' is unknown"),
        ({"activation": "leaky_relu"}, "`activation` 'leaky_relu' breaks Assumption 1"),
        ({"n_heads": 0}, "`n_heads` must be an integer of at least 1"),
        ({"tied": 1}, "`tied` must be True or False"),
    ],
)
def test_bad_specs_are_refused_in_one_sentence(options, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        Decoder(**{"d_vocab": V, "d_model": 6, "d_head": 4, "d_mlp": 5, "n_ctx": 3} | options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("tokens", "labels", "sentence"),
    [
        ([[1, 2, 0], [0, 0, 0]], [1, 2], "sequence 1 is all padding, token 0: leave it out"),
        ([[1, 2, 0], [1, 0, 0]], [1, 0], "the label of sequence 1 is the padding, token 0: leave it out"),
        ([[1, 2], [1, 0]], [1, 1], "`data.n_ctx` is 2 but the model's `n_ctx` is 3"),
    ],
)
@pytest.mark.parametrize("predict", ["last", "all"])
def test_data_without_anything_to_predict_are_refused(tokens, labels, sentence, predict):
    model = Decoder(V, 6, 4, 5, 3, padding=0, predict=predict)
    data, start = Dataset(tokens, labels, V), model.init(0.5, 0)
    with pytest.raises(ValueError, match=sentence):
        train(model, data, start, steps=1)
    with pytest.raises(ValueError, match=sentence):
        integrate(derive(model, "exact"), data, start, t1=1.0)


def test_relu_has_no_closure_but_the_exact_one():
    model = Decoder(V, 6, 4, 5, 3, activation="relu", norm=None)
    with pytest.raises(ValueError, match="no Taylor series at 0, which every closure but 'exact' needs"):
        derive(model, "softmax")


def test_errors_name_the_field():
    with pytest.raises(FieldError) as caught:
        Decoder(V, 6, 4, 5, 3, norm_eps=-1.0)
    assert caught.value.field == "norm_eps"
