"""What flows through a network at its start: embeddings, scores of attention, pre-activations, stream, logits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import scipy.sparse as sparse
import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction

from ...theory.algebra.nodes import Matrix, RowSoftmax, matrix_symbols
from ...theory.data.dataset import Dataset
from ...theory.data.inputs import ROWS
from ...theory.flows.powers import model_logits
from ...theory.models.model import Model
from ...theory.models.spec import Spec
from ..compile.logits import value

SAMPLE, SAMPLE_PER_POSITION = (
    256,
    8,
)  # sequences looked at; where all positions have logits, arrays are (rows, rows)

Signals = dict[tuple[str, str], np.ndarray]  # (block, kind) -> values


def signals(model: Spec, weights: Mapping[str, np.ndarray], data: Dataset) -> Signals:
    """Values in a forward pass over some training sequences, evenly chosen.

    Parameters
    ----------
    model : Spec
        A theory model, whose symbolic logits are looked through, or a network that has `signals` of its own.
    weights : dict
        Weight name -> array.
    data : Dataset
        Held-out rows take no part.

    Returns
    -------
    dict
        (block, kind) -> values, with kind one of "embedding", "scores" (without their mean in each row, which attention
        does not see), "pre-activations", "stream", "variance" (what a LayerNorm divides by, squared) and "logits".
    """
    train = np.flatnonzero(~data.held_out)
    most = SAMPLE_PER_POSITION if model.per_position else SAMPLE
    chosen = train[np.unique(np.linspace(0, train.size - 1, most).astype(int))]
    sequences = data.sequences[chosen]
    if isinstance(model, Model):
        return _of_logits(model, weights, sequences)
    return model.signals(weights, sequences)


def _of_logits(model: Model, weights: Mapping[str, np.ndarray], sequences: np.ndarray) -> Signals:
    matrices, logits = model.inputs(sequences), model_logits(model)
    found: Signals = {}
    for kind, node in dict.fromkeys(_parts(logits, model)):
        number = 1 + sum(name == kind for _, name in found)
        block = "ends" if number == 1 else f"ends, {number}"
        if kind in ("scores", "pre-activations", "stream"):
            block = f"layer {number}"
        values: Any = value(_shown(node), model, weights, matrices)
        if isinstance(node, RowSoftmax):
            values = _centred(values, value(node.base, model, weights, matrices) if node.base else None)
        found[block, kind] = values.toarray() if sparse.issparse(values) else np.asarray(values)
    return found | {("ends", "logits"): value(logits, model, weights, matrices)}


def _parts(node: Any, model: Model) -> Iterator[tuple[str, Matrix]]:
    """Kinds and nodes, those that the signal meets first in front."""
    if isinstance(node, sp.MatMul):
        yield from _embedded(node, model)
    inner = (node.expr,) if isinstance(node, ElementwiseApplyFunction) else node.args
    if isinstance(inner[0], sp.MatAdd) and isinstance(node, ElementwiseApplyFunction):
        inner = inner[0].args  # a sum of pre-activations is no stream
    for part in inner:
        if isinstance(part, sp.MatrixExpr):
            yield from _parts(part, model)
    if isinstance(node, ElementwiseApplyFunction):
        yield "pre-activations", node
    elif isinstance(node, RowSoftmax):
        yield "scores", node
    elif isinstance(node, sp.MatAdd) and _is_stream(node, model):
        yield "stream", node


def _is_stream(node: sp.MatAdd, model: Model) -> bool:
    """Whether a sum has a row for every row of the logits, holds weights and is not the logits themselves."""
    return node.rows == ROWS != node.cols and node != model_logits(model) and _of_weights(node, model)


def _embedded(node: sp.MatMul, model: Model) -> Iterator[tuple[str, Matrix]]:
    """A product that begins with data times an embedding, up to there."""
    factors = node.as_coeff_matrices()[1]
    for i, factor in enumerate(factors[1:], 1):
        if isinstance(factor, sp.MatrixSymbol) and factor.name.startswith("W_E"):
            before = factors[:i]
            if before[0].rows == ROWS and not any(_of_weights(f, model) for f in before):
                yield "embedding", sp.MatMul(*before, factor)
        if _of_weights(factor, model):
            return


def _of_weights(node: Matrix, model: Model) -> bool:
    return any(s.name in model.weights for s in matrix_symbols(node))


def _shown(node: Matrix) -> Matrix:
    """What a function is applied to, or the node itself."""
    if isinstance(node, ElementwiseApplyFunction):
        return node.expr
    return node.args[0] if isinstance(node, RowSoftmax) else node


def _centred(scores: Any, base: Any) -> np.ndarray:
    """Scores where a row may look, less their mean there."""
    if base is None:
        return scores - scores.mean(axis=1, keepdims=True)
    share = base.toarray() if sparse.issparse(base) else np.asarray(base)
    scores = scores.toarray() if sparse.issparse(scores) else np.asarray(scores)
    return (scores - np.sum(share * scores, axis=1, keepdims=True))[share > 0.0]
