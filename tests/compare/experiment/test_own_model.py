"""A model of the user's own, named by its file: found, built, held to its content."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from smallinit.compare.experiment.build import build
from smallinit.compare.experiment.layers import load, to_toml
from smallinit.compare.experiment.own_model import build_own, class_of, own_file
from smallinit.compare.sweep.plan import read_sweep
from smallinit.compare.sweep.run_sweep import run_sweep
from smallinit.theory.base.errors import InputError

HERE = """
from dataclasses import dataclass

from beside import ACTIVATION
from smallinit.theory import Model, apply, weight
from smallinit.theory.data.inputs import C_MEAN


@dataclass(frozen=True)
class Averaged(Model):
    d_model: int
    d_gate: int = 2
    steep: bool = False

    @property
    def weight_symbols(self):
        shapes = {"W_E": ("d_vocab", "d_model"), "W_A": ("d_model", "d_gate"), "W_U": ("d_gate", "d_vocab")}
        return tuple(weight(name, *shape) for name, shape in shapes.items())

    @property
    def logits(self):
        W_E, W_A, W_U = self.weight_symbols
        return apply(ACTIVATION, C_MEAN * W_E * W_A) * W_U


class Bare(Averaged):
    d_more: int = 3


@dataclass(frozen=True)
class Broken(Averaged):
    @property
    def logits(self):
        return self.nothing


number = 3
"""
TABLE = "a,b,label\nx,y,x\ny,x,y\nx,x,x\n"
EXPERIMENT = """
data = {file = "data.csv"}
theory = {closures = ["leading"], t1 = 1.0, points = 3}
training = {learning_rate = 0.5}
[model]
name = "mine.py:Averaged"
d_model = 4
fields = {d_gate = 3}
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mine.py").write_text(HERE)
    (tmp_path / "beside.py").write_text('ACTIVATION = "tanh"\n')
    (tmp_path / "data.csv").write_text(TABLE)
    (tmp_path / "mine.toml").write_text(EXPERIMENT)
    return tmp_path


def test_names_of_files_and_classes():
    assert own_file("a/b.py:C") == "a/b.py"
    assert own_file(r"C:\models\b.py:Own") == r"C:\models\b.py"
    assert [own_file(name) for name in ("EmbMLP", "b.py", "b.py:", "b.txt:C", 3)] == [None] * 5
    assert (class_of("a/b.py:C"), class_of("EmbMLP")) == ("C", "EmbMLP")


def test_a_file_beside_the_experiment_is_found_from_anywhere(folder, monkeypatch):
    monkeypatch.chdir(Path(folder.anchor))
    built = build(load(folder / "mine.toml"))
    assert built.model.weights == {"W_E": (2, 4), "W_A": (4, 3), "W_U": (3, 2)}
    theory, training = built.integrate(built.flows()["leading"]), built.train()
    assert theory.weights["W_A"].shape == training.weights["W_A"].shape == (3, 4, 3)
    C = np.array([[0.5, 0.5], [0.5, 0.5], [1.0, 0.0]])
    W = built.start
    hand = np.tanh(C @ W["W_E"] @ W["W_A"]) @ W["W_U"]
    hand = np.mean(np.log(np.exp(hand).sum(axis=1)) - hand[[0, 1, 2], [0, 1, 0]])
    assert training["loss"][0] == pytest.approx(hand, rel=1e-12)


def test_fields_by_flag_and_what_stands_where_nothing_is_said(folder):
    name = str(folder / "mine.py:Averaged")
    flags = {"data.file": str(folder / "data.csv"), "model.name": name}
    assert build(load(flags=flags)).model.d_model == 200  # as the key's help says
    model = build(load(flags=flags | {"model.fields": "d_gate=5, steep=true"})).model
    assert (model.d_gate, model.steep) == (5, True)
    # A preset's sizes are of its own network.
    assert build(load(preset="demo", flags=flags)).model.d_model == 200


def test_a_resolved_experiment_holds_the_file_to_its_content(folder):
    loaded = load(folder / "mine.toml")
    assert loaded.experiment.model.sha256 == hashlib.sha256(HERE.encode()).hexdigest()
    saved = folder / "saved.toml"
    saved.write_text(to_toml(loaded.experiment))
    assert load(saved).experiment == loaded.experiment
    assert build(load(saved)).model == build(loaded).model
    (folder / "mine.py").write_text(HERE.replace("C_MEAN * W_E * W_A", "2 * C_MEAN * W_E * W_A"))
    with pytest.raises(
        InputError, match=r"`model.sha256` is \w+.. and that of .*mine.py' is .*: the file has changed"
    ):
        build(load(saved))
    now = build(load(folder / "mine.toml")).model
    assert "2*C_mean" in now.spec()["logits"]
    # Another model named over the saved one brings its own content.
    assert build(load(saved, flags={"model.name": "EmbMLP"})).model.name == "EmbMLP"


