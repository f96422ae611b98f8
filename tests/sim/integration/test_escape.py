"""Textbook escape times, measured by events."""

import numpy as np
import pytest

from smallinit.sim import Event, solve

STRENGTH = 2.0


def escape_time(depth, w0, w1, s=STRENGTH):
    """Exact time of ``w' = w^(L-1) (s - w^L)`` from w0 to w1: the series of 1 / (s - w^L), integrated."""
    total = 0.0
    for k in range(80):
        p = depth * (k - 1) + 2
        term = np.log(w1 / w0) if p == 0 else (w1**p - w0**p) / p
        total += term / s ** (k + 1)
    return total


def half_strength(depth):
    return Event(
        lambda t, weights: float(weights["y"][0, 0]) ** depth - 0.5 * STRENGTH, terminal=True, name="half"
    )


@pytest.mark.parametrize("method", ["tsit5", "dop853"])
@pytest.mark.parametrize(
    ("depth", "w0", "printed"),
    [
        (2, 1e-2, None),
        (2, 1e-6, None),
        (3, 1e-2, 49.66),
        (3, 1e-3, 499.66),
        (4, 1e-2, 2499.91),
        (4, 1e-3, 249999.9),
    ],
)
def test_escape_time_of_deep_linear_mode(problem, method, depth, w0, printed):
    exact = escape_time(depth, w0, (0.5 * STRENGTH) ** (1.0 / depth))
    if printed is not None:
        assert exact == pytest.approx(printed, rel=0.0, abs=0.6 * 10.0 ** -len(str(printed).split(".")[1]))
    result = solve(
        problem(f"depth_{depth}"), [w0], t1=2.0 * exact, rtol=1e-9, atol=1e-12 * w0, method=method,
        events=half_strength(depth), save_at=[],
    )  # fmt: skip
    assert result.outcome.t == pytest.approx(exact, rel=2e-9)


@pytest.mark.parametrize(("depth", "w0"), [(3, 1e-4), (4, 1e-3)])
def test_leading_escape_law(depth, w0):
    """1 / (s (L - 2) w0^(L-2)): the textbook law, to the order it holds."""
    law = 1.0 / (STRENGTH * (depth - 2) * w0 ** (depth - 2))
    assert escape_time(depth, w0, 1.0) == pytest.approx(law, rel=1e-4)


def test_shallow_mode_follows_its_closed_form(problem):
    a0, s = 1e-4, STRENGTH
    result = solve(problem("strength_2"), [a0], t1=5.0, rtol=1e-10, atol=1e-16)
    growth = np.exp(2.0 * s * result.t)
    np.testing.assert_allclose(result.y[:, 0], s * growth / (growth - 1.0 + s / a0), rtol=2e-9)


def test_too_large_atol_spoils_small_starts(problem):
    """Why the default of `integrate` follows the start: an absolute 1e-9 is 10 % of a weight of 1e-8."""

    def error(atol):
        exact = escape_time(2, 1e-8, 1.0)
        run = solve(
            problem("depth_2"), [1e-8], t1=20.0, rtol=1e-8, atol=atol, events=half_strength(2), save_at=[],
            method="tsit5",
        )  # fmt: skip
        return abs(run.outcome.t / exact - 1.0)

    assert error(1e-19) < 1e-8
    assert error(1e-9) > 1e-5
