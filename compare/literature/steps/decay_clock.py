"""Weight decay as a change of clock: whether a homogeneous leading flow still blows up, and when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import sympy as sp

from ....sim.ode.outcome import Outcome, Status
from ....sim.optimizers.optimizer import GD
from ....theory import exact
from ....theory.algebra.matrices import product
from ....theory.algebra.nodes import Matrix
from ....theory.data.dataset import Dataset
from ....theory.data.inputs import COUNTS, weight
from ....theory.flows.flow import Flow, derive
from ....theory.flows.symmetry.invariants import Invariant
from ....theory.models.model import Model
from ..claim import Claim, Finding, judged
from ..equations import LEADING_ORDER

DEGREES, SHARES = (3, 4), np.linspace(0.3, 1.7, 10)
WITHIN, KEPT_WITHIN = 1e-7, 1e-6
HORIZON, STEPS, DECAY = 1e9, 2000, 0.3
Weights = dict[str, np.ndarray]


@dataclass(frozen=True)
class Chain(Model):
    """Sum of embeddings through a chain of linear layers: the product of `depth` weights, of as many dimensions."""

    depth: int

    @property
    def weight_symbols(self) -> tuple[sp.MatrixSymbol, ...]:
        """W_1 .. W_L."""
        sizes = ["d_vocab", *[3] * (self.depth - 1), "d_vocab"]
        return tuple(weight(f"W_{k + 1}", *sizes[k : k + 2]) for k in range(self.depth))

    @property
    def logits(self) -> Matrix:
        """C W_1 .. W_L."""
        return product(COUNTS, *self.weight_symbols)


@lru_cache(maxsize=1)
def data() -> Dataset:
    """Random sequences and labels."""
    rng = np.random.default_rng(0)
    return Dataset(rng.integers(0, 5, (20, 3)), rng.integers(0, 5, 20), 5)


def ended(flow: Flow, start: Weights, decay: float = 0.0, scale: float = 1.0) -> Outcome:
    """How the flow ends, under gradient descent with decay for many times `scale`, or without."""
    from ....sim.integration.integrate import integrate

    if decay == 0.0:
        return integrate(flow, data(), start, t1=HORIZON, save_at=1, rtol=1e-9).outcome
    return integrate(
        flow, data(), start, steps=STEPS, optimizer=GD(0.01 * scale, weight_decay=decay), method="flow", save_at=1,
        rtol=1e-9, discrete_start=0,
    ).outcome  # fmt: skip


def clock_claim(stated: Callable[[int, float, float], float] = exact.homogeneous_decayed_blow_up) -> Claim:
    """Blow-up iff tau* < 1/((L - 2) lambda), at t = -log(1 - (L - 2) lambda tau*)/((L - 2) lambda)."""

    def test() -> Finding:
        right, worst = 0, 0.0
        for degree in DEGREES:
            flow = derive(Chain(5, degree), "leading")
            for seed, share in enumerate(SHARES):
                rng = np.random.default_rng(seed)
                start = {name: rng.normal(size=shape) for name, shape in flow.model.weights.items()}
                tau = ended(flow, start).t
                decay = float(share) / (degree - 2) / tau
                said, found = stated(degree, tau, decay), ended(flow, start, decay, tau)
                right += np.isfinite(said) == (found.status is Status.BLOW_UP)
                if np.isfinite(said) and found.status is Status.BLOW_UP:
                    worst = max(worst, abs(said / found.t - 1.0))
        count = len(DEGREES) * len(SHARES)
        return judged(
            right == count and worst < WITHIN,
            f"blow-up or none as stated from {right} of {count} random starts with (L - 2) lambda tau* from "
            f"{SHARES[0]:g} to {SHARES[-1]:g}; times within {worst:.1e}",
            right=right,
            starts=count,
            difference=worst,
        )

    return Claim(
        "F decay",
        "this package; L = 3: arXiv 2509.20124",
        LEADING_ORDER
        + "a flow of degree L that blows up at tau* does so with weight decay lambda if and only if tau* < "
        "1/((L - 2) lambda), at t = -log(1 - (L - 2) lambda tau*)/((L - 2) lambda)",
        f"chains of L = {' and '.join(map(str, DEGREES))} linear layers, one decay for all weights, gradient descent "
        "in the limit of small rates",
        f"its flow with decay, integrated on both sides of the threshold; times within {WITHIN:.0e}",
        test,
    )


def falling_balances() -> tuple[list[Invariant], np.ndarray]:
    """What a chain of three is proved to keep but for decay, and the rates over the decay at which it falls."""
    from ....sim.compile.logits import value
    from ....sim.integration.integrate import integrate

    flow, rng = derive(Chain(5, 3), "leading"), np.random.default_rng(0)
    start = {name: 0.1 * rng.normal(size=shape) for name, shape in flow.model.weights.items()}
    rule = GD(0.02, weight_decay=DECAY)
    kept = [i for i in flow.under(rule).conserved if ".T" in i.name]
    path = integrate(
        flow, data(), start, steps=100, optimizer=rule, method="flow", save_at=2, rtol=1e-10, discrete_start=0
    )
    ends = [{name: w[k] for name, w in path.weights.items()} for k in (0, -1)]
    first, last = np.array(
        [[float(np.linalg.norm(value(i.expression, flow.model, w, {}))) for i in kept] for w in ends]
    )
    return kept, np.log(first / last) / path.t[-1] / DECAY


def balance_claim(factor: float = 2.0) -> Claim:
    """Under decay lambda the balances fall as exp(-2 lambda t)."""

    def test() -> Finding:
        kept, rates = falling_balances()
        proved = len(kept) == 2 and all(i.proved and i.decay == factor * DECAY for i in kept)
        return judged(
            proved and float(np.abs(rates - factor).max()) < KEPT_WITHIN,
            f"{' and '.join(i.name for i in kept)} proved to fall as exp(-{kept[0].decay / DECAY:g} lambda t); "
            f"measured {rates.min():.7f} to {rates.max():.7f}",
            smallest=rates.min(),
            largest=rates.max(),
        )

    return Claim(
        "F balances",
        "this package; balances: arXiv 1806.00900",
        f"where all weights decay alike, W_l^T W_l - W_(l+1) W_(l+1)^T falls as exp(-{factor:g} lambda t)",
        f"a chain of 3 linear layers, decay {DECAY}, gradient descent in the limit of small rates",
        f"a symmetry of the loss proves it; the integrated flow keeps to it within {KEPT_WITHIN:.0e}",
        test,
    )


def claims() -> tuple[Claim, ...]:
    """The clock, and what it does to balances."""
    return clock_claim(), balance_claim()
