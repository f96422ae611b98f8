"""Newton steps by secants against linear algebra."""

import numpy as np
import pytest

from smallinit.sim.ode.implicit.jacobian import Jacobian
from smallinit.sim.ode.implicit.secants import Secants

N = 700  # more than one block of sums


@pytest.fixture
def jacobian():
    """Symmetric, of rank 4, negative."""
    q = np.linalg.qr(np.random.default_rng(0).normal(size=(N, 4)))[0]
    return -(q * [50.0, 20.0, 3.0, 0.5]) @ q.T


def newton(secants, residual, h):
    out = np.empty(N)
    secants.newton(residual, h, out)
    return out


def test_without_pairs_the_step_is_the_residual():
    residual = np.random.default_rng(1).normal(size=N)
    np.testing.assert_array_equal(newton(Secants(3, N), residual, 0.7), residual)


def test_pairs_that_span_the_range_make_the_step_newtons(jacobian):
    rng, secants, h = np.random.default_rng(2), Secants(8, N), 0.3
    for s in rng.normal(size=(6, N)) @ jacobian:
        secants.add(s, jacobian @ s)
    residual = rng.normal(size=N)
    expected = np.linalg.solve(np.eye(N) - h * jacobian, residual)
    np.testing.assert_allclose(newton(secants, residual, h), expected, atol=1e-6)
    fewer = Secants(8, N)
    s = jacobian @ rng.normal(size=N)
    fewer.add(s, jacobian @ s)
    assert np.abs(newton(fewer, residual, h) - expected).max() > 1e-2


def test_the_oldest_pair_makes_room(jacobian):
    rng, full, newest = np.random.default_rng(3), Secants(3, N), Secants(3, N)
    pairs = [(s, jacobian @ s) for s in rng.normal(size=(5, N))]
    for pair in pairs:
        full.add(*pair)
    for pair in (pairs[3], pairs[4], pairs[2]):  # in the places that a ring of three gives them
        newest.add(*pair)
    residual = rng.normal(size=N)
    np.testing.assert_allclose(newton(full, residual, 0.1), newton(newest, residual, 0.1), rtol=1e-9)


def test_what_tells_nothing_is_left_out(jacobian):
    rng, secants, plain = np.random.default_rng(4), Secants(6, N), Secants(6, N)
    s = rng.normal(size=N)
    for each in (secants, plain):
        each.add(s, jacobian @ s)
    secants.add(np.zeros(N), np.zeros(N))
    secants.add(s, np.full(N, np.nan))
    secants.add(1e-3 * s, 1e-3 * (jacobian @ s))  # the same direction again
    residual = rng.normal(size=N)
    np.testing.assert_allclose(
        newton(secants, residual, 0.2), newton(plain, residual, 0.2), rtol=1e-6, atol=1e-9
    )


def test_pairs_mend_a_jacobian_that_is_old(jacobian):
    """What they tell of a residual they solve as the Jacobian of now would, the rest is left to that of old."""
    rng, secants, base, h = np.random.default_rng(5), Secants(8, N), Jacobian(N, N), 0.3
    old = -np.geomspace(1.0, 1e4, N)
    assert base.learn(lambda y: old * y, rng.normal(size=N), 2e-16, 1e-12, lambda: False)
    steps, out = rng.normal(size=(6, N)), np.empty(N)
    equations = steps - h * (old * steps + steps @ jacobian)
    told, residual = rng.normal(size=6), rng.normal(size=N)
    other = residual - np.linalg.lstsq(equations.T, residual)[0] @ equations  # orthogonal to what they tell
    secants.newton(told @ equations + other, h, out, base)
    expected = told @ steps + other / (1.0 - h * old)
    assert np.abs(out - expected).max() > 0.1
    for s in steps:
        secants.add(s, old * s + jacobian @ s)
    secants.newton(told @ equations + other, h, out, base)
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-4)
    secants.forget()
    secants.newton(other, h, out, base)
    np.testing.assert_allclose(out, other / (1.0 - h * old), rtol=0, atol=1e-4)
