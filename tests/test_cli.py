import json
import shutil
import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest
from helpers import TINY, refused

from smallinit.cli import COMMANDS, main, one_line, run
from smallinit.compare.commands import experiments as commands
from smallinit.compare.commands import flags
from smallinit.compare.commands import tables as report
from smallinit.compare.commands.terminal import no_picture
from smallinit.compare.experiment import build as runs
from smallinit.compare.experiment.layers import load
from smallinit.sim import AdamW, IntegrationError, load_trajectory
from smallinit.theory import EmbMLP, derive
from smallinit.theory.base.errors import FieldError, Interrupted

ALL = {
    "overlay.png", "summary.json", "theory-leading.nc", "theory-softmax.nc", "training.nc", "experiment.toml",
    "equations.tex", "digests.json",
}  # fmt: skip


@pytest.fixture(scope="module")
def overlaid(tmp_path_factory):
    """Results of one whole run through the command line."""
    folder = tmp_path_factory.mktemp("overlaid")
    path = folder / "tiny.toml"
    path.write_text(TINY)
    main(["overlay", str(path), "--out", str(folder / "out"), "--seed", "3"])
    return folder


def test_overlay_writes_exactly_its_files(overlaid):
    assert {p.name for p in (overlaid / "out").iterdir()} == ALL
    assert {p.name for p in overlaid.iterdir()} == {"out", "tiny.toml"}  # no temporary directory is left


def test_overlay_files_load(overlaid):
    training = load_trajectory(overlaid / "out" / "training.nc")
    theory = load_trajectory(overlaid / "out" / "theory-softmax.nc")
    np.testing.assert_allclose(theory.t, training.t, rtol=1e-12)
    assert list(training.steps) == [0, 2, 4, 6, 8]
    for name, value in theory.weights.items():
        np.testing.assert_array_equal(value[0], training.weights[name][0])
    assert (overlaid / "out" / "overlay.png").read_bytes().startswith(b"\x89PNG")


def test_resolved_experiment_is_the_one_that_ran(overlaid):
    again = load(overlaid / "out" / "experiment.toml").experiment
    assert again == load(overlaid / "tiny.toml", None, {"init.seed": 3}).experiment


def test_summary_tells_horizons_outcomes_and_provenance(overlaid):
    summary = json.loads((overlaid / "out" / "summary.json").read_text())
    softmax = summary["closures"]["softmax"]
    assert softmax["residual_order"] == {"W_E": 4, "W_in": 4, "W_out": 4}
    assert set(softmax["overlay"]["horizon_at_tolerance"]) == {"tolerance", "W_E", "W_in", "W_out"}
    assert summary["training"]["t"] == pytest.approx(4.0)
    assert set(summary["training"]["learnt"]) == set(softmax["learnt"]) >= {"memory"}
    assert summary["experiment"]["init"]["seed"] == 3
    assert "config_hash" in json.dumps(summary["provenance"])


def test_equations_file_is_a_balanced_document(overlaid):
    text = (overlaid / "out" / "equations.tex").read_text()
    assert text.startswith("\\documentclass")
    assert text.rstrip().endswith("\\end{document}")
    for opening, closing in (("{", "}"), ("\\[", "\\]"), ("\\begin", "\\end"), ("\\left", "\\right")):
        assert text.count(opening) == text.count(closing)
    assert "Closure leading" in text


