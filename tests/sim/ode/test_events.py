"""What users' functions are given is theirs to look at: no event changes a trajectory, no array changes unseen."""

import numpy as np
import pytest

from smallinit.sim import Event, Status, solve
from smallinit.sim.kernel.problem import Problem
from smallinit.sim.ode.methods import METHODS as METHOD_TABLES

TIGHT = {"t1": 6.0, "rtol": 1e-10, "atol": 1e-12, "save_at": 31}
METHODS = ["tsit5", "dop853", "rkc", None]


def position(t, w):
    return w["y"][0, 0]


def is_right(t, w):
    return w["y"][0, 0] > 0.0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("terminal", [False, True])
def test_a_condition_is_located_where_it_changes(problem, method, terminal):
    f = problem("oscillator", 2)  # y = cos t: right of 0 before pi/2 and after 3 pi/2
    both = Event(is_right, name="both", terminal=terminal)
    up, down = Event(is_right, direction=1, name="up"), Event(is_right, direction=-1, name="down")
    result = solve(f, [1.0, 0.0], method=method, events=[both, up, down], **TIGHT)
    zeros = solve(f, [1.0, 0.0], method=method, events=Event(position, terminal=terminal), **TIGHT)
    expected = [np.pi / 2] if terminal else [np.pi / 2, 1.5 * np.pi]
    np.testing.assert_allclose(result.events["both"], expected, atol=2e-8)
    np.testing.assert_allclose(result.events["both"], zeros.events["position"], atol=1e-13)
    assert result.outcome.status is (Status.EVENT if terminal else Status.REACHED_END)
    if not terminal:
        np.testing.assert_array_equal(result.events["down"], result.events["both"][:1])
        np.testing.assert_array_equal(result.events["up"], result.events["both"][1:])


@pytest.mark.parametrize("first", [0, 1])
def test_events_at_the_time_of_a_terminal_one_are_found_in_any_order(problem, first):
    stop = Event(lambda t, w: t - 1.25, terminal=True, name="stop")
    mark, late = Event(lambda t, w: t - 1.25, name="mark"), Event(lambda t, w: t - 1.26, name="late")
    events = [stop, mark][:: 1 - 2 * first]
    result = solve(problem("oscillator", 2), [1.0, 0.0], events=[*events, late], **TIGHT)
    np.testing.assert_array_equal(result.events["mark"], result.events["stop"])
    assert (result.outcome.t, result.events["late"].size) == (1.25, 0)


def test_where_a_condition_changes_it_has_changed(problem):
    """The time found is the first float at which the condition is otherwise, on the dense output."""
    stop = Event(lambda t, w: bool(t >= 1.2345), terminal=True, name="time")
    result = solve(problem("oscillator", 2), [1.0, 0.0], events=stop, **TIGHT)
    assert result.events["time"].tolist() == [1.2345]
    np.testing.assert_allclose(result.y[-1], [np.cos(1.2345), -np.sin(1.2345)], atol=1e-8)


