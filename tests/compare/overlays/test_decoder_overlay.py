"""Decoders laid over their training: every observable, under gradient descent and AdamW, figure and report."""

import json

import numpy as np
import pytest

from smallinit.cli import run as command
from smallinit.compare import overlay, train
from smallinit.compare.plots.panels import MOST_WEIGHTS, moved_most
from smallinit.sim import GD, AdamW, integrate
from smallinit.theory import CompositeTask, Decoder, derive

DATA = CompositeTask(range(5, 9), (3, 4), (1, 2), masked=((1, 2),)).dataset()
RULES = {"GD": GD(0.05), "AdamW": AdamW(2e-3)}


def pair(norm, rule, closure, steps=30):
    model = Decoder(DATA.d_vocab, 8, 4, 8, 3, n_heads=2, norm=norm)
    start = model.init(0.8, 0, "d_model")
    run = train(model, DATA, start, RULES[rule], steps=steps, save_at=7)
    rule, flow = RULES[rule], derive(model, closure)
    path = integrate(flow, DATA, start, steps=steps, optimizer=rule, method="steps", save_at=run.steps)
    return overlay(path, run)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("norm", ["pre", "post", None])
def test_the_exact_closure_under_an_optimizer_is_the_training(norm, rule):
    found = pair(norm, rule, "exact")
    for name in ("loss", "loss/memory", "accuracy/reasoning-train", "norm/blocks.1.W_in"):
        assert found.relative_error[name].max() < 1e-9, name


@pytest.mark.parametrize(
    ("norm", "rule", "most"), [("pre", "GD", 0.02), (None, "GD", 0.01), (None, "AdamW", 0.01)]
)
def test_the_softmax_closure_follows_a_small_start(norm, rule, most):
    found = pair(norm, rule, "softmax")
    assert 1e-9 < found.relative_error["loss"].max() < most
    fallen = found.training["loss"][0] - found.training["loss"][-1]
    assert fallen > 0.0


def test_the_command_lays_a_decoder_over_its_training(tmp_path, capsys):
    out = str(tmp_path / "out")
    flags = ["--model.name", "Decoder", "--model.d-model", "8", "--model.d-head", "4", "--model.d-mlp", "6"]
    flags += [
        "--model.norm",
        "none",
        "--model.norm-eps",
        "0.001",
        "--model.n-heads",
        "2",
        "--task.keys",
        "11-14",
    ]
    flags += ["--t1", "2", "--learning-rate", "0.25", "--theory.points", "5", "--closure", "softmax"]
    assert command(["overlay", "--preset", "demo", *flags, "--out", out]) == 0
    assert "softmax" in capsys.readouterr().out
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["experiment"]["model"]["norm"] == "none"
    assert summary["experiment"]["model"]["norm_eps"] == 0.001
    assert command(["report", out]) == 0
    assert "blocks.1.W_out" in (tmp_path / "out" / "report.html").read_text()


def test_of_many_weights_those_that_move_most_are_drawn():
    weights = {
        f"blocks.{i}.W": np.array([np.zeros((2, 2)), np.full((2, 2), float(i % 7))]) for i in range(20)
    }
    shown = moved_most(weights)
    assert len(shown) == MOST_WEIGHTS
    assert {"blocks.6.W", "blocks.13.W", "blocks.5.W"} <= set(shown)
    assert shown == [name for name in weights if name in shown]
