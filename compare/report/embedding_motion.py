"""Embeddings over training in two dimensions, theory beside training: numbers, a page that moves, an animation."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...sim.trajectory.trajectory import Trajectory
from ...theory.base.arrays import cosine_matrix
from ...theory.base.disk.files import write_whole
from ...theory.base.disk.sealed import html_with_seal
from ...theory.base.errors import FieldError
from ...theory.base.frozen import FrozenRecord
from ...theory.base.validate import integer, kind_of, path_of
from ..plots.cosine_panels import MOST_TOKENS, named_tokens, token_blocks

if TYPE_CHECKING:
    from jaxtyping import Float

    from ...theory.data.dataset import Dataset

FRAMES, MOST_FRAMES = 80, 100_000
SAME_TIME = 1e-9  # relative
EMBEDDING = "W_E"


@dataclass(frozen=True, eq=False, repr=False)
class EmbeddingMotion(FrozenRecord):
    """Where tokens lie in the plane of the trained embedding, over flow time; made by `embedding_motion`.

    Attributes
    ----------
    t : ndarray, shape (n_t,)
        Flow times of the training (learning rate x step).
    names, groups : tuple of str
        Name and group of each of the m tokens.
    training : ndarray, shape (n_t, m, 2)
        Coordinates of the trained embedding.
    theories : dict
        Closure -> (n_t, m, 2): the same of a theory from the same weights, nan after it has ended; the one that
        reaches furthest comes first.
    cosines : dict
        "training" or closure -> (n_t, m, m): cosines between the embeddings themselves.
    share : float
        Part of the variance of the trained embedding at the end that the plane holds.
    """

    t: Float[np.ndarray, " n_t"]
    names: tuple[str, ...]
    groups: tuple[str, ...]
    training: Float[np.ndarray, "n_t m 2"]
    theories: Mapping[str, Float[np.ndarray, "n_t m 2"]]
    cosines: Mapping[str, Float[np.ndarray, "n_t m m"]]
    share: float

    def __repr__(self) -> str:
        """Sizes and closures."""
        sides = ", ".join(self.theories) or "no theory"
        return f"EmbeddingMotion({len(self.names)} tokens at {len(self.t)} times; {sides} beside training)"

    def html(self) -> str:
        """The page: a slider of flow time, theory beside training; one file that loads nothing."""
        from .embedding_page import page_of_motion

        return page_of_motion(self)

    def _repr_html_(self) -> str:
        """The page in a frame, for notebooks."""
        content = html.escape(self.html(), quote=True)
        return f'<iframe srcdoc="{content}" width="100%" height="780" style="border:0" title="embeddings"></iframe>'

    def save(self, path: str | Path) -> Path:
        """Write the page (.html) or an animation (.gif), whole or not at all; a former file is replaced.

        Raises
        ------
        ValueError
            If the name ends in anything else.
        """
        path = path_of("path", path)
        if path.suffix.lower() == ".gif":
            from .embedding_gif import animation

            write_whole(path, animation(self))
        elif path.suffix.lower() == ".html":
            write_whole(path, html_with_seal(self.html()))
        else:
            raise FieldError("path", f"{str(path)!r} must end in .html or .gif.")
        return path


def embedding_motion(
    theories: Mapping[str, Trajectory] | Sequence[Trajectory],
    training: Trajectory,
    tokens: Mapping[str, Sequence[int]] | None = None,
    frames: int = FRAMES,
) -> EmbeddingMotion:
    """Follow embeddings of tokens over training, in the plane in which the trained ones differ most at its end.

    Theory and training start from the same weights, so both are seen in the same plane; nothing is rotated to fit.

    Parameters
    ----------
    theories : mapping or sequence of Trajectory
        Name -> theory; by their labels if it is a sequence.
    training : Trajectory
        With the weight W_E.
    tokens : mapping, optional
        Group -> tokens. By default the anchors of the data, else its groups of tokens, else its sixty most frequent
        tokens.
    frames : int
        Most flow times shown, evenly spaced among those that were saved.

    Returns
    -------
    EmbeddingMotion

    Raises
    ------
    ValueError
        If there is no embedding, or there are fewer than two tokens.
    """
    kind_of("training", training, Trajectory, "`train` makes one")
    given = dict(theories) if isinstance(theories, Mapping) else _by_label(theories)
    for run in given.values():
        kind_of("theories", run, Trajectory, "`integrate` makes one")
    if "training" in given:
        raise FieldError(
            "theories", "must not be named 'training', which is the other side: rename that one."
        )
    named = dict(sorted(given.items(), key=lambda item: -item[1].t[-1] if len(item[1].t) else 0.0))
    for run in (training, *named.values()):
        _check_embedding(run, training)
    blocks = _blocks(training.data, tokens, training.weights[EMBEDDING].shape[1])
    rows = np.concatenate([*blocks.values()]) if blocks else np.empty(0, dtype=np.int64)
    if rows.size < 2:
        raise FieldError("tokens", "must be two or more: name some in `tokens`.")
    kept = _shown_times(training, integer("frames", frames, 2, MOST_FRAMES))
    t, trained = training.t[kept], training.weights[EMBEDDING][kept][:, rows]
    plane, share = _plane(trained[-1])
    states = {name: _states_at(run, t, rows) for name, run in named.items()}
    vocabulary = None if training.data is None else training.data.vocabulary
    return EmbeddingMotion(
        t=t,
        names=tuple(str(i) if vocabulary is None or i >= len(vocabulary) else vocabulary[i] for i in rows),
        groups=tuple(group for group, some in blocks.items() for _ in some),
        training=trained @ plane,
        theories={name: state @ plane for name, state in states.items()},
        cosines={
            name: np.array([_cosines(s) for s in state])
            for name, state in {"training": trained, **states}.items()
        },
        share=share,
    )


def _by_label(theories: Sequence[Trajectory]) -> dict[str, Trajectory]:
    """Theories by their labels."""
    kind_of("theories", theories, (list, tuple), "give [theory], or names to theories")
    found = {kind_of("theories", run, Trajectory, "`integrate` makes one").label: run for run in theories}
    if len(found) < len(theories):
        raise FieldError("theories", "has two of one label: give a mapping from names to them.")
    return found


def _check_embedding(run: Trajectory, training: Trajectory) -> None:
    """Refuse what has no embedding, or one of another shape."""
    if EMBEDDING not in run.weights or not len(run.t):
        raise FieldError(
            EMBEDDING, f"is not among the weights of {run.label!r}: choose a model with an embedding."
        )
    shape, wanted = run.weights[EMBEDDING].shape[1:], training.weights[EMBEDDING].shape[1:]
    if shape != wanted:
        raise FieldError(EMBEDDING, f"of {run.label!r} has the shape {shape}, that of the training {wanted}.")


def _shown_times(training: Trajectory, most: int) -> np.ndarray:
    """Indices of evenly spaced saved times at which the trained embedding is finite."""
    finite = np.flatnonzero(np.isfinite(training.weights[EMBEDDING]).all(axis=(1, 2)))
    if not finite.size:
        raise FieldError(
            "training", f"{training.label!r} has no finite {EMBEDDING}: lower its learning rate."
        )
    return finite[np.unique(np.linspace(0, finite.size - 1, most).round().astype(int))]


def _blocks(
    data: Dataset | None, tokens: Mapping[str, Sequence[int]] | None, d_vocab: int
) -> Mapping[str, np.ndarray]:
    """Groups of tokens to show."""
    if tokens is not None:
        return named_tokens(tokens, d_vocab)
    if data is None:
        return {"tokens": np.arange(min(d_vocab, MOST_TOKENS))}
    if sum(map(len, (chosen := token_blocks(data)).values())) >= 2:
        return chosen
    return {"tokens": np.argsort(-data.occurrences, kind="stable")[:MOST_TOKENS]}


def _plane(embedding: np.ndarray) -> tuple[np.ndarray, float]:
    """Directions (d_model, 2) in which rows differ most, towards the first token, and their share of the variance."""
    centred = embedding - embedding.mean(axis=0)
    _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    plane = np.zeros((embedding.shape[1], 2))
    for k, direction in enumerate(directions[:2]):
        plane[:, k] = direction * (1.0 if centred[0] @ direction >= 0.0 else -1.0)
    total = float((sizes**2).sum())
    return plane, float((sizes[:2] ** 2).sum()) / total if total > 0.0 else 0.0


def _states_at(run: Trajectory, t: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Embeddings (n_t, m, d_model) of a theory at the nearest saved times, nan beyond its end."""
    nearest = np.abs(run.t[None, :] - t[:, None]).argmin(axis=1)
    states = np.array(run.weights[EMBEDDING][nearest][:, rows], dtype=np.float64)
    states[t > run.t[-1] * (1.0 + SAME_TIME)] = np.nan
    return states


def _cosines(state: np.ndarray) -> np.ndarray:
    return cosine_matrix(state) if np.isfinite(state).all() else np.full((len(state), len(state)), np.nan)
