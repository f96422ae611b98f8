"""What is advised where a limit was used up on a stiff problem: the same at every step, and it works when taken."""

import numpy as np
import pytest

from smallinit.sim import Problem, solve


def relaxes(t, y, out):
    out[0] = -y[0]
    out[1] = -5e3 * (y[1] - y[0] ** 2)


def diffuses(t, y, out):
    for i in range(y.size):
        left = y[i - 1] if i > 0 else 0.0
        right = y[i + 1] if i < y.size - 1 else 0.0
        out[i] = 1e4 * (left - 2.0 * y[i] + right) + np.sin(t)


def turns(t, y, out):
    out[0], out[1] = 1e3 * y[1], -1e3 * y[0]


STIFF = {"relaxes": (relaxes, [1.0, 0.0], 1e3), "diffuses": (diffuses, [0.0] * 20, 10.0)}


@pytest.mark.parametrize("name", STIFF)
@pytest.mark.parametrize("method", ["tsit5", "dop853"])
def test_a_stiff_problem_is_sent_to_the_method_that_solves_it(name, method):
    """At the border of stability a step in four is rejected, and the short one after it looked like accuracy."""
    f, start, t1 = STIFF[name]
    problem, options = Problem.from_function(f, len(start)), {"t1": t1, "rtol": 1e-3, "save_at": 2}
    for most in range(1000, 3000, 41):
        said = str(solve(problem, start, method=method, max_steps=most, **options).outcome)
        assert said.endswith(
            'held down by stability (the problem is stiff), not accuracy: use method="rkc" or shorten t1.'
        )
    assert solve(problem, start, method="rkc", max_steps=3000, **options).outcome.success


def test_a_problem_that_is_not_stiff_is_not_called_so():
    problem = Problem.from_function(turns, 2)
    for most in range(1000, 2000, 41):
        said = str(solve(problem, [1.0, 0.0], t1=200.0, method="tsit5", max_steps=most, save_at=2).outcome)
        assert "stiff" not in said
        assert 'use method="dop853"' in said
    calls = [
        solve(problem, [1.0, 0.0], t1=1.0, method=m, save_at=2).statistics["rhs_calls"]
        for m in ("tsit5", "dop853")
    ]
    assert calls[1] < calls[0]


def relaxes_at_once(t, y, out):
    out[0] = -y[0]
    out[1] = -1e10 * (y[1] - y[0] ** 2)


def test_rkc_that_has_no_more_stages_names_bdf_which_needs_fewer_steps():
    problem = Problem.from_function(relaxes_at_once, 2)
    options = {"t1": 10.0, "rtol": 1e-4, "save_at": 2, "max_steps": 1200}
    said = str(solve(problem, [1.0, 1.0], method="rkc", **options).outcome)
    assert "held down by stability (the problem is stiff)" in said
    assert 'use a higher limit, method="bdf" for up to 2,048 unknowns, or shorten t1.' in said
    assert solve(problem, [1.0, 1.0], method="bdf", **options).outcome.success


@pytest.mark.parametrize("name", STIFF)
def test_rkc_that_has_stages_left_names_what_helps(name):
    """Its steps are then held down by accuracy, and `bdf` may need more of them than it does."""
    f, start, t1 = STIFF[name]
    problem, options = Problem.from_function(f, len(start)), {"t1": t1, "rtol": 1e-6, "save_at": 2}
    for most in range(50, 400, 50):
        said = str(solve(problem, start, method="rkc", max_steps=most, **options).outcome)
        assert "use a larger `rtol`" in said
        assert "higher limit" in said
        assert "stability" not in said
    tolerances = (options, options | {"rtol": 1e-3})
    close, loose = (solve(problem, start, method="rkc", max_steps=4000, **some) for some in tolerances)
    assert close.outcome.success
    assert loose.statistics["accepted"] < close.statistics["accepted"]
