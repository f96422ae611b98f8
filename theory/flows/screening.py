"""Numerical search for what a flow conserves: its rates at random points, and the sums of them that vanish.

The points differ in the sizes of all dimensions, in tokens, weights of rows, labels and weights, so that what vanishes
at all of them does so by the form of the equations; coefficients are small integers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from typing import Any

import numpy as np
import scipy.sparse as sparse
import sympy as sp

from ..algebra.evaluate import evaluate_all
from ..algebra.nodes import Matrix, StochasticSymbol, matrix_symbols
from ..algebra.sizes import dimension_sizes, scalar_value
from ..data.inputs import BUILDERS, D_VOCAB, N_CTX, ROW_WEIGHTS, ROWS, build_inputs
from ..models.model import Model
from .quantities import ORDERS, Level, Quantity, Term, implied

VANISHES = 1e-11  # largest conserved rate, relative to the sum of the sizes of its terms
RANK = 1e-8  # singular values below this are taken for zero, before the coefficients are known
LARGEST = 24  # largest denominator of a coefficient
CASES, SEQUENCES, LARGEST_SIZE, LABELS = 5, 6, 5, 3  # data sets, their sequences, dimensions, labels a row
MORE_POINTS = 3  # than there are numbers that a weight can add to a sum: points of the search
SCALE, TRIES = 0.7, 8  # size of the weights; it is halved at points where the equations overflow


Arrays, Sizes = dict[str, np.ndarray], dict[sp.Symbol, int]
Terms = dict[Term, int]  # terms of one level and space, with coefficients


@dataclass(frozen=True)
class Point:
    """Weights and their time derivatives, as arrays by name."""

    weights: Mapping[str, np.ndarray]
    speeds: Mapping[str, np.ndarray]


def conserved(model: Model, equations: Mapping[str, Matrix]) -> list[Quantity]:
    """Independent quantities whose rates vanish at all points: none that follows from others, none at rest."""
    moving = [w for w in model.weight_symbols if not isinstance(equations[w.name], sp.ZeroMatrix)]
    wanted = len(moving) + MORE_POINTS
    if len(points := sample(model, equations, wanted)) < wanted:
        return []
    moving = [w for w in moving if any(np.any(p.speeds[w.name]) for p in points)]
    found = []
    for order in ORDERS:
        known: list[Terms] = []  # what follows from the levels above
        for level, below in zip(order, [*order[1:], None], strict=True):
            new = [
                terms
                for space in level.spaces(moving).values()
                for terms in _independent(_vanishing(level, space, points), known, space)
            ]
            found += [Quantity(level, tuple(terms.items())) for terms in new]
            if below is not None:
                known = [lower for terms in [*known, *new] for lower in implied(level, below, terms)]
    return found


def _vanishing(level: Level, space: Sequence[Term], points: Sequence[Point]) -> list[Terms]:
    """A basis, in reduced echelon form, of the sums of terms whose rates vanish, as far as it is rational."""
    rates, sizes = _rates(level, space, points)
    scale = np.linalg.norm(sizes, axis=0)
    _, values, directions = np.linalg.svd(rates / scale, full_matrices=True)
    rank = int(np.sum(values > RANK))
    rows = (_integers(row) for row in _echelon(directions[rank:] / scale))
    return [
        {t: int(c) for t, c in zip(space, row, strict=True) if c}
        for row in rows
        if row is not None and np.all(np.abs(rates @ row) <= VANISHES * (sizes @ np.abs(row)))
    ]


def _rates(level: Level, space: Sequence[Term], points: Sequence[Point]) -> tuple[np.ndarray, np.ndarray]:
    """Rates (m, k) of the terms at the points, and the sizes of what each is the sum of."""
    rates, sizes = [], []
    for p in points:
        pairs = [(t.turned(p.weights[t.weight.name]), t.turned(p.speeds[t.weight.name])) for t in space]
        block = np.stack([level.rate(*pair).ravel() for pair in pairs], axis=1)
        size = np.stack([level.rate(*map(np.abs, pair)).ravel() for pair in pairs], axis=1)
        largest = size.max()
        rates.append(block / largest)
        sizes.append(np.broadcast_to(size.max(axis=0) / largest, block.shape))
    return np.concatenate(rates), np.concatenate(sizes)


def _echelon(rows: np.ndarray) -> np.ndarray:
    """Reduced row echelon form of independent rows (m, k)."""
    rows, done = rows / np.linalg.norm(rows, axis=1, keepdims=True), 0
    for column in range(rows.shape[1]):
        if done == len(rows):
            break
        best = done + int(np.argmax(np.abs(rows[done:, column])))
        if abs(rows[best, column]) < RANK:
            continue
        rows[[done, best]] = rows[[best, done]]
        rows[done] /= rows[done, column]
        others = np.arange(len(rows)) != done
        rows[others] -= np.outer(rows[others, column], rows[done])
        done += 1
    return rows


def _integers(row: np.ndarray) -> np.ndarray | None:
    """The row times the least number that makes it whole; None if no small one does."""
    parts = [Fraction(float(x)).limit_denominator(LARGEST) for x in row]
    if not np.allclose([float(p) for p in parts], row, rtol=0.0, atol=np.sqrt(RANK)):
        return None
    common = lcm(*(p.denominator for p in parts))
    return np.array([int(p * common) for p in parts])


def _independent(candidates: Sequence[Terms], known: Sequence[Terms], space: Sequence[Term]) -> list[Terms]:
    """Of the candidates, shortest first, those that neither the known sums nor those before them give."""
    rows = [[terms.get(t, 0) for t in space] for terms in known if terms.keys() <= set(space)]
    chosen, rank = [], _rank(rows)
    for terms in sorted(candidates, key=len):
        rows.append([terms.get(t, 0) for t in space])
        if _rank(rows) > rank:
            chosen.append(terms)
            rank += 1
        else:
            rows.pop()
    return chosen


def _rank(rows: Sequence[Sequence[int]]) -> int:
    return int(np.linalg.matrix_rank(np.array(rows, dtype=float))) if rows else 0


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
        weights = {name: SCALE * 0.5**attempt * x for name, x in normal.items()}
        with np.errstate(all="ignore"):
            speeds = evaluate_all(equations, weights | data, sizes)
        arrays = {name: _dense(v) for name, v in speeds.items()}
        if all(np.isfinite(v).all() for v in arrays.values()):
            return Point(weights, arrays)
    return None


def _case(model: Model, equations: Mapping[str, Matrix], rng: np.random.Generator) -> tuple[Arrays, Sizes]:
    """Values of the data symbols, and of all dimensions."""
    symbols = {s.name: s for e in equations.values() for s in matrix_symbols(e)}
    symbols |= {w.name: w for w in model.weight_symbols}
    dimensions = {d for s in symbols.values() for size in s.shape for d in sp.sympify(size).free_symbols}
    sizes = {
        d: int(rng.integers(2, LARGEST_SIZE + 1)) for d in sorted(dimensions | {D_VOCAB, N_CTX}, key=str)
    }
    tokens = rng.integers(0, sizes[D_VOCAB], (SEQUENCES, sizes[N_CTX]))
    data: Arrays = build_inputs((set(symbols) & set(BUILDERS)) - set(model.weights), tokens, sizes[D_VOCAB])
    sizes |= {ROWS: SEQUENCES} | {
        d: n for name in data for d, n in dimension_sizes(symbols[name], data).items()
    }
    for name in sorted(set(symbols) - set(data) - set(model.weights)):
        data[name] = _values(symbols[name], _shape(symbols[name], sizes), model, rng)
    return data, sizes


def _values(
    symbol: sp.MatrixSymbol, shape: tuple[int, int], model: Model, rng: np.random.Generator
) -> np.ndarray:
    """Row weights, general labels where the loss is linear in them, and any matrix for a data matrix of one's own."""
    if symbol == ROW_WEIGHTS:
        return rng.dirichlet(np.ones(shape[0])).reshape(shape)
    if symbol.name == "Y":
        loss = model.loss_function
        draws = [
            _dense(loss.targets(rng.integers(0, max(shape[1], 2), shape[0]), shape[1]))
            for _ in range(LABELS if loss.linear_in_labels else 1)
        ]
        shares = rng.dirichlet(np.ones(len(draws)), shape[0])
        return np.sum([shares[:, [i]] * y for i, y in enumerate(draws)], axis=0)
    values = rng.uniform(0.0, 1.0, shape)
    return values / values.sum(axis=1, keepdims=True) if isinstance(symbol, StochasticSymbol) else values


def _shape(symbol: sp.MatrixSymbol, sizes: Sizes) -> tuple[int, int]:
    rows, cols = (int(scalar_value(size, sizes)) for size in symbol.shape)
    return rows, cols


def _dense(x: Any) -> np.ndarray:
    return x.toarray() if sparse.issparse(x) else np.asarray(x)
