"""Closures of decoders: predicted powers against autodiff of a network written by hand, in both regimes of the norm."""

from functools import partial

import numpy as np
import pytest
from hand_decoder import hand_gradient

from smallinit.compare.proof import residuals
from smallinit.compare.proof.residuals import measure_residual
from smallinit.sim import integrate, measure_escape
from smallinit.theory import Closure, Dataset, Decoder, derive, escape_exponents
from smallinit.theory.base.errors import FieldError
from smallinit.theory.flows.ranges import ranges

SIZES = {"d_model": 5, "d_head": 4, "d_mlp": 6, "n_ctx": 4}
DIRECTION, LINEAR = {"norm_eps": 0.0}, {"norm_eps": 1.0}
CASES = [
    ({"norm": None}, ["leading", "softmax"]),
    (
        {"norm": None, "n_layers": 1, "biases": True, "tied": True, "positions": "rotary"},
        ["leading", "order=4"],
    ),
    ({"norm": "pre", **DIRECTION}, ["leading", "softmax"]),
    ({"norm": "pre", "n_layers": 1, "norm_kind": "rms", "biases": True, **DIRECTION}, ["order=3", "drive"]),
    ({"norm": "pre", "n_layers": 1, **DIRECTION}, ["attention=1", "activation=3"]),
    ({"norm": "post", "n_layers": 1, "n_heads": 2, **DIRECTION}, ["leading", "softmax"]),
    ({"norm": "pre", "n_layers": 1, **LINEAR}, ["leading,norm=linear", "order=4,norm=linear"]),
    ({"norm": "pre", "n_layers": 1, "predict": "all", **LINEAR}, ["softmax,norm=linear"]),
]


def data_of(model, n=8):
    rng = np.random.default_rng(3)
    tokens, labels = rng.integers(0, 7, (n, model.n_ctx)), rng.integers(0, 7, n)
    return Dataset(tokens, labels, 7, weights=rng.uniform(0.5, 2.0, n))


def direction_of(model):
    rng = np.random.default_rng(4)
    constant = model.start_values
    return {
        w: 1.0 + 0.3 * rng.normal(size=shape) if constant.get(w) else rng.normal(size=shape)
        for w, shape in model.weights.items()
    }


def by_hand(model, data, weights):
    """At negative scales the norms of a stream of power one change their sign."""
    norms = [w.removesuffix(".w") for w in model.weights if w.endswith(".w")]
    turned = norms if model.norm == "pre" else norms[:1]
    return hand_gradient(model, weights, data, turned if type(model) is not Decoder else ())


@pytest.mark.parametrize(("options", "closures"), CASES, ids=str)
def test_measured_powers_are_the_predicted_ones(monkeypatch, options, closures):
    model = Decoder(7, **SIZES, **options)
    monkeypatch.setattr(residuals, "Autodiff", lambda model, data: partial(by_hand, model, data))
    data, direction = data_of(model), direction_of(model)
    for closure in closures:
        found = measure_residual(derive(model, closure), data, direction)
        for w, predicted in found.predicted.items():
            if predicted < 7:  # beyond, float64 leaves no decade to measure in
                assert found.measured[w] == pytest.approx(predicted, abs=0.1), (closure, w)
            else:
                assert found.measured[w] > 6.5


def test_powers_of_two_layers_without_norm():
    model = Decoder(7, **SIZES, norm=None)
    assert set(derive(model, "leading").residual_order.values()) == {2}
    orders = derive(model, "softmax").residual_order
    assert {orders[w] for w in ("W_E", "W_pos", "W_U")} == {6}
    assert {orders[f"blocks.{l}.{w}"] for l in (0, 1) for w in ("W_V", "W_O", "W_in", "W_out")} == {4}
    assert {orders[f"blocks.{l}.{w}"] for l in (0, 1) for w in ("W_Q", "W_K")} == {0}


def test_names_of_closures_say_what_is_kept_of_norms():
    model = Decoder(7, **SIZES)
    for name in ("leading,norm=linear", "softmax,norm=linear", "order=4,norm=linear", "norm=linear", "drive"):
        assert Closure.of(name, model).name == name
    assert Closure.of("softmax,norm=exact", model) == Closure.of("softmax", model)
    assert Closure(activation=1, attention=0, norm="linear").name == "softmax,norm=linear"
    with pytest.raises(FieldError, match="norm_eps = 0"):
        derive(Decoder(7, **SIZES, norm_eps=0.0), "softmax,norm=linear")
    with pytest.raises(FieldError, match=r"`norm` .half. is unknown"):
        Closure(norm="half")


