"""Blow-up times in closed form, part of `smallinit.theory.exact`.

Like the forms of `closed_forms` they are right to some 12 digits for arguments of any size from 1e-30 to 1e30, and
infinite where they are larger than the largest float.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import elliprf

from ..base.arrays import real_array
from ..base.errors import FieldError
from ..base.validate import integer, nonnegative, positive, real
from .closed_forms import quotient_of_power
from .precision import Array, decayed, digits, times

ROUNDED = 1e-12  # by how much of their size conserved quantities may miss a state, for they were rounded
FAR = 1e-50  # ratio of sizes from which on only the sum of the two least counts


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
        T(u0) = int_u0^inf du / (2 sqrt(u (u + c1) (u + c2) - J^2)) as Carlson's R_F of u0 less the cubic's roots, or
        2 T(u_min) - T(u0) from a state that first falls to u_min; infinity where the integral diverges, which is
        decided exactly: where two of the squared sizes are zero, or falls to zero together.

    Raises
    ------
    ValueError
        If the cubic is negative at or beyond u0, by more than rounding: no such state exists.
    """
    numbers = real("product", product), real("c1", c1), real("c2", c2), real("j", j)
    mp = digits(_bits(numbers))
    u0, d1, d2, phase = map(mp.mpf, numbers)
    sizes = sorted((u0, u0 + d1, u0 + d2))
    near = [u0 + d + ROUNDED * max(u0, abs(d)) for d in (0, d1, d2)]
    if u0 < 0 or min(near) < 0 or near[0] * near[1] * near[2] < phase**2:
        raise FieldError(
            "product", f"{product:g} lies below a zero of u (u + c1) (u + c2) - J^2: no such state exists."
        )
    least, *others = _less_the_roots(mp, sizes, phase)
    turned = [0.0j, *(complex(mp.sqrt(other - least)) for other in others)]
    if least < 0:  # a rounded state lies at the zero itself
        return _carlson(turned)
    time = _carlson([complex(mp.sqrt(x)) for x in (least, *others)])
    return time if growing or time == float("inf") else 2.0 * _carlson(turned) - time


def _bits(numbers: tuple[float, ...]) -> int:
    """Bits that hold the products of three sums of these numbers to the last."""
    exponents = [np.frexp(x)[1] for x in numbers if x]
    return 400 + 4 * (max(exponents) - min(exponents)) if exponents else 400


def _less_the_roots(mp: Any, sizes: list[Any], phase: Any) -> list[Any]:
    """u0 less the roots of u (u + c1) (u + c2) - J^2, the least (which is real) first.

    They are the zeros e of (A - e) (B - e) (C - e) - J^2 with A <= B <= C the squared sizes. Left of A it falls and is
    convex, and at A - |J|^(2/3) it is not negative: Newton's method climbs from there to the least zero.
    """
    if phase == 0:
        return sizes
    a, b, c = sizes
    least = a - mp.cbrt(phase**2)
    while True:
        x, y, z = a - least, b - least, c - least
        step = (x * y * z - phase**2) / (x * y + y * z + z * x)
        least += step
        if step <= mp.ldexp(x + y + z, 32 - mp.prec):
            break
    half = (a + b + c - least) / 2
    root = mp.sqrt(half**2 - (a * b + b * c + c * a - 2 * least * half))
    return [least, half - root, half + root]


def _carlson(roots: list[complex]) -> float:
    """R_F of the squares of three numbers; infinity if two are zero."""
    first, second, last = sorted(roots, key=abs)
    if second == 0.0:
        return float("inf")
    scale = abs(last)
    first, second, last = first / scale, second / scale, last / scale
    if abs(second) < FAR:
        return float(np.log(4.0 / (first + second).real)) / scale
    return float(np.real(elliprf(first**2, second**2, last**2))) / scale


def three_factor_blow_up(a: float, b: float, c: float, strength: float = 1.0) -> float:
    """Blow-up time of a' = s b c, b' = s c a, c' = s a b: R_F(a^2, b^2, c^2) / |s| where a b c s > 0.

    Where it is negative the factor of least size crosses zero first; infinity if two of that size die together.

    Returns
    -------
    float
        Time, or infinity.

    Raises
    ------
    ValueError
        If a number is not finite, or `strength` is zero.
    """
    signed = [real("a", a), real("b", b), real("c", c), real("strength", strength)]
    if signed[-1] == 0.0:
        raise FieldError("strength", "must not be zero: nothing moves.")
    least, *others = sorted(map(abs, signed[:3]))
    time = _carlson([complex(x) for x in (least, *others)])
    if np.prod(np.sign(signed)) < 0.0:
        turned = [0.0j, *(complex(np.sqrt(x - least) * np.sqrt(x + least)) for x in others)]
        time = 2.0 * _carlson(turned) - time
    return time / abs(signed[-1])


