"""Where commands write: refused before any work, named once in place, and told rightly when they are interrupted."""

import builtins
from pathlib import Path

import numpy as np
import pytest
from helpers import TINY, refused
from sweeps import TINY as SWEEP

from smallinit.cli import run
from smallinit.compare.commands import experiments, implied, report_command
from smallinit.compare.experiment import build
from smallinit.compare.literature import claims as literature
from smallinit.compare.literature.claim import Claim, Finding
from smallinit.compare.proof import check as proof
from smallinit.compare.report import directory
from smallinit.compare.sweep import run_sweep
from smallinit.sim import load_trajectory
from smallinit.theory.base.errors import Interrupted

NOWHERE = Path("/proc/none")  # a folder that takes no file, whoever asks


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A run with a training, for reports."""
    folder = tmp_path_factory.mktemp("results")
    (folder / "tiny.toml").write_text(TINY)
    assert run(["overlay", str(folder / "tiny.toml"), "--out", str(folder / "run")]) == 0
    return folder / "run"


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The current folder, with an experiment and a sweep."""
    (tmp_path / "tiny.toml").write_text(TINY)
    (tmp_path / "sweep.toml").write_text(SWEEP)
    monkeypatch.chdir(tmp_path)
    claim = Claim("A7", "x", "x", "x", "x", lambda: Finding("holds", "found", {"p": 0.5}))
    monkeypatch.setattr(literature, "claims", lambda: (claim,))
    return tmp_path


WRITES = {  # command -> what it has written when it first says so, and what it has not
    "simulate tiny.toml --out out": ("out was written", ""),
    "train tiny.toml --out out": ("out was written", ""),
    "overlay tiny.toml --out out": ("out was written", ""),
    "report RESULTS --out a.html --overwrite --gif": (
        "a.html was written", ", a-embeddings.html and a-embeddings.gif not"
    ),
    "sweep sweep.toml --out out --collect all.nc --picture p.png": (
        "all 6 points are kept in out; all.nc was written", ", p.png not"
    ),
    "claims --json c.json": ("c.json was written", ""),
    "scales tiny.toml --json s.json": ("s.json was written", ""),
    "check dW_E=M@W_out.T@W_in.T --figure f.png": ("f.png was written", ""),
}  # fmt: skip


def words(command, results):
    return [str(results) if word == "RESULTS" else word for word in command.split()]


@pytest.mark.parametrize("command", WRITES)
def test_an_interrupt_after_a_result_says_that_it_is_there(command, files, results, monkeypatch, capsys):
    plain = builtins.print

    def interrupted(*what, **how):
        if what and str(what[0]).startswith("wrote"):
            raise Interrupted(signal=15)
        plain(*what, **how)

    monkeypatch.setattr(builtins, "print", interrupted)
    assert run(words(command, results)) == 143
    there, missing = WRITES[command]
    assert capsys.readouterr().err == f"smallinit: interrupted; {there}{missing}.\n"
    for name in there.partition(" was written")[0].rpartition("; ")[2].split():
        assert Path(name).exists()


def test_a_page_that_has_no_second_one_is_told_by_itself(files, monkeypatch, capsys):
    assert run(["simulate", "tiny.toml", "--out", "out"]) == 0
    plain = report_command._wrote
    monkeypatch.setattr(report_command, "_wrote", lambda path: (plain(path), interrupt())[0])
    assert run(["report", "out", "--out", "b.html"]) == 143
    assert capsys.readouterr().err == "smallinit: interrupted; b.html was written.\n"


def test_each_file_is_named_before_the_next_is_made(files, results, monkeypatch, capsys):
    from smallinit.compare.report.embedding_motion import EmbeddingMotion

    plain, said = EmbeddingMotion.save, []
    monkeypatch.setattr(
        EmbeddingMotion, "save", lambda self, path: (said.append(capsys.readouterr().out), plain(self, path))
    )
    assert run(["report", str(results), "--out", "a.html", "--gif"]) == 0
    first, second = said
    assert first.startswith("wrote a.html (")
    assert second.startswith("wrote a-embeddings.html (")


def interrupt():
    raise Interrupted(signal=15)


def never(*_, **__):
    raise AssertionError("work began")


