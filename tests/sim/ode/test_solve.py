"""Saved times, events, limits, restart and refused input of `solve`."""

from functools import cache, partial

import numba
import numpy as np
import pytest
from helpers import small_case

from smallinit.sim import Event, Problem, Status, solve
from smallinit.sim.compile.compiler import compile_flow
from smallinit.theory import derive
from smallinit.theory.base.errors import FieldError

METHODS = pytest.mark.parametrize("method", ["tsit5", "dop853"])


def position(t, weights):
    return float(weights["y"][0, 0])


@METHODS
def test_dense_output_at_saved_times(problem, method):
    times = np.sort(np.random.default_rng(0).uniform(0.0, 20.0, 300))
    result = solve(
        problem("oscillator", 2), [1.0, 0.0], t1=20.0, rtol=1e-9, atol=1e-11, save_at=times, method=method
    )
    np.testing.assert_array_equal(result.t, times)
    np.testing.assert_allclose(result.y, np.stack([np.cos(times), -np.sin(times)], axis=1), atol=3e-7)


def test_saved_times_by_number(problem):
    f = problem("oscillator", 2)
    assert len(solve(f, [1.0, 0.0], t1=1.0).t) == 101
    np.testing.assert_array_equal(solve(f, [1.0, 0.0], t1=2.0, save_at=5).t, [0.0, 0.5, 1.0, 1.5, 2.0])
    np.testing.assert_array_equal(solve(f, [1.0, 0.0], t1=2.0, save_at=1).t, [2.0])
    assert solve(f, [1.0, 0.0], t1=2.0, save_at=[]).y.shape == (0, 2)
    np.testing.assert_array_equal(solve(f, [1.0, 0.0], t0=1.0, t1=2.0, save_at=[1.0]).y, [[1.0, 0.0]])


NARROW = [(0.3, 0.1 * 3), (1.0, 1.0 + 8e-16), (-1e-320, 0.0), (0.0, 1e-322)]


@pytest.mark.parametrize(("t0", "t1"), NARROW)
@pytest.mark.parametrize("method", [None, "tsit5", "rkc", "taylor"])
def test_an_interval_of_a_few_numbers_is_one_step(problem, method, t0, t1):
    """Times that lie apart by rounding: 0.1 * 3 is not 0.3. Of 101 even ones in between, most are the start."""
    f = problem("logistic")
    if method == "taylor":  # whose series are those of a table
        data, model, weights = small_case()
        f = compile_flow(derive(model, "leading"), data, weights)
    result = solve(f, [0.5] * f.n, t0=t0, t1=t1, method=method, atol=1e-12)
    assert result.outcome.status is Status.REACHED_END
    assert result.t[0] == t0
    assert result.t[-1] == t1
    assert np.all(np.diff(result.t) > 0.0)
    np.testing.assert_allclose(result.y[-1], result.y[0], rtol=1e-12)


def test_times_that_flow_time_does_not_resolve_are_refused(problem):
    with pytest.raises(ValueError, match=r"`save_at` asks for 5 times, but flow time resolves 2 in \[0.3"):
        solve(problem("oscillator", 2), [1.0, 0.0], t0=0.3, t1=0.1 * 3, save_at=5)
    with pytest.raises(ValueError, match=r"`t1` must lie within 1.798e\+308 of the start t0 = -1e\+308"):
        solve(problem("oscillator", 2), [1.0, 0.0], t0=-1e308, t1=1e308)


def test_empty_interval_is_the_identity(problem):
    result = solve(problem("oscillator", 2), [0.3, 0.7], t0=2.0, t1=2.0)
    np.testing.assert_array_equal(result.t, [2.0])
    np.testing.assert_array_equal(result.y, [[0.3, 0.7]])
    assert result.outcome.status is Status.REACHED_END
    assert result.statistics["rhs_calls"] == 0


