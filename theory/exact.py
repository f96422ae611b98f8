"""Closed forms of small-initialisation dynamics: oracles for the integrators, and tools of their own.

Times are flow times. Sources: deep linear modes Saxe et al. (arXiv 1312.6120) and Arora et al. (arXiv 1810.02281);
two-stage attention dynamics arXiv 2510.06954; three-factor Fourier modes arXiv 2509.20124.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import elliprf

Array = npt.NDArray[np.float64]


def _positive(name: str, value: float, zero: bool = False) -> float:
    number = float(value)
    if not np.isfinite(number) or number < 0.0 or (number == 0.0 and not zero):
        raise ValueError(
            f"`{name}` must be a {'non-negative' if zero else 'positive'} number, got {value!r}."
        )
    return number


def linear_mode(t: npt.ArrayLike, strength: float, start: float) -> Array:
    """Strength a(t) of a balanced two-layer linear mode, a' = 2 a (s - a).

    Parameters
    ----------
    t : array_like
        Flow times.
    strength : float
        The target s > 0.
    start : float
        a(0) > 0.

    Returns
    -------
    ndarray
        a(t) = s / (1 + (s / a0 - 1) exp(-2 s t)), arXiv 1312.6120.

    Raises
    ------
    ValueError
        If `strength` or `start` is not positive.
    """
    s, a0 = _positive("strength", strength), _positive("start", start)
    return s / (1.0 + (s / a0 - 1.0) * np.exp(-2.0 * s * np.asarray(t, dtype=float)))


def deep_linear_time(target: float, depth: int, strength: float, start: float) -> float:
    """Time at which a balanced deep linear mode a' = L a^(2 - 2/L) (s - a) reaches `target` (arXiv 1810.02281).

    By quadrature in x = log(a / |s - a|), in which x' = L s a^(1 - 2/L) is smooth from the plateau to the end.

    Parameters
    ----------
    target : float
        Between `start` and `strength`, the latter excluded.
    depth : int
        Number of layers L >= 1.
    strength, start : float
        Target strength s and a(0), both positive.

    Raises
    ------
    ValueError
        If the mode never reaches `target` or a number is not positive.
    """
    s, a0, a1 = _positive("strength", strength), _positive("start", start), _positive("target", target)
    if not (a0 <= a1 < s or s < a1 <= a0):
        raise ValueError(f"`target` must lie between `start` {a0:g} and `strength` {s:g}, got {a1:g}.")
    return _elapsed(_logit(a0, s), _logit(a1, s), depth, s, 1.0 if a0 < s else -1.0)


def deep_linear_mode(t: npt.ArrayLike, depth: int, strength: float, start: float) -> Array:
    """Strength a(t) of a balanced deep linear mode a' = L a^(2 - 2/L) (s - a): `deep_linear_time`, inverted.

    Parameters
    ----------
    t : array_like
        Flow times, not negative.
    depth : int
        Number of layers L >= 1; for 2 it is `linear_mode`.
    strength, start : float
        Target strength s and a(0), both positive.

    Raises
    ------
    ValueError
        If a number is not positive or a time is negative.
    """
    times = np.atleast_1d(np.asarray(t, dtype=float))
    s, a0 = _positive("strength", strength), _positive("start", start)
    if (times < 0.0).any():
        raise ValueError(f"`t` must not be negative, got {times.min():g}.")
    if a0 == s or depth == 2:
        return np.broadcast_to(linear_mode(times, s, a0), times.shape).copy()
    side, x0 = (1.0 if a0 < s else -1.0), _logit(a0, s)
    speeds = sorted(depth * s * a ** (1.0 - 2.0 / depth) for a in (a0, s))

    def at(time: float) -> float:
        low, high = x0 + time * speeds[0], x0 + time * speeds[1]
        if low == high:
            return _strength(low, s, side)
        return _strength(
            brentq(lambda x: _elapsed(x0, x, depth, s, side) - time, low, high, xtol=1e-15), s, side
        )

    return np.array([at(time) for time in times])


def _logit(a: float, s: float) -> float:
    return float(np.log(a / abs(s - a)))


def _strength(x: float, s: float, side: float) -> float:
    return s / (1.0 + side * np.exp(-x))


def _elapsed(x0: float, x1: float, depth: int, s: float, side: float) -> float:
    power = 2.0 / depth - 1.0
    found = quad(lambda x: _strength(x, s, side) ** power, x0, x1, epsabs=0.0, epsrel=1e-12, limit=500)
    return float(found[0]) / (depth * s)


def unbalanced_mode(t: npt.ArrayLike, strength: float, start: float, imbalance: float) -> Array:
    """Strength a(t) of an unbalanced two-layer mode: a' = sqrt(c^2 + 4 a^2) (s - a), c the conserved imbalance.

    Parameters
    ----------
    t : array_like
        Flow times.
    strength, start : float
        Target strength s and a(0), any finite numbers.
    imbalance : float
        c = alpha^2 - beta^2 of the two factors, a = alpha beta.

    Returns
    -------
    ndarray
        By the substitution 2 a = |c| sinh(theta), theta' = 2 s - |c| sinh(theta); for c = 0 `linear_mode`.
    """
    times, s, a0, c = np.asarray(t, dtype=float), float(strength), float(start), abs(float(imbalance))
    if c == 0.0:
        return linear_mode(times, s, a0)
    # theta' = 2 s - c sinh(theta) is a Riccati equation in u = exp(theta): u' = 2 s u - c (u^2 - 1) / 2.
    root = np.sqrt(4.0 * s * s + c * c)
    low, high = (2.0 * s - root) / c, (2.0 * s + root) / c
    u0 = (2.0 * a0 + np.sqrt(4.0 * a0 * a0 + c * c)) / c
    # A negative a0 with a small c would cancel in the sum above.
    u0 = u0 if a0 >= 0.0 else c / (np.sqrt(4.0 * a0 * a0 + c * c) - 2.0 * a0)
    k = (u0 - high) / (u0 - low) * np.exp(-root * times)
    u = (high - low * k) / (1.0 - k)
    return 0.25 * c * (u - 1.0 / u)


def trilinear_blow_up(product: float, c1: float, c2: float, j: float = 0.0) -> float:
    """Blow-up time of a three-factor flow u' = 2 sqrt(u (u + c1) (u + c2) - J^2) from u = product.

    u, u + c1 and u + c2 are the squared sizes of the factors, whose differences are conserved; J = Im(U V conj(W)) is
    the conserved phase of complex factors (arXiv 2509.20124), zero for real ones (arXiv 2510.06954).

    Parameters
    ----------
    product : float
        u(0) >= 0.
    c1, c2, j : float
        Conserved quantities. The state must be one in which u grows, Re(U V conj(W)) >= 0.

    Returns
    -------
    float
        int_u0^inf du / (2 sqrt(u (u + c1) (u + c2) - J^2)) as Carlson's R_F of the cubic's roots; infinity where it
        diverges.

    Raises
    ------
    ValueError
        If the cubic is negative at or beyond u0: no such state exists.
    """
    u0, J = float(product), float(j)
    roots = np.roots([1.0, c1 + c2, c1 * c2, -J * J])
    args = u0 - roots
    real = args[np.abs(args.imag) < 1e-12 * max(1.0, float(np.abs(args).max()))].real
    scale = max(abs(u0), abs(c1), abs(c2), 1e-300)
    if (real < -1e-9 * scale).any():
        raise ValueError(
            f"`product` {u0:g} lies below a zero of u (u + c1) (u + c2) - J^2: no such state exists."
        )
    args = np.where(args.real < 0.0, np.where(np.abs(args.imag) < 1e-9 * scale, 0.0, args), args)
    if np.sum(np.abs(args) < 1e-14 * scale) > 1:
        return float("inf")
    return float(np.real(elliprf(*args.astype(complex))))


def three_factor_blow_up(a: float, b: float, c: float, strength: float = 1.0) -> float:
    """Blow-up time of a' = s b c, b' = s c a, c' = s a b: R_F(a^2, b^2, c^2) / s for a b c > 0.

    Raises
    ------
    ValueError
        If a b c s is not positive: the product then first falls to zero.
    """
    if a * b * c * strength <= 0.0:
        raise ValueError(
            f"`a`, `b`, `c` and `strength` must have a positive product, got {a * b * c * strength:g}."
        )
    return float(elliprf(a * a, b * b, c * c)) / abs(strength)


def blow_up_bracket(theta: npt.ArrayLike, energy: float) -> tuple[float, float]:
    """Bounds of the blow-up time of gradient ascent on E = W_V W_in W_out: sqrt(3)/|theta| <= T* <= E^(-1/3).

    Parameters
    ----------
    theta : array_like
        v W_V, W_in and W_out at the start, in any shape: the part of W_V orthogonal to v stays frozen and must not be
        in it. Time is in units of 1 / |mean of y x|.
    energy : float
        E at the start; the upper bound is infinite unless it is positive (arXiv 2510.06954).
    """
    norm = float(np.linalg.norm(np.ravel(np.asarray(theta, dtype=float))))
    if norm == 0.0:
        return float("inf"), float("inf")
    return np.sqrt(3.0) / norm, energy ** (-1.0 / 3.0) if energy > 0.0 else float("inf")


def key_query(t: float, F: Array, W_Q: Array, W_K: Array) -> tuple[Array, Array]:
    """Keys and queries of the second stage, dW_Q/dt = F W_K, dW_K/dt = F^T W_Q (arXiv 2510.06954).

    Parameters
    ----------
    t : float
        Flow time.
    F : ndarray, shape (p, q)
        Constant matrix.
    W_Q, W_K : ndarray, shapes (p, d_head), (q, d_head)
        Initial weights.

    Returns
    -------
    tuple of ndarray
        W_Q(t), W_K(t) from F = U S R^T: cosh and sinh of S t in the modes, constant outside of them.
    """
    U, S, Rt = np.linalg.svd(F, full_matrices=False)
    q, k, grow, mix = U.T @ W_Q, Rt @ W_K, np.cosh(S * t)[:, None], np.sinh(S * t)[:, None]
    return (
        W_Q + U @ ((grow - 1.0) * q + mix * k),
        W_K + Rt.T @ ((grow - 1.0) * k + mix * q),
    )


def key_query_ratio(t: float, F: Array, W_Q: Array, W_K: Array) -> float:
    """Second over first singular value of W_Q(t), without overflow: it falls like exp(-(sigma_1 - sigma_2) t)."""
    U, S, Rt = np.linalg.svd(F, full_matrices=False)
    q, k, late = U.T @ W_Q, Rt @ W_K, np.exp(-2.0 * S * t)[:, None]
    modes = 0.5 * np.exp((S - S[0]) * t)[:, None] * ((1.0 + late) * q + (1.0 - late) * k)
    rest = np.exp(-S[0] * t) * (W_Q - U @ q)
    values = np.linalg.svd(U @ modes + rest, compute_uv=False)
    return float(values[1] / values[0])


def condensation_cosine(along: npt.ArrayLike, frozen: npt.ArrayLike) -> Array:
    """Cosine between columns and v, from their component along v and the size of the part that stays frozen.

    cos = a / sqrt(a^2 + f^2), exact along the first stage of arXiv 2510.06954.
    """
    a, f = np.asarray(along, dtype=float), np.asarray(frozen, dtype=float)
    return a / np.hypot(a, f)


def decayed_time(t: npt.ArrayLike, rate: float, decay: float) -> Array:
    """Time of the flow without weight decay that corresponds to `t` with it, for factors normalised by exp(-decay t).

    s = (C / lambda) (1 - exp(-lambda t)) for a trilinear flow of rate C (arXiv 2509.20124); it stays below C / lambda,
    so a blow-up at s* survives only if s* < C / lambda.
    """
    lam = _positive("decay", decay, zero=True)
    times = np.asarray(t, dtype=float)
    return rate * times if lam == 0.0 else -rate / lam * np.expm1(-lam * times)


def decayed_blow_up(blow_up: float, rate: float, decay: float) -> float:
    """Blow-up time with weight decay from the one, s*, of the normalised flow; infinity if decay wins."""
    lam = _positive("decay", decay, zero=True)
    if lam == 0.0:
        return blow_up / rate
    return float("inf") if blow_up * lam >= rate else float(-np.log1p(-blow_up * lam / rate) / lam)


def escape_time(scale: float, depth: int, strength: float) -> float:
    """Time scale on which a balanced deep linear mode leaves the plateau at weights of size w0 = `scale`.

    Returns
    -------
    float
        log(1/w0) / s for two layers, w0^(2 - L) / (s (L - 2)) for more; the leading term as w0 -> 0.

    Raises
    ------
    ValueError
        If depth is below 2 or a number is not positive.
    """
    w0, s = _positive("scale", scale), _positive("strength", strength)
    if depth < 2:
        raise ValueError(f"`depth` must be at least 2: a single layer has no plateau, got {depth}.")
    return np.log(1.0 / w0) / s if depth == 2 else w0 ** (2 - depth) / (s * (depth - 2))


def homogeneous_blow_up(degree: int, value: float, radius: float) -> float:
    """Blow-up time of ascent on a homogeneous function along a KKT direction: 1 / (L (L - 2) N r0^(L - 2)).

    Parameters
    ----------
    degree : int
        L >= 3.
    value : float
        N, the function on the unit sphere in that direction; for f = <M, W1 W2 W3> it is sigma_1(M) / 3^(3/2).
    radius : float
        Norm r0 of the weights at the start.
    """
    return 1.0 / (
        degree * (degree - 2) * _positive("value", value) * _positive("radius", radius) ** (degree - 2)
    )
