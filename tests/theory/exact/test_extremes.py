"""Closed forms against arithmetic of many digits, for arguments of any size from 1e-30 to 1e30."""

from functools import cache

import mpmath
import numpy as np
import pytest
from mpmath import mp, mpf

from smallinit.theory import exact

DIGITS = 400  # what cancels in the formulas below, as they stand in the papers, is at most some 250 digits
SIZES = [1e-30, 1e-12, 1.0, 3.0, 1e12, 1e30]
WITHIN = 1e-12


@pytest.fixture(autouse=True)
def many_digits():
    with mp.workdps(DIGITS):
        yield


def draws(n, *kinds, seed=0):
    """Numbers over sixty decades, some of them equal: "+" positive, "-" of either sign, "0" zero now and then."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        row = []
        for kind in kinds:
            size = 10.0 ** rng.uniform(-30.0, 30.0) if rng.random() < 0.6 else float(rng.choice(SIZES))
            if row and rng.random() < 0.2:
                size = abs(row[-1]) * float(rng.choice([1.0, 1.0 + 2.0**-52, 1.0 - 1e-9, 2.0, 0.5])) or size
            sign = -1.0 if "-" in kind and rng.random() < 0.5 else 1.0
            row.append(0.0 if "0" in kind and rng.random() < 0.1 else sign * size)
        yield row


def agree(found, expected, within=WITHIN):
    """Equal to so many digits; what no float can hold is infinity or zero."""
    if expected > 1.7e308:
        return found == np.inf
    return abs(mpf(float(found)) - expected) <= abs(expected) * within + mpf("1e-307")


def linear(t, s, a0):
    t, s, a0 = mpf(t), mpf(s), mpf(a0)
    return s / (1 + (s / a0 - 1) * mpmath.exp(-2 * s * t)) if s else a0 / (1 + 2 * a0 * t)


def scales(t, *rates):
    """The drawn time, and times at which something happens; at the end it is over."""
    return [0.0, t, *(factor / abs(rate) for rate in rates if rate for factor in (1e-9, 0.3, 1.0, 40.0, 1e3))]


def test_linear_mode():
    for t, s, a0 in draws(200, "+", "+", "+"):
        for time in scales(t, s, a0):
            assert agree(exact.linear_mode(time, s, a0), linear(time, s, a0)), (time, s, a0)
    assert exact.linear_mode(0.0, 1.0, 1e200) == 1e200
    assert agree(exact.linear_mode(355.0, 1.0, 1e-300), linear(355.0, 1.0, 1e-300))


def unbalanced(t, s, a0, c):
    t, s, a0, c = mpf(t), mpf(s), mpf(a0), abs(mpf(c))
    root = mpmath.sqrt(4 * s * s + c * c)
    low, high = (2 * s - root) / c, (2 * s + root) / c
    u0 = (2 * a0 + mpmath.sqrt(4 * a0 * a0 + c * c)) / c
    k = (u0 - high) / (u0 - low) * mpmath.exp(-root * t)
    u = (high - low * k) / (1 - k)
    return c * (u - 1 / u) / 4


def test_unbalanced_mode():
    for t, s, a0, c in draws(250, "+", "-0", "-0", "-"):
        for time in scales(t, c, s, a0):
            found, expected = exact.unbalanced_mode(time, s, a0, c), unbalanced(time, s, a0, c)
            # Where the mode crosses zero, to some digits of what it comes from.
            crossing = abs(a0) * 1e-13 * float(mpmath.exp(-mpmath.hypot(2 * mpf(s), c) * mpf(time)))
            assert agree(found, expected) or abs(found - expected) <= crossing, (time, s, a0, c)
    assert exact.unbalanced_mode(0.0, 2.0, 1e-12, 100.0) == 1e-12


def test_a_balanced_mode_keeps_its_sign():
    for t, s, a0 in draws(100, "+", "-0", "-0"):
        for time in scales(t, s, a0):
            sign = -1 if a0 < 0 else 1
            expected = sign * linear(time, sign * s, abs(a0)) if a0 else mpf(0)
            assert agree(exact.unbalanced_mode(time, s, a0, 0.0), expected), (time, s, a0)


def test_numbers_too_far_apart_for_floats_are_refused():
    with pytest.raises(ValueError, match=r"`imbalance` .* too far from `strength`"):
        exact.unbalanced_mode(1.0, 1e300, 1e-300, 1e-300)


@cache
def roots_of_unity(depth):
    """Those on and above the real line, with how often each counts: those below give conjugate logarithms."""
    return [
        (mpmath.expjpi(mpf(2 * k) / depth), 1 if 2 * k % depth == 0 else 2) for k in range(depth // 2 + 1)
    ]


@cache  # a start is met many times
def clock(x, depth, falling):
    """Time of x' = L x^(2-2/L) (1-x) times s^(2-2/L), by partial fractions over the roots of unity."""
    w = mpmath.root(x, depth)
    logs = sum(
        times * (r**2 * mpmath.log(w - r if falling else 1 - w / r)).real
        for r, times in roots_of_unity(depth)
    )
    return (w ** (2 - depth) / (2 - depth) if depth != 2 else mpmath.log(w)) - logs / depth


