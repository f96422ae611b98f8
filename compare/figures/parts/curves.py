"""What the figures of the full decoder share: regimes, in small as at the paper's size, runs, bands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import sqrt
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ....sim.forecast.starts.start_scales import matched_exponent
from ....sim.optimizers.optimizer import AdamW
from ....sim.optimizers.schedule import WarmupCosine
from ....sim.trajectory.trajectory import Trajectory
from ....theory.data.dataset import Dataset
from ....theory.data.interventions import subset
from ....theory.data.tasks import CompositeTask
from ....theory.models.decoder import Decoder
from ...training.decoders.closure_decoder import ClosureDecoder
from ...training.train import train

# Added to a seed for the minibatches of a closure; its multiples are for those of redrawn trainings.
OTHER = 100_000
LEARNT = 0.75  # of the entropy of a group's labels: below it a network knows more than their frequencies


@dataclass(frozen=True)
class Regime:
    """Task, decoder and training of a figure; what arXiv 2502.04375 leaves open is chosen here.

    Reported there: keys, anchors, length, 200,000 pairs, width 200, batch 100, AdamW. Open, and chosen as in the public
    code of its authors' group: standard deviations d_model^-gamma, LayerNorm before each half of a block and at the
    end, biases, GELU, a hidden layer three times as wide, warm-up and cosine, clipping at 1. Biases start at zero here.

    A figure in small is the paper's at another width, see `small` and `narrowed`.
    """

    keys: tuple[int, int]
    memory_anchors: tuple[int, int]
    reasoning_anchors: tuple[int, int]
    pairs: int
    d_model: int
    d_head: int
    d_mlp: int
    steps: int
    warmup: int
    learning_rate: float
    length: int = 9
    weight_decay: float = 0.1
    batch_size: int = 100
    clip: float = 1.0
    n_layers: int = 2
    n_heads: int = 1
    norm: str | None = "pre"
    activation: str = "gelu"
    biases: bool = True
    convention: str = "d_model"
    width_of_gamma: int = 200  # the exponents are those of a network of this width: the paper's
    device: str = "cpu"
    # Rows of each group whose losses are measured: all of them would take longer than training.
    measured: int = 2000

    def narrowed(self, d_model: int, learning_rate: float, **more: Any) -> Regime:
        """Return the same regime at another width and rate, the starting scale and the total motion kept.

        What a layer does to a vector goes as standard deviation x sqrt(width). That product stays, through
        `exponent`; and so does rate x steps over the standard deviation, for every gamma at once: the product
        of rate and steps grows by the square root of the ratio of the widths.
        """
        longer = sqrt(self.d_model / d_model) * self.learning_rate / learning_rate
        steps, warmup = round(self.steps * longer), round(self.warmup * longer)
        return replace(
            self,
            d_model=d_model,
            learning_rate=learning_rate,
            steps=steps,
            warmup=warmup,
            device="cpu",
            **more,
        )

    def small(self, learning_rate: float, **more: Any) -> Regime:
        """Return the same regime at the width of the figures in small."""
        return self.narrowed(64, learning_rate, d_head=32, d_mlp=192, measured=500, **more)

    def exponent(self, gamma: float) -> float:
        """Exponent at which std x sqrt(d_model) is what `gamma` makes of it at the width of the exponents."""
        return matched_exponent(gamma, self.width_of_gamma, self.d_model)

    def task(self, seed: int) -> CompositeTask:
        """Return the composite task; two ordered pairs of reasoning anchors, as the paper's, are held out."""
        first = self.reasoning_anchors[0]
        keys, memory, reasoning = (
            range(a, b + 1) for a, b in (self.keys, self.memory_anchors, self.reasoning_anchors)
        )
        masked = ((first, first + 2), (first + 2, first))
        return CompositeTask(keys, memory, reasoning, length=self.length, masked=masked, seed=seed)

    def model(self, data: Dataset) -> Decoder:
        """Return the decoder for some data."""
        return Decoder(
            data.d_vocab,
            self.d_model,
            self.d_head,
            self.d_mlp,
            data.n_ctx,
            self.n_layers,
            self.n_heads,
            self.norm,
            biases=self.biases,
            activation=self.activation,
        )

    def start(self, data: Dataset, gamma: float, seed: int) -> dict[str, np.ndarray]:
        """Return the initial weights."""
        return self.model(data).init(self.exponent(gamma), seed, self.convention)

    def train(
        self, data: Dataset, gamma: float, seed: int, save_at: Any, keep: str = "observables", **state: Any
    ) -> Trajectory:
        """Train; `state` is what `resumable` gives."""
        return self._run(self.model(data), data, gamma, seed, save_at, keep, seed, self.steps, **state)

    def predict(
        self, closure: str, data: Dataset, gamma: float, seed: int, save_at: Any, keep: str = "observables",
        **state: Any,
    ) -> Trajectory:  # fmt: skip
        """Move a closure as training moves the network, from the same weights, up to the last of `save_at`.

        Minibatches are drawn with another seed: nothing of a training run is known but its initial weights. `state`
        is what `resumable` gives.
        """
        model = ClosureDecoder.of(self.model(data), closure)
        return self._run(model, data, gamma, seed, save_at, keep, seed + OTHER, int(max(save_at)), **state)

    def redraw(
        self, number: int, data: Dataset, gamma: float, seed: int, save_at: Any, **state: Any
    ) -> Trajectory:
        """Train again from the same weights, up to the last of `save_at`, with other minibatches for every number."""
        drawn = seed + (number + 2) * OTHER
        end = int(max(save_at))
        return self._run(self.model(data), data, gamma, seed, save_at, "observables", drawn, end, **state)

    def _run(
        self, model: Decoder, data: Dataset, gamma: float, seed: int, save_at: Any, keep: str, drawn: int,
        steps: int, **state: Any,
    ) -> Trajectory:  # fmt: skip
        return train(
            model,
            data,
            self.start(data, gamma, seed),
            AdamW(
                self.learning_rate,
                weight_decay=self.weight_decay,
                schedule=WarmupCosine(self.warmup, self.steps),
            ),
            steps=steps,
            save_at=save_at,
            batch_size=min(self.batch_size, int((~data.held_out).sum())),
            seed=drawn,
            clip=self.clip,
            device=self.device,
            dtype="float32",
            keep=keep,
            measure_on=some_of(data, self.measured, seed),
            **state,
        )

    def record(self, seeds: Sequence[int], **more: Any) -> dict[str, Any]:
        """Everything chosen, JSON-able."""
        chosen = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        return (
            chosen
            | {"optimizer": "adamw", "schedule": "warm-up, cosine to a tenth", "seeds": list(seeds)}
            | more
        )


