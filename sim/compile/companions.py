"""What goes beside a compiled flow: squares of single sequences' gradients, its Jacobian, free weights of the rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy as sp

from ...theory.algebra.sizes import dimension_sizes
from ...theory.algebra.tangent import tangent
from ...theory.data.inputs import N_CTX, ROW_WEIGHTS, ROWS
from ...theory.flows.squares import row_pairs, squared_gradients
from ..kernel.problem import Problem
from .compiler import compile_sides, distinct_rows

if TYPE_CHECKING:
    from ...theory.algebra.nodes import Matrix
    from ...theory.data.dataset import Dataset
    from ...theory.flows.flow import Flow

Weights = Mapping[str, np.ndarray]
ITERATIONS = 24  # for the largest eigenvalue


def compile_squares(flow: Flow, data: Dataset, start: Weights) -> Problem:
    """Compile S = sum_i omega_i g_i o g_i, g_i the gradient of the closure on sequence i.

    Parameters
    ----------
    flow : Flow
        The derived equations.
    data : Dataset
        Training data; held-out rows take no part.
    start : dict
        Validated weights, of which those that rest are folded.

    Returns
    -------
    Problem
        It writes S in place of dW/dt, in the layout of `compile_flow`.

    Raises
    ------
    ValueError
        If the vocabularies differ, or a gradient is no sum of products over the sequences.
    """
    flow.model.check_data(data)
    values = distinct_rows(flow.model, data, labels_apart=True)
    if flow.model.per_position:
        train = ~data.held_out
        values |= row_pairs(data.weights[train], flow.model.row_counts(data.sequences[train]))
    squares = squared_gradients(flow)
    return _bound(flow, data, start, values, {w: squares[w] for w in flow.moving}, {})


def compile_tangent(flow: Flow, data: Dataset, start: Weights) -> Problem:
    """Compile J l, the derivative of dW/dt when the weights move along l; arguments as in `compile_squares`.

    Returns
    -------
    Problem
        Its state holds the moving weights and then l, named W_moved, in the same layout; what it writes is zero for
        the former and J l for the latter.
    """
    model = flow.model
    model.check_data(data)
    moving = [w for w in model.weight_symbols if w.name in flow.moving]
    along = {w: sp.MatrixSymbol(f"{w.name}_moved", *w.shape) for w in moving}
    sides = {w.name: sp.ZeroMatrix(*w.shape) for w in moving}
    sides |= {along[w].name: tangent(flow.right_hand_sides[w.name], along) for w in moving}
    shapes = {along[w].name: model.weights[w.name] for w in moving}
    return _bound(flow, data, start, distinct_rows(model, data), sides, shapes)


def compile_weighted(flow: Flow, data: Dataset, start: Weights) -> Problem:
    """Compile dW/dt as a function of the weights of the rows as well; arguments as in `compile_squares`.

    Returns
    -------
    Problem
        Its state holds the moving weights and then omega, one number a row of the logits, rows that are not merged;
        what it writes is dW/dt, and zero for omega.
    """
    flow.model.check_data(data)
    values = flow.model.data_matrices(data)
    sides = {w: flow.right_hand_sides[w] for w in flow.moving}
    sides[ROW_WEIGHTS.name] = sp.ZeroMatrix(*ROW_WEIGHTS.shape)
    return _bound(flow, data, start, values, sides, {ROW_WEIGHTS.name: values[ROW_WEIGHTS.name].shape})


def _bound(
    flow: Flow,
    data: Dataset,
    start: Weights,
    values: Mapping[str, Any],
    sides: Mapping[str, Matrix],
    more: Mapping[str, tuple[int, int]],
) -> Problem:
    """Compile expressions in the moving weights and in `more` symbols of the state."""
    model = flow.model
    sizes = model.sizes | {ROWS: len(values[ROW_WEIGHTS.name]), N_CTX: data.n_ctx}
    for side in (*flow.right_hand_sides.values(), *sides.values()):
        sizes |= dimension_sizes(side, values)
    frozen = {w: start[w] for w in model.weights if w not in flow.moving}
    shapes = {w: model.weights[w] for w in flow.moving} | dict(more)
    constants = {name: v for name, v in values.items() if name not in more}
    return compile_sides(sides, constants | frozen, shapes, sizes, frozen)


def largest_curvature(flow: Flow, data: Dataset, weights: Weights) -> float:
    """Largest absolute eigenvalue of the Hessian of a closure's loss, by power iteration; to about a tenth."""
    problem = compile_tangent(flow, data, dict(weights))
    y = np.concatenate([weights[name].ravel() for name in flow.model.weights if name in flow.moving])
    along, out, size = np.random.default_rng(0).standard_normal(len(y)), np.empty(2 * len(y)), 0.0
    for _ in range(ITERATIONS):
        along /= np.linalg.norm(along) or 1.0
        problem(0.0, np.concatenate([y, along]), out)
        along = out[len(y) :].copy()
        size = float(np.linalg.norm(along))
    return size
