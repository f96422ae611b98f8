"""Closed forms against integration of the equations that they solve."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from smallinit.theory import exact


def solved(f, y0, t):
    y0 = np.atleast_1d(np.asarray(y0, dtype=float))
    done = solve_ivp(lambda _, y: f(y), (0.0, t), y0, method="DOP853", rtol=3e-14, atol=1e-30)
    return done.y[:, -1]


def blow_up(f, y0, size=1e6, power=1.0):
    """Time of blow-up of a flow whose 1/y^power falls linearly at the end, from the time at which y is large."""

    def large(_, y):
        return np.abs(y).max() - size

    large.terminal = True
    done = solve_ivp(lambda _, y: f(y), (0.0, 1e9), y0, method="DOP853", rtol=3e-14, atol=1e-30, events=large)
    y = done.y[:, -1]
    i = np.argmax(np.abs(y))
    return done.t[-1] + abs(y[i] / f(y)[i]) / power


@pytest.mark.parametrize(("s", "a0"), [(2.0, 1e-3), (0.7, 0.1), (1.0, 3.0)])
@pytest.mark.parametrize("t", [0.1, 2.0, 9.0])
def test_linear_modes(s, a0, t):
    assert exact.linear_mode(t, s, a0) == pytest.approx(
        solved(lambda a: 2 * a * (s - a), a0, t)[0], rel=1e-10
    )
    for depth in (1, 3, 4):
        expected = solved(lambda a, L=depth: L * a ** (2 - 2 / L) * (s - a), a0, t)[0]
        assert exact.deep_linear_mode(t, depth, s, a0)[0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("c", [0.0, 1e-3, -0.4, 3.0])
@pytest.mark.parametrize(("s", "a0"), [(2.0, 1e-3), (1.0, 4.0)])
def test_unbalanced_modes(c, s, a0):
    expected = solved(lambda a: np.sqrt(c * c + 4 * a * a) * (s - a), a0, 0.9)[0]
    assert exact.unbalanced_mode(0.9, s, a0, c) == pytest.approx(expected, rel=1e-9)


def test_unbalanced_modes_of_either_sign():
    for s, a0 in ((-1.0, 0.2), (1.0, -0.2)):
        expected = solved(lambda a, s=s: np.sqrt(0.09 + 4 * a * a) * (s - a), a0, 1.3)[0]
        assert exact.unbalanced_mode(1.3, s, a0, 0.3) == pytest.approx(expected, rel=1e-9)


def three_factors(y):
    a, b, c = y
    return np.array([b * c, c * a, a * b])


@pytest.mark.parametrize("seed", range(6))
def test_real_three_factor_blow_up(seed):
    a, b, c = np.random.default_rng(seed).uniform(0.05, 1.0, 3)
    for sign in (1.0, -1.0):  # with a negative product, the least factor first crosses zero
        measured = blow_up(three_factors, [a, b, sign * c])
        assert exact.three_factor_blow_up(a, b, sign * c) == pytest.approx(measured, rel=1e-9)
        assert exact.three_factor_blow_up(c, a, sign * b, 2.0) == pytest.approx(measured / 2, rel=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_complex_three_factor_blow_up(seed):
    rng = np.random.default_rng(seed)
    start = rng.normal(size=3) + 1j * rng.normal(size=3)

    def flow(y):
        U, V, W = y[:3] + 1j * y[3:]
        out = np.array([np.conj(V) * W, np.conj(U) * W, U * V])
        return np.concatenate([out.real, out.imag])

    U, V, W = start
    sizes, J = np.abs(start) ** 2, (U * V * np.conj(W)).imag
    growing = bool((U * V * np.conj(W)).real >= 0)
    for state, grows in ((start, growing), (start * [1, 1, -1], not growing)):
        measured = blow_up(flow, np.concatenate([state.real, state.imag]))
        c1, c2 = sizes[1:] - sizes[0]
        assert exact.trilinear_blow_up(sizes[0], c1, c2, J, growing=grows) == pytest.approx(
            measured, rel=1e-8
        )


def test_bracket_holds_on_forty_starts():
    rng, inside = np.random.default_rng(0), 0
    for _ in range(40):
        n = 5
        x, A, y = rng.normal(size=n), rng.normal(size=(n, n)), rng.normal(size=n)
        y = y if x @ A @ y > 0 else -y

        def flow(w, n=n):
            x, A, y = w[:n], w[n:-n].reshape(n, n), w[-n:]
            return np.concatenate([A @ y, (x[:, None] * y).ravel(), x @ A])

        start = np.concatenate([x, A.ravel(), y])
        low, high = exact.blow_up_bracket(start, x @ A @ y)
        inside += low <= blow_up(flow, start, 1e4) <= high
    assert inside == 40


def test_keys_and_queries():
    rng = np.random.default_rng(1)
    F, Q, K = rng.normal(size=(5, 4)), rng.normal(size=(5, 3)), rng.normal(size=(4, 3))

    def flow(w):
        return np.concatenate([(F @ w[15:].reshape(4, 3)).ravel(), (F.T @ w[:15].reshape(5, 3)).ravel()])

    end = solved(flow, np.concatenate([Q.ravel(), K.ravel()]), 1.1)
    W_Q, W_K = exact.key_query(1.1, F, Q, K)
    np.testing.assert_allclose(np.concatenate([W_Q.ravel(), W_K.ravel()]), end, rtol=1e-9)
    values = np.linalg.svd(W_Q, compute_uv=False)
    assert exact.key_query_ratio(1.1, F, Q, K) == pytest.approx(values[1] / values[0], rel=1e-9)
    S = np.linalg.svd(F, compute_uv=False)
    rate = np.log(exact.key_query_ratio(20.0, F, Q, K) / exact.key_query_ratio(21.0, F, Q, K))
    assert rate == pytest.approx(S[0] - S[1], rel=1e-3)
    assert exact.key_query_ratio(1e4, F, Q, K) < 1e-12


@pytest.mark.parametrize("degree", [2, 3, 4, 6])
def test_decay_is_a_change_of_clock_of_homogeneous_flows(degree):
    """For the gradient of a random form of that degree, which knows nothing of the package."""
    rng = np.random.default_rng(degree)
    forms = rng.normal(size=(4, degree, 3))

    def ascent(w):
        factors = forms @ w
        others = [np.prod(np.delete(factors, j, axis=1), axis=1) for j in range(degree)]
        return sum(others[j] @ forms[:, j] for j in range(degree))

    start, lam, t = 0.1 * rng.normal(size=3), 0.7, 0.4
    with_decay = solved(lambda w: ascent(w) - lam * w, start, t)
    without = solved(ascent, start, float(exact.homogeneous_clock(t, degree, lam)))
    np.testing.assert_allclose(with_decay, np.exp(-lam * t) * without, rtol=1e-8)


def test_decay_maps_time():
    C, lam, y0 = 2.0, 0.3, 0.5
    s_star = 1.0 / y0  # of y' = y^2
    assert exact.decayed_blow_up(s_star, C, lam) == pytest.approx(
        -np.log(1 - s_star * lam / C) / lam, rel=1e-12
    )
    t = exact.decayed_blow_up(s_star, C, lam)
    assert exact.decayed_time(t, C, lam) == pytest.approx(s_star, rel=1e-12)
    assert exact.decayed_blow_up(s_star, C, 1.01) == np.inf
    measured = blow_up(lambda y: C * y * y - lam * y, np.array([y0]), 1e7)
    assert t == pytest.approx(measured, rel=1e-6)


def test_escape_times():
    assert exact.escape_time(1e-2, 3, 2.0) == pytest.approx(50.0)
    half = exact.deep_linear_time(1.0, 3, 2.0, 1e-6)
    assert half == pytest.approx(49.66, abs=0.35)
    with pytest.raises(ValueError, match="`depth` must be at least 2"):
        exact.escape_time(1e-2, 1, 2.0)
    start = 1e-3 * np.ones(3) / np.sqrt(3)
    N = 3**-1.5
    assert exact.homogeneous_blow_up(3, N, 1e-3) == pytest.approx(
        exact.three_factor_blow_up(*start), rel=1e-12
    )


def test_condensation():
    assert exact.condensation_cosine(3.0, 4.0) == pytest.approx(0.6)


def test_refusals():
    with pytest.raises(ValueError, match="`strength` must be positive"):
        exact.linear_mode(1.0, -1.0, 0.1)
    with pytest.raises(ValueError, match="`target` must lie between"):
        exact.deep_linear_time(3.0, 3, 2.0, 0.1)
    with pytest.raises(ValueError, match="nothing moves"):
        exact.three_factor_blow_up(1.0, -1.0, 1.0, 0.0)
    with pytest.raises(ValueError, match="no such state"):
        exact.trilinear_blow_up(-1.0, 0.5, 0.5)
