"""What the figures of the full decoder share: regimes, runs over seeds, times read off curves, bands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes

from ....sim.optimizers.schedule import WarmupCosine
from ....sim.trajectory.trajectory import Trajectory
from ....theory.data.dataset import Dataset
from ....theory.data.interventions import subset
from ....theory.data.tasks import CompositeTask
from ....theory.models.decoder import Decoder
from ...plots.panels import GROUP_COLOURS as GROUP_COLOURS
from ...plots.panels import label_entropy as label_entropy
from ...training.train import train

LEARNT = 0.75  # of the entropy of a group's labels: below it a network knows more than their frequencies


class _Recipe(Protocol):
    """What a decoder's training takes besides model and data; rates per step, decay per unit of flow time."""

    @property
    def learning_rate(self) -> float: ...
    @property
    def steps(self) -> int: ...
    @property
    def warmup(self) -> int: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def weight_decay(self) -> float: ...
    @property
    def clip(self) -> float: ...
    @property
    def device(self) -> str: ...


def train_decoder(
    recipe: _Recipe, model: Decoder, data: Dataset, gamma: float, seed: int, save_at: Any, **more: Any
) -> Trajectory:
    """Train from A2's initialisation with AdamW, warm-up, cosine and clipping, in float32: curves need no more."""
    return train(
        model,
        data,
        model.init(gamma, seed),
        "adamw",
        recipe.learning_rate,
        recipe.steps,
        save_at,
        batch_size=min(recipe.batch_size, int((~data.held_out).sum())),
        seed=seed,
        weight_decay=recipe.weight_decay,
        schedule=WarmupCosine(recipe.warmup, recipe.steps),
        clip=recipe.clip,
        device=recipe.device,
        dtype="float32",
        **more,
    )


@dataclass(frozen=True)
class Regime:
    """Task, decoder and training of a figure; what arXiv 2502.04375 leaves open is chosen here.

    Reported there: keys, anchors, length, 200,000 pairs, width 200, batch 100, AdamW. Open: widths of head and hidden
    layers, LayerNorm, activation, weight decay, schedule, clipping; and 1000 epochs are more than these curves need.
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
    device: str = "cpu"
    measured: int = (
        2000  # rows of each group whose losses are measured: all of them would take longer than training
    )

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
            activation=self.activation,
        )

    def train(
        self, data: Dataset, gamma: float, seed: int, save_at: Any, keep: str = "observables", **state: Any
    ) -> Trajectory:
        """Train from A2's initialisation; `state` is what `resumable` gives."""
        seen = some_of(data, self.measured, seed)
        return train_decoder(
            self, self.model(data), data, gamma, seed, save_at, keep=keep, measure_on=seen, **state
        )

    def record(self, seeds: Sequence[int], **more: Any) -> dict[str, Any]:
        """Everything chosen, JSON-able."""
        chosen = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        return (
            chosen
            | {"optimizer": "adamw", "schedule": "warm-up, cosine to a tenth", "seeds": list(seeds)}
            | more
        )


SMALL = Regime(
    keys=(11, 30),
    memory_anchors=(1, 5),
    reasoning_anchors=(6, 10),
    pairs=4000,
    d_model=64,
    d_head=32,
    d_mlp=128,
    steps=2000,
    warmup=100,
    learning_rate=1e-3,
)
PAPER = Regime(
    keys=(21, 120),
    memory_anchors=(1, 10),
    reasoning_anchors=(11, 20),
    pairs=200_000,
    d_model=200,
    d_head=64,
    d_mlp=800,
    steps=200_000,
    warmup=2000,
    learning_rate=1e-4,
    weight_decay=0.01,
    device="auto",
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
