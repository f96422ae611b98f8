"""`smallinit verify` names what is damaged, missing or mixed up, and nothing else."""

import shutil

import numpy as np
import pytest
from helpers import TINY

from smallinit.cli import run
from smallinit.compare.sweep.store import Store
from smallinit.compare.sweep.surroundings import Surroundings


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    (folder / "tiny.toml").write_text(TINY)
    assert run(["overlay", str(folder / "tiny.toml"), "--out", str(folder / "out")]) == 0
    assert run(["report", str(folder / "out")]) == 0
    return folder / "out"


@pytest.fixture
def results(made, tmp_path):
    return shutil.copytree(made, tmp_path / "out")


def verified(path, capsys):
    capsys.readouterr()
    code = run(["verify", str(path)])
    return code, capsys.readouterr().out


def test_sound_results(results, capsys):
    assert verified(results, capsys) == (0, "10 files are what was written, 0 are not.\n")
    assert verified(results / "training.nc", capsys) == (0, "1 files are what was written, 0 are not.\n")


def test_every_file_is_covered(results, capsys):
    rng = np.random.default_rng(0)
    for path in sorted(results.iterdir()):
        content = path.read_bytes()
        damaged = bytearray(content)
        damaged[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        code, out = verified(results, capsys)
        assert code == 3, path
        assert f"{path.name}'" in out
        path.write_bytes(content)


def test_missing_mixed_and_foreign_files(results, capsys):
    (results / "overlay.png").unlink()
    shutil.copy(results / "theory-leading.nc", results / "training.nc")
    (results / "notes.txt").write_text("mine")
    (results / "equations.tex").rename(results.parent / "x")
    (results / "equations.tex").symlink_to(results.parent / "x")
    code, out = verified(results, capsys)
    assert code == 3
    for words in (
        "overlay.png' is missing",
        "training.nc' is damaged or was replaced",
        "equations.tex' is a link",
    ):
        assert words in out
    assert "unknown  " in out
    assert "notes.txt" in out


def test_a_sweep(tmp_path, capsys):
    store = Store(tmp_path / "sweep", {"fixed": 1}, Surroundings({"code": "1"}, {}))
    store.write({"aa": {"x": np.zeros(3)}})
    store.write_failure("bb", "no")
    assert verified(tmp_path, capsys) == (0, "3 files are what was written, 0 are not.\n")
    path = tmp_path / "sweep" / "failed" / "bb.json"
    path.write_text('{"reason": "another"}')
    code, out = verified(tmp_path, capsys)
    assert (code, out.count("DAMAGED")) == (3, 1)
    assert store.failures()["bb"].startswith("it is not known why")


def test_no_such_path(tmp_path, capsys):
    assert run(["verify", str(tmp_path / "nothing")]) == 2
    assert "check the path" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["claims.txt", "notes"])
def test_what_nobody_sealed_is_not_found_sound(what, tmp_path, capsys):
    """Nothing was checked: a script that asks must not go on as if all were well."""
    path = tmp_path / what
    (path / "a.txt" if what == "notes" else path).parent.mkdir(exist_ok=True)
    (path / "a.txt" if what == "notes" else path).write_text("dW_E = M")
    assert run(["verify", str(path)]) == 2
    assert "holds nothing that smallinit has sealed, so nothing was checked" in capsys.readouterr().err
