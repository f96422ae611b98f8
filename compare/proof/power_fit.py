"""The power of eps in an error that was measured at many scales, read off where it is neither rounding nor bent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

# Relative errors below LARGEST_ROUNDING may be rounding, whose size is read off the plateau at small eps. Towards large
# eps further powers bend the line: of all ceilings the one is taken that leaves the least doubt.
LARGEST_ROUNDING, ROUNDING, CEILINGS = 4e-14, 1e-15, (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10)
FEWEST = 8  # points of a regression
MOST_BENDS = 4  # even powers of eps beside the slope
FLAT = 1e-15  # of the largest eigenvalue: what a smaller one says of the slope is rounding


def power_of(eps: Float[np.ndarray, " k"], errors: Float[np.ndarray, " k"]) -> tuple[float, float]:
    """Slope and width in decades; a flat error is a slope too (a frozen weight), rounding everywhere is infinite.

    Scales at which there is no error, as where the gradient is zero, say nothing; if there is none at any, neither does
    the slope, which is then nan.

    Parameters
    ----------
    eps, errors : ndarray, shape (k,)
        Scales, and the relative error at each.

    Returns
    -------
    tuple of float
        Slope of log(error) against log(eps), and decades of eps that it was read off.
    """
    known = np.isfinite(errors)
    if not known.any():
        return float("nan"), 0.0
    eps, errors = eps[known], errors[known]
    flat = errors[errors < LARGEST_ROUNDING]
    rounding = max(float(np.median(flat)), ROUNDING) if flat.size > 4 else ROUNDING
    above = errors > 8 * rounding
    if errors.max() < LARGEST_ROUNDING or not above.any():
        return float("inf"), float(np.log10(eps.max() / eps.min()))
    windows = [w for ceiling in CEILINGS if (w := above & (errors < ceiling)).sum() >= FEWEST] or [above]
    return _least_doubtful(eps[above], errors[above], rounding, np.array(windows)[:, above])


def _least_doubtful(
    eps: Float[np.ndarray, " k"],
    errors: Float[np.ndarray, " k"],
    rounding: float,
    windows: Bool[np.ndarray, "ranges k"],
) -> tuple[float, float]:
    """Slope and decades of the fit, of all ranges and with 1 .. 4 bends, that leaves the least doubt about its slope.

    All ranges are fitted at once: points outside one have no weight in it.
    """
    noise = 1e-3 + rounding / errors  # close to rounding a logarithm is mostly noise
    inside = windows / noise
    largest = np.where(windows, eps, 0.0).max(axis=1)
    smallest = np.where(windows, eps, np.inf).min(axis=1)
    squares = (eps / largest[:, None]) ** 2
    columns = [np.broadcast_to(np.log(eps), windows.shape), np.ones(windows.shape)]
    columns += [squares**k for k in range(1, MOST_BENDS + 1)]
    design = np.stack(columns, axis=2) * inside[:, :, None]  # (ranges, k, columns)
    target = np.log(errors) * inside
    points, found = windows.sum(axis=1), []
    for bends in range(1, max(2, min(MOST_BENDS + 1, points.min() - 3))):
        slopes, doubts = _fit(design[:, :, : bends + 2], target, points)
        found += zip(doubts.tolist(), slopes.tolist(), np.log10(largest / smallest).tolist(), strict=True)
    _, slope, decades = min(found)
    return slope, decades


def _fit(
    design: Float[np.ndarray, "ranges k columns"], target: Float[np.ndarray, "ranges k"], points: np.ndarray
) -> tuple[Float[np.ndarray, " ranges"], Float[np.ndarray, " ranges"]]:
    """First coefficient of each least-squares fit and its standard error, misfit included."""
    left, sizes, right = np.linalg.svd(design, full_matrices=False)
    first = right[:, :, 0]  # of each direction in the space of coefficients
    along = np.einsum("rks,rk->rs", left, target)
    kept = sizes > np.finfo(float).eps * np.maximum(points, design.shape[2])[:, None] * sizes[:, :1]
    misfit = np.sum((target - np.einsum("rks,rs->rk", left, along * kept)) ** 2, axis=1)
    misfit /= np.maximum(points - design.shape[2], 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = np.sum(np.where(kept, first * along / sizes, 0.0), axis=1)
        variances = np.sum(np.where(sizes**2 > FLAT * sizes[:, :1] ** 2, (first / sizes) ** 2, 0.0), axis=1)
    return slopes, np.sqrt(variances * np.maximum(misfit, 1.0))