def test_a_training_is_not_resumed_with_another_content(folder):
    flags = {"training.checkpoint": str(folder / "state.npz"), "training.steps": 2}
    build(load(folder / "mine.toml", flags=flags)).train()
    (folder / "beside.py").write_text('ACTIVATION = "sin"\n')
    (folder / "mine.py").write_text(HERE + "\n")
    with pytest.raises(ValueError, match=r"model.logits"):
        build(load(folder / "mine.toml", flags=flags | {"training.steps": 4})).train()


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"name": "other.py:Averaged"}, r"there is no file '.*other.py': check the path"),
        ({"name": "mine.py:Avreaged"}, r"has no class 'Avreaged': did you mean 'Averaged'\?"),
        ({"name": "mine.py:number"}, r"'number' in '.*mine.py' is no Model: derive it from"),
        ({"name": "mine.py:Bare", "d_model": 3}, r"'Bare' in .* lacks its decorator: write @dataclass"),
        ({"name": "mine.py:Broken"}, r"fails with AttributeError: .*'nothing'.* \(line 34\)"),
        ({"name": "mine.py"}, r"must name a file and a class in it, as in 'my_model.py:MyModel'"),
        (
            {"name": "mine.py:Averaged", "d_mlp": 3},
            r"`--model.d-mlp` is no field of Averaged: it takes .*d_gate",
        ),
        (
            {"name": "mine.py:Averaged", "fields": {"d_gaet": 3}},
            r"'d_gaet', which is no field .*mean 'd_gate'\?",
        ),
        ({"name": "mine.py:Averaged", "fields": {"d_vocab": 3}}, r"'d_vocab', which follows from the data"),
        (
            {"name": "mine.py:Averaged", "fields": "d_gate"},
            r"`model.fields` must give fields their values as in",
        ),
        (
            {"name": "mine.py:Averaged", "fields": "d_gate=3,d_gate=4"},
            r"`model.fields` must give a field one value, got 'd_gate' twice",
        ),
        (
            {"name": "mine.py:Averaged", "fields": {"d_gate": "wide"}},
            r"`d_gate` must be an integer of at least 1",
        ),
        ({"name": "EmbMLP", "fields": {"d_gate": 3}}, r"`model.fields` is no key of EmbMLP"),
        ({"name": "EmbMPL"}, r"'EmbMPL' is unknown; did you mean 'EmbMLP'\?"),
        (
            {"name": "Mine"},
            r"choose one of AttentionOnly, .* or a class of your own as in 'my_model.py:MyModel'",
        ),
    ],
)
def test_what_cannot_be_built_is_said_in_one_sentence(folder, model, words):
    flags = {
        f"model.{key}": str(folder / value) if ".py" in str(value) else value for key, value in model.items()
    }
    with pytest.raises(InputError, match=words) as caught:
        build(load(flags=flags | {"data.file": str(folder / "data.csv")}))
    assert str(caught.value).endswith("(on the command line).")
    assert "\n" not in str(caught.value)


def test_a_field_without_a_value(folder):
    (folder / "mine.py").write_text(
        HERE.replace("d_gate: int = 2", "d_gate: int").replace("steep: bool = False", "")
    )
    with pytest.raises(
        InputError, match=r'`model.d_gate` is missing, .* as a flag --model.fields "d_gate=VALUE"'
    ):
        build(load(folder / "mine.toml", flags={"model.fields": {}}))


def test_a_file_that_does_not_run(folder):
    (folder / "mine.py").write_text(HERE + "\nthis is no Python\n")
    with pytest.raises(InputError, match=r"fails with SyntaxError: invalid syntax \(line \d+\)"):
        build(load(folder / "mine.toml"))
    (folder / "mine.py").write_text(HERE.replace("beside import", "nowhere import"))
    with pytest.raises(
        InputError, match=r"fails with ModuleNotFoundError: No module named 'nowhere' \(line 4\)"
    ):
        build(load(folder / "mine.toml"))


def test_a_file_that_ends_the_process(folder):
    (folder / "mine.py").write_text("import sys\nsys.exit(3)\n")
    with pytest.raises(InputError, match=r"fails with SystemExit: 3 \(line 2\)"):
        build(load(folder / "mine.toml"))


def test_each_file_imports_what_lies_beside_itself(folder):
    found = []
    for name, activation in (("one", "tanh"), ("two", "sin")):
        (folder / name).mkdir()
        (folder / name / "beside.py").write_text("from parts.word import ACTIVATION\n")
        (folder / name / "parts").mkdir()
        (folder / name / "parts" / "word.py").write_text(f"ACTIVATION = {activation!r}\n")
        (folder / name / "mine.py").write_text(HERE)
        flags = {"model.name": str(folder / name / "mine.py:Averaged")}
        found.append(str(build(load(folder / "mine.toml", flags=flags)).model.logits))
    assert "tanh" in found[0]
    assert "sin" in found[1]


def test_a_sweep_over_a_model_and_its_file(folder):
    file = folder / "sweep.toml"
    axes = '[axes]\n"model.name" = ["mine.py:Averaged", "EmbMLP"]\n"init.seed" = "0-1"\n'
    file.write_text(EXPERIMENT.replace("fields = {d_gate = 3}\n", "") + axes)
    done = run_sweep(read_sweep(file), folder / "out")
    assert (done.done, done.failures) == (4, {})
    (folder / "mine.py").write_text(HERE.replace("C_MEAN * W_E * W_A", "2 * C_MEAN * W_E * W_A"))
    with pytest.raises(ValueError, match=r"mine\.py"):
        run_sweep(read_sweep(file), folder / "out")


def test_threads_wait_for_a_file_that_is_being_run(folder):
    (folder / "mine.py").write_text("import time\ntime.sleep(0.3)\n" + HERE)
    spec = load(folder / "mine.toml").experiment.model
    barrier = threading.Barrier(4)

    def build_one(_):
        barrier.wait(20)
        return build_own(spec, {"d_vocab": 6})

    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(build_one, range(4))
    assert all(type(model) is type(first) for model in others)
