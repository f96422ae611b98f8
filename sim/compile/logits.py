"""Networks and their closures, evaluated from symbolic logits without torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ...theory.algebra.evaluate import evaluate
from ...theory.algebra.nodes import Matrix
from ...theory.algebra.sizes import dimension_sizes
from ...theory.flows.closure import Closure
from ...theory.flows.powers import model_logits
from ...theory.models.model import Model

CHUNK_NUMBERS = 2**24  # intermediate arrays of a chunk of sequences stay below this many numbers
CHUNK_PER_POSITION = 256  # a model with a logit at every position may hold (rows, rows) arrays


def logits(
    model: Model, weights: Mapping[str, np.ndarray], sequences: np.ndarray, closure: str | Closure = "exact"
) -> np.ndarray:
    """Logits of the model, or of a closure of it, on sequences.

    Parameters
    ----------
    model : Model
        The network.
    weights : dict
        Weight name -> array of the model's shape.
    sequences : ndarray, shape (m, n_ctx)
        Token ids.
    closure : str or Closure
        "exact" for the network itself, else the closure whose logits (linearised or truncated) are wanted.

    Returns
    -------
    ndarray, shape (rows, outputs)
        float64; a row per sequence, or per position where the model predicts at every one.
    """
    expr = Closure.of(closure, model).logits(model)
    parts = [
        value(expr, model, weights, model.inputs(sequences[rows])) for rows in chunks(model, len(sequences))
    ]
    return np.concatenate(parts) if parts else np.zeros((0, model.outputs))


def chunks(model: Model, n: int) -> Iterator[slice]:
    """Slices of n sequences, small enough for the intermediate arrays of a forward pass."""
    widest = max(max(shape) for shape in model.weights.values()) * model.positions_read
    size = max(1, CHUNK_NUMBERS // widest)
    size = min(size, CHUNK_PER_POSITION) if model.per_position else size
    return (slice(i, min(i + size, n)) for i in range(0, n, size))


def value(
    expr: Matrix, model: Model, weights: Mapping[str, np.ndarray], matrices: Mapping[str, Any]
) -> np.ndarray:
    """Value of an expression in a model's weights and data matrices."""
    values = {name: np.asarray(weights[name]) for name in model.weights} | dict(matrices)
    sizes = dimension_sizes(model_logits(model), values) | dimension_sizes(expr, values)
    return evaluate(expr, values, model.sizes | sizes)
