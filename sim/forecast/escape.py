"""When a small start is left, what is learnt first and how long a closure holds, from the statistics of the data.

The clock is the closure's own. Under gradient flow the closure is integrated as it stands, and steps follow from flow
time: t = learning_rate x step. Under any other optimizer, and with decay, schedules or rates of single weights, its
steps are taken on the closure's gradient: under AdamW a weight moves by about the learning rate a step, whatever the
size of its gradient, so that the clock there is displacement over learning rate.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from math import inf, isnan, nan
from typing import Any

import numpy as np

from ...theory.base.arrays import full_array
from ...theory.base.crossings import first_crossing
from ...theory.base.frozen import FrozenRecord
from ...theory.data.dataset import Dataset
from ...theory.exact.blow_up_forms import homogeneous_decayed_blow_up
from ...theory.flows.flow import Flow, derive
from ...theory.flows.powers import leading_order
from ...theory.models.model import Model
from ..compile.companions import largest_curvature
from ..compile.compiler import compile_flow, evaluate_flow
from ..compile.logits import logits
from ..integration.integrate import integrate
from ..ode.events import Event
from ..ode.outcome import Status
from ..optimizers.optimizer import GD, Momentum, Optimizer
from ..trajectory.observables import losses
from ..trajectory.trajectory import Trajectory
from .closure_errors import relative_gap
from .fall import Fall

CLOSURE = "softmax"  # linearised network, whole loss: right up to the escape and a little beyond
PART = 0.05  # of the training loss at the start: once it is gone, the start is left
RTOL = 1e-5  # of integrations
FEWEST_LOOKED, MOST_COUNTED = 2, 100_000  # steps looked for, of an optimizer or of an integrator
WORK = 4e9  # numbers that right-hand sides write in between, 15 s or so: no clock and no busy machine changes that
# Right-hand sides in a step of an integrator of high order, and of an optimizer, with one for the loss.
CALLS = (13, 2)
MOST_TIMES = 1e9  # looked for, over the time scale of the start
HOLDS = 0.1  # relative gap of gradients up to which a closure holds
LOOKS, AN_ESCAPE = 2, 4  # escapes up to which that is looked for, and how often between two
MOST_NUMBERS = 10**7  # of weights that are kept along a path
SEQUENCES = 4096  # most that are looked at
TINY = np.finfo(float).tiny


@dataclass(frozen=True, eq=False)
class Escape(FrozenRecord):
    """The first escape from a start, as a closure has it.

    Attributes
    ----------
    closure : str
        Whose it is.
    t, steps : float
        Flow time and steps at which 5 % of the training loss at the start are gone; infinite if they do not go within
        what was looked at, and steps are nan without an optimizer.
    t1, steps1 : float
        Up to where was looked.
    fallen : dict
        Group -> part of its loss that is gone by then.
    shared : float
        Part of the first fall that the mean logits of each group alone would bring: its label frequencies.
    holds : float
        Steps (flow time without an optimizer) up to which the closure's gradient is within 10 % of the exact one.
    holds_past : bool
        Whether that was to the end of what was looked at.
    curvature : float
        Largest absolute eigenvalue of the closure's Hessian at the end of that, two escapes on; only for optimizers
        whose steps it limits, GD and Momentum, else nan.
    """

    closure: str
    t: float
    steps: float
    t1: float
    steps1: float
    fallen: Mapping[str, float]
    shared: float
    holds: float
    holds_past: bool
    curvature: float = nan

    @property
    def first(self) -> str:
        """What is learnt first, in words; empty if nothing is."""
        if not self.fallen:
            return ""
        what = "which labels occur" if self.shared > 0.5 else "what tokens say of their labels"
        order = sorted(self.fallen, key=lambda group: -self.fallen[group])
        return f"{what} (of the loss are gone: {', '.join(f'{g} {self.fallen[g]:.1%}' for g in order)})"

    def sentences(self) -> Iterator[str]:
        """When, what, and how long the closure holds."""
        in_steps = not isnan(self.steps)
        if self.t == inf:
            end = f"step {self.steps1:.4g}" if in_steps else f"t = {self.t1:.4g}"
            yield "The start is never left." if self.t1 == inf else f"The start is not left up to {end}."
            return
        steps = f"step {self.steps:.4g}, " if in_steps else ""
        yield f"First escape ({PART:.0%} of the loss gone): {steps}t = {self.t:.4g}, by closure {self.closure!r}."
        yield f"Learnt first: {self.first}."
        if not isnan(self.holds):
            until = f"step {self.holds:.4g}" if in_steps else f"t = {self.holds:.4g}"
            yield f"The closure's gradient is within {HOLDS:.0%} up to {until}{' at least' * self.holds_past}."

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain values."""
        return {
            f.name: dict(v) if isinstance(v := getattr(self, f.name), Mapping) else v for f in fields(self)
        }