def elapsed(a, depth, s, a0):
    """Flow time from a0 to a, infinite at the target and beyond."""
    a, s, a0 = mpf(a), mpf(s), mpf(a0)
    if (a - s) * (a0 - s) <= 0:
        return mpf("inf")
    if depth == 1:
        return mpmath.log((s - a0) / (s - a))
    speed = s ** (2 - mpf(2) / depth)
    return (clock(a / s, depth, a0 > s) - clock(a0 / s, depth, a0 > s)) / speed


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 7, 40])
def test_deep_linear_mode(depth):
    """The time to a strength a little below what is found is less than the time asked for; a little above, more."""
    for t, s, a0 in draws(20 if depth < 40 else 6, "+", "+", "+", seed=depth):
        plateau = float(elapsed(a0 + 0.5 * (s - a0), depth, s, a0)) if abs(a0 / s - 1.0) > 1e-9 else 1.0
        times = [t, 0.5 * plateau, plateau, np.nextafter(plateau, 0.0), plateau * (1.0 + 1e-9), 30.0 / s]
        for time in (time for time in times if 0.0 < time < 1e300):
            a = mpf(float(exact.deep_linear_mode(time, depth, s, a0)[0]))
            ways = (1 - mpf(WITHIN), 1 + mpf(WITHIN)) if a0 <= s else (1 + mpf(WITHIN), 1 - mpf(WITHIN))
            before, after = (elapsed(a * way, depth, s, a0) for way in ways)
            assert before <= time <= after or a == a0 == s, (time, depth, s, a0)
    assert exact.deep_linear_mode([0.0, 0.0], depth, 3.0, 1e-30).tolist() == [1e-30, 1e-30]
    assert exact.deep_linear_mode(1.0, depth, 0.3, 0.3) == 0.3


def test_deep_linear_mode_that_neighbouring_times_do_not_resolve():
    # a^(-1/2) = 1e6 - 2 t, and a^(-1/3) = 1e4 - t until it saturates
    assert exact.deep_linear_mode(250000.0, 4, 1.0, 1e-12)[0] == pytest.approx(4e-12, rel=1e-11)
    assert exact.deep_linear_mode(9997.96, 3, 1.0, 1e-12)[0] == pytest.approx(0.1, rel=0.01)
    assert exact.deep_linear_mode([[1.0, 2.0]], 3, 1.0, 0.1).shape == (1, 2)


@pytest.mark.parametrize("depth", [1, 2, 3, 5, 30])
def test_deep_linear_time(depth):
    for s, a0, share in draws(40 if depth < 30 else 12, "+", "+", "+", seed=depth):
        for part in (min(share, 1.0), 1e-9, 0.5, 1.0 - 1e-9):
            target = a0 * (s / a0) ** part
            if a0 < target < s or s < target < a0:
                found = exact.deep_linear_time(target, depth, s, a0)
                assert agree(found, elapsed(target, depth, s, a0)), (target, depth, s, a0)


