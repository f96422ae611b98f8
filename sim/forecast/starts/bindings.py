"""What of a start binds: each check compares one number with a limit, and names the one to change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import exp, inf, isfinite, log, sqrt

import numpy as np

from ....theory.flows.powers import leading_order
from ...optimizers.optimizer import GD, AdamW, Momentum, Optimizer, SignGD, Spectral
from .signals import largest_norm_eps
from .start_scales import LARGE, StartScales, rms

EPS = 0.3  # over what it is added to
SWAMPS = 2.0  # positions over tokens
UNEVEN = 10.0  # gains of two weights
ORDER_ONE = 1.5  # rms of signals
FORGETS = 0.5  # part of a weight that one step moves
DELAY = 2.0  # of the escape by decay
FEW = 10.0  # times too few steps: more of them is a remedy up to there
UNSTABLE = (
    5.0  # rate over the largest stable one, 2 / curvature, which descent finds its way around when it is near
)
ENOUGH = 3.0  # times the escape, that something is learnt


@dataclass(frozen=True)
class Binding:
    """One thing that a start should not have.

    Attributes
    ----------
    name : str
        "norm_eps", "adam_eps", "positions", "gamma", "activations", "attention", "logits", "balance",
        "learning_rate", "weight_decay" or "steps".
    value, limit : float
        What was found, and what it should stay below.
    reason : str
        The finding, in a clause.
    change : tuple of (str, float)
        The number to change, and about what to.
    """

    name: str
    value: float
    limit: float
    reason: str
    change: tuple[str, float]

    @property
    def severity(self) -> float:
        """Logarithm of the value over its limit."""
        return log(self.value / self.limit) if self.value < inf else inf

    def __str__(self) -> str:
        """The finding with its remedy."""
        return f"{self.reason}; change {self.change[0]} to about {self.change[1]:.2g}"


def strongest_decay(optimizer: Optimizer) -> tuple[str, float]:
    """The largest decay of any weight, and the name of the setting that it comes from."""
    own = {f"decays[{name!r}]": decay for name, decay in optimizer.decays.items()}
    every = {"weight_decay": optimizer.weight_decay} | own
    name = max(every, key=every.__getitem__)
    return name, every[name]


def find_bindings(start: StartScales) -> tuple[Binding, ...]:
    """What binds, the worst first; a scale that is too large as a whole comes before what follows from it."""
    found = [b for check in CHECKS for b in check(start) if b.value > b.limit]
    symptoms = ("activations", "attention", "logits")
    whole = any(b.name == "gamma" for b in found) and start.regime == "large"
    return tuple(sorted(found, key=lambda b: (whole and b.name in symptoms, -b.severity)))


def norm_eps(start: StartScales) -> Iterator[Binding]:
    """A norm's eps against the mean square that it is added to: above it, the norm is a mere factor eps^(-1/2)."""
    variances = {block: float(np.mean(v)) for (block, kind), v in start.signals.items() if kind == "variance"}
    if not variances:
        return
    block, least = min(variances.items(), key=lambda item: item[1])
    eps = largest_norm_eps(start.model)
    reason = (
        f"eps {eps:.1e} of the norm outweighs the mean square {least:.1e} in {block}: it no longer normalises"
    )
    yield Binding("norm_eps", _over(eps, least), EPS, reason, ("norm_eps", least / 100.0))


def adam_eps(start: StartScales) -> Iterator[Binding]:
    """Adam's eps against the largest rms gradient: above it, steps shrink with the gradient as those of GD do."""
    sizes = [rms(g) for g in start.gradient.values()]
    if not isinstance(start.optimizer, AdamW | SignGD) or not max(sizes, default=0.0):
        return
    eps, largest = start.optimizer.eps, max(sizes)
    reason = (
        f"eps {eps:.1e} of the optimizer outweighs gradients of {largest:.1e}: steps shrink with the gradient"
    )
    yield Binding("adam_eps", eps / largest, EPS, reason, ("eps", largest / 1000.0))


def positions(start: StartScales) -> Iterator[Binding]:
    """Positions against tokens, which they are added to."""
    if "W_pos" not in start.weights or "W_E" not in start.weights:
        return
    place, token = rms(start.weights["W_pos"]), rms(start.weights["W_E"])
    reason = f"positions ({place:.1e}) outweigh the tokens ({token:.1e}) that they are added to"
    yield Binding("positions", _over(place, token), SWAMPS, reason, ("the std of W_pos", token))


def too_large(start: StartScales) -> Iterator[Binding]:
    """The scale as a whole."""
    reason = f"the weights are large (std x sqrt(width) {start.gain:.2g}): no closure holds from the start"
    yield Binding("gamma", start.gain, LARGE, reason, ("gamma", 0.5))


def order_one(start: StartScales) -> Iterator[Binding]:
    """Signals that should be small beside 1: pre-activations, scores, logits."""
    said = {
        "activations": ("pre-activations", "saturate the activation"),
        "attention": ("scores", "keep attention from the average"),
        "logits": ("logits", "are not those of a start that knows nothing"),
    }
    for name, (kind, what) in said.items():
        size = start.largest(kind)
        reader = _reader(start, kind)
        yield Binding(
            name, size, ORDER_ONE, f"{kind} of rms {size:.2g} {what}",
            (f"the std of {reader}", float(np.std(start.weights[reader])) * 0.3 / max(size, 1e-300)),
        )  # fmt: skip