@METHODS
def test_restart_equals_straight_through(problem, exact_forced, method):
    f, options = problem("forced", 2), {"rtol": 1e-10, "atol": 1e-12, "method": method}
    straight = solve(f, [1.0, 1.0], t1=3.0, save_at=[3.0], **options)
    half = solve(f, [1.0, 1.0], t1=1.3, save_at=[1.3], **options)
    rest = solve(f, half.y[-1], t0=1.3, t1=3.0, save_at=[3.0], **options)
    np.testing.assert_allclose(rest.y, straight.y, rtol=1e-8)
    np.testing.assert_allclose(rest.y[-1], exact_forced(3.0), rtol=1e-8)


@METHODS
def test_events_are_located_and_kept(problem, method):
    result = solve(
        problem("oscillator", 2), [1.0, 0.0], t1=10.0, rtol=1e-10, atol=1e-12, method=method,
        save_at=[0.0, 5.0, 10.0],
        events=[Event(position, name="zero"), Event(position, name="up", direction=1)],
    )  # fmt: skip
    zeros = np.pi * (np.arange(3) + 0.5)
    np.testing.assert_allclose(result.events["zero"], zeros, atol=1e-8)
    np.testing.assert_allclose(result.events["up"], zeros[1:2], atol=1e-8)
    assert np.all(np.diff(result.t) > 0.0)
    assert len(result.t) >= 6
    np.testing.assert_allclose(result.y[np.isin(result.t, result.events["zero"]), 0], 0.0, atol=1e-12)


def test_direction_of_events(problem):
    options = {"t1": 10.0, "save_at": [], "rtol": 1e-9}
    falling = Event(position, direction=-1, name="down")
    result = solve(problem("oscillator", 2), [1.0, 0.0], events=falling, **options)
    np.testing.assert_allclose(result.events["down"], [np.pi / 2, 2.5 * np.pi], atol=1e-6)


def test_terminal_event_ends_the_run(problem):
    stop = Event(position, terminal=True, name="zero")
    result = solve(
        problem("oscillator", 2), [1.0, 0.0], t1=10.0, rtol=1e-10, atol=1e-12, save_at=101, events=stop
    )
    assert result.outcome.status is Status.EVENT
    assert result.outcome.success
    assert result.outcome.t == pytest.approx(np.pi / 2, abs=1e-9)
    assert result.t[-1] == result.outcome.t
    assert result.t[-2] == 1.5
    assert "stopped by event `zero` at t = 1.570796" in str(result.outcome)


def test_zero_at_the_start_is_no_event(problem):
    result = solve(problem("oscillator", 2), [0.0, 1.0], t1=4.0, rtol=1e-9, save_at=[], events=position)
    np.testing.assert_allclose(result.events["position"], [np.pi], atol=1e-7)


def test_events_that_cannot_be(problem):
    f = problem("oscillator", 2)
    with pytest.raises(ValueError, match="different names, got 'position' twice"):
        solve(f, [1.0, 0.0], t1=1.0, events=[position, position])
    with pytest.raises(ValueError, match="`direction` of an event must be -1, 0 or 1, got 2"):
        Event(position, direction=2)
    with pytest.raises(ValueError, match="must be callable, got 3"):
        solve(f, [1.0, 0.0], t1=1.0, events=[3])
    with pytest.raises(
        ValueError, match="event `bad` must return one finite number, or True or False, got nan at t = 0"
    ):
        solve(f, [1.0, 0.0], t1=1.0, events=Event(lambda t, w: np.nan, name="bad"))


def test_step_limit_keeps_what_was_computed_and_names_a_better_method(problem):
    result = solve(
        problem("oscillator", 2), [1.0, 0.0], t1=1e4, method="tsit5", max_steps=50, save_at=np.arange(1e4)
    )
    assert result.outcome.status is Status.MAX_STEPS
    assert not result.outcome.success
    assert 'method="dop853"' in str(result.outcome)
    assert result.statistics["accepted"] + result.statistics["rejected"] == 50
    assert 2 < len(result.t) < 50
    np.testing.assert_allclose(result.y[:, 0], np.cos(result.t), atol=1e-3)


