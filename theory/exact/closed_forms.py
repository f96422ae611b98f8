"""Closed forms of small-initialisation dynamics: oracles for the integrators, and tools of their own.

Times are flow times. Sources: deep linear modes Saxe et al. (arXiv 1312.6120) and Arora et al. (arXiv 1810.02281);
two-stage attention dynamics arXiv 2510.06954.

Every form is right to some 12 digits for arguments of any size from 1e-30 to 1e30, against 50 digits and more; what is
larger than the largest float is infinity.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt

from ..base.errors import FieldError
from ..base.validate import integer, positive, real
from .precision import Array, decayed, digits, times

LEAST_WHOLE = 2.0**-1022  # below it floats have fewer digits


def linear_mode(t: npt.ArrayLike, strength: float, start: float) -> Array:
    """Strength a(t) of a balanced two-layer linear mode, a' = 2 a (s - a).

    Parameters
    ----------
    t : array_like
        Flow times, not negative.
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
        If `strength` or `start` is not positive, or a time is negative.
    """
    return _grown(times(t), positive("strength", strength), positive("start", start))


def _grown(t: Array, s: float, a0: float) -> Array:
    """Solution of a' = 2 a (s - a) from a0 > 0, for s of any sign."""
    with np.errstate(over="ignore", divide="ignore"):
        half = np.exp(
            -s * t
        )  # squared below, on both sides of the division: neither overflows before the result
        return np.where(t == 0.0, a0, 1.0 / (half / a0 * half + 2.0 * decayed(t, 2.0 * s)))


def unbalanced_mode(t: npt.ArrayLike, strength: float, start: float, imbalance: float) -> Array:
    """Strength a(t) of an unbalanced two-layer mode: a' = sqrt(c^2 + 4 a^2) (s - a), c the conserved imbalance.

    Parameters
    ----------
    t : array_like
        Flow times, not negative.
    strength, start : float
        Target strength s and a(0), of any sign.
    imbalance : float
        c = alpha^2 - beta^2 of the two factors, a = alpha beta.

    Returns
    -------
    ndarray
        With 2 a = |c| sinh(theta), theta' = 2 s - |c| sinh(theta), and tanh(theta / 2) is an average of that of the
        start and that of the target, whose weights `old` and `new` are known. For c = 0 a `linear_mode`, which keeps
        its sign.

    Raises
    ------
    ValueError
        If a number is not finite, a time is negative, or two of the numbers are too far apart for floats.
    """
    at, s, a0 = times(t), real("strength", strength), real("start", start)
    c = abs(real("imbalance", imbalance))
    if c == 0.0:
        return _balanced(at, s, a0)
    rate = np.hypot(2.0 * s, c)
    with np.errstate(all="ignore"):
        (T, below, above), (S, under, over) = _half_angle(2.0 * a0 / c), _half_angle(2.0 * s / c)
        old = np.exp(-rate * at) * (1.0 + S * S)
        new = -np.expm1(-rate * at) * 0.5 * (below * under + above * over)  # 1 + T S, which does not cancel
        mean = old * T + new * S
        found = c * mean / (old * below + new * under) * ((old + new) / (old * above + new * over))
    if not np.isfinite(found).all():
        raise FieldError("imbalance", f"{c:g} is too far from `strength` {s:g} or `start` {a0:g} for floats.")
    return np.where(at == 0.0, a0, found)


def _balanced(t: Array, s: float, a0: float) -> Array:
    return np.zeros(t.shape) if a0 == 0.0 else np.copysign(_grown(t, np.copysign(s, s * a0), abs(a0)), a0)


def _half_angle(y: float) -> tuple[float, float, float]:
    """T = tanh(theta / 2) of y = sinh(theta), 1 - T and 1 + T, none of which cancels."""
    root = np.hypot(1.0, y)
    T, near = y / (1.0 + root), (1.0 + 1.0 / (root + abs(y))) / (1.0 + root)  # near = 1 - |T|
    return (T, near, 1.0 + T) if y >= 0.0 else (T, 1.0 - T, near)


