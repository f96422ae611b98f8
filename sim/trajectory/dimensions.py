"""Names of the axes of weights: the symbols of the model's own dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

# Rows and columns by TransformerLens' names, for trajectories that lost their model and for networks without symbols.
USUAL = {
    "W_E": (["d_vocab"], ["d_model"]),
    "W_pos": (["n_ctx"], ["d_model"]),
    "W_Q": (["d_model"], ["d_head"]),
    "W_K": (["d_model"], ["d_head"]),
    "W_V": (["d_model"], ["d_head"]),
    "W_O": (["d_head"], ["d_model"]),
    "W_in": (["d_model"], ["d_mlp"]),
    "W_out": (["d_mlp"], ["d_vocab", "d_model"]),
    "W_U": (["d_model"], ["d_vocab"]),
}


def weight_axes(weights: Mapping[str, np.ndarray], model: Any = None) -> dict[str, tuple[str, str]]:
    """Name the axes of every weight, rows and columns, with one size to each name.

    Parameters
    ----------
    weights : mapping
        Weight name -> array (n_t, rows, cols).
    model : Model or None
        Whose dimensions name them: ``weight("W_E", "d_vocab", "d_model")`` has the axes d_vocab and d_model.

    Returns
    -------
    dict
        Weight name -> two names. An axis of another size than the model's dimension, as after `reduce`, is NAME_row or
        NAME_col; the second of two equal ones is d_vocab_2.
    """
    stated = {w.name: ([str(w.rows)], [str(w.cols)]) for w in getattr(model, "weight_symbols", ())}
    sizes: dict[str, int] = {}
    named = {}
    for name, value in weights.items():
        axes: list[str] = []
        choices = stated.get(name) or USUAL.get(name.rpartition(".")[2], ([], []))
        for options, size, side in zip(choices, value.shape[1:], ("row", "col"), strict=True):
            fitting = [axis for axis in options if _fits(axis, size, sizes, model)]
            axis = fitting[0] if fitting else f"{name}_{side}"
            axis = f"{axis}_2" if axis in axes else axis
            sizes[axis] = size
            axes.append(axis)
        named[name] = (axes[0], axes[1])
    return named


def _fits(axis: str, size: int, sizes: Mapping[str, int], model: Any) -> bool:
    return axis.isidentifier() and sizes.get(axis, size) == getattr(model, axis, size) == size
