"""A singular place ends a run once steps have collapsed there, and only there."""

import numpy as np
import pytest

from smallinit.sim import Status
from smallinit.sim.ode.solve import solve

TIGHT = {"rtol": 1e-7, "atol": 1e-15}


class Near:
    """Says that y is zero within 1e-3, or that a line passes there."""

    def at(self, y):
        return "y is zero." if abs(y[0]) < 1e-3 else ""

    def begin(self, y):
        self.start = y[0]

    def approached(self, y):
        return self.at(y) if abs(y[0]) < 0.1 * abs(self.start) else ""

    def passed(self, before, y):
        return self.at(y) or ("y passes zero." if before[0] * y[0] < 0.0 else "")


class Nowhere(Near):
    """Says nothing."""

    def at(self, y):
        return ""


def test_collapsed_steps_at_a_singular_place_end_the_run(problem):
    problem = problem("chatter")
    options = {"t1": 5.0, "method": "dop853", "max_steps": 400}
    found = solve(problem, np.array([1.0]), **options, singular=Near())
    assert found.outcome.status is Status.SINGULAR
    assert found.outcome.success
    assert abs(found.outcome.t - 1.0) < 1e-3
    assert "y is zero." in str(found.outcome)
    for singular in (None, Nowhere()):
        assert (
            solve(problem, np.array([1.0]), **options, singular=singular).outcome.status is Status.MAX_STEPS
        )


@pytest.mark.parametrize("method", ["rkc", "bdf", "dop853"])
def test_a_method_for_stiff_equations_is_no_sign_of_a_singular_place(problem, method):
    found = solve(problem("grow"), np.array([5e-4]), t1=0.01, method=method, **TIGHT, singular=Near())
    assert found.outcome.status is Status.REACHED_END


def test_a_question_changes_no_bit(problem):
    problem = problem("chatter")
    plain, asked = (solve(problem, np.array([1.0]), t1=0.9, singular=e) for e in (None, Near()))
    np.testing.assert_array_equal(plain.y, asked.y)
    assert plain.outcome == asked.outcome


@pytest.mark.parametrize(
    "steps", [{"method": "euler", "fixed_step": 0.3}, {"method": "tsit5", "across": True}]
)
def test_a_step_that_leads_across_ends_the_run_before_it(problem, steps):
    """Steps of 0.3 are at 0.1 after three of them, and at -0.2 after the fourth."""
    problem = problem("chatter")
    found = solve(problem, np.array([1.0]), t1=5.0, save_at=[0.0, 0.5, 1.2], **steps, singular=Near())
    assert found.outcome.status is Status.SINGULAR
    assert 0.89 < found.outcome.t <= 1.0
    assert found.t.tolist() == [0.0, 0.5]
    np.testing.assert_allclose(found.y[:, 0], [1.0, 0.5], atol=1e-9)
