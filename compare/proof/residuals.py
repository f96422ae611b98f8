"""The measured proof of a derivation: its right-hand side against autodiff, as a power of the weight scale."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from ...theory.base.frozen import FrozenRecord
from ...theory.data.dataset import Dataset
from ...theory.flows.flow import Flow
from ...theory.models.model import Model
from ..training.batches import CHUNK, Batches, loss_and_gradient
from ..training.networks import network
from ..training.torch_threads import torch_threads
from ..training.twin import Network
from .far_norms import flow_far_above, flow_mirrored
from .kept_gradients import KeptGradients
from .lost_digits import mixed, rounding
from .motion import MeasuredMotion
from .power_fit import FEWEST, ROUNDING, power_of
from .weight_scales import GRID, LARGEST_LOGIT, ONE_DECADE, largest_logit, stride

if TYPE_CHECKING:
    from jaxtyping import Float

# Below this power an error grows as weights shrink, as that of no closure does: a gradient is rounding.
GROWING = -0.5
Equations = Callable[[dict[str, np.ndarray]], Mapping[str, np.ndarray]]  # weights -> dW/dt
Side = tuple[
    Model, Equations
]  # a network at positive scales or at negative ones, and what is held against it


@dataclass(frozen=True, eq=False)
class ResidualMeasurement(FrozenRecord):
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
    direction : dict
        Weight name -> the weights at eps = 1 (gains and the like are the same at every eps).
    """

    predicted: dict[str, float]
    measured: dict[str, float]
    decades: dict[str, float]
    eps: Float[np.ndarray, " k"]
    errors: dict[str, Float[np.ndarray, " k"]]
    direction: Mapping[str, Float[np.ndarray, "rows cols"]] = field(repr=False)


class Autodiff:
    """Gradients of the weighted mean loss on one dataset by torch's autodiff, float64.

    Parameters
    ----------
    model : Model
        Its network is made once, at the first weights.
    data : Dataset
        Held-out rows take no part.
    """

    def __init__(self, model: Model, data: Dataset) -> None:
        self.model, self.rows = model, min(CHUNK, len(data.labels))
        self.batches = Batches(model, data, torch.float64, None, 0)
        self.net: Network | None = None

    def __call__(
        self, weights: Mapping[str, Float[np.ndarray, "rows cols"]]
    ) -> dict[str, Float[np.ndarray, "rows cols"]]:
        """Weight name -> dL/dW, of the weight's shape."""
        net = self.net = self._at(weights)
        with torch_threads(self.model, self.rows):
            loss_and_gradient(net, self.batches.full())
        return {name: p.grad.numpy().copy() for name, p in net.named_parameters() if p.grad is not None}

    def _at(self, weights: Mapping[str, np.ndarray]) -> Network:
        if self.net is None:
            return network(self.model, weights)
        with torch.no_grad():
            for name, p in self.net.named_parameters():
                p.copy_(torch.from_numpy(weights[name]))
        return self.net


def autodiff_gradient(
    model: Model, data: Dataset, weights: Mapping[str, Float[np.ndarray, "rows cols"]]
) -> dict[str, Float[np.ndarray, "rows cols"]]:
    """Gradient of the weighted mean loss by torch's autodiff, float64.

    Returns
    -------
    dict
        Weight name -> dL/dW, of the weight's shape.
    """
    return Autodiff(model, data)(weights)


def measure_residual(
    flow: Flow,
    data: Dataset,
    direction: Mapping[str, Float[np.ndarray, "rows cols"]],
    motion: MeasuredMotion | None = None,
) -> ResidualMeasurement:
    """Measure the power of eps with which a flow's residual vanishes at weights eps * direction.

    The residual is split into its parts even and odd in eps, since neighbouring powers bend the line where float64
    leaves little more than a decade to high orders; the smaller of the two exponents counts. Each regression fits
    log(error) = log c + p log(eps) + b eps^2 + b' eps^4 + .. over a range of eps from rounding upwards; of all ranges
    and numbers of terms the one counts whose standard error of p, misfit included, is least.

    A power whose coefficient is small beside that of the next may lie in rounding wherever it is the larger part. Then
    the next power is measured, or one between the two.

    Normalisations stay far above their eps, where the closure counts powers: it is put zero, unless the closure takes
    them as linear or drops nothing. Negative scales are then those of the series, see `theory.algebra.scale.mirrored`.

    Parameters
    ----------
    flow : Flow
        The derived flow.
    data : Dataset
        Training data.
    direction : dict
        Weight name -> array with entries of order one; of gains and the like, which do not scale, their values.
    motion : MeasuredMotion, optional
        Something of the weights whose error is measured instead of theirs.

    Returns
    -------
    ResidualMeasurement
        Predicted and measured exponents per weight; of a motion none is predicted.
    """
    far = flow_far_above(flow)
    sides = [(f.model, partial(f.rhs, data)) for f in (far, flow_mirrored(far))]
    if motion is not None:
        moved = [(model, partial(motion.moved, rhs)) for model, rhs in sides]
        return _measure(moved, data, direction, (motion.name,), {}, far.closure, motion)
    return _measure(sides, data, direction, far.moving, flow.residual_order, far.closure)


