"""Tables of scales: numbers against numpy, texts, refusals, travel."""

import json
import re
from math import inf, isnan
from pathlib import Path

import numpy as np
import pytest
import torch
from hand_decoder import HandDecoder
from helpers import MODELS, TRAVELS, data_for, random_data, random_weights

from smallinit.sim import GD, AdamW, Scales, scales
from smallinit.sim.forecast.starts.start_scales import exponent, matched_exponent
from smallinit.theory import AttentionOnly, Decoder, EmbMLP, derive

DATA, MODEL = random_data(), EmbMLP(7, 5, 6)
START = random_weights(MODEL, scale=0.1)


@pytest.fixture(scope="module")
def found():
    return scales(MODEL, START, DATA, AdamW(1e-3, eps=1e-6), 500)


def rows(found, kind):
    return {row.name if kind == "weight" else row.block: row for row in found.rows if row.kind == kind}


def test_weights_are_measured(found):
    table = rows(found, "weight")
    for name, width in (("W_E", 5), ("W_in", 5), ("W_out", 6)):
        row = table[name]
        assert row.size == np.std(START[name])
        assert row.gain == pytest.approx(np.std(START[name]) * np.sqrt(width))
        assert row.largest == pytest.approx(np.linalg.norm(START[name], 2))
        assert 768 ** (0.5 - row.gamma) == pytest.approx(row.gain)


def test_eps_stands_beside_the_gradients(found):
    gradient = derive(MODEL, "exact").rhs(DATA, START)
    table = rows(found, "floor")
    assert set(table) == set(START)
    for name, row in table.items():
        assert row.ratio == pytest.approx(1e-6 / np.sqrt(np.mean(gradient[name] ** 2)))


def test_without_an_optimizer_there_are_no_steps():
    found = scales(MODEL, START, DATA)
    assert isnan(found.first_escape_steps)
    assert 0.0 < found.first_escape_time < inf
    assert "step" not in str(found).split("First escape")[1]
    assert rows(found, "floor") == {}


def test_regimes_go_by_the_mean_gain():
    for gamma, regime in ((0.3, "large"), (0.5, "usual"), (0.9, "small")):
        model = EmbMLP(7, 80, 80)
        assert scales(model, model.init(gamma, 0), DATA).regime == regime
    assert exponent(100**-0.3, 100) == pytest.approx(0.8)


def test_text_latex_html_and_numbers_say_the_same(found):
    assert isinstance(found, Scales)
    for text in (str(found), repr(found), found._repr_html_()):
        for part in ("W_out", found.verdict.replace("'", "&#x27;") if "<" in text else found.verdict):
            assert part in text
    assert found.latex().count(r"\begin{tabular}") == 3
    assert r"W\_out & " in found.latex()
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["escape"]["steps"] == found.first_escape_steps
    assert plain["verdict"] == found.verdict
    assert [row["name"] for row in plain["rows"]] == [row.name for row in found.rows]
    assert re.search(r"First escape \(5% of the loss gone\): step [\d.]+, t = [\d.]+", str(found))


@pytest.mark.parametrize("way", TRAVELS)
def test_scales_travel(found, way):
    other = TRAVELS[way](found)
    assert str(other) == str(found)
    with pytest.raises((AttributeError, TypeError)):
        other.regime = "small"


@pytest.mark.parametrize("name", MODELS)
def test_every_model_has_scales(name):
    model = MODELS[name][0]
    found = scales(model, random_weights(model, scale=0.2), data_for(name), AdamW(1e-2), 10_000)
    assert len(rows(found, "weight")) == len(model.weights)
    assert found.first_escape_steps > 0.0
    assert found.verdict.endswith(".")


def test_a_start_at_zero_is_small_and_is_never_left_by_gradient_descent():
    model = EmbMLP(7, 5, 6)
    zero = {name: 0.0 * w for name, w in START.items()}
    found = scales(model, zero, DATA, GD(0.1), 100)
    assert found.first_escape_steps == inf
    assert found.binds == "gamma"
    assert found.regime == "small"


