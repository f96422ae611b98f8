"""The command line on arrays of one's own."""

import json

import numpy as np
import pytest
from helpers import refused

from smallinit.cli import run
from smallinit.compare.experiment import build as runs
from smallinit.compare.experiment.layers import load
from smallinit.theory.base.disk.npz import read_arrays
from smallinit.theory.base.errors import InputError

SEQUENCES, LABELS = np.array([[0, 1], [1, 2], [2, 0]]), np.array([1, 2, 0])


@pytest.mark.parametrize(
    ("arrays", "flags", "parts"),
    [
        ({"sequences": SEQUENCES, "labels": LABELS}, ["--model.d-vocab", "2"], ["`", "2"]),
        ({"sequences": SEQUENCES, "labels": -LABELS}, [], ["`labels`"]),
        ({"sequences": np.zeros((0, 2), int), "labels": np.zeros(0, int)}, [], ["`sequences`"]),
        ({"sequences": SEQUENCES, "labels": LABELS[:2]}, [], ["`labels`"]),
        ({"sequences": SEQUENCES}, [], ["lacks the array 'labels'"]),
        ({"sequences": SEQUENCES, "labels": LABELS, "lables": LABELS}, [], ["unknown array 'lables'"]),
        ({"sequences": SEQUENCES.astype(object), "labels": LABELS}, [], ["not a readable .npz"]),
        ({"sequences": SEQUENCES * 0.5, "labels": LABELS}, [], ["`sequences`"]),
    ],
)
def test_bad_arrays_are_refused(tiny, capsys, arrays, flags, parts):
    np.savez(tiny.parent / "mine.npz", **arrays)
    message = refused(capsys, "train", "--data.file", "mine.npz", "--preset", "demo", *flags)
    assert [part for part in [*parts, "on the command line"] if part not in message] == []
    assert {p.name for p in tiny.parent.iterdir()} == {"tiny.toml", "mine.npz"}


def test_own_arrays_run(tiny):
    np.savez(tiny.parent / "mine.npz", sequences=SEQUENCES, labels=LABELS, groups=np.array(["a", "b", "b"]))
    argv = [
        "simulate",
        "--data.file",
        "mine.npz",
        "--model.d-model",
        "3",
        "--model.d-mlp",
        "3",
        "--preset",
        "demo",
    ]
    assert run([*argv, "--t1", "1", "--out", "out"]) == 0
    assert (
        "loss/b"
        in json.loads((tiny.parent / "out" / "summary.json").read_text())["closures"]["leading"]["last"]
    )


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken", b"no archive"])
def test_damaged_array_files_are_refused(tmp_path, content):
    path = tmp_path / "bad.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a readable"):
        read_arrays(path, ("sequences",))


def test_weights_from_a_file(tiny, capsys):
    built = runs.build(load(tiny))
    weights = {name: value + 1.0 for name, value in built.start.items()}
    np.savez(tiny.parent / "start.npz", **weights)
    again = runs.build(load(tiny, None, {"init.file": "start.npz"}))
    np.testing.assert_array_equal(again.start["W_in"], weights["W_in"])
    del weights["W_in"]
    np.savez(tiny.parent / "start.npz", **weights)
    message = refused(capsys, "train", str(tiny), "--init.file", "start.npz")
    assert "lacks the weight 'W_in'" in message
    np.savez(tiny.parent / "start.npz", **weights, W_in=np.zeros((2, 2)))
    assert "must have shape (6, 7), got (2, 2)" in refused(
        capsys, "train", str(tiny), "--init.file", "start.npz"
    )


TABLE = "a,b,answer,group\nthe,cat,sat,x\na,dog,ran,y\nthe,dog,ran,x\n"
SMALL = ("--model.d-model", "3", "--model.d-mlp", "3", "--preset", "demo", "--t1", "1", "--out", "out")


@pytest.mark.parametrize(
    ("name", "text", "flags"),
    [
        ("mine.csv", TABLE, ("--data.label", "answer")),
        ("mine.csv", TABLE.replace("answer", "3"), ("--data.label", "3")),
        ("mine.jsonl", '{"sequence": "the cat", "label": "sat", "group": "x"}\n', ()),
        ("mine.txt", "the cat sat on the mat and the dog sat too", ("--data.n-ctx", "2")),
    ],
)
def test_own_tables_and_texts_run(tiny, name, text, flags):
    (tiny.parent / name).write_text(text)
    assert run(["simulate", "--data", name, *flags, *SMALL]) == 0
    summary = json.loads((tiny.parent / "out" / "summary.json").read_text())
    assert summary["experiment"]["data"]["file"].endswith(name)
    assert run(["simulate", str(tiny.parent / "out" / "experiment.toml"), "--out", "again"]) == 0


@pytest.mark.parametrize(
    ("name", "text", "flags", "said"),
    [
        ("mine.csv", TABLE + "the,,ran,x\n", ("--data.label", "answer"), "line 5: `b` is empty"),
        ("mine.txt", "one two three", (), "`--data.n-ctx` is missing"),
        ("mine.csv", TABLE, ("--data.n-ctx", "2"), "`--data.n-ctx` goes with .txt and the data are"),
        (
            "mine.csv",
            TABLE,
            ("--data.label", "answer", "--model.d-vocab", "3"),
            "`d_vocab` must be an integer of at least 6",
        ),
        ("none.csv", None, (), "there is no file"),
    ],
)
def test_bad_tables_are_refused_in_one_sentence(tiny, capsys, name, text, flags, said):
    if text is not None:
        (tiny.parent / name).write_text(text)
    message = refused(capsys, "simulate", "--data", name, *flags, *SMALL)
    assert said in message
    assert "on the command line" in message