def test_step_limit_on_a_stiff_problem_says_so(problem):
    result = solve(problem("relax"), [2.0], t1=100.0, max_steps=2000)
    assert 'method="bdf" if the stiff problem has few unknowns' in str(result.outcome)
    assert solve(problem("relax"), [2.0], t1=100.0, max_steps=2000, method="bdf").outcome.success


def test_time_limit_keeps_what_was_computed(problem):
    result = solve(
        problem("oscillator", 2),
        [1.0, 0.0],
        t1=1e9,
        max_steps=10**9,
        max_seconds=0.3,
        save_at=[0.0, 1.0, 1e9],
    )
    assert result.outcome.status is Status.MAX_SECONDS
    assert len(result.t) == 2
    assert 0.2 < result.statistics["seconds"] < 5.0


def test_progress_is_called_with_flow_time(problem):
    seen = []
    solve(
        problem("oscillator", 2),
        [1.0, 0.0],
        t1=1e9,
        max_steps=10**9,
        max_seconds=0.5,
        progress=seen.append,
        save_at=[],
    )
    assert 1 <= len(seen) <= 8
    assert seen == sorted(seen)


def test_start_at_which_the_right_hand_side_is_nan_is_refused(problem):
    with pytest.raises(ValueError, match="right-hand side must be finite at the start"):
        solve(problem("always_nan"), [1.0], t1=1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"t1": -1.0}, r"`t1` must not lie before the start t0 = 0\.0, got -1\.0"),
        ({"t1": np.nan}, "`t1` must be a finite flow time"),
        ({"t0": np.inf, "t1": 1.0}, "`t0` must be a finite flow time"),
        ({"t1": 1.0, "rtol": 3.0}, r"`rtol` must lie in \(0, 1\), got 3\.0"),
        ({"t1": 1.0, "rtol": np.nan}, r"`rtol` must lie in \(0, 1\), got nan"),
        ({"t1": 1.0, "atol": 0.0}, r"`atol` must be positive and finite, got 0\.0"),
        ({"t1": 1.0, "max_steps": 0}, "`max_steps` must be an integer of at least 1, got 0"),
        ({"t1": 1.0, "max_steps": 1.5}, r"`max_steps` must be an integer of at least 1, got 1\.5"),
        ({"t1": 1.0, "max_seconds": -1.0}, r"`max_seconds` must be positive or None, got -1\.0"),
        ({"t1": 1.0, "first_step": 0.0}, r"`first_step` must be a positive flow time or None, got 0\.0"),
        ({"t1": 1.0, "fixed_step": np.nan}, "`fixed_step` must be a positive flow time or None, got nan"),
        ({"t1": 1.0, "save_at": 0}, "`save_at` must be from 1 to"),
        ({"t1": 1.0, "save_at": [0.5, 0.2]}, "`save_at` must increase strictly"),
        ({"t1": 1.0, "save_at": [0.5, 0.5]}, "`save_at` must increase strictly"),
        ({"t1": 1.0, "save_at": [0.5, np.nan]}, "`save_at` must be a one-dimensional array of finite"),
        (
            {"t1": 1.0, "save_at": [0.5, 2.0]},
            r"`save_at` must lie within \[t0, t1\] = \[0\.0, 1\.0\], got 2\.0",
        ),
        ({"t1": 1.0, "save_at": [[0.5]]}, "`save_at` must be a one-dimensional"),
        ({"t1": 1.0, "method": "magic"}, "`method` 'magic' is unknown: choose one of tsit5, dop853"),
        ({"t1": 1.0, "y0": [1.0]}, r"`y0` must have shape \(2,\)"),
        ({"t1": 1.0, "y0": [1.0, np.inf]}, "`y0` must be finite, got 1 nan or inf"),
    ],
)
def test_refused_input(problem, options, message):
    y0 = options.get("y0", [1.0, 0.0])
    with pytest.raises(ValueError, match=message):
        solve(problem("oscillator", 2), y0, **{k: v for k, v in options.items() if k != "y0"})


def test_repr_is_short(problem):
    text = repr(solve(problem("oscillator", 2), [1.0, 0.0], t1=1.0, save_at=3))
    assert text == "Solution(3 times, 2 unknowns, reached t = 1.000000)"


