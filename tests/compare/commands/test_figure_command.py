import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from smallinit.cli import run
from smallinit.compare.commands import figure_command as commands_figure
from smallinit.compare.figures.arguments import resumable
from smallinit.compare.figures.result import FigureResult, Statistic
from smallinit.compare.training.train import train
from smallinit.theory import CompositeTask
from smallinit.theory.base.waiting import Wait

CLAIMS = (
    Statistic("falls", "slope; reproduced if < 0", (-1.0, -2.5), True),
    Statistic("ever falls", "time; reproduced if finite", (float("inf"), 3.0), False, "seed 0 never"),
)


@pytest.fixture
def stub(monkeypatch, tmp_path):
    """A figure that takes no time, and the arguments it was called with."""
    monkeypatch.chdir(tmp_path)
    calls = []

    def compute(size, seeds, progress, state):
        assert state.folder.is_dir()
        calls.append((size, seeds))
        progress("working")
        curve = np.arange(3.0)
        return FigureResult(
            "3a", "A line", "rises", {"gammas": [0.5]}, CLAIMS,
            lambda figure: figure.subplots().plot(curve), {"curve": curve},
        )  # fmt: skip

    module = SimpleNamespace(run=compute)
    monkeypatch.setitem(sys.modules, "smallinit.compare.figures.figure_3a", module)
    monkeypatch.setattr(
        commands_figure, "figure_module", lambda name: f"smallinit.compare.figures.figure_{name}"
    )
    return calls


def test_a_figure_is_computed_written_and_told(stub, tmp_path, capsys):
    assert run(["figure", "3a", "--seeds", "0-1", "--out", "out"]) == 0
    assert stub == [("small", (0, 1))]
    told = capsys.readouterr().out
    assert "NOT reproduced  inf 3" in told
    assert "seed 0 never" in told
    record = json.loads((tmp_path / "out" / "figure.json").read_text())
    assert [s["values"] for s in record["statistics"]] == [[-1.0, -2.5], [None, 3.0]]
    assert [s["reproduced"] for s in record["statistics"]] == [True, False]
    assert record["settings"] == {"gammas": [0.5]}
    assert record["provenance"]["seeds"] == [0, 1]
    with np.load(tmp_path / "out" / "data.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["curve"], np.arange(3.0))
    first = (tmp_path / "out" / "figure.png").read_bytes()
    assert run(["figure", "3a", "--seeds", "0-1", "--out", "out"]) == 2  # never overwritten unasked
    assert run(["figure", "3a", "--seeds", "0-1", "--out", "out", "--overwrite"]) == 0
    assert (tmp_path / "out" / "figure.png").read_bytes() == first


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["figure", "3x"], "there is no figure '3x' of the paper here: did you mean"),
        (["figure", "fig-4"], "did you mean '4'?"),
        (["figure", "nine"], "choose one of 3a, 3b, 4, 5, 6, 7, 8."),
        (["figure", "4", "--seeds", "2-0"], "`--seeds` '2-0' is no list of seeds: write it as 0-2 or 0,3,7."),
        (["figure", "4", "--seeds", "1,1"], "must name at least one seed, and none twice"),
        (["figure", "4", "--size", "huge"], "small"),
        (
            ["figure", "3b", "--reasoning", "a.txt"],
            "`--reasoning` is a corpus of figure 7: leave it out for figure 3b.",
        ),
        (
            ["figure", "7", "--narrative", "a.txt"],
            "`--narrative`: there is no file a.txt: give the path of a text file.",
        ),
    ],
)
def test_bad_input_is_one_sentence(argv, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(argv) == 2
    out, err = capsys.readouterr()
    assert said in err
    assert err.count("\n") == 1
    assert out == ""
    assert not list(tmp_path.iterdir())


def test_an_interrupted_figure_is_taken_up(monkeypatch, tmp_path, capsys):
    """Trainings that were done are not done again, and the result is that of a run without a break."""
    from smallinit.compare.figures import figure_3b

    anchors = {"memory_anchors": (1, 2), "reasoning_anchors": (3, 4), "masked": ((3, 4),)}
    monkeypatch.setitem(figure_3b.TASKS, "small", lambda: CompositeTask(keys=range(5, 9), **anchors))
    monkeypatch.setitem(figure_3b.ENDS, "small", 20.0)
    monkeypatch.setitem(figure_3b.WIDTHS, "small", (6, 7))
    monkeypatch.chdir(tmp_path)
    assert run(["figure", "3b", "--seeds", "0", "--out", "whole"]) == 0

    def stop_at_the_third(text):
        if "gamma 0.8" in text:
            raise RuntimeError("a class of a library") from KeyboardInterrupt()

    monkeypatch.setattr(Wait, "say", lambda self, text: stop_at_the_third(text))
    command = ["figure", "3b", "--seeds", "0", "--out", "broken"]
    assert run(command) == 130
    assert not (tmp_path / "broken").exists()
    kept = {path: path.stat().st_mtime_ns for path in sorted((tmp_path / "broken.state").iterdir())}
    assert [path.name for path in kept] == ["0.3-0.npz", "0.5-0.npz"]
    assert "trainings are kept in" in capsys.readouterr().err
    monkeypatch.setattr(Wait, "say", lambda self, text: None)
    monkeypatch.setattr(figure_3b, "RATE", 0.4)  # as a newer version might have it
    assert run(command) == 2
    assert "delete" in capsys.readouterr().err
    monkeypatch.setattr(figure_3b, "RATE", 0.5)
    (tmp_path / "broken.state" / "thesis.txt").write_text("mine")
    assert run(command) == 2
    assert "'thesis.txt'" in capsys.readouterr().err
    (tmp_path / "broken.state" / "thesis.txt").unlink()
    other = tmp_path / "broken.state" / "0.8-4.npz"  # of a seed that is not asked for: left alone
    other.write_bytes(b"kept")
    trained = []
    monkeypatch.setattr(figure_3b, "train", lambda *a, **o: trained.append(o["checkpoint"]) or train(*a, **o))
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert run(command) == 0
    assert list((tmp_path / "broken.state").iterdir()) == [other]
    assert len(trained) == 3
    with np.load("whole/data.npz") as whole, np.load("broken/data.npz") as broken:
        assert set(whole) == set(broken)
        for name in whole:
            np.testing.assert_array_equal(whole[name], broken[name], err_msg=name)


def test_state_goes_with_the_end_and_an_empty_one_with_a_failure(tmp_path):
    with commands_figure.kept_state(tmp_path / "a") as state:
        resumable(state, 0)["checkpoint"].write_bytes(b"run")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(KeyboardInterrupt), commands_figure.kept_state(tmp_path / "a"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
