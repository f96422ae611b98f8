"""Random points of a flow, general enough that what vanishes at several of them vanishes by the form of the equations.

They differ in the sizes of all dimensions, in tokens (which repeat), in the weights of rows, in labels (laws, where the
loss is linear in them) and in the weights. Data matrices that the package does not know are filled at random.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import sympy as sp

from ...algebra.evaluate import evaluate_all
from ...algebra.nodes import HeadSymbol, Matrix, RowNorm, StochasticSymbol, matrix_symbols, nodes_within
from ...algebra.sizes import dimension_sizes, scalar_value
from ...base.arrays import full_array
from ...data.inputs import BUILDERS, D_HEAD, D_VOCAB, N_CTX, ROW_WEIGHTS, ROWS, build_inputs
from ...data.positions import is_position, position_inputs
from ...models.model import Model

CASES, LABELS = 5, 3  # data sets, and labels that a row mixes
SEQUENCES, SIZES = (4, 8), (2, 5)  # least and largest number of sequences, and of every dimension
SCALE, TRIES = 0.7, 8  # size of the weights of a shallow network; it is halved where the equations overflow
SHALLOW = 8  # weights of a network whose attention such sizes do not saturate

Arrays, Sizes = dict[str, np.ndarray], dict[sp.Symbol, int]


@dataclass(frozen=True, eq=False)
class Point:
    """Weights and their time derivatives, as arrays by name."""

    weights: Mapping[str, np.ndarray]
    speeds: Mapping[str, np.ndarray]


def sample(model: Model, equations: Mapping[str, Matrix], count: int) -> list[Point]:
    """Random points of a flow on a few random data sets; those at which the equations overflow are left out."""
    cases = [_case(model, equations, np.random.default_rng(seed)) for seed in range(min(count, CASES))]
    points = (
        _point(model, equations, *cases[i % CASES], np.random.default_rng([i, count])) for i in range(count)
    )
    return [p for p in points if p is not None]


def _point(
    model: Model, equations: Mapping[str, Matrix], data: Arrays, sizes: Sizes, rng: np.random.Generator
) -> Point | None:
    """A point with random weights; smaller ones where the equations overflow."""
    normal = {w.name: rng.normal(size=_shape(w, sizes)) for w in model.weight_symbols}
    for attempt in range(TRIES):
        size = SCALE * min(1.0, SHALLOW / len(normal)) ** 0.5 * 0.5**attempt
        weights = {name: size * x for name, x in normal.items()}
        with np.errstate(all="ignore"):
            speeds = evaluate_all(equations, weights | data, sizes)
        arrays = {name: full_array(v) for name, v in speeds.items()}
        if all(np.isfinite(v).all() for v in arrays.values()):
            return Point(weights, arrays)
    return None


def _case(model: Model, equations: Mapping[str, Matrix], rng: np.random.Generator) -> tuple[Arrays, Sizes]:
    """Values of the data symbols, and of all dimensions."""
    symbols = {s.name: s for e in equations.values() for s in matrix_symbols(e)}
    symbols |= {w.name: w for w in model.weight_symbols}
    sizes = _sizes(list(symbols.values()), rng)
    normed = any(nodes_within(e, RowNorm) for e in equations.values())
    sizes = {d: n + 2 * normed for d, n in sizes.items()}  # a centred row of two has but two directions
    tokens = rng.integers(0, sizes[D_VOCAB], (rng.integers(*SEQUENCES, endpoint=True), sizes[N_CTX]))
    data: Arrays = build_inputs((set(symbols) & set(BUILDERS)) - set(model.weights), tokens, sizes[D_VOCAB])
    if at := {name: s for name, s in symbols.items() if is_position(s) and name not in model.weights}:
        sizes[D_HEAD] = max(2, sizes.get(D_HEAD, 2) // 2 * 2)  # pairs of entries are turned
        heads = max([1, *(int(s.rows / s.cols) for s in at.values() if isinstance(s, HeadSymbol))])
        data |= position_inputs(set(at), tokens, sizes[D_VOCAB], (heads, sizes[D_HEAD]), None)
    sizes |= {ROWS: len(tokens)} | {
        d: n for name in data for d, n in dimension_sizes(symbols[name], data).items()
    }
    for name in sorted(set(symbols) - set(data) - set(model.weights)):
        data[name] = _values(symbols[name], _shape(symbols[name], sizes), model, rng)
    return data, sizes


def _sizes(symbols: list[sp.MatrixSymbol], rng: np.random.Generator) -> Sizes:
    found = {d for s in symbols for size in s.shape for d in sp.sympify(size).free_symbols}
    return {d: int(rng.integers(*SIZES, endpoint=True)) for d in sorted(found | {D_VOCAB, N_CTX}, key=str)}


def _values(
    symbol: sp.MatrixSymbol, shape: tuple[int, int], model: Model, rng: np.random.Generator
) -> np.ndarray:
    """Row weights, general labels where the loss is linear in them, and any matrix for a data matrix of one's own."""
    if symbol == ROW_WEIGHTS:
        return rng.dirichlet(np.ones(shape[0])).reshape(shape)
    if symbol.name == "Y":
        loss = model.loss_function
        draws = rng.integers(0, max(shape[1], 2), (LABELS if loss.linear_in_labels else 1, shape[0]))
        targets = np.array([full_array(loss.targets(labels, shape[1])) for labels in draws])
        shares = rng.dirichlet(np.ones(len(draws)), shape[0])
        return np.einsum("nk,kno->no", shares, targets)
    values = rng.uniform(0.0, 1.0, shape)
    return values / values.sum(axis=1, keepdims=True) if isinstance(symbol, StochasticSymbol) else values


def _shape(symbol: sp.MatrixSymbol, sizes: Sizes) -> tuple[int, int]:
    rows, cols = (int(scalar_value(size, sizes)) for size in symbol.shape)
    return rows, cols
