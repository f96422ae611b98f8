"""The command line as a process: help, start-up, signals, pipes."""

import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
from sweeps import TINY as SWEEP
from sweeps import write

from smallinit.cli import COMMANDS, main, run
from smallinit.compare import open_sweep
from smallinit.compare.commands import experiments as commands
from smallinit.compare.commands import terminal
from smallinit.compare.training.training_run import TrainingRun


def start(*argv: str, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "smallinit", *argv]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=200, **options)


def test_progress_goes_to_terminals_only(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with commands.waiting("working") as wait:
        wait.show()
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


READ = {  # sections and keys that a command reads; the others take no experiment
    "overlay": ("task", "data", "model", "init", "theory", "training", "output"),
    "sweep": ("task", "data", "model", "init", "theory", "training", "output"),
    "derive": ("task.length", "data", "model", "theory.closures"),
    "simulate": ("task", "data", "model", "init", "theory", "training.steps"),
    "train": ("task", "data", "model", "init", "theory.t1", "training"),
    "check": ("task", "data", "model"),
    "scales": ("task", "data", "model", "init", "theory.t1", "training"),
}


@pytest.mark.parametrize("name", READ)
def test_command_help_has_a_flag_for_every_key_that_is_read(name, capsys, monkeypatch):
    from smallinit.compare.experiment.schema import fields

    monkeypatch.setenv("COLUMNS", "200")
    assert run([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert COMMANDS[name] in out
    read = [f"{s}.{k}" for s, k, _ in fields() if s in READ[name] or f"{s}.{k}" in READ[name]]
    assert len(read) > len(READ[name]) - 1
    assert [key for key in read if f"--{key.replace('_', '-')}" not in out] == []


def test_module_runs_and_fails_without_a_traceback(tmp_path):
    done = start("overlay", "--preset", "demo", "--gamma", "nan", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("smallinit: `init.gamma`")
    assert done.stderr.count("\n") == 1
    assert os.listdir(tmp_path) == []


SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]


def interrupted(folder, number, ready, *argv):
    """Exit status and error of a command that is sent a signal once ``ready(process)`` returns."""
    # A shell that starts jobs in the background has them ignore interrupts: not so this one.
    listen = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
    listen += "signal.signal(signal.SIGHUP, signal.SIG_DFL);"
    listen += "from smallinit.cli import main; sys.argv = ['smallinit', *sys.argv[1:]]; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", listen, *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        ready(process)
        time.sleep(0.3)
        process.send_signal(number)
        _, err = process.communicate(timeout=100)
    finally:
        process.kill()
    return process.returncode, err


def heading(process):
    process.stdout.readline()  # everything is imported and built, training comes next


def test_a_signal_ends_a_command_without_a_traceback(tmp_path):
    """A process as a user's, in training; the other signals take the same way, as the tests of a call do."""
    number, status = SIGNALS[0]
    long = ("train", "--preset", "paper", "--training.steps", "1000000")
    code, err = interrupted(tmp_path, number, heading, *long)
    assert code == status
    assert err == NOTHING_WRITTEN
    assert os.listdir(tmp_path) == []


NOTHING_WRITTEN = "smallinit: interrupted; no result was written.\n"
TRAINING = ("train", "--preset", "demo", "--training.steps", "1000000")


@pytest.fixture
def called(monkeypatch, tmp_path, capsys):
    """``called(*argv)``: status, output and error of a command called here, which listens as if it were the process."""

    def unheard(number, frame):
        raise AssertionError(f"signal {number} was not answered by the command")

    def call(*argv):
        code = run(list(argv), process=True)
        return code, *capsys.readouterr()

    monkeypatch.chdir(tmp_path)
    before = {number: signal.signal(number, unheard) for number, _ in SIGNALS}
    yield call
    for number, answer in before.items():
        signal.signal(number, answer)


@pytest.fixture
def each_step(monkeypatch):
    """``each_step(do)``: have training do something before each of its steps."""

    def patch(do):
        def advance(self, *given):
            do()
            return before(self, *given)

        before = TrainingRun.advance
        monkeypatch.setattr(TrainingRun, "advance", advance)

    return patch


@pytest.mark.parametrize(("number", "status"), SIGNALS)
def test_a_signal_in_training_ends_a_called_command_too(called, each_step, tmp_path, number, status):
    sent = []

    def send():
        sent.append(threading.Timer(0.05, os.kill, (os.getpid(), number)))
        sent[-1].start()

    each_step(lambda: sent or send())
    code, _, err = called(*TRAINING)
    sent[0].join()
    assert (code, err, os.listdir(tmp_path)) == (status, NOTHING_WRITTEN, [])


def last_line(code):
    """What a process of its own prints at its end."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


def test_signals_are_answered_before_anything_loads():
    """Whatever came while the command line was imported ended the process without a line, or with a traceback."""
    probe = (
        "import signal, sys; plain, heard = signal.signal, {};"
        "signal.signal = lambda n, f: (heard.setdefault(n, len({'cyclopts', 'smallinit.cli'} & set(sys.modules))),"
        " plain(n, f))[1];"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL); signal.signal(signal.SIGINT, signal.default_int_handler);"
        "heard.clear();"
        "sys.argv = ['smallinit', 'completion', 'bash'];"
        "import runpy; runpy.run_module('smallinit', run_name='__main__', alter_sys=True);"
        "print(sorted((n.name, k) for n, k in heard.items()))"
    )
    assert last_line(probe) == "[('SIGHUP', 0), ('SIGINT', 0), ('SIGTERM', 0)]"


LISTENING = (  # also where whoever runs the tests ignores some of these
    "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_DFL);"
    "signal.signal(signal.SIGINT, signal.default_int_handler); number = int(sys.argv[1]);"
)


def test_a_signal_after_a_command_is_no_traceback():
    """Python's own end takes a while, in which an interrupt was shown as an error of whatever it fell into.

    One function answers all signals here, and before a command: each is tried with one of them.
    """
    number, status = SIGNALS[0]
    probe = LISTENING + (
        "import atexit, runpy; atexit.register(lambda: os.kill(os.getpid(), number));"
        "sys.argv = ['smallinit', 'completion', 'bash'];"
        "runpy.run_module('smallinit', run_name='__main__', alter_sys=True)"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe, str(int(number))], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (status, "")
    assert "smallinit" in done.stdout


def test_an_early_signal_ends_a_command_whose_stderr_is_closed():
    number, status = SIGNALS[2]
    probe = LISTENING + (
        "from smallinit import __main__ as program; program._answer(program._end); os.close(2);"
        "os.kill(os.getpid(), number)"
    )
    done = subprocess.run([sys.executable, "-c", probe, str(int(number))], capture_output=True, check=False)
    assert done.returncode == status


def test_a_program_that_calls_the_command_line_has_its_signals_back():
    probe = (
        "import signal, sys; from smallinit.cli import main;"
        "names = [n for n in ('SIGINT', 'SIGTERM', 'SIGHUP') if hasattr(signal, n)];"
        "mine = lambda number, frame: None; [signal.signal(getattr(signal, n), mine) for n in names];"
        "sys.argv = ['smallinit', 'completion', 'bash']; main();"
        "print(all(signal.getsignal(getattr(signal, n)) is mine for n in names))"
    )
    assert last_line(probe) == "True"


def hears(process, number):
    """Whether a process has set a handler of its own, as Linux knows it."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    caught = next(line for line in lines if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux when a handler is set")
def test_a_signal_at_any_early_moment_ends_in_a_line(tmp_path):
    """From the first handler on: while the command line loads, while it reads flags, while torch loads.

    One function answers all signals, so two of them take turns.
    """
    listen = "import runpy, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_DFL);"
    listen += "sys.argv = ['smallinit', *sys.argv[1:]];"
    listen += "runpy.run_module('smallinit', run_name='__main__', alter_sys=True)"
    moments = (0.0, 0.01, *np.random.default_rng(1).uniform(0.02, 1.5, 7))
    for wait, (number, status) in zip(moments, cycle(SIGNALS[1:]), strict=False):
        process = subprocess.Popen(
            [sys.executable, "-c", listen, "train", "--preset", "paper", "--training.steps", "1000000"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
        )  # fmt: skip
        try:
            until = time.monotonic() + 60.0
            while not hears(process, number) and time.monotonic() < until:
                time.sleep(0.001)
            time.sleep(wait)
            process.send_signal(number)
            _, err = process.communicate(timeout=100)
        finally:
            process.kill()
        assert (process.returncode, err) == (status, NOTHING_WRITTEN)


@pytest.mark.parametrize(("number", "status"), SIGNALS)
def test_a_signal_whose_error_a_library_drops_ends_the_command_all_the_same(
    called, each_step, number, status
):
    """Where the error is dropped in a callback, or by a library, the training would go on for hours."""

    def dropped():
        with suppress(KeyboardInterrupt):
            signal.raise_signal(number)

    each_step(dropped)
    code, _, err = called(*TRAINING)
    assert (code, err) == (status, NOTHING_WRITTEN)


def test_a_signal_while_torch_loads_is_answered_when_it_has(called, monkeypatch):
    """An error that is raised within the imports of torch can end the process by its abort."""
    loaded, load = [], terminal.import_module

    def signalled(name):
        signal.raise_signal(signal.SIGTERM)
        module = load(name)
        loaded.append(name)
        return module

    monkeypatch.setattr(terminal, "import_module", signalled)
    code, _, err = called("train", "--preset", "demo")
    assert (code, err, loaded) == (143, NOTHING_WRITTEN, ["torch"])


def test_an_interrupted_training_says_where_its_state_is(called, tmp_path):
    kept, done = tmp_path / "run.npz", threading.Event()

    def send():
        while not kept.exists() and not done.wait(0.02):
            pass
        time.sleep(0.3)
        if not done.is_set():
            os.kill(os.getpid(), signal.SIGTERM)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        more = ("--training.checkpoint", str(kept), "--training.checkpoint-every", "10")
        code, _, err = called(*TRAINING, *more)
    finally:
        done.set()
        sender.join()
    assert code == 143
    state = f"the training's state is in {kept}: the same command goes on from there"
    assert err == f"smallinit: interrupted; {state}; {Path('results/demo')} was not written.\n"


@pytest.mark.parametrize(
    ("executor", "number", "status"), [("threads", *SIGNALS[0]), ("process", *SIGNALS[1])]
)
def test_an_interrupted_sweep_says_what_it_has_kept_and_goes_on(tmp_path, executor, number, status):
    file = write(tmp_path, SWEEP.replace('"0-2"', '"0-499"'))
    shards = tmp_path / "out" / "shards"

    def ready(process):
        until = time.monotonic() + 200.0
        while not (shards.is_dir() and len(os.listdir(shards)) > 1) and time.monotonic() < until:
            time.sleep(0.05)

    command = ("sweep", str(file), "--out", "out", "--executor", executor)
    code, err = interrupted(tmp_path, number, ready, *command)
    assert code == status
    said = re.fullmatch(
        r"smallinit: interrupted; (\d+) of 1000 points are kept in out: the same command computes the rest\.\n",
        err,
    )
    assert said, err
    assert not (tmp_path / "out" / "claims").exists()
    assert open_sweep(file, tmp_path / "out").done == int(said[1]) > 0


def test_closed_pipe_is_no_error():
    command = f"{sys.executable} -m smallinit derive --closure leading | head -n 0"
    done = subprocess.run(
        ["bash", "-c", f"{command}; exit ${{PIPESTATUS[0]}}"], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("closed", "status"),
    [
        ("completion bash >&-", 0),
        ("completion bash 2>&-", 0),
        ("derive --closure leading >&- 2>&-", 0),
        ("derive --closure nope 2>&-", 2),
    ],
)
def test_closed_streams_are_no_failure(closed, status):
    line = f"{sys.executable} -m smallinit {closed}"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == status
    assert done.stderr == ""
    assert ("smallinit" in done.stdout) == (closed == "completion bash 2>&-")


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux alone")
@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_names_that_an_encoding_lacks_are_spelt_out(tmp_path, monkeypatch, encoding):
    """A folder's name in Latin-1 is no text here: what is done is said all the same, and a page is made of it."""
    folder = os.fsdecode(os.fsencode(tmp_path / "r") + b"\xfc")
    small = ("--model.d-model", "2", "--model.d-mlp", "2", "--theory.t1", "1")
    one = ["simulate", "--preset", "demo", *small, "--out", folder]
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    for command in (one, ["report", folder], ["verify", folder]):
        monkeypatch.setattr(sys, "argv", ["smallinit", *command])
        main()
    err.flush()
    assert err.buffer.getvalue() == b""
    assert b"r\\udcfc" in out.buffer.getvalue()
    assert b"r\\udcfc" in Path(folder, "report.html").read_bytes()
