"""Functions that are given piece by piece, each piece smooth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import sympy as sp
from sympy.core.relational import Relational

from .functions import PIECEWISE


@dataclass(frozen=True)
class Piece:
    """An expression, and the interval of the variable (low, high) on which it holds.

    Attributes
    ----------
    expr : sympy.Expr
        Free of conditions.
    low, high : sympy.Expr
        Numbers, or minus and plus infinity.
    """

    expr: sp.Expr
    low: sp.Expr
    high: sp.Expr


@lru_cache(maxsize=256)
def pieces(expr: sp.Expr, symbol: sp.Symbol) -> tuple[Piece, ...]:
    """Pieces of an expression from left to right; a single one if it has no conditions.

    Raises
    ------
    ValueError
        If a condition does more than compare the variable with a number, or no piece holds somewhere.
    """
    if not expr.has(*PIECEWISE):
        return (Piece(expr, -sp.oo, sp.oo),)
    written = expr.replace(sp.Heaviside, lambda u, *_: sp.Piecewise((0, u < 0), (1, True))).rewrite(
        sp.Piecewise
    )
    joints = sorted(
        {joint for part in written.atoms(sp.Piecewise) for joint in _joints(part, symbol)}, key=sp.N
    )
    edges = [-sp.oo, *joints, sp.oo]
    found: list[Piece] = []
    for low, high in pairwise(edges):
        here = _resolved(written, symbol, _inside(low, high))
        if here is sp.nan or here.has(sp.nan):
            raise ValueError(f"{expr} is undefined between {low} and {high}: give it a piece there.")
        if found and found[-1].expr == here:
            found[-1] = Piece(here, found[-1].low, high)
        else:
            found.append(Piece(here, low, high))
    return tuple(found)


def joined(parts: tuple[Piece, ...], symbol: sp.Symbol) -> sp.Expr:
    """The function made of pieces as one expression."""
    *first, last = parts
    cases = [(part.expr, symbol < part.high) for part in first]
    return sp.Piecewise(*cases, (last.expr, True)) if cases else last.expr


def _joints(part: sp.Piecewise, symbol: sp.Symbol) -> Iterator[sp.Expr]:
    for _, condition in part.args:
        for relation in condition.atoms(Relational):
            gap = sp.expand(relation.lhs - relation.rhs)
            slope = gap.coeff(symbol)
            joint = -gap.subs(symbol, 0) / slope if slope != 0 else sp.nan
            exact = sp.expand(gap - slope * (symbol - joint)) == 0
            if isinstance(relation, (sp.Eq, sp.Ne)) or not (exact and joint.is_real and joint.is_finite):
                raise ValueError(f"the condition {relation} does more than compare {symbol} with a number.")
            yield joint


def _inside(low: sp.Expr, high: sp.Expr) -> sp.Expr:
    if low.is_infinite:
        return sp.S.Zero if high.is_infinite else high - 1
    return low + 1 if high.is_infinite else (low + high) / 2


def _resolved(expr: sp.Expr, symbol: sp.Symbol, place: sp.Expr) -> sp.Expr:
    """The expression with every condition decided as at one place."""
    if isinstance(expr, sp.Piecewise):
        for value, condition in expr.args:
            if condition.subs(symbol, place) == sp.true:
                return _resolved(value, symbol, place)
        return sp.nan
    if not expr.has(sp.Piecewise):
        return expr
    return expr.func(*(_resolved(arg, symbol, place) for arg in expr.args))
