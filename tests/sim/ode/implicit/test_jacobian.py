"""A Jacobian by differences against calculus, steps by its factors against linear algebra, and when it is due."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from smallinit.sim.ode.implicit.jacobian import MANY, USUAL, Jacobian

EPS = float(np.finfo(float).eps)


def learnt(f, y, **options):
    jacobian, known = Jacobian(y.size, y.size), {"rounding": EPS, "least": 1e-12, "halted": lambda: False}
    assert jacobian.learn(f, y, **(known | options))
    assert jacobian.known
    return jacobian


def linear(matrix, **options):
    return learnt(
        lambda y: (matrix * y).sum(axis=1), np.random.default_rng(0).normal(size=len(matrix)), **options
    )


def three_point(n):
    """Second differences: three entries a row, so sparse."""
    return 100.0 * (np.diag(np.full(n, -2.0)) + np.diag(np.ones(n - 1), 1) + np.diag(np.ones(n - 1), -1))


def full(n):
    q = np.linalg.qr(np.random.default_rng(1).normal(size=(n, n)))[0]
    return -(q * np.geomspace(1.0, 1e4, n)) @ q.T


@pytest.mark.parametrize("matrix", [three_point(300), full(40), np.array([[-3.0]])])
@pytest.mark.parametrize("h", [0.1, 2.0])
def test_steps_are_newtons(matrix, h):
    residual = np.random.default_rng(2).normal(size=len(matrix))
    expected = np.linalg.solve(np.eye(len(matrix)) - h * matrix, residual)
    found = linear(matrix).newton(residual, h)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    assert np.abs(residual - expected).max() > 1e-2 * np.abs(residual).max()


def test_differences_are_derivatives_also_where_entries_are_zero_or_small():
    y = np.array([2.0, 0.0, -1e-5, 3.0])
    before = y.copy()

    def f(y):
        return np.array([y[0] * y[3], y[1] - y[0] ** 2, 1e3 * y[2] ** 2, np.sin(y[3]) + y[2]])

    exact = np.array([[3.0, 0, 0, 2.0], [-4.0, 1.0, 0, 0], [0, 0, -2e-2, 0], [0, 0, 1.0, np.cos(3.0)]])
    jacobian = learnt(f, y)
    np.testing.assert_array_equal(y, before)
    steps = np.array([jacobian.newton(row, 0.1) for row in np.eye(4)]).T
    np.testing.assert_allclose(np.linalg.inv(steps), np.eye(4) - 0.1 * exact, rtol=0, atol=1e-5)


@pytest.mark.parametrize("part", [0.8, 1.0, 1.25])
def test_factors_of_one_h_solve_for_others_nearby(part):
    """Repeated, steps by the factors of 1 converge for h of 0.8 to 1.25 too, by a factor of four each at the least."""
    matrix = full(30)
    jacobian, residual = linear(matrix), np.random.default_rng(3).normal(size=30)
    jacobian.newton(residual, 1.0)
    expected, d = np.linalg.solve(np.eye(30) - part * matrix, residual), np.zeros(30)
    for i in range(1, 8):
        d += jacobian.newton(residual - (d - part * (matrix @ d)), part)
        assert np.linalg.norm(d - expected) <= max(0.25**i, 1e-4) * np.linalg.norm(expected)


def test_far_from_it_factors_are_made_anew():
    jacobian, residual = linear(full(30)), np.random.default_rng(4).normal(size=30)
    first, other = jacobian.newton(residual, 1e-4), jacobian.newton(residual, 2e-4)
    np.testing.assert_array_equal(other, linear(full(30)).newton(residual, 2e-4))
    assert np.abs(first - other).max() > 1e-3


def test_what_is_not_finite_or_halted_teaches_nothing():
    jacobian, y, calls = Jacobian(3, 3), np.ones(3), []

    def f(y):
        calls.append(0)
        return np.array([0.0, 1.0, np.nan if y[1] > 1.0 else 1.0])

    assert not jacobian.learn(f, y, EPS, 1e-12, lambda: False)
    assert not jacobian.known
    assert len(calls) == 4
    assert not jacobian.learn(lambda y: calls.append(0) or y, y, EPS, 1e-12, lambda: True)
    assert not jacobian.known
    assert len(calls) == 6
    np.testing.assert_array_equal(y, np.ones(3))


@pytest.mark.parametrize("matrix", [np.eye(2), np.diag(np.r_[1.0, np.zeros(99)])])
def test_an_equation_that_is_singular_gives_no_number(matrix):
    jacobian = learnt(lambda y: matrix @ y, np.ones(len(matrix)))
    with np.errstate(all="ignore"):
        assert not np.isfinite(jacobian.newton(np.ones(len(matrix)), 1.0)).all()


def test_it_is_due_once_as_many_evaluations_were_in_vain_as_it_takes():
    jacobian = Jacobian(100, 100)
    found = [jacobian.due(USUAL + 7) for _ in range(15)]
    assert found == [False] * 14 + [True]
    assert jacobian.missed
    assert jacobian.learn(lambda y: -y, np.ones(100), EPS, 1e-12, lambda: False)
    assert not jacobian.missed
    assert not jacobian.due(USUAL + 7)


def test_few_in_vain_among_steps_that_take_few_count_for_nothing():
    jacobian = Jacobian(100, 100)
    assert not any(jacobian.due(calls) for _ in range(100) for calls in (10, 2, 2, 2, 1, 2, 1))
    assert not jacobian.missed


def test_it_is_never_due_for_more_unknowns_than_allowed():
    jacobian = Jacobian(101, 100)
    assert not any(jacobian.due(USUAL + 1) for _ in range(MANY + 100))
    assert not jacobian.allowed
    assert jacobian.missed


def test_same_bits_for_any_number_of_threads():
    matrix, found = full(400), []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(linear(matrix).newton(np.ones(400), 1e-3))
    np.testing.assert_array_equal(*found)