def test_a_number_that_is_one_at_both_ends_is_no_condition(problem):
    """Continuous, -1 at t = 0 and 1 at t = 2 where the first of two steps ends: the zero is at 1."""
    f = problem("oscillator", 2)
    event = Event(lambda t, w: t - 1.0, name="middle")
    result = solve(f, [1.0, 0.0], t1=2.0, method="euler", fixed_step=2.0, events=event)
    np.testing.assert_allclose(result.events["middle"], [1.0], rtol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_an_event_that_works_in_place_changes_nothing(problem, method):
    f = problem("oscillator", 2)
    plain = solve(f, [1.0, 0.0], method=method, events=position, **TIGHT)

    def greedy(t, w):
        w["y"] *= 0.0
        return 1.0

    with pytest.raises(ValueError, match="read-only"):
        solve(f, [1.0, 0.0], method=method, events=greedy, **TIGHT)
    start = np.array([1.0, 0.0])
    again = solve(f, start, method=method, events=position, **TIGHT)
    np.testing.assert_array_equal(again.y, plain.y)
    np.testing.assert_array_equal(start, [1.0, 0.0])


def test_what_an_event_keeps_stays_as_it_was(problem):
    kept = []

    def keep(t, w):
        kept.append((t, w["y"]))
        return 1.0

    solve(problem("oscillator", 2), [1.0, 0.0], events=keep, **TIGHT)
    assert len(kept) > 5
    for t, y in kept:
        np.testing.assert_allclose(y[:, 0], [np.cos(t), -np.sin(t)], atol=1e-8)


def scribbles(t, y, out):
    out[0], out[1] = y[1], -y[0]
    y[0] = 17.0
    y[1] *= 3.0


def test_a_right_hand_side_that_writes_to_the_state_changes_no_trajectory(problem):
    f = Problem.from_function(scribbles, 2)
    for method in ("tsit5", "dop853", "euler"):
        expected, found = (
            solve(p, [1.0, 0.0], t1=1.0, method=method, first_step=0.01)
            for p in (problem("oscillator", 2), f)
        )
        np.testing.assert_array_equal(found.y, expected.y)


@pytest.mark.parametrize("method", METHODS)
def test_what_a_view_does_to_a_state_changes_no_trajectory(problem, method):
    f, kept = problem("oscillator", 2), []

    def view(y):
        kept.append(y)
        with pytest.raises(ValueError, match="read-only"):
            y[0, 0] = 17.0
        return y[:, :1] + 0.0

    start = np.array([1.0, 0.0])
    result = solve(f, start, method=method, events=position, view=view, **TIGHT)
    plain = solve(f, start, method=method, events=position, **TIGHT)
    np.testing.assert_allclose(result.y, plain.y[:, :1], atol=1e-14)
    np.testing.assert_array_equal(sorted(y[0, 0] for y in kept), sorted(result.y[:, 0]))
    assert start.tolist() == [1.0, 0.0]


@pytest.mark.parametrize("name", ["tsit5", "dop853", "euler"])
def test_tables_of_methods_cannot_be_written_to_and_are_not_scipys_own(name):
    from scipy import integrate

    method = METHOD_TABLES[name]
    for part in ("a", "b", "c", "e", "a_extra", "c_extra"):
        assert not getattr(method, part).flags.writeable
        assert not np.shares_memory(getattr(method, part), integrate.DOP853.B)
        assert not np.shares_memory(getattr(method, part), integrate.DOP853.A)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Event("position"), "`function` of an event must be callable, got 'position'"),
        (lambda: Event(position, terminal="no"), "`terminal` of an event must be True or False, got 'no'"),
        (lambda: Event(position, direction=1.0), "`direction` of an event must be -1, 0 or 1, got 1.0"),
        (lambda: Event(position, direction=True), "`direction` of an event must be -1, 0 or 1, got True"),
        (lambda: Event(position, name=3), "`name` must be a name, got 3"),
    ],
)
def test_what_is_no_event_is_refused_when_made(make, reason):
    with pytest.raises(ValueError, match=reason):
        make()


@pytest.mark.parametrize("value", [1j, "1.0", None, [1.0, 2.0], np.inf, np.array(["x"])])
def test_what_is_neither_a_number_nor_a_boolean_is_refused(problem, value):
    with pytest.raises(ValueError, match="event `bad` must return one finite number, or True or False, got"):
        solve(problem("oscillator", 2), [1.0, 0.0], t1=1.0, events=Event(lambda t, w: value, name="bad"))
    with pytest.raises(ValueError, match="`events` must be functions of t and the weights, got 3"):
        solve(problem("oscillator", 2), [1.0, 0.0], t1=1.0, events=3)


def test_an_event_that_fails_says_what_it_is_called_with(problem):
    def half(t, y):
        return y[0] - 0.5  # as of SciPy's solve_ivp

    with pytest.raises(KeyError) as caught:
        solve(problem("square"), [1.0], t1=1.0, events=half)
    expected = ["event `half` is called with t and the weights by name, {'y': an array (1, 1)}."]
    assert caught.value.__notes__ == expected
