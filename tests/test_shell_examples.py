"""Every shell example of README and docs runs, and prints what the page shows.

Run page by page, in one folder that has a copy of the sweep file; commands that take minutes are shortened as SHORTER
says, what cannot be run here is listed in NOT_RUN with the reason. `sh` blocks hold commands, `console` blocks commands
after "$ " and what they print, in which a line "..." stands for any lines.
"""

import doctest
import re
import runpy
import shlex
import sys
from contextlib import redirect_stdout
from io import StringIO
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import pytest

from smallinit.cli import COMMANDS, run
from smallinit.compare.commands import figure_command
from smallinit.compare.figures.result import FigureResult, Statistic
from smallinit.compare.literature import claims as literature

ROOT = Path(__file__).parents[1]
PAGES = [
    path
    for path in (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")))
    if "_build" not in path.parts
]
BLOCK = re.compile(r"^```(sh|console)\n(.*?)^```$", re.M | re.S)
TINY = "--model.d-model 6 --model.d-mlp 6"
SHORT_RUN = f"{TINY} --t1 2 --theory.points 5"

# Commands that stand for others: what they do, without what setting up an environment takes.
STAND_INS = {"make demo": "smallinit overlay --preset demo --out results/demo"}
# Flags put behind a command that starts like this.
SHORTER = {
    "smallinit overlay --preset": SHORT_RUN,
    "smallinit overlay --data": SHORT_RUN,
    "smallinit overlay --model": "--t1 2 --theory.points 5",
    "smallinit simulate --preset": SHORT_RUN,
    "smallinit overlay mine.toml": SHORT_RUN,
    "smallinit train mine.toml": f"{TINY} --t1 2",
    "smallinit sweep": TINY,
    'smallinit check "dW_U = W_E.T @ M_last"': "",  # on a table
    "smallinit check": "--task.n-samples 60",
}
# The sweep file has 25 x 400 points: here, 3 x 3.
SWEEP = {"num = 25": "num = 3", '"0-399"': '"0-2"'}
NOT_RUN = {
    "git clone": "fetches the repository",
    "cd smallinit": "goes where that lies",
    ". .venv/bin/activate": "changes the shell that it is typed into",
    "make setup": "installs an environment",
    "make test": "runs this suite",
    "make lint": "runs the checkers",
    "make docs": "builds the pages",
    "python -m pytest": "runs parts of this suite",
}
# `smallinit claims` takes minutes: the first claim. `smallinit figure` trains for minutes: a figure that trains
# nothing; tests/compare/figures train them at a tiny size.
CLAIMS = 1


def commands(kind, block):
    """(command, what the page shows that it prints or "") of a block."""
    if kind == "sh":
        for line in block.splitlines():
            for command in re.split(r"\s+&&\s+", re.sub(r"\s+#.*$", "", line)):
                if command and not command.startswith("#"):
                    yield command, ""
        return
    for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
        command, _, shown = part.partition("\n")
        yield re.sub(r"\s+#.*$", "", command), shown


def examples(page):
    return [pair for kind, block in BLOCK.findall(page.read_text()) for pair in commands(kind, block)]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with what the examples need, where nothing takes minutes."""
    monkeypatch.chdir(tmp_path)
    sweep = (ROOT / "docs" / "phase.toml").read_text()
    for long, short in SWEEP.items():
        assert long in sweep
        sweep = sweep.replace(long, short)
    (tmp_path / "docs").mkdir()
    experiment = re.search(r"```toml\n(.*?)```", (ROOT / "docs" / "experiments.md").read_text(), re.S)
    (tmp_path / "mine.toml").write_text(experiment[1])
    table = re.search(r"```text\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    (tmp_path / "mine.csv").write_text(table[1])
    own = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "own-model.md").read_text(), re.S)
    (tmp_path / "my_model.py").write_text(own[1])
    for corpus in ("proofs.txt", "stories.txt"):
        (tmp_path / corpus).write_text(("word " * 100 + "\n") * 10)
    for copy in (tmp_path / "phase.toml", tmp_path / "docs" / "phase.toml"):
        copy.write_text(sweep)
    every = literature.claims
    monkeypatch.setattr(literature, "claims", lambda: tuple(islice(every(), CLAIMS)))
    monkeypatch.setattr(figure_command, "figure_module", lambda name: "a_figure")
    monkeypatch.setitem(sys.modules, "a_figure", SimpleNamespace(run=untrained))
    return tmp_path


def untrained(size, seeds, progress, **state_and_corpora):
    claims = (Statistic("it is drawn", "reproduced if 1", tuple(1.0 for _ in seeds), True),)
    return FigureResult(
        "3b", "Nothing", "empty", {"size": size}, claims, lambda figure: figure.subplots(), {}
    )


@pytest.mark.parametrize("page", [p for p in PAGES if examples(p)], ids=lambda p: p.name)
def test_the_examples_run_and_print_what_is_shown(page, place, capsys):
    for command, shown in examples(page):
        if any(command == start or command.startswith(f"{start} ") for start in NOT_RUN):
            continue
        command = STAND_INS.get(command, command).replace("$SLURM_ARRAY_TASK_ID", "1")
        assert command.startswith("smallinit "), f"{page.name}: neither run nor listed in NOT_RUN: {command}"
        extra = next((flags for start, flags in SHORTER.items() if command.startswith(start)), "")
        code = run(shlex.split(command)[1:] + shlex.split(extra))
        out, err = capsys.readouterr()
        refused = shown.startswith("smallinit: ")
        assert code == (2 if refused else 0), (page.name, command, err)
        said = err if refused else out
        assert doctest.OutputChecker().check_output(shown, said, doctest.ELLIPSIS) or not shown, (
            command,
            said,
        )


def test_the_collector_finds_what_is_there():
    page = ROOT / "docs" / "check.md"
    assert ("smallinit sweep a.toml --out b", "") in list(
        commands("sh", "smallinit sweep a.toml --out b  # again\n")
    )
    assert list(commands("sh", "git clone X && cd X\n")) == [("git clone X", ""), ("cd X", "")]
    assert list(commands("console", "$ a\nb\nc\n$ d # e\n")) == [("a", "b\nc\n"), ("d", "")]
    assert any("W_im" in command and "did you mean" in shown for command, shown in examples(page))
    assert {p.name for p in PAGES if examples(p)} >= {
        "README.md",
        "check.md",
        "sweeps.md",
        "getting-started.md",
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_no_command_hides_from_the_collector(page):
    """Commands stand in `sh` or `console` blocks, or in a line of text where they name what exists."""
    text = page.read_text()
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    assert not re.findall(r"^(?: {4}|\t)(?:smallinit|make|python|git) .*$", prose, re.M)
    for kind, other in re.findall(r"^```([^\n]*)\n(.*?)^```$", text, re.M | re.S):
        assert kind in ("sh", "console") or not re.findall(
            r"^\$ |^smallinit (?!\S*:)\w+ [\"\w]", other, re.M
        ), kind
    for words in re.findall(r"`((?:smallinit|make|python) [^`]+)`", prose):
        named(page, words.split())


def named(page, words):
    """A command in a line of text names a command, its flags and files that are there."""
    tool, what, *rest = words
    if tool == "make":
        assert re.search(rf"^{what}\b|^[\w ]*\b{what}\b[\w ]*:", (ROOT / "Makefile").read_text(), re.M), words
    elif tool == "python":
        assert what.startswith("-m") or (ROOT / what).is_file(), (page.name, words)
        assert what != "bootstrap.py" or set(rest) <= tasks(), words
    else:
        several = [part for part in re.split(r"[| ]+", " ".join([what, *rest])) if part in COMMANDS]
        assert several, (page.name, words)
        for flag in (word for word in rest if word.startswith("--") and word != "--help"):
            assert flag in helped(several[0]), (page.name, words)


def tasks():
    return {*runpy.run_path(str(ROOT / "bootstrap.py"), run_name="bootstrap")["TASKS"], "..."}


def helped(command):
    with redirect_stdout(StringIO()) as shown:
        run([command, "--help"])
    return shown.getvalue()