def falls(t, y, out):
    out[0] = -y[0]


class Called:
    def __call__(self, t, y, out):
        out[0] = -y[0]

    def method(self, t, y, out):
        out[0] = -y[0]


def yields(t, y, out):
    yield


def reads_nothing_known(t, y, out):
    out[0] = unheard_of.part(y)  # noqa: F821


def test_a_system_of_ones_own_is_solved():
    found = solve(Problem.from_function(falls, 1), [2.0], t1=1.0, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.y[:, 0], 2.0 * np.exp(-found.t), rtol=1e-8)


def test_a_function_that_numba_has_compiled_is_taken_as_it_is():
    known = solve(Problem.from_function(falls, 1), [2.0], t1=1.0)
    found = solve(Problem.from_function(numba.njit(falls), 1), [2.0], t1=1.0)
    np.testing.assert_array_equal(found.y, known.y)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: solve(falls, [1.0], t1=1.0),
            r"`problem` must be a Problem, got function: Problem.from_function\(f, n\)",
        ),
        (lambda: Problem.from_function("falls", 1), r"`f` must be a function f\(t, y, out\) .*got 'falls'"),
        (lambda: Problem.from_function(falls, 0), "`n` must be an integer of at least 1, got 0"),
        (
            lambda: Problem.from_function(lambda t, y: y, 1),
            r"`f` must be f\(t, y, out\), which writes dy/dt to `out`, got <lambda>\(t, y\)",
        ),
        (
            lambda: Problem(falls, {"y": (0, (1, 1))}, floats=np.zeros(2, np.float32)),
            "`floats` must be one row of float64 in memory, got array",
        ),
        (
            lambda: Problem(falls, {"y": (0, (1, 1))}, ints=np.zeros(4, np.int64)[::2]),
            "`ints` must be one row of int64 in memory, got array",
        ),
        (
            lambda: Problem.from_function(reads_nothing_known, 1),
            "which numba compiles: .*'unheard_of'",
        ),
    ],
)
def test_what_is_no_system_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "f",
    [Called(), Called().method, partial(falls, 0.0), np.sin, max, Called, yields],
    ids=["object", "method", "partial", "ufunc", "built-in", "class", "generator"],
)
def test_what_numba_takes_for_no_function_is_refused(f):
    with pytest.raises(ValueError, match=r"`f` must be a function f\(t, y, out\) .* go into one\."):
        Problem.from_function(f, 1)


def half_written(t, y, out):
    out[0] = -y[0]


def added_up(t, y, out):
    for i in range(y.size):
        out[i] += -y[i]


@cache
def of_three(function):
    return Problem.from_function(function, 3)


@pytest.mark.parametrize(
    ("function", "which"), [(half_written, "entries 1, 2"), (added_up, "entries 0, 1, 2")]
)
@pytest.mark.parametrize("method", [None, "tsit5", "rkc", "bdf"])
def test_a_right_hand_side_that_leaves_slopes_as_they_were_is_refused(function, which, method):
    """What lay in memory would be taken for slopes."""
    problem = of_three(function)
    with pytest.raises(
        FieldError, match=f"`problem` has a right-hand side that leaves {which} of `out` as it was"
    ):
        solve(problem, np.ones(3), t1=1.0, method=method)


def fast(t, y, out):
    out[0] = -1e4 * (y[0] - np.cos(t))


@pytest.mark.parametrize("method", ["tsit5", "rkc", "bdf"])
def test_steps_that_a_late_time_cannot_tell_are_said_to_be_so(method):
    problem = Problem.from_function(fast, 1)
    outcome = solve(problem, np.ones(1), t0=1e9, t1=1e9 + 1.0, method=method).outcome
    assert outcome.status is Status.STEP_UNDERFLOW
    assert "so far from 0 that is 1.2e-07; let time count from `t0`" in str(outcome)
    assert solve(problem, np.ones(1), t1=1e-3, method=method).outcome.success
