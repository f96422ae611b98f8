"""The measured proof of a derivation: its right-hand side against autodiff, as a power of the weight scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from ..theory.dataset import Dataset
from ..theory.flow import Flow
from ..theory.model import Model
from ._batches import CHUNK, Batches, loss_and_gradient
from ._threads import torch_threads
from .networks import network

# Relative errors below are rounding, above the next power of eps still bends the line.
FLOOR, CEILING = 4e-14, 1e-3
GRID = 2.0 ** np.arange(2.0, -26.0, -0.25)
ONE_DECADE = 14  # points of the grid


@dataclass(frozen=True)
class ResidualMeasurement:
    """How fast a flow's right-hand side approaches the true gradient as the weights shrink.

    Attributes
    ----------
    predicted : dict
        Weight name -> power of eps that the derivation predicts.
    measured : dict
        Weight name -> slope of log relative error against log eps (infinity if the error is rounding at every eps).
    decades : dict
        Weight name -> width of the regression in decades of eps.
    eps : ndarray, shape (k,)
        Weight scales tried.
    errors : dict
        Weight name -> relative error at each eps, shape (k,).
    """

    predicted: dict[str, float]
    measured: dict[str, float]
    decades: dict[str, float]
    eps: np.ndarray
    errors: dict[str, np.ndarray]


def autodiff_gradient(
    model: Model, data: Dataset, weights: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Gradient of the weighted mean cross-entropy by torch's autodiff, float64.

    Returns
    -------
    dict
        Weight name -> dL/dW, of the weight's shape.
    """
    net = network(model, weights)
    with torch_threads(model, min(CHUNK, len(data.labels))):
        loss_and_gradient(net, Batches(data, torch.float64, None, 0).full())
    return {name: p.grad.numpy().copy() for name, p in net.named_parameters() if p.grad is not None}


def measure_residual(flow: Flow, data: Dataset, direction: Mapping[str, np.ndarray]) -> ResidualMeasurement:
    """Measure the power of eps with which a flow's residual vanishes at weights eps * direction.

    The residual is split into its parts even and odd in eps, since neighbouring powers bend the line where float64
    leaves little more than a decade to high orders; the smaller of the two exponents counts. Each regression fits
    log(error) = log c + p log(eps) + b eps^2 + b' eps^4 over all eps at which the
    relative error lies between rounding (4e-14) and one per mille.

    Parameters
    ----------
    flow : Flow
        The derived flow.
    data : Dataset
        Training data.
    direction : dict
        Weight name -> array with entries of order one.

    Returns
    -------
    ResidualMeasurement
        Predicted and measured exponents per weight.
    """
    moving = [i for i, w in enumerate(flow.model.weights) if w in flow.moving]
    rows: list[np.ndarray] = []
    for eps in GRID:
        rows.append(_parity_errors(flow, data, direction, eps))
        if len(rows) > ONE_DECADE and rows[-1][moving].max() < FLOOR:
            break
    eps, table = GRID[: len(rows)], np.array(rows)  # table: (k, weight, parity)
    fits = [min(_slope(eps, table[:, i, 0]), _slope(eps, table[:, i, 1])) for i in range(table.shape[1])]
    names = list(flow.model.weights)
    return ResidualMeasurement(
        predicted=dict(flow.residual_order),
        measured={w: fit[0] for w, fit in zip(names, fits, strict=True)},
        decades={w: fit[1] for w, fit in zip(names, fits, strict=True)},
        eps=eps,
        errors={w: np.linalg.norm(table[:, i], axis=1) for i, w in enumerate(names)},
    )


def _parity_errors(flow: Flow, data: Dataset, direction: Mapping[str, np.ndarray], eps: float) -> np.ndarray:
    """Relative size of the part of the residual that is even in eps, and of the odd part, per weight."""
    residuals, truth = [], {}
    for scale in (eps, -eps):
        weights = {name: scale * np.asarray(value) for name, value in direction.items()}
        truth = autodiff_gradient(flow.model, data, weights)
        derived = flow.rhs(data, weights)
        residuals.append({w: derived[w] + truth[w] for w in derived})
    plus, minus = residuals
    norm = np.linalg.norm
    return np.array(
        [[norm(plus[w] + s * minus[w]) / (2 * norm(truth[w])) for s in (1, -1)] for w in flow.model.weights]
    )


def _slope(eps: np.ndarray, errors: np.ndarray) -> tuple[float, float]:
    """Slope and width in decades; a flat error is a slope too (a frozen weight), rounding everywhere is infinite."""
    if errors.max() < FLOOR:
        return float("inf"), float(np.log10(eps.max() / eps.min()))
    small = (errors > FLOOR) & (errors < CEILING)
    used = small if small.sum() >= ONE_DECADE // 2 else errors > FLOOR
    x = eps[used]
    design = np.stack([np.log(x), np.ones_like(x), x**2, x**4], axis=1)
    trust = np.minimum(1.0, errors[used] / (25 * FLOOR))  # close to rounding a logarithm is mostly noise
    slope = np.linalg.lstsq(design * trust[:, None], np.log(errors[used]) * trust, rcond=None)[0][0]
    return float(slope), float(np.log10(x.max() / x.min()))