def test_overlay_table_names_closures_groups_and_cost(tiny, capsys):
    assert run(["overlay", str(tiny), "--out", "out"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for part in (
        "leading",
        "softmax",
        "horizon",
        " (W_",
        "error loss/memory",
        "5%",
        "training:",
        "Learnt first, beyond the frequencies of labels: ",
        "dW_E/dt",
        "wrote out",
    ):
        assert part in out


NAMED = ("leading", "softmax")
STEPS = ["--theory.moved-by", "optimizer", "--learning-rate", "0.5", "--t1", "100", "--theory.points", "101"]


@pytest.mark.parametrize("command", ["overlay", "simulate"])
def test_a_closure_whose_steps_diverge_leaves_the_others(tiny, capsys, command):
    """Leading's flow blows up, which is a regular end; where an optimizer's steps diverge nothing was written."""
    assert run([command, str(tiny), "--out", "steps", *STEPS]) == 0
    said = capsys.readouterr().out.splitlines()
    leading, softmax = (next(row for row in said if row.startswith(name + "  ")) for name in NAMED)
    assert "diverged at step" in leading
    assert "lower `learning_rate`" not in leading  # a column is no place for it
    assert "reached t = 100.0000" in softmax
    theory = load_trajectory(tiny.parent / "steps" / "theory-leading.nc")
    assert np.isfinite(theory.weights["W_E"]).all()
    assert "or take the closure softmax" in str(theory.outcome)
    assert run(["report", "steps"]) == 0


def test_a_closure_whose_steps_diverge_before_the_second_point_leaves_the_others_too(tiny, capsys):
    """The command ended in the divergence, whatever the other closures did."""
    few = [*STEPS[:-1], "2"]
    assert run(["overlay", str(tiny), "--out", "steps", *few]) == 0
    said = capsys.readouterr().out.splitlines()
    leading, softmax = (next(row for row in said if row.startswith(name + "  ")) for name in NAMED)
    assert "diverged at step" in leading
    assert "reached t = 100.0000" in softmax
    assert load_trajectory(tiny.parent / "steps" / "theory-leading.nc").t.tolist() == [0.0]
    assert run(["report", "steps"]) == 0


def test_closures_whose_steps_all_diverge_are_an_error(tiny, capsys):
    assert run(["overlay", str(tiny), "--out", "steps", *STEPS, "--theory.closures", "leading"]) != 0
    assert "diverged at step" in capsys.readouterr().err
    assert not (tiny.parent / "steps").exists()


def test_a_picture_of_many_closures_shows_some_and_says_which(tiny, capsys):
    """More than a picture takes ended in a traceback after the training, and nothing was written."""
    names = ["leading", "softmax", "exact", "order=4", "order=5"]
    assert run(["overlay", str(tiny), "--out", "many", "--theory.closures", ",".join(names)]) == 0
    assert "overlay.png shows leading, softmax, exact, order=4: more than 4 lines" in capsys.readouterr().out
    folder = tiny.parent / "many"
    assert {"overlay.png", "training.nc", *(f"theory-{n}.nc" for n in names)} <= {
        p.name for p in folder.iterdir()
    }
    assert run(["report", "many"]) == 0


def test_a_picture_that_is_refused_takes_no_result_with_it(tiny, capsys, monkeypatch):
    def refuse(*given):
        raise FieldError("overlays", "cannot be drawn here.")

    monkeypatch.setattr("smallinit.compare.plots.overlay_figure.plot_overlays", refuse)
    names = "leading,softmax,exact,order=4,order=5"  # more than a picture shows
    assert run(["overlay", str(tiny), "--out", "plain", "--theory.closures", names]) == 3
    out, err = capsys.readouterr()
    assert "overlay.png shows" not in out
    assert "wrote plain: equations.tex, experiment.toml, summary.json" in out
    assert err.endswith("smallinit: no overlay.png: `overlays` cannot be drawn here.\n")
    assert load_trajectory(tiny.parent / "plain" / "training.nc").outcome.success
    assert run(["verify", "plain"]) == 0


def test_nothing_is_said_of_a_picture_that_there_is_none_of(tiny, capsys, monkeypatch):
    """Where matplotlib does not load, the command ended in a traceback after its results."""
    for module in ("overlay_figure", "drawn_runs"):
        monkeypatch.setitem(sys.modules, f"smallinit.compare.plots.{module}", Unloadable(module))
    names = "leading,softmax,exact,order=4,order=5"
    assert run(["overlay", str(tiny), "--out", "plain", "--theory.closures", names]) == 3
    out, err = capsys.readouterr()
    assert "wrote plain: " in out
    assert "overlay.png" not in out
    assert err.endswith("smallinit: no overlay.png: 'nosuch' is not a valid value for backend\n")


class Unloadable(ModuleType):
    """A module of which nothing can be had."""

    def __getattr__(self, name):
        raise ValueError("'nosuch' is not a valid value for backend")


def test_existing_results_need_overwrite(tiny, capsys):
    (tiny.parent / "out").mkdir()
    old = tiny.parent / "out" / "summary.json"
    old.write_text("old")
    assert "--overwrite" in refused(capsys, "simulate", str(tiny), "--out", "out")
    assert old.read_text() == "old"
    assert run(["simulate", str(tiny), "--out", "out", "--overwrite", "--closure", "drive"]) == 0
    assert old.read_text() != "old"
    assert (tiny.parent / "out" / "theory-drive.nc").is_file()


def test_overwrite_spares_what_no_command_wrote(tiny, capsys):
    (tiny.parent / "out").mkdir()
    (tiny.parent / "out" / "thesis.tex").write_text("years")
    assert "'thesis.tex'" in refused(capsys, "train", str(tiny), "--out", "out", "--overwrite")
    assert (tiny.parent / "out" / "thesis.tex").read_text() == "years"


@pytest.mark.filterwarnings("always")
def test_a_warning_is_one_line_however_often_it_is_raised(tiny, capsys):
    flags = ["optimizer=adamw", "steps=8", "schedule=cosine", "schedule_end=5"]
    argv = ["overlay", str(tiny), *(f"--training.{flag.replace('_', '-')}" for flag in flags)]
    assert run(argv) == 0  # two closures and the training
    said = [line for line in capsys.readouterr().err.splitlines() if "schedule" in line]
    assert said == ["smallinit: warning: `schedule` ends at step 5 of 8: the rate stays at 0.05 from there."]


def test_train_writes_training_only_under_the_default_name(tiny):
    assert run(["train", str(tiny), "--training.optimizer", "sgd", "--training.batch-size", "4"]) == 0
    written = {p.name for p in (tiny.parent / "results" / "tiny").iterdir()}
    assert written == {"training.nc", "summary.json", "experiment.toml", "digests.json"}


def test_derive_prints_equations_orders_and_invariants(capsys):
    assert run(["derive", "--closure", "leading"]) == 0
    out = capsys.readouterr().out
    for part in ("dW_E/dt = ", "error: W_E eps^3, W_in eps^3, W_out eps^3", "conserved: ", "M = ", "where\n"):
        assert part in out
    assert run(["derive", "--closure", "leading", "--latex"]) == 0
    assert capsys.readouterr().out.startswith("\\documentclass")


def test_derive_prints_equations_under_an_optimizer(capsys, tmp_path):
    flags = [
        "--closure",
        "leading",
        "--optimizer",
        "adamw",
        "--learning-rate",
        "1e-3",
        "--training.rates",
        "W_E=0.5",
    ]
    adam = AdamW(1e-3, weight_decay=0.0, rates={"W_E": 0.5})
    page = derive(EmbMLP(121, 200, 400), "leading").under(adam)
    assert run(["derive", *flags]) == 0
    assert capsys.readouterr().out.startswith(f"{page}\n\nwhere\n")
    assert run(["derive", *flags, "--latex"]) == 0
    assert page.latex() in capsys.readouterr().out
    (tmp_path / "a.toml").write_text('[training]\noptimizer = "momentum"\nweight_decay = 0.1\n')
    assert run(["derive", str(tmp_path / "a.toml"), "--closure", "leading"]) == 0
    assert "dv_W_E/ds = " in capsys.readouterr().out
    assert run(["derive", "--theory.moved-by", "optimizer", "--closure", "leading"]) == 0
    assert "dW_E/ds = -eta" in capsys.readouterr().out


def test_every_flag_reaches_the_experiment():
    flags = {
        "training__learning_rate": "5e-1",
        "task__masked": "[[11, 12]]",
        "theory__closures": ["drive", "exact"],
    }
    experiment = commands.read(None, "paper", flags | {"init__seed": None}).experiment
    assert experiment.training.learning_rate == 0.5
    assert experiment.task.masked == ((11, 12),)
    assert experiment.theory.closures == ("drive", "exact")


@pytest.mark.parametrize(
    ("argv", "parts"),
    [
        (["--gamma", "nan"], ["`init.gamma`", "nan", "on the command line"]),
        (["--init.gama", "1"], ["--init.gama", "Did you mean --init.gamma?"]),
        (["--init.seed", "1.5"], ["`init.seed`", "1.5"]),  # not rounded
        (["--training.learning-rate=-1"], ["`training.learning_rate`", "-1"]),
        (["--closure", "softmx"], ["'softmx'", "did you mean 'softmax'?"]),
        (["--closure", "order=2"], ["'order=2'", "keeps nothing", "on the command line"]),
        (["--activation", "relu"], ["`model.activation`", "Assumption 1"]),
        (["--task.keys", "1-9"], ["`--task.keys`", "disjoint", "on the command line"]),
        (["--task.memory-anchors", "1-2"], ["`--task.memory-anchors`", "disjoint"]),
        (["--task.masked", "[[1, 2"], ["[[1, 2", "on the command line"]),
        (["--model.d-vocab", "4"], ["`d_vocab`", "at least 13", "4"]),
        (["--preset", "demmo"], ["'demmo'", "did you mean 'demo'?"]),
        (["another.toml"], ["'another.toml'", "see smallinit overlay --help"]),
        (["--task.length", "30"], ["sampled", "sequences"]),
        (["--init.file", "absent.npz"], ["absent.npz", "no file"]),
    ],
)
def test_bad_flags_exit_2_with_one_line_and_write_nothing(tiny, capsys, argv, parts):
    message = refused(capsys, "overlay", str(tiny), "--out", "out", *argv)
    assert [part for part in parts if part not in message] == []
    assert {p.name for p in tiny.parent.iterdir()} == {"tiny.toml"}


def test_unknown_commands_and_no_experiment(capsys):
    assert 'Did you mean "overlay"?' in refused(capsys, "overlai")
    assert "--preset demo" in refused(capsys, "overlay")


def test_unwritable_output_is_found_before_any_work(tiny, capsys, monkeypatch):
    monkeypatch.setattr(runs, "build", lambda loaded: pytest.fail("worked before looking"))
    message = refused(capsys, "overlay", str(tiny), "--out", str(tiny / "out"))  # below a regular file
    assert "output directory" in message
    assert str(tiny / "out") in message
    assert "is a file" in refused(capsys, "overlay", str(tiny), "--out", str(tiny))
    assert "current" in refused(capsys, "overlay", str(tiny), "--out", ".")


def test_numerical_failure_exits_3_and_writes_nothing(tiny, capsys):
    assert run(["simulate", str(tiny), "--theory.max-steps", "1", "--t1", "400"]) == 3
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "max_steps" in err
    assert {p.name for p in tiny.parent.iterdir()} == {"tiny.toml"}


def test_diverged_training_exits_3(tiny, capsys):
    argv = ["train", str(tiny), "--gamma", "0.01", "--learning-rate", "1e8", "--training.steps", "60"]
    assert run([*argv, "--activation", "identity"]) == 3
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tiny.parent / "results").exists()


def wrapped(error, by):
    """What comes of an interrupt that fell into code which tells its errors by others of its own."""
    by.__cause__ = error
    return by


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KeyboardInterrupt(), 130),
        (Interrupted(signal=15), 143),
        (wrapped(Interrupted(signal=15), RuntimeError("Error calling __set_name__")), 143),
        (wrapped(wrapped(KeyboardInterrupt(), ImportError("partly loaded")), ValueError("no data")), 130),
        (IntegrationError("gave\nup."), 3),
        (MemoryError(), 3),
        (OSError(28, "No space left"), 3),
    ],
)
def test_every_failure_is_one_line(tiny, capsys, monkeypatch, error, code):
    def fail(self, *args, **kwargs):
        raise error

    monkeypatch.setattr(runs.Built, "train", fail)
    assert run(["overlay", str(tiny), "--out", "out"]) == code
    assert capsys.readouterr().err.count("\n") == 1
    assert {p.name for p in tiny.parent.iterdir()} == {"tiny.toml"}


