"""The texts of figure 7: what is trained on, and what theory says of the embedding from them alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage

from ....sim.integration.integrate import integrate
from ....sim.trajectory.trajectory import Trajectory
from ....theory.base.arrays import cosine_matrix, off_diagonal
from ....theory.base.crossings import first_reached
from ....theory.data.corpora.documents import pick_documents
from ....theory.data.corpora.reasoning import reasoning_corpus
from ....theory.data.corpora.stories import story_corpus
from ....theory.data.dataset import Dataset
from ....theory.data.lexicon import Lexicon
from ....theory.data.splitting import split_words
from ....theory.data.token_similarity import (
    bigrams,
    cooccurrence_similarity,
    signature_similarity,
)
from ....theory.flows.flow import derive
from ....theory.models.embed_unembed import EmbedUnembed
from ...overlays.similarity_overlay import first_stage_end, frequent_tokens

CORPORA = ("reasoning", "narrative")
FLOW_END, FLOW_SAVED = 3000.0, 120  # the reduced model has learnt its bigrams by then
NEARLY_ONE_LAW = 0.9  # cosine between the label laws of two words


Corpora = Mapping[str, Sequence[str]]  # name of a corpus -> its documents


def generated(documents: int) -> Corpora:
    """Both corpora from their grammars, where no files are given."""
    texts = {"reasoning": reasoning_corpus(documents), "narrative": story_corpus(documents)}
    return {name: text.splitlines() for name, text in texts.items()}


def mixture(corpora: Corpora, documents: int, n_ctx: int, vocabulary: int, held_out: int = 0) -> Dataset:
    """Both corpora in equal weight, a window per document from its beginning, over their most frequent words.

    Documents that fit into a window are preferred. A window goes on into the next document after a short one. About
    `held_out` documents more of each corpus are not trained on.
    """
    chosen = {name: pick_documents(texts, n_ctx, documents + held_out) for name, texts in corpora.items()}
    texts = {name: "".join(f"{text}\n" for text in some) for name, some in chosen.items()}
    both = "".join(texts.values())
    lexicon = Lexicon.of(both, min(vocabulary, len(set(split_words(both))) + 1))
    part = held_out / (documents + held_out)
    return lexicon.dataset(texts, n_ctx, "next-token", stride="line", held_out=part)


@dataclass(frozen=True, eq=False)
class Prediction:
    """Token similarities before any training.

    Attributes
    ----------
    data : Dataset
        What is trained on.
    pairs : Dataset
        Its bigrams.
    tokens : ndarray of int, shape (m,)
        The tokens compared: those frequent enough.
    laws : ndarray, shape (d_vocab, d_vocab)
        Cosines between rows of the signature matrix.
    neighbours : ndarray, shape (d_vocab, d_vocab)
        Cosines between the raw counts of neighbouring words, the baseline.
    """

    data: Dataset
    pairs: Dataset
    tokens: np.ndarray
    laws: np.ndarray
    neighbours: np.ndarray

    @classmethod
    def of(cls, data: Dataset) -> Prediction:
        """Count."""
        pairs = bigrams(data)
        both = Dataset(
            np.column_stack([pairs.sequences, pairs.labels]),
            pairs.labels,
            data.d_vocab,
            weights=pairs.weights,
        )
        laws = signature_similarity(pairs, "X_last")
        return cls(data, pairs, frequent_tokens(data), laws, cooccurrence_similarity(both))

    def against(self, trained: Trajectory) -> dict[str, np.ndarray]:
        """Hold every predictor against a training, by the correlation of similarities off the diagonal.

        Returns
        -------
        dict
            "correlation/NAME" over time (n_t,) and "at stage end/NAME", the one at the end of the first stage; "stage
            end", its step; nan where there is none. "trained" (d_vocab, d_vocab): the similarities at the end.
        """
        found = [cosine_matrix(w) for w in trained.weights["W_E"]]
        fixed = {"signature": self.laws, "co-occurrence": self.neighbours}
        predicted = {name: [matrix] * len(found) for name, matrix in fixed.items()}
        predicted |= {"flow": self._flow_at_loss(trained)}
        arrays = {"trained": found[-1]}
        end, steps = _stage_end(trained), np.asarray(trained.steps)
        arrays["stage end"] = np.array(np.nan if end is None else steps[end])
        for name, matrices in predicted.items():
            values = [self._correlation(*both) for both in zip(matrices, found, strict=True)]
            arrays[f"correlation/{name}"] = np.array(values)
            arrays[f"at stage end/{name}"] = np.array(np.nan if end is None else values[end])
        return arrays

    def own(self, matrix: np.ndarray, corpus: str) -> np.ndarray:
        """Entries of a similarity matrix for the pairs of a corpus's own words."""
        ids = self.data.token_groups.get(corpus, np.array([], dtype=np.int64))
        return off_diagonal(matrix[np.ix_(ids, ids)])

    def order(self) -> tuple[np.ndarray, np.ndarray]:
        """Compared words by corpus, alike ones together, and where each of three blocks ends.

        The corpora's own words, then common ones; a block without words ends where it begins.
        """
        own = self.data.token_groups
        groups = [np.intersect1d(self.tokens, own.get(name, self.tokens[:0])) for name in CORPORA]
        groups.append(np.setdiff1d(self.tokens, np.concatenate(groups)))
        parts = [ids[_clustered(self.laws[np.ix_(ids, ids)])] for ids in groups]
        return np.concatenate(parts).astype(np.int64), np.cumsum([len(part) for part in parts])

    def _correlation(self, predicted: np.ndarray | None, trained: np.ndarray) -> float:
        if predicted is None:
            return float("nan")
        kept = np.ix_(self.tokens, self.tokens)
        return float(np.corrcoef(off_diagonal(predicted[kept]), off_diagonal(trained[kept]))[0, 1])

    def _flow_at_loss(self, trained: Trajectory) -> list[np.ndarray | None]:
        """Similarities of the reduced model's flow, from the same W_E and W_U, when its loss is that of training.

        AdamW's steps have no flow time, so equal loss is what both have in common. None once training has gone below
        the loss that the reduced model, which sees one word, comes to.
        """
        start = {name: trained.weights[name][0] for name in ("W_E", "W_U")}
        model = EmbedUnembed(*start["W_E"].shape)
        times = np.concatenate([[0.0], np.geomspace(1.0, FLOW_END, FLOW_SAVED)])
        flow = integrate(
            derive(model, "softmax"), self.pairs, start, t1=FLOW_END, save_at=times, rtol=1e-4, throw=False
        )
        reached = first_reached(flow["loss"] <= trained["loss"][:, None])
        # The same start, where the losses of two networks differ a little.
        reached[np.asarray(trained.steps) == 0] = 0
        return [cosine_matrix(flow.weights["W_E"][k]) if k >= 0 else None for k in reached]


def _clustered(matrix: np.ndarray) -> np.ndarray:
    """Rows in the order of the leaves of a clustering by cosine."""
    if len(matrix) < 2:
        return np.arange(len(matrix))
    return leaves_list(linkage(np.clip(1.0 - off_diagonal(matrix), 0.0, None), "average"))


def _stage_end(trained: Trajectory) -> int | None:
    """Index of the end of the first stage; None if the training does not come to it."""
    try:
        return first_stage_end(trained)
    except ValueError:
        return None


def mean(values: np.ndarray) -> float:
    """Mean, nan of nothing."""
    return float(values.mean()) if values.size else float("nan")


def what_decides(theory: Prediction, trained: np.ndarray) -> str:
    """Say which pairs of own words make the mean cosines of the corpora what they are; `trained` are cosines."""
    said = []
    for name in CORPORA:
        laws, found = theory.own(theory.laws, name), theory.own(trained, name)
        alike = laws > NEARLY_ONE_LAW
        said.append(
            f"{name}, {mean(alike):.0%} of the pairs, trained cosine {mean(found[alike]):.2f} on average, of the other "
            f"pairs {mean(found[~alike]):.2f}"
        )
    return "; ".join(said)