def predict_escape(
    model: Model,
    data: Dataset,
    start: Mapping[str, np.ndarray],
    optimizer: Optimizer | None = None,
    *,
    when_only: bool = False,
) -> Escape:
    """Predict the first escape from a start by the softmax closure.

    Parameters
    ----------
    model : Model
        With symbolic logits.
    data : Dataset
        Training data.
    start : dict
        Initial weights, validated.
    optimizer : Optimizer or None
        What will move the weights; None for gradient flow.
    when_only : bool
        Leave out what is learnt first, how long the closure holds and the curvature.

    Returns
    -------
    Escape
        Infinite times where the start is not left within what was looked at, `t1` and `steps1`: 1e9 time scales of the
        start, and as many steps, 2 to 100,000, as write 4e9 numbers (15 s or so). How long that takes changes nothing.

    Raises
    ------
    ValueError
        If the model has no softmax closure, or the optimizer has rates of weights that there are not.
    """
    flow, unit = derive(model, CLOSURE), _flow_time_a_step(optimizer)
    mover = None if unit else optimizer
    if _decay_wins(model, data, start, optimizer):
        return Escape(flow.closure, inf, inf, inf, inf, {}, nan, nan, False)
    path = _until_escaped(flow, data, start, mover)
    escaped, t = path.outcome.status is Status.EVENT, float(path.outcome.t)
    steps = _steps(t, optimizer, unit)
    fallen, shared, held, past, curved = {}, nan, nan, False, nan
    if escaped and not when_only:
        fallen, shared = _fallen(path, data), _shared(path, model, data)
    if escaped and not when_only and sum(w.size for w in start.values()) <= MOST_NUMBERS:
        onwards = _onwards(flow, data, start, mover, steps if mover else t)
        held, past = _holds(onwards, model, data)
        held = held / unit if unit else held
        if isinstance(optimizer, GD | Momentum):
            curved = largest_curvature(flow, data, onwards.state(-1))
    ends = (t, steps) if escaped else (inf, nan if isnan(steps) else inf)
    return Escape(flow.closure, *ends, t, steps, fallen, shared, held, past, curved)


def _steps(t: float, optimizer: Optimizer | None, unit: float) -> float:
    """Steps that a flow time takes; nan without an optimizer."""
    if optimizer is None or unit:
        return t / unit if unit else nan
    clock = optimizer.clock(MOST_COUNTED)
    return float(np.interp(t, clock.times, np.arange(MOST_COUNTED + 1)))


def _decay_wins(
    model: Model, data: Dataset, start: Mapping[str, np.ndarray], optimizer: Optimizer | None
) -> bool:
    """Whether decay keeps gradient descent at a small start for good.

    On a leading flow of degree L > 2 the decay lambda is a change of clock, tau = (1 - e^(-(L-2) lambda t)) / ((L-2)
    lambda): what happens at tau* without decay never happens if tau* >= 1 / ((L-2) lambda).
    """
    if not isinstance(optimizer, GD | Momentum) or optimizer.rates or optimizer.decays:
        return False
    decay, degree = optimizer.weight_decay, leading_order(model)
    if decay == 0.0 or degree < 3:
        return False
    free = predict_escape(model, data, start, when_only=True).t
    return free < inf and homogeneous_decayed_blow_up(degree, free, decay) == inf


def _flow_time_a_step(optimizer: Optimizer | None) -> float:
    """Flow time of a step of plain gradient descent, which is gradient flow but for its discrete steps; else 0."""
    if not isinstance(optimizer, GD) or optimizer.schedule is not None or optimizer.rates:
        return 0.0
    decays = optimizer.weight_decay or any(optimizer.decays.values())
    return 0.0 if decays else optimizer.learning_rate


def _without_end(optimizer: Optimizer) -> Optimizer:
    """The same schedule as a function of the step: that it ends before these many steps is no news."""
    factor = getattr(optimizer.schedule, "factor", optimizer.schedule)
    return replace(optimizer, schedule=factor)


