"""Exact reduction: a flow that meets its data in one matrix M moves only inside M's row and column spaces.

With M = U S V^T, the part of W_E outside the columns of U and the part of W_out outside those of V stand still, and
nothing else sees them. `project` puts W_E = U A + N B and the like into the derived equations and lets the algebra
decide: the reduction is proved for the flow at hand, or refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import sympy as sp

from ..algebra.matrices import product, split, terms_of, total, transpose
from ..algebra.nodes import Matrix, free_symbols, matrix_symbols
from ..algebra.rebuild import Substitution, distribute
from ..data.inputs import dimension
from .flow import Flow
from .statistics import statistics

MODES = dimension("n_modes")


@dataclass(frozen=True)
class Projection:
    """The equations inside the row and column spaces of M.

    Attributes
    ----------
    sides : dict
        Weight name -> right-hand side in the projected weights (same names) and S.
    signature : sympy matrix expression
        M in the data symbols.
    rows, cols : tuple of str
        Weights projected on the left by U^T, and on the right by V.
    chain : tuple of str
        The weights in order if the leading loss is -<M, W_1 W_2 ... W_p>, else empty.
    """

    sides: dict[str, Matrix]
    signature: Matrix
    rows: tuple[str, ...]
    cols: tuple[str, ...]
    chain: tuple[str, ...]


@lru_cache(maxsize=64)
def project(flow: Flow) -> Projection:
    """Prove that a flow closes on the row and column spaces of its signature matrix, and return it there.

    Raises
    ------
    ValueError
        If data enters by more than one matrix, or a complement moves or acts on what moves.
    """
    used = {str(s) for s in flow.statistics} | (
        _symbols(flow) - set(flow.model.weights) - set(flow.statistics)
    )
    if len(used) != 1 or not flow.statistics:
        raise ValueError(
            f"`flow` {flow.model.name}, closure {flow.closure!r}, holds the data matrices "
            f"{', '.join(sorted(used))}: it can be reduced only if they are one signature matrix, as in closure "
            '"leading" of EmbMLP and EmbedUnembed.'
        )
    M = next(s for s in statistics(flow.model) if s.name in used)
    spaces = _Spaces(M)
    weights = {str(w): w for w in flow.model.weight_symbols}
    rows = tuple(name for name, w in weights.items() if w.rows == M.rows)
    cols = tuple(name for name, w in weights.items() if w.cols == M.cols and name not in rows)
    swap = {M: product(spaces.U, spaces.S, transpose(spaces.V))}
    swap |= {weights[name]: spaces.split_rows(weights[name]) for name in rows}
    swap |= {weights[name]: spaces.split_cols(weights[name]) for name in cols}
    sides, substituted = {}, Substitution(swap)
    for name in weights:
        moved = substituted(flow.equations[name])
        inside, outside = moved, None
        if name in rows:
            inside, outside = product(transpose(spaces.U), moved), product(transpose(spaces.N), moved)
        elif name in cols:
            inside, outside = product(moved, spaces.V), product(moved, spaces.K)
        sides[name] = spaces.cancel(inside)
        _demand(flow, name, sides[name], None if outside is None else spaces.cancel(outside), spaces)
    return Projection(sides, statistics(flow.model)[M], rows, cols, _chain(flow, M))


class _Spaces:
    """Orthonormal columns U, V of the spaces of M, and N, K of their complements."""

    def __init__(self, M: sp.MatrixSymbol) -> None:
        self.U, self.V = sp.MatrixSymbol("U", M.rows, MODES), sp.MatrixSymbol("V", M.cols, MODES)
        self.N = sp.MatrixSymbol("U_perp", M.rows, M.rows - MODES)
        self.K = sp.MatrixSymbol("V_perp", M.cols, M.cols - MODES)
        self.S = sp.MatrixSymbol("S", MODES, MODES)
        self.still: list[sp.MatrixSymbol] = []  # coordinates in the complements

    def split_rows(self, w: sp.MatrixSymbol) -> Matrix:
        inside, outside = (
            sp.MatrixSymbol(w.name, MODES, w.cols),
            sp.MatrixSymbol(w.name + "_perp", self.N.cols, w.cols),
        )
        self.still.append(outside)
        return total(product(self.U, inside), product(self.N, outside))

    def split_cols(self, w: sp.MatrixSymbol) -> Matrix:
        inside, outside = (
            sp.MatrixSymbol(w.name, w.rows, MODES),
            sp.MatrixSymbol(w.name + "_perp", w.rows, self.K.cols),
        )
        self.still.append(outside)
        return total(product(inside, transpose(self.V)), product(outside, transpose(self.K)))

    def cancel(self, expr: Matrix) -> Matrix:
        """Multiply out and use U^T U = I, U^T U_perp = 0, and so on."""
        return total(*map(self._cancel_term, terms_of(distribute(expr)) or (expr,)))

    def _cancel_term(self, term: Matrix) -> Matrix:
        scalar, factors = split(term)
        kept: list[Matrix] = []
        for factor in factors:
            pair = (kept[-1].arg, factor) if kept and isinstance(kept[-1], sp.Transpose) else None
            if pair in ((self.U, self.U), (self.V, self.V), (self.N, self.N), (self.K, self.K)):
                kept.pop()
            elif pair and {*pair} in ({self.U, self.N}, {self.V, self.K}):
                return sp.ZeroMatrix(*term.shape)
            else:
                kept.append(factor)
        return product(scalar, *kept)


def _demand(flow: Flow, name: str, inside: Matrix, outside: Matrix | None, spaces: _Spaces) -> None:
    """Refuse unless the complement stands still and nothing that moves sees it."""
    if outside is not None and not isinstance(outside, sp.ZeroMatrix):
        raise ValueError(f"`flow` {flow.model.name} cannot be reduced: {name} moves outside M's spaces.")
    if foreign := set(spaces.still) & free_symbols(inside):
        raise ValueError(
            f"`flow` {flow.model.name} cannot be reduced: d{name}/dt depends on {foreign.pop()}."
        )


def _symbols(flow: Flow) -> set[str]:
    return {str(s) for e in flow.equations.values() for s in matrix_symbols(e)}


def _chain(flow: Flow, M: sp.MatrixSymbol) -> tuple[str, ...]:
    """The weights in order if their equations are those of <M, W_1 ... W_p>."""
    weights = flow.model.weight_symbols
    for i, w in enumerate(weights):
        before, after = (
            transpose(product(*part)) if part else None for part in (weights[:i], weights[i + 1 :])
        )
        expected = product(*(f for f in (before, M, after) if f is not None))
        if distribute(expected) != flow.equations[str(w)]:
            return ()
    return tuple(map(str, weights))