def balance(start: StartScales) -> Iterator[Binding]:
    """Gains of single weights against one another: the differences of their squares are conserved."""
    gains = {name: g for name, g in start.gains.items() if g > 0.0}
    if len(gains) < 2:
        return
    low, high = min(gains, key=gains.__getitem__), max(gains, key=gains.__getitem__)
    middle = exp(float(np.median([log(g) for g in gains.values()])))
    odd = max((low, high), key=lambda name: abs(log(gains[name] / middle)))
    reason = (
        f"layers are uneven: std x sqrt(width) is {gains[low]:.2g} in {low} and {gains[high]:.2g} in {high}"
    )
    to = middle / sqrt(start.model.width(odd))
    yield Binding("balance", gains[high] / gains[low], UNEVEN, reason, (f"the std of {odd}", to))


def learning_rate(start: StartScales) -> Iterator[Binding]:
    """What a first step does to the weights, relative to them."""
    o = start.optimizer
    if o is None:
        return
    parts = {}
    for name in start.gains:
        size, g = float(np.std(start.weights[name])), start.gradient.get(name)
        if g is not None and size > 0.0:
            parts[name] = o.learning_rate * o.rates.get(name, 1.0) * _direction(o, g) / size
    if not parts:
        return
    worst = max(parts, key=parts.__getitem__)
    reason = f"one step moves {worst} by {parts[worst]:.2g} of its size: the start is forgotten at once"
    to = o.learning_rate * 0.1 * FORGETS / max(parts[worst], 1e-300)
    yield Binding("learning_rate", parts[worst], FORGETS, reason, ("learning_rate", to))


def weight_decay(start: StartScales) -> Iterator[Binding]:
    """What decay does to the first escape."""
    if start.optimizer is None or start.escape is None or start.free is None or start.free.t == inf:
        return
    late, free = start.escape.t, start.free.t
    name, decay = strongest_decay(start.optimizer)
    what = "never comes" if late == inf else f"comes {late / free:.2g} times as late"
    reason = (
        f"decay {decay:g} beats growth: without it the first escape is at t = {free:.3g}, with it it {what}"
    )
    yield Binding("weight_decay", late / free, DELAY, reason, (name, 0.1 / free))


def unstable(start: StartScales) -> Iterator[Binding]:
    """The rate of gradient descent against the largest one at which it does not swing up, 2 / curvature."""
    o, e = start.optimizer, start.escape
    if e is None or not isinstance(o, GD | Momentum) or not e.curvature > 0.0:
        return
    stable = _largest_stable(start)
    reason = (
        f"a learning rate of {o.learning_rate:.3g} is beyond {stable:.2g}, where the curvature two escapes on, "
        f"{e.curvature:.2g}, makes steps swing up"
    )
    yield Binding(
        "learning_rate", o.learning_rate / stable, UNSTABLE, reason, ("learning_rate", 0.25 * stable)
    )


def _largest_stable(start: StartScales) -> float:
    """Learning rate up to which descent is stable; infinite where nothing is known of the curvature."""
    o, e = start.optimizer, start.escape
    if e is None or not e.curvature > 0.0:
        return inf
    return 2.0 * (1.0 + o.momentum if isinstance(o, Momentum) else 1.0) / e.curvature


def too_slow(start: StartScales) -> Iterator[Binding]:
    """Steps until the escape against those there will be."""
    e, steps, o = start.escape, start.steps, start.optimizer
    if e is None or o is None or steps is None or (start.free is not None and start.free.t < e.t / DELAY):
        return
    if e.steps == inf and e.steps1 < steps and not isfinite(start.due):
        return  # nothing was seen of the rest of the run
    ratio = e.steps / steps
    needed = f"beyond {e.steps1:.3g}" if e.steps == inf else f"at {e.steps:.3g}"
    reason = f"the first escape is {needed} steps and there are {steps}"
    rate = ENOUGH * start.due / steps if isfinite(start.due) else ENOUGH * o.learning_rate * min(ratio, 1e3)
    if ratio <= FEW:
        yield Binding("steps", ratio, 1.0, reason, ("steps", ENOUGH * e.steps))
    elif not isinstance(o, GD | Momentum) or (isfinite(start.due) and rate <= _largest_stable(start)):
        if rate > o.learning_rate:  # else it is too large, and steps go to and fro
            yield Binding("learning_rate", ratio, 1.0, reason, ("learning_rate", rate))
    else:
        yield Binding(
            "gamma", ratio, 1.0, f"weights are too small: {reason}", ("gamma", _faster(start, ratio))
        )


def _faster(start: StartScales, ratio: float) -> float:
    """Gamma at which the escape, which goes as the scale to the power 2 - L, comes three times early enough."""
    degree = leading_order(start.model)
    if degree < 3 or ratio == inf:
        return 0.5
    return max(0.5, start.gamma - log(ENOUGH * ratio) / (degree - 2) / log(start.mean_width))


def _direction(o: Optimizer, g: np.ndarray) -> float:
    """Rms of a step along a gradient that stays, over the learning rate."""
    if isinstance(o, Spectral):
        return 1.0 / sqrt(max(g.shape)) if np.any(g) else 0.0
    if isinstance(o, AdamW | SignGD):
        return rms(np.abs(g) / (np.abs(g) + max(o.eps, 1e-300)))
    return rms(g) / (1.0 - o.momentum if isinstance(o, Momentum) else 1.0)


def _reader(start: StartScales, kind: str) -> str:
    """The weight whose scale a kind of signal goes by."""
    wanted = {"pre-activations": ("W_in",), "scores": ("W_QK", "W_Q")}.get(kind, ())
    named = [name for name in start.weights if any(w in name for w in wanted)]
    return (named or list(start.gains))[0 if named else -1]


def _over(a: float, b: float) -> float:
    return a / b if b > 0.0 else inf if a > 0.0 else 0.0


CHECKS: tuple[Callable[[StartScales], Iterator[Binding]], ...] = (
    norm_eps, adam_eps, positions, too_large, order_one, balance, learning_rate, unstable, weight_decay,
    too_slow,
)  # fmt: skip