def condensation_cosine(along: npt.ArrayLike, frozen: npt.ArrayLike) -> Array:
    """Cosine between columns and v, from their component along v and the size of the part that stays frozen.

    cos = a / sqrt(a^2 + f^2), exact along the first stage of arXiv 2510.06954.

    Raises
    ------
    ValueError
        If a number is not finite, or a column is zero.
    """
    a, f = np.asarray(along, dtype=float), np.asarray(frozen, dtype=float)
    if not (np.isfinite(a).all() and np.isfinite(f).all()):
        raise FieldError("along", "and `frozen` must hold finite numbers.")
    if ((a == 0.0) & (f == 0.0)).any():
        raise FieldError("along", "and `frozen` are both zero somewhere: a column of zeros has no direction.")
    scale = np.maximum(np.abs(a), np.abs(f))
    return a / scale / np.hypot(a / scale, f / scale)


def ascent_mode(t: npt.ArrayLike, depth: int, strength: float, start: float) -> Array:
    """Size a(t) of a balanced mode of the leading flow, a' = s a^(L-1): no saturation, a blow-up for L >= 3.

    Parameters
    ----------
    t : array_like
        Flow times, not negative and before `ascent_blow_up`.
    depth : int
        Number of layers L >= 2.
    strength, start : float
        Singular value s of the signature matrix and a(0), both positive.

    Returns
    -------
    ndarray
        a0 exp(s t) for two layers, a0 (1 - (L-2) s a0^(L-2) t)^(1/(2-L)) for more. Next to the blow-up the difference
        is taken exactly.

    Raises
    ------
    ValueError
        If a number is not positive, or a time negative or not before the blow-up.
    """
    s, a0, L = positive("strength", strength), positive("start", start), _depth(depth)
    at = times(t)
    with np.errstate(over="ignore"):
        if L == 2:
            half = np.exp(0.5 * s * at)
            return a0 * half * half
        left = _left_until_blow_up(at, L, s, a0)
        if (left <= 0.0).any():
            end = ascent_blow_up(L, s, a0)
            raise FieldError("t", f"must lie before the blow-up at {end:g}, got {at.max():g}.")
        return a0 * left ** (1.0 / (2 - L))


def _left_until_blow_up(t: Array, depth: int, s: float, a0: float) -> Array:
    """1 - t / (time of blow-up), exact to the last bit however close it is to zero."""
    end = ascent_blow_up(depth, s, a0)
    left = np.ravel(1.0 - t / end if LEAST_WHOLE < end < np.inf else np.zeros(t.shape)).copy()
    close = np.flatnonzero(np.abs(left) < 0.5)
    if close.size:
        rate = (depth - 2) * Fraction(s) * Fraction(a0) ** (depth - 2)
        exact = (1 - rate * Fraction(time) for time in t.ravel()[close])
        left[close] = [float(x) if x > 0 else -1.0 for x in exact]
    return left.reshape(t.shape)


def ascent_blow_up(depth: int, strength: float, start: float) -> float:
    """Blow-up time of a' = s a^(L-1): a0^(2-L) / ((L-2) s); infinity for two layers.

    Raises
    ------
    ValueError
        If depth is below 2 or a number is not positive.
    """
    s, a0, L = positive("strength", strength), positive("start", start), _depth(depth)
    return np.inf if L == 2 else quotient_of_power((L - 2) * s, a0, L - 2)


def quotient_of_power(factor: float, base: float, power: int) -> float:
    """1 / (factor base^power); infinity beyond the largest float, zero below the least."""
    mp = digits(80)
    return float(1 / (mp.mpf(factor) * mp.mpf(base) ** power))


def escape_time(scale: float, depth: int, strength: float) -> float:
    """Time scale on which a balanced deep linear mode leaves the plateau at weights of size w0 = `scale`.

    Returns
    -------
    float
        log(1/w0) / s for two layers, w0^(2 - L) / (s (L - 2)) for more; the leading term as w0 -> 0.

    Raises
    ------
    ValueError
        If depth is below 2, a number is not positive, or two layers start beyond 1, where no plateau is.
    """
    w0, s, L = positive("scale", scale), positive("strength", strength), _depth(depth)
    if L > 2:
        return quotient_of_power((L - 2) * s, w0, L - 2)
    if w0 > 1.0:
        raise FieldError(
            "scale", f"must be at most 1 for two layers, which else have no plateau, got {w0:g}."
        )
    return float(-np.log(w0)) / s


def _depth(depth: int) -> int:
    if depth == 1:
        raise FieldError("depth", "must be at least 2: a single layer has no plateau, got 1.")
    return integer("depth", depth, 2)