@pytest.mark.parametrize("depth", [2, 3, 4, 13, 50])
def test_ascent(depth):
    for s, a0, t in draws(150, "+", "+", "+", seed=depth):
        S, A, k = mpf(s), mpf(a0), depth - 2
        end = 1 / (k * S * A**k) if k else mpf("inf")
        assert agree(exact.ascent_blow_up(depth, s, a0), end)
        last = float(end) if end < 1e300 else 0.0
        for time in (
            0.0,
            t,
            0.3 * last,
            last * (1.0 - 1e-9),
            np.nextafter(last, 0.0),
            last,
            np.nextafter(last, np.inf),
        ):
            if mpf(time) >= end:
                with pytest.raises(ValueError, match="before the blow-up"):
                    exact.ascent_mode(time, depth, s, a0)
                continue
            expected = A * (1 - mpf(time) / end) ** (mpf(-1) / k) if k else A * mpmath.exp(S * mpf(time))
            within = WITHIN if k or s * time < 700.0 else 1e-12 * (s * time / 700.0)
            assert agree(exact.ascent_mode(time, depth, s, a0), expected, within), (time, depth, s, a0)
    assert agree(exact.ascent_mode(740.0, 2, 1.0, 1e-30), mpf(1e-30) * mpmath.exp(740))


def test_escape_and_homogeneous_times():
    for w0, s in draws(200, "+", "+"):
        for depth in (3, 4, 12, 40):
            k = depth - 2
            assert agree(exact.escape_time(w0, depth, s), 1 / (mpf(s) * k * mpf(w0) ** k))
            assert agree(exact.homogeneous_blow_up(depth, s, w0), 1 / (mpf(s) * depth * k * mpf(w0) ** k))
        if w0 <= 1.0:
            assert agree(exact.escape_time(w0, 2, s), mpmath.log(1 / mpf(w0)) / s)
    with pytest.raises(ValueError, match="`scale` must be at most 1 for two layers"):
        exact.escape_time(2.0, 2, 1.0)


def carlson(sizes):
    return mpmath.elliprf(*sizes).real if sorted(map(abs, sizes))[1] else mpf("inf")


def test_three_factor_blow_up():
    for a, b, c, s in draws(120, "-0", "-0", "-0", "-"):
        with mp.workdps(60):
            exact_ones = [abs(mpf(x)) for x in (a, b, c)]
            least = min(exact_ones)
            rising = carlson([x**2 for x in exact_ones])
            turned = carlson([(x - least) * (x + least) for x in exact_ones])
            expected = (
                2 * turned - rising if a * b * c * s < 0 or np.prod(np.sign([a, b, c, s])) < 0 else rising
            ) / abs(s)
        assert agree(exact.three_factor_blow_up(a, b, c, s), expected), (a, b, c, s)


def test_trilinear_blow_up():
    shares = np.random.default_rng(1).random(80)
    for (x, y, z, j), share in zip(draws(80, "+", "+", "+", "+", seed=2), shares, strict=True):
        c1, c2 = y - x, z - x
        sizes = [mpf(x), mpf(x) + mpf(c1), mpf(x) + mpf(c2)]
        if min(sizes) < 0:
            continue
        most = mpmath.sqrt(sizes[0] * sizes[1] * sizes[2])
        for phase in (0.0, min(j, 0.999 * float(most)), share * float(most), float(most) * (1.0 - 1e-12)):
            A, B, C = sizes
            cubic = [1, -(A + B + C), A * B + B * C + C * A, mpf(phase) ** 2 - A * B * C]
            less = (
                sorted(mpmath.polyroots(cubic, maxsteps=3000, extraprec=300), key=lambda e: e.real)
                if phase
                else sorted(sizes)
            )
            with mp.workdps(60):
                rising, turned = carlson(less), carlson([e - less[0] for e in less])
                assert agree(exact.trilinear_blow_up(x, c1, c2, phase), rising), (x, c1, c2, phase)
                falling = exact.trilinear_blow_up(x, c1, c2, phase, growing=False)
                assert agree(falling, 2 * turned - rising if rising < mp.inf else mp.inf), (x, c1, c2, phase)


def test_states_that_do_not_exist():
    for x, c, j in draws(60, "+", "+", "+"):
        with pytest.raises(ValueError, match="no such state"):
            exact.trilinear_blow_up(x, -3.0 * x, c, j)
        with pytest.raises(ValueError, match="no such state"):
            exact.trilinear_blow_up(x, 0.0, 0.0, 2.0 * x * np.sqrt(x))
    assert exact.trilinear_blow_up(0.0, 0.0, 1.0) == np.inf
    rounded = 0.1 * np.sqrt(0.1)
    assert exact.trilinear_blow_up(0.1, 0.0, 0.0, rounded * (1.0 + 1e-15)) == pytest.approx(
        exact.trilinear_blow_up(0.1, 0.0, 0.0, rounded * (1.0 - 1e-15)), rel=1e-6
    )


