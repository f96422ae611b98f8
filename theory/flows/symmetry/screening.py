"""Numerical search for what a flow conserves: sums of terms, with small whole coefficients, whose rates vanish.

All such sums are found at once, as the null space of the rates of the terms at random points of the flow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import lcm

import numpy as np
import sympy as sp

from ...algebra.nodes import HeadSymbol, Matrix, matrix_symbols
from ...models.model import Model
from .points import Point, sample
from .quantities import ORDERS, Level, Quantity, Term, implied

VANISHES = 1e-11  # largest conserved rate, relative to the sum of the sizes of its terms
RANK = 1e-8  # singular values below this are taken for zero, before the coefficients are known
LARGEST = 24  # largest denominator of a coefficient
MORE_POINTS = 3  # than there are numbers that a weight can add to a sum: points of the search

Terms = dict[Term, int]  # terms of one level and space, with coefficients


def conserved(model: Model, equations: Mapping[str, Matrix]) -> list[Quantity]:
    """Independent quantities whose rates vanish at all points: none that follows from others, none at rest."""
    moving = [w for w in model.weight_symbols if not isinstance(equations[w.name], sp.ZeroMatrix)]
    wanted = len(moving) + MORE_POINTS
    if len(points := sample(model, equations, wanted)) < wanted:
        return []
    moving = [w for w in moving if any(np.any(p.speeds[w.name]) for p in points)]
    symbols = {s for e in equations.values() for s in matrix_symbols(e)}
    heads = sorted((s for s in symbols if isinstance(s, HeadSymbol)), key=str)
    found = []
    for order in ORDERS:
        known: list[Terms] = []  # what follows from the levels above
        for level, below in zip(order, [*order[1:], None], strict=True):
            new = [
                terms
                for space in level.spaces(moving, heads).values()
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
