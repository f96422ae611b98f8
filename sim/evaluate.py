"""Networks and their closures, evaluated from symbolic logits without torch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..theory.closure import Closure
from ..theory.dataset import count_tokens
from ..theory.model import Model
from .numeric import evaluate

CHUNK_BYTES = 2**27  # hidden activations of a chunk of sequences stay below this


def logits(
    model: Model, weights: Mapping[str, np.ndarray], sequences: np.ndarray, closure: str = "exact"
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
    closure : str
        "exact" for the network itself, else the closure whose logits (linearised or truncated) are wanted.

    Returns
    -------
    ndarray, shape (m, d_vocab)
        float64.
    """
    expr = Closure.of(closure, model).logits(model)
    widest = max(max(shape) for shape in model.weights.values())
    rows = max(1, CHUNK_BYTES // (8 * widest))
    chunks = [sequences[i : i + rows] for i in range(0, len(sequences), rows)]
    values = {name: np.asarray(weights[name]) for name in model.weights}
    parts = [
        evaluate(expr, values | {"C": count_tokens(chunk, model.d_vocab)}, model.sizes) for chunk in chunks
    ]
    return np.concatenate(parts) if parts else np.zeros((0, model.d_vocab))
