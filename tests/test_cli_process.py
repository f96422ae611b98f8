"""The command line as a process: help, start-up, signals, pipes."""

import io
import os
import subprocess
import sys
import time

import pytest

from smallinit.cli import COMMANDS, run
from smallinit.compare.commands import experiments as commands


def start(*argv: str, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "smallinit", *argv]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=200, **options)


def test_progress_goes_to_terminals_only(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    commands.note("working")
    assert sys.stderr.getvalue() == ""


def test_help_lists_the_commands_and_loads_nothing_heavy():
    probe = (
        "import sys; from smallinit.cli import main; main(['--help']);"
        "heavy = ('torch', 'sympy', 'matplotlib', 'numba', 'xarray', 'scipy', 'pydantic');"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert all(name in done.stdout for name in COMMANDS)


def test_derive_loads_neither_torch_nor_numba():
    probe = (
        "import sys; from smallinit.cli import main; main(['derive', '--closure', 'leading']);"
        "print([m for m in ('torch', 'numba', 'matplotlib', 'xarray') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


# Sections of an experiment that a command reads whole; `claims`, `report` and `figure` take no experiment.
READ = {
    "overlay": {"task", "data", "model", "init", "theory", "training"},
    "sweep": {"task", "data", "model", "init", "theory", "training"},
    "derive": {"model"},
    "simulate": {"task", "data", "model", "init", "theory"},
    "train": {"task", "data", "model", "init", "training"},
    "check": {"task", "data", "model"},
}


@pytest.mark.parametrize("name", READ)
def test_command_help_has_a_flag_for_every_key_that_it_reads(name, capsys, monkeypatch):
    from smallinit.compare.experiment.schema import fields

    monkeypatch.setenv("COLUMNS", "200")
    assert run([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert COMMANDS[name] in out
    shown = {s for s, key, _ in fields() if f"--{s}.{key.replace('_', '-')}" in out}
    assert shown >= READ[name]
    for section, key, _ in fields():
        assert section not in READ[name] or f"--{section}.{key.replace('_', '-')}" in out
    assert name in ("overlay", "sweep", "train") or "--training.batch-size" not in out


def test_module_runs_and_fails_without_a_traceback(tmp_path):
    done = start("overlay", "--preset", "demo", "--gamma", "nan", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("smallinit: `init.gamma`")
    assert done.stderr.count("\n") == 1
    assert os.listdir(tmp_path) == []


def test_interrupt_of_a_process_exits_130(tmp_path):
    import signal

    # A shell that starts jobs in the background has them ignore interrupts: not so this one.
    listen = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
    listen += "from smallinit.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", listen, "train", "--preset", "paper", "--training.steps", "100000000"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        process.stdout.readline()  # the heading: everything is imported and built, training comes next
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=100)
    finally:
        process.kill()
    assert process.returncode == 130
    assert err == "smallinit: interrupted; no result was written.\n"
    assert os.listdir(tmp_path) == []


def test_closed_pipe_is_no_error():
    command = f"{sys.executable} -m smallinit derive --closure leading | head -n 0"
    done = subprocess.run(
        ["bash", "-c", f"{command}; exit ${{PIPESTATUS[0]}}"], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.returncode == 0
