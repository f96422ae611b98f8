"""Token similarity: cosines between rows of the trained embedding, held against what the theory predicts for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...sim.trajectory.trajectory import Trajectory
from ...theory.base.arrays import cosine_matrix, off_diagonal
from ...theory.base.crossings import first_reached
from ...theory.base.errors import FieldError
from ...theory.base.frozen import FrozenRecord
from ...theory.base.validate import fraction, kind_of, real
from ...theory.data.dataset import Dataset
from ...theory.data.frequencies import entropy
from ...theory.data.token_similarity import cooccurrence_similarity, signature_similarity
from .align import check_role

if TYPE_CHECKING:
    from jaxtyping import Float, Int

FIRST_STAGE = 0.9  # of the way from the loss at the start to the entropy of the label frequencies
LEAST_SHARE = 5e-4  # of all tokens; the label laws of rarer ones are mostly noise
SAME_TIME = 1e-9
SIGNATURE, BASELINE = "signature", "co-occurrence"


@dataclass(frozen=True, eq=False, repr=False)
class SimilarityOverlay(FrozenRecord):
    """How well predictions of the token-similarity matrix agree with training, over flow time.

    Attributes
    ----------
    t : ndarray, shape (n_t,)
        Flow times of the training.
    loss : ndarray, shape (n_t,)
        Training loss, in nats.
    stage_end : int
        Index of the end of the first stage in `t`; see `first_stage_end`.
    tokens : ndarray of int, shape (m,)
        The tokens compared: those frequent enough.
    correlation : dict
        Predictor -> (n_t,): Pearson correlation of the off-diagonal entries with those of the trained matrix; nan
        after a theory has ended. Predictors are the theories, "signature" and, as the baseline, "co-occurrence".
    mean_cosine : ndarray, shape (n_t,)
        Mean of the off-diagonal entries of the trained matrix.
    trained : ndarray, shape (m, m)
        Cosines between rows of the trained W_E at the end of the first stage.
    predicted : dict
        Predictor -> (m, m): the same, predicted, for the predictors that reach it.
    """

    t: Float[np.ndarray, " n_t"]
    loss: Float[np.ndarray, " n_t"]
    stage_end: int
    tokens: Int[np.ndarray, " m"]
    correlation: Mapping[str, Float[np.ndarray, " n_t"]]
    mean_cosine: Float[np.ndarray, " n_t"]
    trained: Float[np.ndarray, "m m"]
    predicted: Mapping[str, Float[np.ndarray, "m m"]]
    baseline: ClassVar[str] = BASELINE

    @property
    def at_stage_end(self) -> dict[str, float]:
        """Predictor -> correlation at the end of the first stage."""
        return {name: float(values[self.stage_end]) for name, values in self.correlation.items()}

    def __repr__(self) -> str:
        """Correlations at the end of the first stage."""
        found = ", ".join(f"{name} {value:.3f}" for name, value in self.at_stage_end.items())
        return f"SimilarityOverlay({len(self.tokens)} tokens; at t = {self.t[self.stage_end]:g}: {found})"


def first_stage_end(training: Trajectory, part: float = FIRST_STAGE) -> int:
    """Index of the first saved time at which the label frequencies are learnt.

    That is when the training loss has gone a part of the way from where it starts, about log V, to the entropy of the
    frequencies of the training labels: all that a model can reach that does not look at its input.

    Parameters
    ----------
    training : Trajectory
        With its model, which need not be one that the theory covers, and its data.
    part : float
        Between 0 and 1.

    Raises
    ------
    ValueError
        If the loss does not get there, or `part` is out of range.
    """
    fraction("part", part)
    loss, entropy = training["loss"], _label_entropy(training)
    if not loss[0] > entropy:
        raise FieldError(
            "training", f"starts at a loss of {loss[0]:.3g}, not above the label entropy {entropy:.3g}."
        )
    level = loss[0] - part * (loss[0] - entropy)
    end = int(first_reached(loss <= level))
    if end < 0:
        raise FieldError(
            "training",
            f"ends at a loss of {loss[-1]:.3g}, above {level:.3g}, the end of the first stage: train on.",
        )
    return end


def _label_entropy(training: Trajectory) -> float:
    """Entropy of the frequencies of the training labels, in nats."""
    model, data = training.model, training.data
    if model is None or data is None:
        raise FieldError("training", "lacks its model or data: take it as `train` returned it.")
    labels = model.row_labels(data.sequences, data.labels)
    return entropy(np.bincount(labels, model.row_weights(data.training_weights, data.sequences)))


def frequent_tokens(data: Dataset, least_share: float = LEAST_SHARE) -> np.ndarray:
    """Tokens that make up at least a share of all tokens of the training sequences, weighted."""
    return np.flatnonzero(data.occurrences >= least_share * data.n_ctx)


def similarity_overlay(
    training: Trajectory,
    theories: Mapping[str, Trajectory],
    *,
    statistic: str = "C",
    least_share: float = LEAST_SHARE,
    part: float = FIRST_STAGE,
) -> SimilarityOverlay:
    """Hold predicted token-similarity matrices against the trained one at every saved time.

    Parameters
    ----------
    training : Trajectory
        Of a model with a W_E, with its model and data.
    theories : mapping
        Name -> trajectory of the same model and data, saved at the training's times as far as it goes; from the same
        weights, or from others to see what does not depend on them.
    statistic : {"C", "C_mean", "X_last"}
        Of the signature matrix; see `signature_similarity`.
    least_share : float
        Least share of all tokens that a token must have.
    part : float
        See `first_stage_end`.

    Returns
    -------
    SimilarityOverlay

    Raises
    ------
    ValueError
        If `training` is a theory, there is no W_E, a theory has none of the training's times, fewer than three tokens
        are frequent enough, or the first stage does not end.
    """
    check_role("training", training)
    _, data = training.model_and_data()
    kind_of("theories", theories, Mapping, 'give a dict, such as {"leading": trajectory}')
    for name, trajectory in {"training": training, **theories}.items():
        kind_of(name, trajectory, Trajectory, "see `integrate` and `train`")
        if "W_E" not in trajectory.weights:
            raise ValueError(f"{name!r} has no embedding W_E: take a model that has one.")
    if taken := sorted({SIGNATURE, BASELINE} & set(theories)):
        raise FieldError("theories", f"must not use the name {taken[0]!r}: choose another one.")
    kept = frequent_tokens(data, real("least_share", least_share))
    if len(kept) < 3:
        raise FieldError(
            "least_share", f"= {least_share:g} leaves {len(kept)} tokens, too few to correlate: lower it."
        )
    end = first_stage_end(training, part)
    fixed = {SIGNATURE: signature_similarity(data, statistic), BASELINE: cooccurrence_similarity(data)}
    found = {name: _matrices(name, theory, training, kept) for name, theory in theories.items()}
    found |= {name: dict.fromkeys(range(len(training)), m[np.ix_(kept, kept)]) for name, m in fixed.items()}
    trained = [cosine_matrix(w[kept]) for w in training.weights["W_E"]]
    correlation = {
        name: np.array([_correlation(known.get(k), trained[k]) for k in range(len(trained))])
        for name, known in found.items()
    }
    return SimilarityOverlay(
        t=training.t,
        loss=training["loss"],
        stage_end=end,
        tokens=kept,
        correlation=correlation,
        mean_cosine=np.array([off_diagonal(m).mean() for m in trained]),
        trained=trained[end],
        predicted={name: known[end] for name, known in found.items() if end in known},
    )


def _matrices(name: str, theory: Trajectory, training: Trajectory, kept: np.ndarray) -> dict[int, np.ndarray]:
    """Index of the training's times -> cosines, where the theory was saved at that time."""
    close = np.abs(theory.t[:, None] - training.t) <= SAME_TIME * training.t[-1]
    rows, columns = np.nonzero(close)
    if not rows.size:
        raise ValueError(f"{name!r} has none of the training's times: integrate with `save_at` = training.t.")
    return {int(k): cosine_matrix(theory.weights["W_E"][i, kept]) for i, k in zip(rows, columns, strict=True)}


def _correlation(predicted: np.ndarray | None, trained: np.ndarray) -> float:
    """Pearson correlation of the off-diagonal entries; nan without a prediction or without variation."""
    if predicted is None:
        return float("nan")
    a, b = (x - x.mean() for x in (off_diagonal(predicted), off_diagonal(trained)))
    size = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / size) if size > 0.0 else float("nan")
