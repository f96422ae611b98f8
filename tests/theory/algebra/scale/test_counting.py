"""Powers counted, and first terms taken out, against the series expanded and multiplied out."""

import numpy as np
import pytest
import sympy as sp
from helpers import MODELS
from random_models import make

from smallinit.sim.compile.logits import value
from smallinit.theory import AttentionOnly, Decoder, EmbMLP, TwoTokenMLP
from smallinit.theory.algebra.matrices import terms_of, total
from smallinit.theory.algebra.nodes import matrix_symbols
from smallinit.theory.algebra.rebuild import distribute
from smallinit.theory.algebra.scale.counting import Powers, added, lowest, members, raised
from smallinit.theory.algebra.scale.cuts import Truncation
from smallinit.theory.algebra.scale.expansion import expand, truncated
from smallinit.theory.algebra.scale.series import subtract
from smallinit.theory.flows.powers import first_terms, logit_powers, model_logits, start_powers

SIZES = {"d_model": 4, "d_head": 2, "d_mlp": 3, "n_ctx": 3}
DECODERS = {
    "no norm": Decoder(5, **SIZES, n_layers=1, norm=None),
    "pre": Decoder(5, **SIZES, n_layers=1, norm_kind="rms"),
    "post": Decoder(5, **SIZES, n_layers=1, norm="post", norm_eps=0.0),
    "tied, biased": Decoder(5, **SIZES, n_layers=1, norm=None, tied=True, biases=True, n_heads=2),
}
ALL = (
    {name: model for name, (model, _) in MODELS.items()}
    | {"silu": EmbMLP(7, 4, 3, "silu"), "square": TwoTokenMLP(5, 3, "square"), "two": AttentionOnly(4, 3, 2)}
    | DECODERS
    | {f"random {seed}": make(seed)[0] for seed in range(6)}
)


def reach(model):
    return max(start_powers(model).values()) + (1 if isinstance(model, Decoder) else 2)


@pytest.mark.parametrize("name", ALL)
def test_counted_powers_are_those_of_the_expansion(name):
    model = ALL[name]
    order = reach(model)
    found = logit_powers(model, Truncation(), order).whole
    series = expand(model_logits(model), model.small_weights, order)
    assert set(series) <= set(members(found.every))
    for w in model.weight_symbols:
        held = {p for p, term in series.items() if w in matrix_symbols(term)}
        assert held <= set(members(found.held[w]))
        assert min(held) == lowest(found.held[w])


@pytest.mark.parametrize("name", ALL)
def test_first_terms_are_picked_from_the_expansion(name):
    model = ALL[name]
    starts = start_powers(model)
    series = expand(model_logits(model), model.small_weights, max(starts.values()))
    for power, term in first_terms(model).items():
        new = {w for w in model.weight_symbols if starts[w.name] == power}
        chosen = total(*(t for t in terms_of(distribute(series[power])) if matrix_symbols(t) & new))
        if distribute(term) != distribute(chosen):  # functions of a stream may be written in two ways
            rng = np.random.default_rng(0)
            weights = {w: rng.normal(size=shape) for w, shape in model.weights.items()}
            inputs = model.inputs(rng.integers(0, 5, (4, 3)))
            found, wanted = (value(e, model, weights, inputs) for e in (term, chosen))
            assert found == pytest.approx(wanted, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(
    "cut", [Truncation(1, 0), Truncation(activation=3), Truncation(attention=1)], ids=str
)
@pytest.mark.parametrize("name", [name for name in ALL if not name.startswith("random")])
def test_what_a_truncation_drops_is_counted(name, cut):
    model = ALL[name]
    order = reach(model) + 2 - 2 * (name in ("pre", "post"))
    dropped = logit_powers(model, cut, order).dropped
    whole, kept = (
        expand(e, model.small_weights, order)
        for e in (model_logits(model), truncated(model_logits(model), cut))
    )
    gap = {p: distribute(t) for p, t in subtract(whole, kept).items()}
    there = {p for p, t in gap.items() if not isinstance(t, sp.ZeroMatrix)}
    assert min(there, default=None) == next(iter(p for p in members(dropped.every) if p <= order), None)
    for w in model.weight_symbols:
        held = [p for p in sorted(there) if w in matrix_symbols(gap[p])]
        counted = [p for p in members(dropped.held.get(w, 0)) if p <= order]
        assert held[:1] == counted[:1]


def test_sets_of_powers():
    assert members(0b10110) == [1, 2, 4]
    assert lowest(0b1000) == 3
    assert lowest(0) == float("inf")
    assert members(added(0b110, 0b101, 3)) == [1, 2, 3]
    W = sp.MatrixSymbol("W", 2, 2)
    powers = raised(Powers(0b10, {W: 0b10}, 3))
    assert [members(p.every) for p in powers] == [[1], [2], [3]]
    assert raised(Powers(0b11, {}, 3)) == []  # a term that does not vanish has no series


def test_a_deep_network_is_counted_without_expanding_it(monkeypatch):
    monkeypatch.setattr("smallinit.theory.flows.powers.expand", None)  # a call of it would fail
    for layers in (5, 11):
        starts = start_powers(Decoder(5, **SIZES, n_layers=layers, n_heads=2))
        assert starts[f"blocks.{layers - 1}.W_V"] == 2
        assert starts["blocks.0.W_Q"] == 4