def test_a_linear_norm_has_a_range():
    model = Decoder(7, **SIZES, n_layers=1, norm_eps=0.5)
    kinds = [r for r in ranges(model, "softmax,norm=linear") if r.what == "mean squares"]
    assert len(kinds) == 3
    assert all(r.limit == pytest.approx(0.5 * 0.21) for r in kinds)
    assert not any(r.what == "mean squares" for r in ranges(model, "softmax"))


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({"norm": None, "n_heads": 2}, {"[0]": 2, "[1]": 2, "W_E.T*W_E + W_pos.T*W_pos": 1}),
        ({"n_heads": 2, "norm_kind": "rms"}, {"[0]": 2, "[1]": 2, "ln_final.w.T*ln_final.w - W_U*W_U.T": 1}),
        ({"norm": "pre", "biases": True}, {"ln2.w.T*blocks.0.ln2.w + blocks.0.ln2.b.T": 1}),
    ],
)
def test_invariants_by_head_and_of_gains_are_proved_and_hold(options, count):
    model = Decoder(7, **SIZES, n_layers=1, **options)
    flow = derive(model, "exact")
    shown = [str(i) for i in flow.invariants]
    assert not any("observed" in text for text in shown)
    for part, number in count.items():
        assert sum(part in text for text in shown) == number
    start = {w: 0.5 * x if not model.start_values.get(w) else x for w, x in direction_of(model).items()}
    run = integrate(flow, data_of(model), start, 2.0, save_at=[0.0, 2.0], rtol=1e-11)
    moved = max(np.abs(run.weights[w][-1] - run.weights[w][0]).max() for w in run.weights)
    assert moved > 0.05
    for w in ("W_Q", "W_K"):
        assert np.abs(run.weights[f"blocks.0.{w}"][-1] - run.weights[f"blocks.0.{w}"][0]).max() > 1e-4
    d = model.d_head
    for h in range(model.n_heads):
        mine = slice(h * d, (h + 1) * d)
        q, k = (run.weights[f"blocks.0.{w}"][:, :, mine] for w in ("W_Q", "W_K"))
        balance = np.swapaxes(q, 1, 2) @ q - np.swapaxes(k, 1, 2) @ k
        assert balance[1] == pytest.approx(balance[0], abs=1e-8)


PATHS = {
    "direct": ("W_E", "W_pos", "W_U"),
    "values": ("blocks.1.W_V", "blocks.1.W_O"),
    "hidden": ("blocks.0.W_in", "blocks.0.W_out"),
    "attention": ("blocks.1.W_Q", "blocks.1.W_K"),
}
EXPONENTS = {
    "no norm": ({"norm": None}, "exact", {"direct": 0, "values": 2, "hidden": 2, "attention": 6}),
    "direction": (DIRECTION, "exact", {"direct": -1, "values": 0, "attention": 2}),
    "linear": (LINEAR, "linear", {"direct": 0, "values": 2, "attention": 6}),
}


@pytest.mark.parametrize("name", EXPONENTS)
def test_escapes_of_paths_go_as_counted(name):
    options, norm, exponents = EXPONENTS[name]
    model = Decoder(7, **SIZES, n_heads=2, **options)
    counted = escape_exponents(model, norm)
    data, start = (
        data_of(model, 16),
        {
            w: x / np.sqrt(len(x)) if not model.start_values.get(w) else np.ones(x.shape)
            for w, x in direction_of(model).items()
        },
    )
    for path, exponent in exponents.items():
        assert {counted[w] for w in PATHS[path]} == {exponent}
        found = measure_escape(model, data, start, PATHS[path], [0.03, 0.003], norm=norm)
        assert found.predicted == exponent
        assert found.measured == pytest.approx(exponent, abs=0.1 * max(1, abs(exponent)))


def test_paths_that_do_not_move_are_refused():
    model = Decoder(7, **SIZES)
    with pytest.raises(FieldError, match="`scales` must be two or more different positive numbers"):
        measure_escape(model, data_of(model), direction_of(model), ["W_E"], [0.1])
    with pytest.raises(FieldError, match=r"`weights` .W_X. is unknown"):
        derive(model, "exact").only("W_X")
