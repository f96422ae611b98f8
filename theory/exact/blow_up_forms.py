"""Blow-up times in closed form, part of `smallinit.theory.exact`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import elliprf

from ..base.validate import nonnegative, positive

Array = npt.NDArray[np.float64]


def trilinear_blow_up(product: float, c1: float, c2: float, j: float = 0.0, *, growing: bool = True) -> float:
    """Blow-up time of a three-factor flow u' = +-2 sqrt(u (u + c1) (u + c2) - J^2) from u = product.

    u, u + c1 and u + c2 are the squared sizes of the factors, whose differences are conserved; J = Im(U V conj(W)) is
    the conserved phase of complex factors (arXiv 2509.20124), zero for real ones (arXiv 2510.06954).

    Parameters
    ----------
    product : float
        u(0) >= 0.
    c1, c2, j : float
        Conserved quantities.
    growing : bool
        Whether u grows at the start, Re(U V conj(W)) >= 0; else it first falls to the cubic's largest zero.

    Returns
    -------
    float
        T(u0) = int_u0^inf du / (2 sqrt(u (u + c1) (u + c2) - J^2)) as Carlson's R_F of the cubic's roots, or
        2 T(u_min) - T(u0) from a state that first falls to u_min; infinity where the integral diverges.

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
    time = float(np.real(elliprf(*args.astype(complex))))
    if growing:
        return time
    level = np.isclose(np.imag(args), 0.0, atol=1e-12 * scale)
    turned = args - float(np.min(np.real(args[level])))
    if np.sum(np.abs(turned) < 1e-14 * scale) > 1:
        return float("inf")
    return 2.0 * float(np.real(elliprf(*turned.astype(complex)))) - time


def three_factor_blow_up(a: float, b: float, c: float, strength: float = 1.0) -> float:
    """Blow-up time of a' = s b c, b' = s c a, c' = s a b: R_F(a^2, b^2, c^2) / |s| where a b c s > 0.

    Where it is negative the factor of least size crosses zero first; infinity if two of that size die together.

    Raises
    ------
    ValueError
        If `strength` is zero.
    """
    if strength == 0.0:
        raise ValueError("`strength` must not be zero: nothing moves.")
    u = a * a
    return trilinear_blow_up(u, b * b - u, c * c - u, growing=a * b * c * strength >= 0.0) / abs(strength)


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
        degree * (degree - 2) * positive("value", value) * positive("radius", radius) ** (degree - 2)
    )


def decayed_time(t: npt.ArrayLike, rate: float, decay: float) -> Array:
    """Time of the flow without weight decay that corresponds to `t` with it, for factors normalised by exp(-decay t).

    s = (C / lambda) (1 - exp(-lambda t)) for a trilinear flow of rate C (arXiv 2509.20124); it stays below C / lambda,
    so a blow-up at s* survives only if s* < C / lambda.
    """
    lam = nonnegative("decay", decay)
    times = np.asarray(t, dtype=float)
    return rate * times if lam == 0.0 else -rate / lam * np.expm1(-lam * times)


def decayed_blow_up(blow_up: float, rate: float, decay: float) -> float:
    """Blow-up time with weight decay from the one, s*, of the normalised flow; infinity if decay wins."""
    lam = nonnegative("decay", decay)
    if lam == 0.0:
        return blow_up / rate
    return float("inf") if blow_up * lam >= rate else float(-np.log1p(-blow_up * lam / rate) / lam)