def test_a_bug_is_not_dressed_up_as_bad_input(tiny, monkeypatch):
    def fail(self, *args, **kwargs):
        raise RuntimeError("bug")

    monkeypatch.setattr(runs.Built, "train", fail)
    with pytest.raises(RuntimeError, match="bug"):
        run(["train", str(tiny)])


def test_flow_times_are_the_training_steps_up_to_t1(tiny):
    built = runs.build(load(tiny, None, {"training.learning_rate": 0.3}))
    assert built.saved_steps()[-1] == 13  # 4.0 / 0.3 rounds to 13 steps
    np.testing.assert_allclose(built.times(), built.saved_steps() * 0.3, rtol=1e-12)
    longer = runs.build(load(tiny, None, {"training.steps": 100}))
    assert longer.times()[-1] <= 4.0


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("1e-3", 1e-3),
        (".5", 0.5),
        ("-1", -1),
        ("21-40", "21-40"),
        ("[1, 2]", [1, 2]),
        (["a", "b"], "a,b"),
    ],
)
def test_read_flag(text, value):
    assert flags.read_flag(text) == value
    assert type(flags.read_flag(text)) is type(value)


def test_tables_align():
    assert report.aligned(["a", "bb"], [["ccc", "d"]]).splitlines() == ["a    bb", "ccc  d"]


def test_one_line_is_one_printable_line(capsys):
    assert one_line("a\n\tb\x1b[31m\x00") == "a b [31m "
    assert no_picture("a\x1b[31m.png", "too\nfew") == 3
    assert capsys.readouterr().err == "smallinit: no a [31m.png: too few\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_learns_commands_and_flags(shell, capsys):
    assert run(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(name in script for name in (*COMMANDS, "init.gamma"))
    if (program := shutil.which(shell)) is not None:
        done = subprocess.run([program, "-n"], input=script, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_an_unknown_shell_is_refused(capsys):
    assert "bash" in refused(capsys, "completion", "tcsh")
