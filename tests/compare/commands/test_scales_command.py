"""The command that says how a start is scaled."""

import json

from helpers import TINY, refused

from smallinit.cli import run


def test_the_demo_is_small_and_nothing_binds(capsys):
    assert run(["scales", "--preset", "demo"]) == 0
    out = capsys.readouterr().out
    assert "std x sqrt(width)" in out
    assert "The start is small, and nothing binds." in out


def test_a_file_with_a_convention_and_flags(capsys, tmp_path):
    path, target = tmp_path / "tiny.toml", tmp_path / "scales.json"
    path.write_text(TINY + '[init]\nconvention = "gpt2"\n')
    flags = ["--training.optimizer", "adamw", "--training.learning-rate", "1e-3", "--training.steps", "50"]
    assert run(["scales", str(path), *flags, "--json", str(target)]) == 0
    out = capsys.readouterr().out
    assert "convention gpt2" in out
    found = json.loads(target.read_text())
    assert found["optimizer"] == "AdamW, learning rate 0.001, weight decay 0"
    stds = {row["name"]: row["size"] for row in found["rows"] if row["kind"] == "weight"}
    assert 0.01 < stds["W_E"] < 0.03
    assert 0.1 < stds["W_in"] < 0.4  # 6^-0.8 = 0.24


def test_what_cannot_be_used_is_refused(capsys, tmp_path):
    assert "name a TOML file" in refused(capsys, "scales")
    line = refused(capsys, "scales", "--preset", "demo", "--json", str(tmp_path / "no" / "a.json"))
    assert "create it first" in line
    assert run(["scales", "--preset", "demo", "--json", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert "is a folder: name a file" in said.err
    assert said.out == ""  # nothing was computed
    line = refused(capsys, "scales", "--preset", "demo", "--init.convention", "d_modl")
    assert "`init.convention` 'd_modl' is unknown; did you mean 'd_model'?" in line