def test_the_model_of_one_hot_streams_leaves_zero():
    model = AttentionOnly(5, 3)
    zero = {name: np.zeros(shape) for name, shape in model.weights.items()}
    assert scales(model, zero, random_data(d_vocab=5), GD(0.1)).first_escape_steps < inf


def test_keys_that_eps_outweighs_are_named():
    model = Decoder(7, 8, 4, 8, 3, norm=None)
    found = scales(model, model.init(1.8, 0, "d_model"), DATA, AdamW(1e-3))
    assert "eps outweighs the gradients of blocks.0.W_Q, blocks.0.W_K" in str(found)
    assert 0.0 < found.first_escape_steps < inf
    assert {row.block for row in found.rows if row.kind == "signal"} == {"ends", "blocks.0", "blocks.1"}


@pytest.mark.parametrize("eps", [1e-3, 0.0])
def test_the_eps_of_a_norm_stands_beside_what_it_is_added_to(eps):
    model = Decoder(7, 8, 4, 8, 3, norm_eps=eps, norm_kind="rms", predict="all")
    data = random_data(n=8)
    start = model.init(0.6, 0)
    hand = HandDecoder(model, {name: torch.tensor(w) for name, w in start.items()})
    hand.logits(data.sequences)
    floors = {row.block: row for row in scales(model, start, data).rows if row.name == "eps of the norm"}
    assert list(floors) == ["blocks.0", "blocks.1", "ends"]
    for block, row in floors.items():
        assert row.size == eps
        assert row.against == pytest.approx(float(torch.cat(hand.seen[block, "variance"]).mean()), rel=1e-9)


def test_what_has_no_closure_has_scales_without_a_prediction():
    model = Decoder(7, 8, 4, 8, 3, norm=None, activation="relu")
    found = scales(model, model.init(0.8, 0), DATA, AdamW(1e-3), 100)
    assert isnan(found.first_escape_steps)
    assert found.escape is None
    assert "The first escape is not predicted: the function Piecewise" in str(found)
    assert {row.kind for row in found.rows} == {"weight", "signal", "floor"}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"model": "EmbMLP"}, r"`model` must be a network such as EmbMLP\(...\), got str"),
        ({"optimizer": "adamw"}, r"`optimizer` must be an Optimizer such as AdamW\(1e-3\), got 'adamw'"),
        ({"steps": 0}, "`steps` must be an integer of at least 1, got 0"),
        ({"optimizer": GD(0.1, rates={"W_e": 2.0})}, "`rates` names the weight 'W_e': did you mean 'W_E'?"),
        ({"data": random_data(d_vocab=6)}, "make them equal"),
        ({"start": {"W_E": START["W_E"]}}, "lacks the weight 'W_in'"),
    ],
)
def test_malformed_input_is_refused(change, sentence):
    given = {"model": MODEL, "start": START, "data": DATA} | change
    with pytest.raises(ValueError, match=sentence):
        scales(**given)


def test_the_page_holds_what_was_measured():
    docs = Path(__file__).resolve().parents[4] / "docs"
    page, rows = (docs / "scales.md").read_text(), json.loads((docs / "scales.json").read_text())
    assert len(rows) == 18
    for row in rows:
        low, high = row["predicted / trained"]
        assert f"| {row['optimizer']} | {row['gamma']} | " in page
        assert f" | {low:.3f} .. {high:.3f} | {row['first group right']} |" in page
        assert 0.88 < low <= high < 1.0 if row["gamma"] == 0.5 else 0.988 <= low <= high < 1.0


@pytest.mark.parametrize(("gamma", "width", "to"), [(0.8, 768, 64), (0.3, 400, 32), (0.5, 200, 64)])
def test_a_matched_exponent_keeps_std_times_root_width(gamma, width, to):
    found = matched_exponent(gamma, width, to)
    assert to ** (0.5 - found) == pytest.approx(width ** (0.5 - gamma), rel=1e-12)