# 20,000 steps are 10 of the 1000 epochs that the paper reports, at one of its rates.
PAPER = Regime(
    keys=(21, 120),
    memory_anchors=(1, 10),
    reasoning_anchors=(11, 20),
    pairs=200_000,
    d_model=200,
    d_head=64,
    d_mlp=600,
    steps=20_000,
    warmup=1000,
    learning_rate=1e-4,
    device="auto",
)


def dense_then_even(first: int, steps: int, points: int) -> np.ndarray:
    """Steps to save at: `points` even ones up to `first`, where theory is laid over, and as many up to the end."""
    return np.unique(np.rint(np.r_[np.linspace(0, first, points), np.linspace(first, steps, points)])).astype(
        int
    )


def some_of(data: Dataset, most: int, seed: int) -> Dataset:
    """Return at most that many rows of each group, drawn at random; training groups keep their shares."""
    keep = np.zeros(len(data), dtype=bool)
    rng = np.random.default_rng([seed, 3])
    for group in data.group_names:
        rows = np.flatnonzero(data.groups == group)
        keep[rng.choice(rows, min(most, len(rows)), replace=False)] = True
    return subset(data, keep)


def band(ax: Axes, x: np.ndarray, curves: np.ndarray, colour: str, label: str = "", line: Any = "-") -> None:
    """Draw the median of curves (n_seeds, n_t) over their range."""
    ax.fill_between(x, curves.min(axis=0), curves.max(axis=0), color=colour, alpha=0.2, lw=0)
    ax.plot(x, np.median(curves, axis=0), color=colour, ls=line, label=label)
