"""A singular place ends a run once steps have collapsed there, and only there."""

import numpy as np

from smallinit.sim import Status
from smallinit.sim.kernel.problem import Problem
from smallinit.sim.ode.solve import solve


def chatter(t, y, out):
    """Drives y to zero and stays: the slope jumps there by a million times the state."""
    out[0] = -np.sign(y[0]) if abs(y[0]) > 1e-7 else -1e7 * y[0]


def near(y):
    return "y is zero." if abs(y[0]) < 1e-3 else ""


def test_collapsed_steps_at_a_singular_place_end_the_run():
    problem = Problem.from_function(chatter, 1)
    options = {"t1": 5.0, "method": "dop853", "max_steps": 400}
    found = solve(problem, np.array([1.0]), **options, explain=near)
    assert found.outcome.status is Status.SINGULAR
    assert found.outcome.success
    assert abs(found.outcome.t - 1.0) < 1e-3
    assert "y is zero." in str(found.outcome)
    for explain in (None, lambda y: ""):
        assert solve(problem, np.array([1.0]), **options, explain=explain).outcome.status is Status.MAX_STEPS


def test_a_question_changes_no_bit():
    problem = Problem.from_function(chatter, 1)
    plain, asked = (
        solve(problem, np.array([1.0]), t1=0.9, explain=e) for e in (None, lambda y: "never asked")
    )
    np.testing.assert_array_equal(plain.y, asked.y)
    assert plain.outcome == asked.outcome
