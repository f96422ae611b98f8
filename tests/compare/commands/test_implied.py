"""A table or a model alone is an experiment: what stands for the rest, and what is said of it."""

import hashlib
import tomllib
from pathlib import Path

import pytest
from helpers import refused

from smallinit.cli import run

TABLE = """who,what,label,group
ann,apple,sweet,fruit
bob,lemon,sour,fruit
ann,dora,nods,people
bob,dora,waves,people
"""
MODEL = """
from dataclasses import dataclass
from smallinit.theory import Model, weight
from smallinit.theory.data.inputs import COUNTS


@dataclass(frozen=True)
class Product(Model):
    d_model: int = 5

    @property
    def weight_symbols(self):
        return weight("W_E", "d_vocab", "d_model"), weight("W_U", "d_model", "d_vocab")

    @property
    def logits(self):
        W_E, W_U = self.weight_symbols
        return COUNTS * W_E * W_U
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.csv").write_text(TABLE)
    Path("mine.py").write_text(MODEL)


def test_an_overlay_of_a_table_alone(capsys):
    assert run(["overlay", "--data", "mine.csv", "--theory.points", "41"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("No experiment named: preset demo, with t1 ")
    assert any(
        line.startswith("First escape predicted at t = ") and line.endswith("nothing binds.") for line in out
    )
    assert not any("too far apart" in line for line in out)
    written = tomllib.loads(Path("results/mine/experiment.toml").read_text())
    t1, rate = written["theory"]["t1"], written["training"]["learning_rate"]
    assert 0.1 < t1 < 100  # the demo's are 200 and 0.1
    assert t1 / rate == pytest.approx(1000, rel=0.1)


def test_what_is_said_on_the_command_line_stands(capsys):
    assert run(["simulate", "--data", "mine.csv", "--t1", "7", "--theory.points", "3"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("No experiment named: preset demo.\n")
    assert "too far apart to see it: set --t1 to about" in out
    assert tomllib.loads(Path("results/mine/experiment.toml").read_text())["theory"]["t1"] == 7.0


@pytest.mark.parametrize("command", ["overlay", "simulate", "train", "scales"])
def test_nothing_at_all_is_no_experiment(capsys, command):
    assert "use --preset demo or --data mine.csv" in refused(capsys, command)


def test_a_model_of_ones_own_through_the_commands(capsys):
    flags = ["--model", "mine.py:Product", "--data", "mine.csv"]
    assert run(["derive", *flags]) == 0
    assert "dW_E/dt = M*W_U.T" in capsys.readouterr().out
    assert run(["scales", *flags]) == 0
    assert "Scales of Product at its start" in capsys.readouterr().out
    assert run(["check", "dW_E = M @ W_U.T", *flags]) == 0
    out = capsys.readouterr().out
    assert out.startswith("No experiment named: preset demo.\n")
    assert "leading order" in out
    assert run(["overlay", *flags, "--theory.points", "5"]) == 0
    assert "loss cross_entropy, d_model 5, logits C*W_E*W_U" in capsys.readouterr().out
    assert run(["verify", "results/mine"]) == 0
    written = tomllib.loads(Path("results/mine/experiment.toml").read_text())["model"]
    assert written["sha256"] == hashlib.sha256(MODEL.encode()).hexdigest()
    Path("mine.py").write_text(MODEL.replace("int = 5", "int = 6"))
    capsys.readouterr()
    assert run(["verify", "results/mine"]) == 3
    assert "mine.py' holds the model of 'results/mine' and has changed since" in capsys.readouterr().out
    line = refused(capsys, "train", "results/mine/experiment.toml", "--out", "again")
    assert "the file has changed since; restore it" in line