def _until_escaped(flow: Flow, data: Dataset, start: Any, optimizer: Optimizer | None) -> Trajectory:
    """The closure from a start to the escape, if it comes."""
    fall, whole = (
        Fall(flow, data, start),
        float(losses(flow.model, _one(start), data, flow.closure)["loss"][0]),
    )
    event = Event(lambda t, weights: fall(weights) - PART * whole, terminal=True, name="escape")
    options: dict[str, Any] = {"events": event, "throw": False}
    most = _steps_looked(flow, data, start, CALLS[optimizer is not None])
    if optimizer is not None:
        moving = _without_end(optimizer)
        return integrate(flow, data, start, steps=most, optimizer=moving, save_at=[0, most], **options)
    t1 = MOST_TIMES * _time_scale(flow, data, start)
    return integrate(flow, data, start, t1=t1, save_at=[0.0, t1], rtol=RTOL, max_steps=most, **options)


def _steps_looked(flow: Flow, data: Dataset, start: Mapping[str, np.ndarray], calls: int) -> int:
    """How many steps of so many calls are taken at most: a call costs what it writes, weights and intermediates."""
    problem = compile_flow(flow, data, start)
    return int(np.clip(WORK // (calls * (problem.n + problem.work.size)), FEWEST_LOOKED, MOST_COUNTED))


def _axis(path: Trajectory) -> np.ndarray:
    return path.t if path.steps is None else path.steps


def _time_scale(flow: Flow, data: Dataset, start: Mapping[str, np.ndarray]) -> float:
    """Flow time in which the fastest weight would move by its own size; 1 at rest."""
    slopes = evaluate_flow(flow, data, start)
    sizes = [(np.linalg.norm(start[name]), np.linalg.norm(slope)) for name, slope in slopes.items()]
    return float(min((a / b for a, b in sizes if a > 0.0 and b > 0.0), default=1.0))


def _one(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Weights as a path of one point."""
    return {name: w[None] for name, w in weights.items()}


def _fallen(path: Trajectory, data: Dataset) -> dict[str, float]:
    """Part of each group's loss that is gone at the end."""
    model, _ = path.model_and_data()
    ends = {name: w[[0, -1]] for name, w in path.weights.items()}
    loss = losses(model, ends, data, path.closure)
    return {str(g): float(1.0 - loss[f"loss/{g}"][1] / loss[f"loss/{g}"][0]) for g in data.group_names}


def _onwards(flow: Flow, data: Dataset, start: Any, optimizer: Optimizer | None, at: float) -> Trajectory:
    """The closure's weights up to some escapes."""
    points = LOOKS * AN_ESCAPE + 1
    options: dict[str, Any] = {"throw": False}
    if optimizer is None:
        options |= {"rtol": RTOL, "max_steps": _steps_looked(flow, data, start, CALLS[0])}
        return integrate(flow, data, start, t1=LOOKS * at, save_at=points, **options)
    saves = np.unique(np.linspace(0, max(int(LOOKS * at), 1), points).astype(int))
    return integrate(
        flow, data, start, steps=int(saves[-1]), optimizer=_without_end(optimizer), save_at=saves, **options
    )


def _shared(path: Trajectory, model: Model, data: Dataset) -> float:
    """Part of the loss's first fall, sum w <labels, f>, that each group's mean logits alone would bring."""
    rows = np.flatnonzero(~data.held_out)
    rows = rows[np.unique(np.linspace(0, rows.size - 1, SEQUENCES).astype(int))]
    matrices = model.data_matrices(data, rows)
    weights = np.asarray(matrices["omega"]).ravel() / np.sum(matrices["omega"])
    f = logits(model, path.state(-1), data.sequences[rows], path.closure)
    f = f - f.mean(axis=1, keepdims=True) if f.shape[1] > 1 else f
    targets = full_array(matrices["Y"])
    if model.per_position:
        groups = np.zeros(weights.size, dtype=int)
    else:
        groups = np.unique(data.groups[rows], return_inverse=True)[1]
    means = (groups == np.arange(groups.max() + 1)[:, None]) * weights
    alone = np.sum((means @ targets) * (means @ f), axis=1) / means.sum(axis=1)
    return float(alone.sum() / (weights @ np.sum(targets * f, axis=1)))


def _holds(path: Trajectory, model: Model, data: Dataset) -> tuple[float, bool]:
    """Up to where a closure's gradient is within a part of the exact one, and whether to the end."""
    kept, exact = derive(model, path.closure), derive(model, "exact")
    gaps = []
    for i in range(len(path)):
        weights = path.state(i)
        gaps.append(relative_gap(*(evaluate_flow(flow, data, weights) for flow in (kept, exact))))
        if gaps[-1] > HOLDS:
            break
    axis = _axis(path)[: len(gaps)]
    if gaps[-1] <= HOLDS:
        return float(axis[-1]), True
    return float(first_crossing(axis, np.array(gaps), HOLDS, rising=True)) if gaps[0] < HOLDS else 0.0, False
