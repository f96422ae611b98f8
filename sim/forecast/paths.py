"""How long each path through a network waits before it grows: predicted by counting its factors, and measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...theory.base.arrays import joint_norm
from ...theory.base.errors import FieldError
from ...theory.base.frozen import FrozenRecord
from ...theory.base.validate import brief, kind_of, names, real
from ...theory.data.dataset import Dataset
from ...theory.flows.flow import Flow, derive
from ...theory.flows.powers import escape_exponents
from ...theory.models.model import Model
from ..compile.compiler import evaluate_flow
from ..integration.integrate import integrate
from ..ode.events import Event

# Times looked for, over that in which the first gradient would move the weights by their own size.
MOST_TIMES = 1e4
RTOL = 1e-5


@dataclass(frozen=True, eq=False)
class PathEscape(FrozenRecord):
    """When a set of weights has grown, all others at rest, by scale of the start.

    Attributes
    ----------
    moving : tuple of str
        The weights.
    predicted, measured : float
        Exponent k of the time eps^-k: from the powers of the logits; the slope of -log(time) against log(eps).
    scales, times : ndarray, shape (m,)
        eps, and the flow time at which the weights have moved by `growth` times their size at the start.
    """

    moving: tuple[str, ...]
    predicted: float
    measured: float
    scales: np.ndarray
    times: np.ndarray


def measure_escape(
    model: Model,
    data: Dataset,
    direction: Mapping[str, Any],
    moving: Sequence[str],
    scales: Sequence[float],
    *,
    closure: str = "exact",
    norm: str = "exact",
    growth: float = 1.0,
) -> PathEscape:
    """Measure the exponent of the time in which some weights grow while all others rest.

    Parameters
    ----------
    model : Model
        The network.
    data : Dataset
        Training data.
    direction : dict
        Weight name -> array with entries of order one; gains and the like are taken as they are.
    moving : sequence of str
        The weights that move: those of one path.
    scales : sequence of float
        Two or more values of eps; the other weights are eps times their direction.
    closure : str
        Whose flow is integrated.
    norm : {"exact", "linear"}
        How the prediction takes normalisations, see `escape_exponents`.
    growth : float
        How far the weights are to move, in units of their size at the start.

    Returns
    -------
    PathEscape
        Predicted and measured.

    Raises
    ------
    ValueError
        If there are fewer than two different positive scales, growth is not above zero, a weight is unknown, no weight
        moves from this start, or one of the times is not reached.
    """
    moving, scales = names("moving", moving), _checked(scales)
    kind_of("direction", direction, Mapping, "give a dict of weight names to arrays")
    if (growth := real("growth", growth)) <= 0.0:
        raise FieldError("growth", f"must be above zero, got {growth:g}.")
    exponents = escape_exponents(model, norm)
    flow = derive(model, closure).only(*moving)
    if not flow.moving:
        raise FieldError(
            "moving", f"has no weight that moves under the closure {closure!r}: name one that does."
        )
    direction = model.validate(direction)
    times = [_time(flow, data, model.scaled(direction, eps), growth) for eps in scales]
    slope = -float(np.polyfit(np.log(scales), np.log(times), 1)[0])
    predicted = float(min(exponents[w] for w in flow.moving))
    return PathEscape(tuple(flow.moving), predicted, slope, np.array(scales), np.array(times))


def _time(flow: Flow, data: Dataset, start: Mapping[str, np.ndarray], growth: float) -> float:
    """Flow time at which the moving weights are `growth` times their size away from their start."""
    size, speed = (joint_norm(x[w] for w in flow.moving) for x in (start, evaluate_flow(flow, data, start)))
    if not size or not speed:
        still = "start at zero" if not size else "do not move from this start"
        raise ValueError(
            f"{', '.join(flow.moving)} {still}: there is no time in which they move by their size."
        )
    scale = size / speed

    def moved(t: float, weights: Mapping[str, np.ndarray]) -> float:
        return joint_norm(weights[w] - start[w] for w in flow.moving) / size - growth

    trajectory = integrate(
        flow, data, start, MOST_TIMES * scale, 2, RTOL, events=Event(moved, True, name="moved"), throw=False
    )
    if not len(found := trajectory.events["moved"]):
        raise ValueError(
            f"{', '.join(flow.moving)} have not moved by {growth:g} times their size up to "
            f"t = {trajectory.t[-1]:.3g}: ask for less growth."
        )
    return float(found[0])


def _checked(scales: Sequence[float]) -> list[float]:
    """Two or more different positive numbers."""
    several = not isinstance(scales, str) and getattr(scales, "ndim", 1) == 1
    listed = isinstance(scales, Sequence | np.ndarray) and several
    found = [real("scales", eps) for eps in scales] if listed else []
    if len(set(found)) < 2 or min(found) <= 0.0:
        raise FieldError("scales", f"must be two or more different positive numbers, got {brief(scales)}.")
    return found
