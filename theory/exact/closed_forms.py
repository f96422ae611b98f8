"""Closed forms of small-initialisation dynamics: oracles for the integrators, and tools of their own.

Times are flow times. Sources: deep linear modes Saxe et al. (arXiv 1312.6120) and Arora et al. (arXiv 1810.02281);
two-stage attention dynamics arXiv 2510.06954; three-factor Fourier modes arXiv 2509.20124.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.integrate import quad
from scipy.optimize import brentq

from .blow_up_forms import Array, positive


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
    s, a0 = positive("strength", strength), positive("start", start)
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
    s, a0, a1 = positive("strength", strength), positive("start", start), positive("target", target)
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
    s, a0 = positive("strength", strength), positive("start", start)
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


def ascent_mode(t: npt.ArrayLike, depth: int, strength: float, start: float) -> Array:
    """Size a(t) of a balanced mode of the leading flow, a' = s a^(L-1): no saturation, a blow-up for L >= 3.

    Parameters
    ----------
    t : array_like
        Flow times, before `ascent_blow_up`.
    depth : int
        Number of layers L >= 2.
    strength, start : float
        Singular value s of the signature matrix and a(0), both positive.

    Returns
    -------
    ndarray
        a0 exp(s t) for two layers, (a0^(2-L) - (L-2) s t)^(1/(2-L)) for more.

    Raises
    ------
    ValueError
        If a number is not positive, or a time not before the blow-up.
    """
    s, a0, times = positive("strength", strength), positive("start", start), np.asarray(t, dtype=float)
    end = ascent_blow_up(depth, s, a0)
    if (times >= end).any():
        raise ValueError(f"`t` must lie before the blow-up at {end:g}, got {times.max():g}.")
    if depth == 2:
        return a0 * np.exp(s * times)
    return a0 * (1.0 - times / end) ** (1.0 / (2 - depth))


def ascent_blow_up(depth: int, strength: float, start: float) -> float:
    """Blow-up time of a' = s a^(L-1): a0^(2-L) / ((L-2) s); infinity for two layers.

    Raises
    ------
    ValueError
        If depth is below 2 or a number is not positive.
    """
    s, a0 = positive("strength", strength), positive("start", start)
    escape = escape_time(a0, depth, s)  # of more than two layers, the leading term is all there is
    return np.inf if depth == 2 else escape


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
    w0, s = positive("scale", scale), positive("strength", strength)
    if depth < 2:
        raise ValueError(f"`depth` must be at least 2: a single layer has no plateau, got {depth}.")
    return np.log(1.0 / w0) / s if depth == 2 else w0 ** (2 - depth) / (s * (depth - 2))
