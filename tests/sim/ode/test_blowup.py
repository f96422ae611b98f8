"""Blow-up in finite time: found, timed, and never claimed where there is none."""

import numpy as np
import pytest
from scipy.special import elliprf

from smallinit.sim import Status, solve

METHODS = pytest.mark.parametrize("method", ["tsit5", "dop853"])

# right-hand side, start, blow-up time
BLOW_UPS = [
    ("square", [1.0], 1.0),
    ("square", [1e-3], 1e3),
    ("square", [0.5, 1.0, -3.0], 1.0),
    ("cube", [1.0], 0.5),
    ("power_1_5", [1.0], 2.0),
    ("power_1_1", [1.0], 10.0),
    ("three_factors", [0.1, 0.11, 0.12], float(elliprf(0.1**2, 0.11**2, 0.12**2))),
]


@METHODS
@pytest.mark.parametrize(("name", "y0", "star"), BLOW_UPS)
def test_blow_up_time(problem, method, name, y0, star):
    times = np.linspace(0.0, 1.5 * star, 30)  # star is not among them
    result = solve(
        problem(name, len(y0)), y0, t1=1.5 * star, method=method, rtol=1e-9, atol=1e-13, save_at=times
    )
    assert result.outcome.status is Status.BLOW_UP
    assert result.outcome.success
    assert result.outcome.t == pytest.approx(star, rel=3e-9)
    np.testing.assert_array_equal(result.t, times[times < star])
    assert np.all(np.isfinite(result.y))


@pytest.mark.parametrize("method", ["tsit5", "dop853", "rkc", "bdf", None])
def test_blow_up_of_y_squared_at_default_tolerances(problem, method):
    result = solve(problem("square"), [1.0], t1=2.0, method=method)
    assert str(result.outcome) == f"blow-up at t = {result.outcome.t:#.7g}"
    assert abs(result.outcome.t - 1.0) < 1e-6


@METHODS
@pytest.mark.parametrize("rtol", [1e-2, 1e-4, 1e-12])
def test_blow_up_is_recognised_at_any_tolerance(problem, method, rtol):
    result = solve(problem("square"), [1.0], t1=2.0, method=method, rtol=rtol, atol=1e-3 * rtol)
    assert result.outcome.status is Status.BLOW_UP
    assert result.outcome.t == pytest.approx(1.0, rel=20.0 * rtol)


@METHODS
def test_blow_up_that_starts_before_t_zero(problem, method):
    """The floating-point spacing is that of t0 here, not that of the blow-up time 0."""
    result = solve(problem("square"), [1.0], t0=-1.0, t1=1.0, method=method, rtol=1e-9, atol=1e-12)
    assert result.outcome.status is Status.BLOW_UP
    assert abs(result.outcome.t) < 1e-8


@METHODS
def test_end_just_before_blow_up_is_a_regular_end(problem, method):
    result = solve(
        problem("square"), [1.0], t1=1.0 - 1e-6, method=method, rtol=1e-11, atol=1e-13, save_at=[1.0 - 1e-6]
    )
    assert result.outcome.status is Status.REACHED_END
    assert result.y[0, 0] == pytest.approx(1e6, rel=1e-3)


@METHODS
def test_exponential_growth_to_1e200_is_no_blow_up(problem, method):
    t1 = np.log(1e200) / 50.0
    result = solve(problem("grow"), [1.0], t1=t1, method=method, save_at=[t1])
    assert result.outcome.status is Status.REACHED_END
    assert result.y[0, 0] == pytest.approx(1e200, rel=1e-2)


@METHODS
@pytest.mark.parametrize(("name", "y0"), [("grow", [1.0]), ("grow_twice", [3.0])])
def test_growth_out_of_the_range_of_floats_is_no_blow_up(problem, method, name, y0):
    result = solve(problem(name), y0, t1=100.0, method=method)
    assert result.outcome.status is Status.NON_FINITE
    assert "the range of float64" in str(result.outcome)
    assert np.all(np.isfinite(result.y))


@METHODS
def test_stiff_decay_is_no_blow_up(problem, method):
    result = solve(problem("relax"), [2.0], t1=1.0, method=method, save_at=[1.0])
    assert result.outcome.status is Status.REACHED_END
    assert result.y[0, 0] == pytest.approx(np.cos(1.0), abs=1e-3)


@METHODS
def test_right_hand_side_that_turns_nan_is_no_blow_up(problem, method):
    result = solve(problem("turns_nan"), [1.0], t1=2.0, method=method)
    assert result.outcome.status is Status.NON_FINITE
    assert not result.outcome.success
    assert result.outcome.t == pytest.approx(0.999, rel=1e-5)
    assert "right-hand side is nan or inf" in str(result.outcome)
    assert np.all(np.isfinite(result.y))


@METHODS
def test_infinite_slope_of_a_finite_solution_is_no_blow_up(problem, method):
    result = solve(problem("root"), [1.0], t1=2.0, method=method)  # y = sqrt(1 - t)
    assert result.outcome.status in (Status.STEP_UNDERFLOW, Status.NON_FINITE)
    assert result.outcome.t == pytest.approx(1.0, abs=1e-5)
