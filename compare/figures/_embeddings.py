"""Embeddings of one run at an early and at the last time, in training and under the softmax closure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...sim.integrate import integrate
from ...theory.flow import derive
from ..phase import PART
from ..train import train
from ._anchors import cosine_matrix, distances, escape, off_diagonal, rank_correlation

if TYPE_CHECKING:
    from ...theory.dataset import Dataset
    from ...theory.model import Model

MOMENTS = ("early", "late")
EARLY = f"early: the saved time next to when reasoning-train has lost {PART:.0%} of its starting loss; late: the end"


@dataclass(frozen=True, eq=False)
class Embeddings:
    """W_E of one seed at two moments.

    Attributes
    ----------
    t : ndarray, shape (2,)
        Flow times of "early" and "late". Without an early moment, all of it is nan.
    start : ndarray, shape (d_vocab, d_model)
        At t = 0.
    training, theory : ndarray, shape (2, d_vocab, d_model)
        Trained, and under the softmax closure from the same start.
    """

    t: np.ndarray
    start: np.ndarray
    training: np.ndarray
    theory: np.ndarray

    def cosines(self, side: str, moment: str, tokens: np.ndarray) -> np.ndarray:
        """Cosines (m, m) between the embeddings of some tokens; nan if there is no such moment."""
        if np.isnan(self.t[MOMENTS.index(moment)]):
            return np.full((len(tokens), len(tokens)), np.nan)
        return cosine_matrix(getattr(self, side)[MOMENTS.index(moment)][tokens])

    def order(self, moment: str, tokens: np.ndarray) -> float:
        """Rank correlation of the distance of two tokens in number with the cosine of their trained embeddings."""
        found = off_diagonal(self.cosines("training", moment, tokens))
        return rank_correlation(distances(len(tokens)), found)

    def off(self, moment: str, tokens: np.ndarray) -> float:
        """Largest difference of a cosine between the softmax closure and training."""
        pair = (self.cosines(side, moment, tokens) for side in ("theory", "training"))
        return float(np.abs(np.subtract(*pair)).max())


def embeddings(
    model: Model, data: Dataset, start: Mapping[str, np.ndarray], rate: float, end: float, saved: int = 61
) -> Embeddings:
    """Train with full-batch GD to flow time `end` and integrate the softmax closure to the same times."""
    run = train(model, data, start, learning_rate=rate, steps=round(end / rate), save_at=saved)
    time = escape(run.t, run["loss/reasoning-train"], PART)
    early = min(int(np.argmin(np.abs(run.t - time))), len(run.t) - 2) if np.isfinite(time) else 0
    rows = [early, len(run.t) - 1]
    theory = integrate(derive(model, "softmax"), data, start, t1=end, save_at=run.t[rows], rtol=1e-5)
    t, training, predicted = run.t[rows], run.weights["W_E"][rows], np.array(theory.weights["W_E"])
    if not np.isfinite(time):
        for values in (t, training, predicted):
            values[0] = np.nan
    return Embeddings(t, run.weights["W_E"][0], training, predicted)


def never_early(runs: Sequence[Embeddings]) -> str:
    """Return a note on the runs without an early moment, or nothing."""
    n = sum(bool(np.isnan(one.t[0])) for one in runs)
    return f"{n} of {len(runs)} runs did not come to the early moment: nothing is measured there" if n else ""
