"""Steps of rkc and bdf while a state grows: their errors add up to the tolerance, and with them that of t*."""

from functools import cache

import numba
import numpy as np
import pytest
import sympy as sp

from smallinit.sim import Status, solve
from smallinit.sim.compile.compiler import compile_sides
from smallinit.sim.kernel.problem import Problem
from smallinit.sim.ode.growing import RISE, STEEP, growth_row, part_of_tolerance
from smallinit.theory.algebra.matrices import product

METHODS = ("rkc", "bdf", None)
RTOL = 1e-6
LEAST = np.sqrt(RTOL)


def part(change, h=0.01, now=1.0, elapsed=0.5, rtol=RTOL, rounding=2.2e-16, share=1.0):
    """Part that a step may use whose growth time changes so, over flow time."""
    return part_of_tolerance(h, elapsed, now - change * h, now, rtol, rounding, share)


@pytest.mark.parametrize(
    ("change", "given", "expected"),
    [
        (0.0, {}, 0.01),  # an exponential: errors add up to the tolerance in an e-fold
        (0.0, {"share": 0.5}, 0.005),
        (RISE / 2, {}, 0.01),
        (2 * RISE, {}, 1.0),  # slower than an exponential
        (0.0, {"now": -1.0}, 1.0),  # decays
        (0.0, {"now": np.inf}, 1.0),
        (-1.0, {"elapsed": 0.5}, 0.01),  # y^2, while more is left than has gone by
        (-1.0, {"elapsed": 16.0}, 0.04),  # and when a sixteenth is left
        (-1.0, {"elapsed": 1e4}, 1.0),
        (10 * STEEP, {"elapsed": 0.0}, 1.0),  # something that relaxes
        (0.0, {"h": 1e-9}, LEAST),  # never so little that rounding is taken for an error
        (0.0, {"h": 1e-9, "rtol": 1e-14}, 1.0),
        (0.0, {"h": 1e-9, "rtol": 1e-4, "rounding": 1e-7}, 0.05),
    ],
)
def test_part_of_the_tolerance(change, given, expected):
    assert part(change, **given) == pytest.approx(expected, rel=1e-9)


def test_growth_time_and_size_of_a_state():
    t, time, size = growth_row(2.0, np.array([3e200, -4e200]), np.array([6e200, -8e200]))
    assert (t, time) == (2.0, pytest.approx(0.5))
    assert size == pytest.approx(np.log(5e200))
    assert growth_row(0.0, np.zeros(2), np.ones(2))[1] == np.inf


@cache
def beside(f, rate):
    """``y' = f(y)`` beside something that follows y within 1 / rate."""
    f = numba.njit(f)

    def both(t, y, out):
        out[0] = f(y[0])
        out[1] = -rate * (y[1] - y[0])

    return Problem.from_function(both, 2)


FLOWS = {  # right-hand side, start, blow-up time
    "square": (lambda y: y * y, 0.1, 10.0),
    "cube": (lambda y: y * y * y, 0.5, 2.0),
    "plateau": (lambda y: y + y * y, 1e-3, np.log1p(1e3)),
    "weak": (lambda y: y**4, 1.0, 1.0 / 3.0),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", FLOWS)
def test_blow_up_after_a_stiff_stay(name, method):
    """Errors of 1e-5 to 1e-4 of t* came from as many errors near the tolerance as there were steps."""
    f, start, star = FLOWS[name]
    rate = 5e3 / star
    found = solve(beside(f, rate), [start, start], t1=2.0 * star, atol=1e-12, method=method, save_at=1)
    assert found.outcome.status is Status.BLOW_UP
    assert found.outcome.t == pytest.approx(star, rel=2e-6)
    assert method is not None or "rkc" in found.statistics["methods"]


def squares(n):
    """``W' = W W`` beside stiff decay."""
    w, a = sp.MatrixSymbol("W", n, n), sp.MatrixSymbol("A", 1, 1)
    sides = {"W": product(w, w), "A": product(-2000, a)}
    return compile_sides(sides, {}, {"W": (n, n), "A": (1, 1)}, {}, {})


@pytest.mark.parametrize("method", METHODS)
def test_blow_up_of_a_matrix_beside_stiff_decay(method):
    """W' = W^2 from a symmetric start blows up at one over its largest eigenvalue."""
    n, star = 3, 2.0
    q = np.linalg.qr(np.random.default_rng(0).normal(size=(n, n)))[0]
    start = q @ np.diag([-0.5, 0.2, 1.0]) @ q.T / star

    found = solve(squares(n), [*start.ravel(), 1.0], t1=9.0, atol=1e-12, method=method, save_at=1)
    assert found.outcome.status is Status.BLOW_UP
    assert found.outcome.t == pytest.approx(star, rel=3e-6)


def as_it_is(y):
    return y


@pytest.mark.parametrize("method", ["rkc", "bdf"])
def test_exponential_growth_is_kept_to_the_tolerance(method):
    """Of y' = y over ten e-folds, beside a fast follower."""
    found = solve(beside(as_it_is, 1e3), [1.0, 1.0], t1=10.0, atol=1e-12, method=method, save_at=1)
    assert found.y[-1, 0] == pytest.approx(np.exp(10.0), rel=1e-5)
