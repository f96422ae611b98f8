"""One decoder on a mixture of two corpora: the settings of a training of figure 7, and its curves by epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ....sim.forecast.starts.scale_rows import GPT2_WIDTH
from ....sim.forecast.starts.start_scales import matched_exponent
from ....sim.trajectory.trajectory import Trajectory
from ....theory.base.arrays import cosine_matrix, off_diagonal
from ....theory.data.dataset import Dataset
from ....theory.models.decoder import Decoder
from ...training.train import train
from .text_runs import CORPORA, Corpora, mixture


@dataclass(frozen=True)
class TextTraining:
    """Corpora, decoder and AdamW at a constant rate, without decay: what a training of figure 7 is made of.

    Attributes
    ----------
    documents : int
        Most of each corpus, each the beginning of a window of `n_ctx` words.
    held_out : int
        Further documents of each corpus, which are measured and not trained on.
    vocabulary : int
        Most words.
    epochs : int
        In an epoch as many windows are drawn as are trained on.
    saved : int
        How many moments are measured.
    convention, norm, norm_eps, tied
        As `Decoder` and its `init` take them.
    """

    documents: int
    held_out: int
    vocabulary: int
    n_ctx: int
    d_model: int
    d_head: int
    d_mlp: int
    epochs: int
    saved: int
    learning_rate: float
    batch_size: int
    n_layers: int = 2
    n_heads: int = 1
    convention: str = "d_model"
    norm: str | None = "pre"
    norm_eps: float = 1e-5
    tied: bool = False
    device: str = "cpu"

    def data(self, corpora: Corpora) -> Dataset:
        """The mixture."""
        return mixture(corpora, self.documents, self.n_ctx, self.vocabulary, self.held_out)

    def model(self, data: Dataset) -> Decoder:
        """The decoder: next-token loss at every position."""
        return Decoder(
            data.d_vocab, self.d_model, self.d_head, self.d_mlp, data.n_ctx, self.n_layers, self.n_heads,
            norm=self.norm, norm_eps=self.norm_eps, tied=self.tied, activation="gelu", predict="all",
        )  # fmt: skip

    def steps_an_epoch(self, data: Dataset) -> float:
        """Optimizer steps in which as many windows are drawn as are trained on."""
        return int((~data.held_out).sum()) / self.batch_size

    def save_at(self, data: Dataset) -> np.ndarray:
        """Steps that are measured, denser at the beginning, where the losses fall."""
        last = round(self.epochs * self.steps_an_epoch(data))
        return np.unique(np.rint(last * np.linspace(0.0, 1.0, self.saved) ** 2)).astype(np.int64)

    def exponent(self, gamma: float) -> float:
        """Exponent at this width that keeps std x sqrt(width) of `gamma` at GPT-2's."""
        return matched_exponent(gamma, GPT2_WIDTH, self.d_model)

    def start(self, data: Dataset, gamma: float, seed: int) -> dict[str, np.ndarray]:
        """Initial weights, scaled as `gamma` scales GPT-2's."""
        return self.model(data).init(self.exponent(gamma), seed, convention=self.convention)

    def train(self, data: Dataset, gamma: float, seed: int, **state: Any) -> Trajectory:
        """Train in float32; `state` is what `resumable` gives."""
        return train(
            self.model(data), data, self.start(data, gamma, seed), "adamw", self.learning_rate,
            int(self.save_at(data)[-1]), self.save_at(data), batch_size=self.batch_size, seed=seed,
            dtype="float32", device=self.device, measure_on=data, **state,
        )  # fmt: skip


def text_curves(trained: Trajectory, data: Dataset) -> dict[str, np.ndarray]:
    """What is drawn of a training, each at the saved steps (n_t,).

    Returns
    -------
    dict
        "loss/NAME", the training loss of a corpus in nats, "held out/NAME", that of its documents that are not trained
        on, if there are any, and "cosine/NAME", the mean cosine between the embeddings of its own words.
    """
    found = {f"loss/{name}": np.asarray(trained[f"loss/{name}-train"]) for name in CORPORA}
    if data.held_out.any():
        found |= {f"held out/{name}": np.asarray(trained[f"loss/{name}-test"]) for name in CORPORA}
    for name in CORPORA:
        words = data.token_groups.get(name, np.array([], dtype=np.int64))
        found[f"cosine/{name}"] = np.array([mean_cosine(w[words]) for w in trained.weights["W_E"]])
    return found


def mean_cosine(rows: np.ndarray) -> float:
    """Mean over pairs of different rows (m, d); nan of fewer than two."""
    return float(off_diagonal(cosine_matrix(rows)).mean()) if len(rows) > 1 else float("nan")