def measure_equation(
    model: Model,
    data: Dataset,
    direction: Mapping[str, np.ndarray],
    weight: str,
    equation: Callable[[dict[str, np.ndarray]], np.ndarray],
    predicted: float = float("nan"),
    mirror: tuple[Model, Callable[[dict[str, np.ndarray]], np.ndarray]] | None = None,
    motion: MeasuredMotion | None = None,
) -> ResidualMeasurement:
    """Measure the power of eps with which the relative error of one weight's equation vanishes against autodiff.

    Parameters
    ----------
    model, data, direction
        As in `measure_residual`.
    weight : str
        The weight whose dW/dt is given, or the name of the motion.
    equation : callable
        Weights -> claimed dW/dt.
    predicted : float
        The exponent that was predicted, to be kept beside the measured one.
    mirror : tuple, optional
        Model and equation at negative scales, by default the same; with normalisations see `far_norms`.
    motion : MeasuredMotion, optional
        What the equation is of, unless it is a weight; it turns gradients into the truth.

    Returns
    -------
    ResidualMeasurement
        Of that weight, or of that motion, alone.
    """
    sides = [
        (side, lambda w, claimed=claimed: {weight: claimed(w)})
        for side, claimed in ((model, equation), mirror or (model, equation))
    ]
    return _measure(sides, data, direction, (weight,), {weight: predicted}, motion=motion)


def _measure(
    sides: Sequence[Side],
    data: Dataset,
    direction: Mapping[str, np.ndarray],
    moving: Collection[str],
    predicted: Mapping[str, float],
    closure: str = "exact",
    motion: MeasuredMotion | None = None,
) -> ResidualMeasurement:
    """Go down the scales until the residuals of the moving weights are rounding, and read the slopes off."""
    models = {id(model): model for model, _ in sides}
    truths = {k: KeptGradients(Autodiff, model, data, direction) for k, model in models.items()}
    scales, rows = list[float](), list[dict[str, np.ndarray]]()
    wait = 0  # points of the grid to pass over
    for scale in GRID:  # from the first scale on whose logits are small, those of all smaller ones are
        if not scales and largest_logit(sides[0][0], data, direction, scale, closure) >= LARGEST_LOGIT:
            continue
        if (wait := wait - 1) > 0:
            continue
        scales.append(scale)
        held = [(m, truths[id(m)], rhs) for m, rhs in sides]
        rows.append(_parity_errors(held, direction, scale, motion))
        if len(rows) > ONE_DECADE and max(rows[-1][w].max() for w in moving) < ROUNDING:
            break
        latest = [np.stack([row[w] for w in moving]) for row in rows[-FEWEST:]]
        wait = stride(np.log2(scales[-FEWEST:]), latest)
    eps = np.array(scales)
    table = {w: np.array([row[w] for row in rows]) for w in rows[0]}  # (k, parity)
    fits = _fits(eps, table)
    if any(slope < GROWING for slope, _ in fits.values()):
        table = _above_rounding(table, sides[0][0], data, direction, scales, truths[id(sides[0][0])], motion)
        fits = _fits(eps, table)
    return ResidualMeasurement(
        predicted=dict(predicted),
        measured={w: slope for w, (slope, _) in fits.items()},
        decades={w: decades for w, (_, decades) in fits.items()},
        eps=eps,
        errors={w: np.linalg.norm(errors, axis=1) for w, errors in table.items()},
        direction=direction,
    )


def _fits(eps: np.ndarray, table: Mapping[str, np.ndarray]) -> dict[str, tuple[float, float]]:
    """Slope and decades of each error, by the part that vanishes more slowly."""
    return {w: min(power_of(eps, errors[:, parity]) for parity in (0, 1)) for w, errors in table.items()}


def _above_rounding(
    table: Mapping[str, np.ndarray],
    model: Model,
    data: Dataset,
    direction: Mapping[str, np.ndarray],
    scales: Sequence[float],
    truth: KeptGradients,
    motion: MeasuredMotion | None,
) -> dict[str, np.ndarray]:
    """The errors that are more than the rounding of a gradient; 0 for those that are not."""
    general = KeptGradients(Autodiff, model, mixed(data), direction)
    points = [(scale, model.scaled(direction, scale)) for scale in scales]
    lost = rounding(list(table), points, truth, general, motion)
    return {w: np.where(errors <= lost[w][:, None], 0.0, errors) for w, errors in table.items()}


def _parity_errors(
    sides: Sequence[tuple[Model, KeptGradients, Equations]],
    direction: Mapping[str, np.ndarray],
    eps: float,
    motion: MeasuredMotion | None = None,
) -> dict[str, np.ndarray]:
    """Relative size of the part of the residual that is even in eps, and of the odd part (2,), per weight."""
    residuals, truth, weights, slopes = [], {}, {}, {}
    for (model, gradient, rhs), scale in zip(sides, (eps, -eps), strict=True):
        weights = model.scaled(direction, scale)
        truth = slopes = gradient(scale, weights)
        if motion is not None:
            truth = {motion.name: motion.slope(weights, slopes)}
        residuals.append({w: slope + truth[w] for w, slope in rhs(weights).items()})
    plus, minus = residuals
    norm = np.linalg.norm
    found = {w: np.array([norm(plus[w] + s * minus[w]) for s in (1, -1)]) / 2 for w in plus}
    if motion is None:
        return {w: sizes / norm(truth[w]) for w, sizes in found.items()}
    return {w: motion.relative(sizes, weights, slopes) for w, sizes in found.items()}
