"""The line of those who wait: what, how far, how long; never in a pipe."""

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