def test_brackets():
    for a, b, e in draws(100, "-", "-", "-0"):
        low, high = exact.blow_up_bracket([a, b], e)
        assert agree(low, mpmath.sqrt(3) / mpmath.hypot(mpf(a), mpf(b)))
        assert agree(high, mpmath.cbrt(1 / mpf(e)) if e > 0 else mpf("inf"))
    assert exact.blow_up_bracket([1e200, 1e200], 0.0)[0] == pytest.approx(np.sqrt(1.5) * 1e-200)


def test_decay():
    for t, rate, decay in draws(250, "+0", "+", "+0"):
        T, C, lam = mpf(t), mpf(rate), mpf(decay)
        expected = C * T if not decay else C / lam * (1 - mpmath.exp(-lam * T))
        assert agree(exact.decayed_time(t, rate, decay), expected), (t, rate, decay)
        end = rate / decay if decay else t
        for star in (t, 0.5 * end, end * (1.0 - 1e-12), np.nextafter(end, 0.0), end):
            left = 1 - mpf(star) * lam / C
            expected = mpf(star) / C if not decay else -mpmath.log(left) / lam if left > 0 else mpf("inf")
            assert agree(exact.decayed_blow_up(star, rate, decay), expected), (star, rate, decay)
    assert exact.decayed_blow_up(np.inf, 1.0, 0.0) == np.inf


def test_decay_of_homogeneous_flows():
    for k, (t, decay) in enumerate(draws(250, "+0", "+0")):
        L, lam, T = 3 + k % 5, mpf(decay), mpf(t)
        rate = (L - 2) * lam
        expected = (1 - mpmath.exp(-rate * T)) / rate if decay else T
        assert agree(exact.homogeneous_clock(t, L, decay), expected), (t, L, decay)
        assert exact.homogeneous_clock(t, 2, decay) == t
        end = float(1 / rate) if decay else t
        for star in (
            t,
            0.5 * end,
            end * (1.0 - 1e-12),
            np.nextafter(end, 0.0),
            end,
            np.nextafter(end, np.inf),
        ):
            left = 1 - mpf(float(star)) * rate
            expected = mpf(float(star)) if not decay else -mpmath.log(left) / rate if left > 0 else mpf("inf")
            assert agree(exact.homogeneous_decayed_blow_up(L, star, decay), expected), (star, L, decay)
    assert exact.homogeneous_decayed_blow_up(3, np.inf, 0.0) == np.inf
    assert exact.homogeneous_decayed_blow_up(3, 2.0, 0.5) == np.inf  # just at the threshold
    assert (
        exact.homogeneous_decayed_blow_up(5, 0.5, 2.0 / 3.0) < np.inf
    )  # 2/3 rounded down: tau* lies just before it


def test_condensation_cosine():
    for a, f in draws(200, "-0", "-"):
        assert agree(exact.condensation_cosine(a, f), mpf(a) / mpmath.hypot(mpf(a), mpf(f)))
    with pytest.raises(ValueError, match="both zero somewhere"):
        exact.condensation_cosine([1.0, 0.0], [0.0, 0.0])


def modes(t, F, Q, K):
    """W_Q(t) and W_K(t) for a diagonal F, whose singular vectors are exact."""
    found = [], []
    for i, f in enumerate(np.diag(F)):
        x = mpf(float(f)) * mpf(t)
        for own, other, rows in ((Q, K, found[0]), (K, Q, found[1])):
            rows.append(
                [
                    mpmath.cosh(x) * mpf(a) + mpmath.sinh(x) * mpf(b)
                    for a, b in zip(own[i], other[i], strict=True)
                ]
            )
    return [mpmath.matrix(rows) for rows in found]


