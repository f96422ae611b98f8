"""What flows through a network at its start: embeddings, scores of attention, pre-activations, stream, logits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sparse
import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction

from ...theory.algebra.evaluate import KeptEvaluation
from ...theory.algebra.nodes import Matrix, RowNorm, RowSoftmax, matrix_symbols
from ...theory.algebra.sizes import dimension_sizes
from ...theory.data.dataset import Dataset
from ...theory.data.inputs import ROWS
from ...theory.data.positions import EVERY
from ...theory.flows.powers import model_logits
from ...theory.models.model import Model

# Sequences looked at; where all positions have logits, arrays may be (rows, rows).
SAMPLE, SAMPLE_PER_POSITION = 256, 8
MOST_ROWS = 4096  # of a stream that are looked at
KINDS: dict[str, type] = {
    "pre-activations": ElementwiseApplyFunction,
    "scores": RowSoftmax,
    "variance": RowNorm,
    "stream": sp.MatAdd,
}
DATA_ROWS = (ROWS, EVERY)

Signals = dict[tuple[str, str], np.ndarray]  # (block, kind) -> values


def signals(model: Model, weights: Mapping[str, np.ndarray], data: Dataset) -> Signals:
    """Values in a forward pass over some training sequences, evenly chosen.

    Parameters
    ----------
    model : Model
        Its symbolic logits are looked through.
    weights : dict
        Weight name -> array.
    data : Dataset
        Held-out rows take no part.

    Returns
    -------
    dict
        (block, kind) -> values, with kind one of "embedding", "scores" (without their mean in each row, which attention
        does not see), "pre-activations", "stream", "variance" (what a norm divides by, squared,
        but for its eps) and "logits".
    """
    train = np.flatnonzero(~data.held_out)
    most = SAMPLE_PER_POSITION if model.per_position else SAMPLE
    most = max(1, min(most, MOST_ROWS // model.positions_read))
    chosen = train[np.unique(np.linspace(0, train.size - 1, most).astype(int))]
    matrices, logits = model.inputs(data.sequences[chosen]), model_logits(model)
    values = {name: np.asarray(weights[name]) for name in model.weights} | dict(matrices)
    value = KeptEvaluation(values, model.sizes | dimension_sizes(logits, values))
    found: dict[tuple[str, str], list[np.ndarray]] = {}
    for block, kind, node in SignalNodes(model):
        found.setdefault((block, kind), []).append(_looked_at(node, value))
    together = {
        key: a[0] if len(a) == 1 else np.concatenate([b.ravel() for b in a]) for key, a in found.items()
    }
    return together | {("ends", "logits"): value.dense(logits)}


def largest_norm_eps(model: Model) -> float:
    """What norms add to the mean square of a row, the largest of all; 0 where there are none."""
    return max(
        (float(node.eps) for _, _, node in SignalNodes(model) if isinstance(node, RowNorm)), default=0.0
    )


class SignalNodes:
    """Blocks, kinds and nodes of what is looked at in a model's logits, what the signal meets first in front.

    Blocks are those of deep models, whose weights have names such as blocks.0.W_Q: that of the last weight in a signal,
    or of the first weight that reads what a norm gives. Other models have their signals numbered.
    """

    def __init__(self, model: Model) -> None:
        self.model, self.logits = model, model_logits(model)
        self.order = {name: i for i, name in enumerate(model.weights)}
        self.readers: dict[Matrix, str] = {}
        self._seen: set[Any] = set()
        self.found = list(self._parts(self.logits))

    def __iter__(self) -> Iterator[tuple[str, str, Matrix]]:
        """Block, kind and node of each."""
        deep = any("." in name for name in self.order)
        count: Counter[str] = Counter()
        for kind, node in self.found:
            count[kind] += 1
            yield self._block(kind, node) if deep else _numbered(kind, count[kind]), kind, node

    def _block(self, kind: str, node: Matrix) -> str:
        last = max(self._weights(node), key=self.order.__getitem__)
        block = self.model.block(self.readers.get(node, last) if kind == "variance" else last)
        return block if "." in block else "ends"

    def _parts(self, node: Any) -> Iterator[tuple[str, Matrix]]:
        if node in self._seen:
            return
        self._seen.add(node)
        if isinstance(node, sp.MatMul):
            yield from self._of_product(node.as_coeff_matrices()[1])
        inner = (node.expr,) if isinstance(node, ElementwiseApplyFunction) else node.args
        if isinstance(inner[0], sp.MatAdd) and isinstance(node, ElementwiseApplyFunction):
            inner = inner[0].args  # a sum of pre-activations is no stream
        for part in inner:
            if isinstance(part, sp.MatrixExpr):
                yield from self._parts(part)
        mirrored = (
            node.cols in DATA_ROWS and node.rows not in DATA_ROWS
        )  # of keys: values that are there already
        for kind, cls in KINDS.items():
            if isinstance(node, cls) and not mirrored and (kind != "stream" or self._is_stream(node)):
                yield kind, node

    def _of_product(self, factors: Sequence[Matrix]) -> Iterator[tuple[str, Matrix]]:
        """A product that begins with data times an embedding, up to there; and who reads what norms."""
        for i, factor in enumerate(factors):
            read = next((w for f in factors[i + 1 :] if (w := self._weights(f))), None)
            if isinstance(factor, RowNorm) and read:
                self.readers.setdefault(factor, min(read, key=self.order.__getitem__))
        n = next((i for i, factor in enumerate(factors) if self._weights(factor)), 0)
        if n and factors[0].rows in DATA_ROWS and getattr(factors[n], "name", "").startswith("W_E"):
            embedded = "embedding", sp.MatMul(*factors[: n + 1])
            if embedded not in self._seen:
                self._seen.add(embedded)
                yield embedded

    def _is_stream(self, node: sp.MatAdd) -> bool:
        """Whether a sum has a row for every row of the data, holds weights and is more than a shift or a turn."""
        added = [t for t in node.args if not isinstance(_first(t), sp.OneMatrix | sp.HadamardProduct)]
        fits = node.rows in DATA_ROWS and node.rows != node.cols and node != self.logits
        return len(added) > 1 and fits and bool(self._weights(node))

    def _weights(self, node: Matrix) -> list[str]:
        return [s.name for s in matrix_symbols(node) if s.name in self.order]


def _numbered(kind: str, number: int) -> str:
    if kind in ("scores", "pre-activations", "stream"):
        return f"layer {number}"
    return "ends" if number == 1 else f"ends, {number}"


def _first(term: Matrix) -> Matrix:
    return term.as_coeff_matrices()[1][0] if isinstance(term, sp.MatMul) else term


def _looked_at(node: Matrix, value: KeptEvaluation) -> np.ndarray:
    """What a function is applied to, scores, what a norm divides by, or the node itself."""
    if isinstance(node, RowSoftmax):
        return _centred(node, value)
    if isinstance(node, RowNorm):
        return np.mean(value.dense(node.args[0]) ** 2, axis=1)
    return value.dense(node.expr if isinstance(node, ElementwiseApplyFunction) else node)


def _centred(node: RowSoftmax, value: KeptEvaluation) -> np.ndarray:
    """Scores where a row may look, less their mean there."""
    scores, base = node.args[0], None if node.base is None else value(node.base)
    if sparse.issparse(base):
        base = sparse.csr_array(base)
        rows = np.repeat(np.arange(base.shape[0]), np.diff(base.indptr))
        found = value.at_places(scores, rows, base.indices)
        return found - np.bincount(rows, base.data * found)[rows]
    found = value.dense(scores)
    if base is None:
        return found - found.mean(axis=1, keepdims=True)
    return (found - np.sum(base * found, axis=1, keepdims=True))[base > 0.0]