def blow_up_bracket(theta: npt.ArrayLike, energy: float) -> tuple[float, float]:
    """Bounds of the blow-up time of gradient ascent on E = W_V W_in W_out: sqrt(3)/|theta| <= T* <= E^(-1/3).

    Parameters
    ----------
    theta : array_like
        v W_V, W_in and W_out at the start, in any shape: the part of W_V orthogonal to v stays frozen and must not be
        in it. Time is in units of 1 / |mean of y x|.
    energy : float
        E at the start; the upper bound is infinite unless it is positive (arXiv 2510.06954).

    Returns
    -------
    tuple of float
        Lower and upper bound.

    Raises
    ------
    ValueError
        If a number is not finite.
    """
    values, E = np.ravel(real_array("theta", theta)), real("energy", energy)
    if not np.isfinite(values).all():
        raise FieldError("theta", "must hold finite numbers.")
    largest = float(np.abs(values).max(initial=0.0))
    if largest == 0.0:
        return float("inf"), float("inf")
    low = np.sqrt(3.0) / float(np.linalg.norm(values / largest)) / largest
    return low, 1.0 / float(np.cbrt(E)) if E > 0.0 else float("inf")


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

    Returns
    -------
    float
        Flow time.

    Raises
    ------
    ValueError
        If the degree is below 3 or a number is not positive.
    """
    L, N, r0 = integer("degree", degree, 3), positive("value", value), positive("radius", radius)
    return quotient_of_power(L * (L - 2) * N, r0, L - 2)


def decayed_time(t: npt.ArrayLike, rate: float, decay: float) -> Array:
    """Time of the flow without weight decay that corresponds to `t` with it, for factors normalised by exp(-decay t).

    s = (C / lambda) (1 - exp(-lambda t)) for a trilinear flow of rate C (arXiv 2509.20124); it stays below C / lambda,
    so a blow-up at s* survives only if s* < C / lambda.

    Returns
    -------
    ndarray
        s, of the shape of `t`.

    Raises
    ------
    ValueError
        If a time or the decay is negative, or the rate is not positive.
    """
    return positive("rate", rate) * decayed(times(t), nonnegative("decay", decay))


def decayed_blow_up(blow_up: float, rate: float, decay: float) -> float:
    """Blow-up time with weight decay from the one, s*, of the normalised flow; infinity if decay wins.

    Returns
    -------
    float
        Flow time, or infinity.

    Raises
    ------
    ValueError
        If `blow_up` or the decay is negative, or the rate is not positive.
    """
    C, lam = positive("rate", rate), nonnegative("decay", decay)
    return _reached(blow_up, C, Fraction(lam))


def homogeneous_clock(t: npt.ArrayLike, degree: int, decay: float) -> Array:
    """Time tau of a degree-L leading flow without weight decay that corresponds to `t` with it.

    Where the part of the loss that drives the flow is homogeneous of degree L in all weights that move, dW/dt = G(W) -
    lambda W has the solution W(t) = exp(-lambda t) Y(tau) with dY/dtau = G(Y), Y(0) = W(0) and tau = (1 - exp(-(L - 2)
    lambda t)) / ((L - 2) lambda). For L = 2 the clock is the same: every growth rate sigma becomes sigma - lambda.

    Parameters
    ----------
    t : array_like
        Flow times, not negative.
    degree : int
        L >= 2.
    decay : float
        lambda >= 0, one for all weights.

    Returns
    -------
    ndarray
        tau in flow time, of the shape of `t`; it stays below 1 / ((L - 2) lambda).

    Raises
    ------
    ValueError
        If the degree is below 2, or a time or the decay is negative.
    """
    L, lam = integer("degree", degree, 2), nonnegative("decay", decay)
    return decayed(times(t), (L - 2) * lam)


def homogeneous_decayed_blow_up(degree: int, blow_up: float, decay: float) -> float:
    """Blow-up time of a degree-L leading flow with weight decay, from the one tau* without; infinity if decay wins.

    It blows up if and only if tau* < 1 / ((L - 2) lambda), which is decided exactly; see `homogeneous_clock`.

    Parameters
    ----------
    degree : int
        L >= 3; a flow of degree 2 is linear and never blows up.
    blow_up : float
        tau* in flow time, such as `homogeneous_blow_up` or ``Trajectory.outcome`` has it; may be infinite.
    decay : float
        lambda >= 0, one for all weights.

    Returns
    -------
    float
        Flow time, or infinity.

    Raises
    ------
    ValueError
        If the degree is below 3, or a number is negative.
    """
    L, lam = integer("degree", degree, 3), nonnegative("decay", decay)
    return _reached(blow_up, 1.0, (L - 2) * Fraction(lam))


def _reached(blow_up: float, C: float, lam: Fraction) -> float:
    """When (C / lambda) (1 - exp(-lambda t)) reaches the time of a blow-up; infinity if it does not."""
    if blow_up == float("inf"):
        return blow_up
    s = float(times(blow_up, name="blow_up"))
    if lam == 0:
        return s / C
    share = Fraction(s) * lam / Fraction(C)  # of the way to C / lambda, exactly
    if share >= 1:
        return float("inf")
    if share < 1e-8:
        return s / C * (1.0 + 0.5 * float(share))
    return float(-np.log1p(-float(share)) if share < 0.5 else -np.log(float(1 - share))) / float(lam)