def test_keys_and_queries():
    rng = np.random.default_rng(3)
    for scale, size, time in draws(60, "+", "+", "+", seed=3):
        F = np.diag(np.sort(scale * rng.uniform(0.1, 1.0, 3))[::-1])
        Q, K = size * rng.normal(size=(2, 3, 2))
        K[1] = -Q[1]  # a mode that only falls
        for t in (0.0, 1e-9 / scale, 1.0 / scale, 30.0 / scale, -3.0 / scale, min(time, 300.0 / scale)):
            for found, expected in zip(exact.key_query(t, F, Q, K), modes(t, F, Q, K), strict=True):
                for i in range(3):
                    for j in range(2):
                        terms = size * 1e-15 * float(mpmath.exp(abs(mpf(float(F[i, i])) * t)))
                        exactly = expected[i, j]
                        assert agree(found[i, j], exactly) or abs(found[i, j] - exactly) <= (
                            0 if i == 1 and t > 0 else 8 * terms
                        )
    with pytest.raises(ValueError, match=r"`t` 1e\+06 is too long.*`key_query_ratio` does not"):
        exact.key_query(1e6, np.eye(2), np.eye(2), np.eye(2))


@pytest.mark.parametrize("turned", [False, True])
def test_ratio_of_singular_values(turned):
    rng = np.random.default_rng(4)
    for scale in (1e-30, 1.0, 1e30):
        F = np.diag(scale * np.array([1.0, 0.5, 0.1]))
        Q, K = scale * rng.normal(size=(2, 3, 2))
        if turned:  # more columns than rows
            Q, K = scale * rng.normal(size=(2, 3, 5))
        for t in (0.0, 1.0, 100.0, 1200.0, -2.0, -300.0):
            with mp.workdps(1200):
                W = modes(t / scale, F, Q, K)[0]
                values = mpmath.svd_r(W, compute_uv=False)
                expected = values[1] / values[0]
            assert agree(exact.key_query_ratio(t / scale, F, Q, K), expected, 1e-11)
    with pytest.raises(ValueError, match="`W_Q` must have two singular values"):
        exact.key_query_ratio(1.0, F, Q[:, :1], K[:, :1])


@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (exact.linear_mode, (np.nan, 1.0, 1.0), "t"),
        (exact.linear_mode, (-1.0, 1.0, 1.0), "t"),
        (exact.linear_mode, (1.0, np.inf, 1.0), "strength"),
        (exact.deep_linear_mode, (1.0, 2.5, 1.0, 1.0), "depth"),
        (exact.deep_linear_mode, (1.0, 0, 1.0, 1.0), "depth"),
        (exact.deep_linear_time, (0.5, True, 1.0, 0.1), "depth"),
        (exact.unbalanced_mode, (1.0, np.nan, 1.0, 1.0), "strength"),
        (exact.ascent_mode, (1.0, 1, 1.0, 1.0), "depth"),
        (exact.ascent_blow_up, (3, 0.0, 1.0), "strength"),
        (exact.trilinear_blow_up, (np.inf, 1.0, 1.0), "product"),
        (exact.three_factor_blow_up, (np.nan, 1.0, 1.0), "a"),
        (exact.blow_up_bracket, ([np.nan], 1.0), "theta"),
        (exact.homogeneous_blow_up, (2, 1.0, 1.0), "degree"),
        (exact.decayed_time, (1.0, 0.0, 1.0), "rate"),
        (exact.decayed_blow_up, (-1.0, 1.0, 1.0), "blow_up"),
        (exact.homogeneous_clock, (1.0, 1, 1.0), "degree"),
        (exact.homogeneous_clock, (1.0, 3, -1.0), "decay"),
        (exact.homogeneous_clock, (-1.0, 3, 1.0), "t"),
        (exact.homogeneous_decayed_blow_up, (2, 1.0, 1.0), "degree"),
        (exact.homogeneous_decayed_blow_up, (3, -1.0, 1.0), "blow_up"),
        (exact.homogeneous_decayed_blow_up, (3, 1.0, np.nan), "decay"),
        (exact.condensation_cosine, (np.nan, 1.0), "along"),
        (exact.key_query, (1.0, np.eye(2), np.eye(3), np.eye(2)), "F"),
        (exact.key_query_ratio, (np.nan, np.eye(2), np.eye(2), np.eye(2)), "t"),
    ],
)
def test_what_has_no_value_is_refused_by_name(function, arguments, name):
    with pytest.raises(ValueError, match=f"^`{name}` "):
        function(*arguments)
