"""The line of those who wait: what, how far, how long; never in a pipe."""

import errno
import io
import re
import time
from types import SimpleNamespace

import pytest

from smallinit.theory.base import waiting as module
from smallinit.theory.base.waiting import Wait, spoken, waiting


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setattr(module, "SILENT", 0.05)
    monkeypatch.setattr(module, "EVERY", 0.02)
    monkeypatch.setattr(module, "KEPT", 0.1)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(module, "sys", SimpleNamespace(stderr=(screen := Terminal())))
    return screen


def test_a_long_work_shows_elapsed_and_expected_time(terminal):
    with waiting("training", 10, "steps") as wait:
        wait.tell(0)
        time.sleep(0.3)
        wait.tell(5, "loss 2.5")
        time.sleep(0.6)
    shown = terminal.getvalue()
    assert "training, 5 of 10 steps, loss 2.5, " in shown
    assert " so far, about " in shown
    assert re.search(r"\r\x1b\[Ktraining: 10 steps, [\d.]+ s\n$", shown)  # the line itself is gone


def test_even_one_that_says_nothing_is_not_silent(terminal):
    with waiting("deriving"):
        time.sleep(0.6)
    assert "deriving, 0." in terminal.getvalue()


def test_a_short_work_leaves_no_trace(terminal):
    with waiting("deriving") as wait:
        wait.tell(1)
    assert terminal.getvalue() == ""


def test_the_line_goes_when_the_work_fails(terminal):
    def fail():
        with waiting("deriving"):
            time.sleep(0.5)
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_a_line_fits_into_the_terminal(terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    with waiting("deriving what takes a long time to say") as wait:
        wait.show()
        wait.hide()
    assert terminal.getvalue() == "\r\x1b[Kderiving what takes\r\x1b[K"


@pytest.mark.parametrize(
    ("stream", "kind"), [(None, "xterm"), (Terminal(), "dumb"), (io.StringIO(), "xterm")]
)
def test_nobody_watches_where_no_line_can_be_renewed(stream, kind, monkeypatch):
    monkeypatch.setenv("TERM", kind)
    monkeypatch.setattr(module, "sys", SimpleNamespace(stderr=stream))
    assert not module.on_terminal()


def test_a_pipe_gets_nothing(monkeypatch):
    monkeypatch.setattr(module, "SILENT", 0.0)
    monkeypatch.setattr(module, "sys", SimpleNamespace(stderr=(pipe := io.StringIO())))
    with waiting("deriving", 3) as wait:
        wait.tell(1)
        time.sleep(0.05)
        wait.show()
        wait.hide()
    assert pipe.getvalue() == ""


def test_the_rest_is_foreseen_from_where_the_count_began(monkeypatch):
    now = [7.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    wait = Wait("training", 100, "steps", None)
    assert wait.seconds_left is None
    wait.tell(50)  # of a run that goes on from there
    assert wait.seconds_left is None
    now[0] += 12.0
    wait.tell(75)
    assert wait.seconds_left == pytest.approx(12.0)
    assert [spoken(s) for s in (1.25, 42.4, 125, 4800)] == ["1.2 s", "42 s", "2 min 5 s", "1 h 20 min"]


@pytest.fixture
def log(monkeypatch):
    monkeypatch.setattr(module, "LINE", 0.1)
    monkeypatch.setattr(module, "sys", SimpleNamespace(stderr=(written := io.StringIO())))
    return written


def test_a_command_that_nobody_watches_says_how_far_it_is(log):
    with module.as_command(), waiting("training", 10, "steps", shown=True) as wait:
        for step in range(4):
            wait.tell(step, "loss 2.5")
            time.sleep(0.15)
    first, *_, last = log.getvalue().splitlines()
    assert re.fullmatch(
        r"training, \d of 10 steps, loss 2\.5, [\d.]+ s so far(, about [\d.]+ s to go)?", first
    )
    assert re.fullmatch(r"training: 10 steps, [\d.]+ s", last)
    assert "\x1b" not in log.getvalue()


def test_lines_of_a_log_become_rarer(log, monkeypatch):
    monkeypatch.setattr(module, "GROWTH", 2.0)
    with module.as_command(), waiting("deriving"):
        time.sleep(1.0)
    assert 2 <= len(log.getvalue().splitlines()) <= 4  # at 0.1, 0.3 and 0.9 s; the end


def test_a_short_command_and_whoever_calls_the_library_have_no_lines(log):
    with module.as_command(), waiting("deriving", shown=True):
        pass
    with waiting("deriving"), waiting("training", shown=False):
        time.sleep(0.3)
    with module.as_command(), waiting("training", shown=False):
        time.sleep(0.3)
    assert log.getvalue() == ""


class Gone(io.StringIO):
    """A log that takes one line: then its reader has gone, or its disk is full."""

    def __init__(self, error):
        super().__init__()
        self.error, self.taken = error, 0

    def write(self, text):
        if self.taken:
            raise self.error
        self.taken += 1
        return super().write(text)


@pytest.mark.parametrize(
    "error", [BrokenPipeError(), OSError(errno.ENOSPC, "full"), ValueError("I/O operation on closed file")]
)
@pytest.mark.parametrize("terminal", [False, True])
def test_work_goes_on_in_silence_where_a_log_cannot_be_written_any_more(log, error, terminal, monkeypatch):
    monkeypatch.setattr(module, "KEPT", 0.1)
    monkeypatch.setattr(module, "SILENT", 0.0)
    monkeypatch.setattr(module, "on_terminal", lambda: terminal)
    module.sys.stderr = gone = Gone(error)
    with module.as_command():
        for _ in range(2):
            with waiting("training"):
                time.sleep(0.4)
    assert gone.getvalue().count("training") == 1
