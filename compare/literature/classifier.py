"""The small attention classifier on which the first stage of arXiv 2510.06954 is tested."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ...theory.data.dataset import Dataset
from ...theory.flows.flow import Flow, derive
from ...theory.models.model import Model
from ...theory.models.scalar_classifier import ScalarClassifier

MODEL = ScalarClassifier(8, 5, 3, 4)
SCALE, HORIZON = 0.01, 1e9
SETTING = (
    f"ScalarClassifier, tanh, exponential loss, 40 random sequences of 4 tokens, entries of size {SCALE}"
)
LEADING = "order=3"  # what drives the values at leading order, and nothing else
Weights = dict[str, np.ndarray]


@lru_cache(maxsize=1)
def data() -> Dataset:
    """Random sequences with two labels."""
    rng = np.random.default_rng(0)
    return Dataset(rng.integers(0, 8, (40, 4)), rng.integers(0, 2, 40), 8)


@lru_cache(maxsize=4)
def flow(model: Model = MODEL, closure: str = LEADING) -> Flow:
    """The derived flow: one object per closure, so that it is compiled once."""
    return derive(model, closure)


def start(seed: int, model: Model = MODEL) -> Weights:
    """Random weights."""
    rng = np.random.default_rng(seed)
    return {name: SCALE * rng.normal(size=shape) for name, shape in model.weights.items()}


@lru_cache(maxsize=1)
def direction() -> tuple[np.ndarray, float]:
    """Unit vector v = normalised sum_i y_i sum_j X_ij, and the norm of the mean, in whose units time is rescaled."""
    counts = data().counts.toarray() / data().n_ctx
    mean = (data().training_weights * (2.0 * data().labels - 1.0)) @ counts
    return mean / np.linalg.norm(mean), float(np.linalg.norm(mean))


def reduced(weights: Weights) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What moves in the first stage: v W_V (1, d_model), W_in, W_out."""
    v, _ = direction()
    return (v @ weights["W_V"])[None], weights["W_in"], weights["W_out"]


def energy(weights: Weights) -> float:
    """E = v W_V W_in W_out."""
    row, W_in, W_out = reduced(weights)
    return float((row @ W_in @ W_out).item())


def balanced(seed: int = 0, model: Model = MODEL) -> Weights:
    """Rank one, all three factors of size SCALE and aligned: where the bounds of the blow-up time are attained."""
    rng = np.random.default_rng(seed)
    a, b = (x / np.linalg.norm(x) for x in (rng.normal(size=5), rng.normal(size=4)))
    found = {name: np.zeros(shape) for name, shape in model.weights.items()}
    outer = {"W_V": np.outer(direction()[0], a), "W_in": np.outer(a, b), "W_out": b[:, None]}
    return found | {name: SCALE * x for name, x in outer.items()}


def blow_up_time(
    weights: Weights, of: Flow | None = None, on: Dataset | None = None, rtol: float = 1e-9
) -> float:
    """Flow time at which the first stage would end; infinity if it does not."""
    from ...sim.integration.integrate import integrate
    from ...sim.ode.outcome import Status

    end = integrate(of or flow(), on or data(), weights, t1=HORIZON, save_at=1, rtol=rtol).outcome
    return end.t if end.status is Status.BLOW_UP else float("inf")