REFUSED = {  # command and a flag with a name that cannot be written -> what is said of it
    "overlay --data mine.csv --out FILE": "is a file",
    "overlay --data mine.csv --out NOWHERE": "cannot write to the output directory",
    "simulate tiny.toml --out NOWHERE": "cannot write to the output directory",
    "train tiny.toml --out NOWHERE": "cannot write to the output directory",
    "overlay tiny.toml --training.checkpoint none/run.npz": "a folder that does not exist",
    "train tiny.toml --training.checkpoint /proc/run.npz": "cannot be written to",
    "train tiny.toml --training.checkpoint out --out out": "lies in the output directory",
    "train tiny.toml --training.checkpoint out/run.npz --out out": "lies in the output directory",
    "overlay tiny.toml --training.checkpoint old/data.npz --out old --overwrite": "lies in the output directory",
    "train tiny.toml --training.checkpoint new --out new/out": "cannot be a file and hold",
    "overlay tiny.toml --training.device cuda": "torch finds no such device",
    "figure 3b --out NOWHERE": "cannot write to the output directory",
    "sweep sweep.toml --out NOWHERE": "cannot write to the output directory",
    "sweep sweep.toml --collect none/all.nc": "a folder that does not exist",
    "sweep sweep.toml --collect all.csv": "must end in .nc",
    "sweep sweep.toml --collect /proc/all.nc": "cannot be written to",
    "sweep sweep.toml --collect all.nc --out all.nc": "cannot be a file and hold",
    "sweep sweep.toml --collect all.nc --out all.nc/in/it": "cannot be a file and hold",
    "sweep sweep.toml --picture phase.gif": "must end in one of .png, .pdf, .svg",
    "sweep sweep.toml --picture FILE.png": "exists: add --overwrite",
    "report RESULTS --out none/a.html": "a folder that does not exist",
    "report RESULTS --out /proc/a.html": "cannot be written to",
    "report RESULTS --out a.pdf": "must end in one of .html, .htm",
    "claims --json none/c.json": "a folder that does not exist",
    "claims --json /proc/c.json": "cannot be written to",
    "claims --json FILE.png": "exists: add --overwrite",
    "scales --data mine.csv --json /proc/c.json": "cannot be written to",
    "scales --data mine.csv --json FILE.png": "exists: add --overwrite",
    "check dW_E=M --figure /proc/f.png": "cannot be written to",
    "check dW_E=M --figure none/f.png": "a folder that does not exist",
    "check dW_E=M --figure f.gif": "must end in one of .png, .pdf, .svg",
}


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder that takes no file from anybody")
@pytest.mark.parametrize("command", REFUSED)
def test_a_name_that_cannot_be_written_is_refused_before_any_work(
    command, files, results, monkeypatch, capsys
):
    (files / "mine.csv").write_text("a,b,label\nx,y,z\ny,x,x\n")
    for name in ("FILE", "FILE.png"):
        (files / name).write_text("mine")
    (files / "old").mkdir()
    (files / "old" / "data.npz").write_text("a result")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(experiments, "simulate_all", never)
    monkeypatch.setattr(implied, "_clock", never)
    monkeypatch.setattr(build.Built, "train", never)
    monkeypatch.setattr(run_sweep, "run_sweep", never)
    monkeypatch.setattr(proof, "check", never)
    monkeypatch.setattr(literature, "claims", never)
    monkeypatch.setattr(directory, "page_of", never)
    before = sorted(p.name for p in files.iterdir())
    line = refused(capsys, *(str(NOWHERE) if word == "NOWHERE" else word for word in words(command, results)))
    assert REFUSED[command] in line
    assert sorted(p.name for p in files.iterdir()) == before


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """The checkpoint of a finished training, which a run of the same settings goes on from."""
    folder = tmp_path_factory.mktemp("kept")
    (folder / "tiny.toml").write_text(TINY)
    kept = folder / "run.npz"
    train = ["train", str(folder / "tiny.toml"), "--out", str(folder / "run")]
    assert run([*train, "--training.checkpoint", str(kept)]) == 0
    return kept


OF_ANOTHER_RUN = {  # flags of an overlay -> what is said of the checkpoint of a training without them
    "--training.clip 1.0": "belongs to a run with other settings (clip was None and is 1.0)",
    "--seed 9": "was begun with other inputs, sources or versions (start was",
    "--training.steps 4": "--training.steps` is 4 but the checkpoint is at step 8",
    "--overwrite": "is not a whole checkpoint",
}


@pytest.mark.parametrize("flags", OF_ANOTHER_RUN)
def test_a_checkpoint_of_another_run_is_refused_before_theories_are_integrated(
    flags, files, kept, monkeypatch, capsys
):
    mine = files / "run.npz"
    content = kept.read_bytes()
    mine.write_bytes(content[:-100] if "overwrite" in flags else content)
    monkeypatch.setattr(experiments, "simulate_all", never)
    capsys.readouterr()
    line = refused(capsys, "overlay", "tiny.toml", "--training.checkpoint", "run.npz", *flags.split())
    assert OF_ANOTHER_RUN[flags] in line
    assert not Path("results").exists()


def test_an_overlay_goes_on_from_a_checkpoint_of_its_own_settings(files, kept):
    (files / "run.npz").write_bytes(kept.read_bytes())
    assert run(["overlay", "tiny.toml", "--training.checkpoint", "run.npz", "--out", "out"]) == 0
    found, first = (
        load_trajectory(path) for path in ("out/training.nc", kept.parent / "run" / "training.nc")
    )
    np.testing.assert_array_equal(found.weights["W_E"], first.weights["W_E"])
    assert found.statistics["steps"] == 0
