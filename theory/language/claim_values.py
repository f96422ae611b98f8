"""What the parts of a claim stand for while it is read: scalars, matrices, and matrices whose size is still open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sympy as sp

from ..algebra.matrices import product, transpose
from ..algebra.nodes import Centering, Matrix

LARGEST = 1_000  # exponent of a number, times the bits of a rational one
SIZELESS: dict[str, Callable[[sp.Expr], Matrix]] = {"I": sp.Identity, "Pi": Centering}


@dataclass(frozen=True)
class ParsedClaim:
    """A claim dNAME = expression, or d(what moves) = expression.

    Attributes
    ----------
    target : str
        The weight whose motion is claimed, or in brackets what else it is of, as it was written.
    moving : Matrix
        The same as an expression.
    expression : Matrix
        The right-hand side.
    text : str
        What was read.
    """

    target: str
    moving: Matrix
    expression: Matrix
    text: str


@dataclass(frozen=True)
class Value:
    """A scalar, a matrix, or a square matrix whose size is still open.

    A matrix that is `tall` has one row, which is repeated as often as its place asks for, and one that is `wide` one
    column: ``1`` is a column of ones of any height.
    """

    content: Any
    kind: str  # "scalar", "matrix" or "open"
    tall: bool = False
    wide: bool = False

    def sized(self, rows: sp.Expr, cols: sp.Expr) -> Matrix:
        """The matrix, its size now known; a scalar, or a matrix of one entry, stands for equal entries."""
        if self.kind == "scalar":
            return product(self.content, sp.OneMatrix(rows, cols))
        if self.kind == "open":
            return self.content(rows)
        above = [sp.OneMatrix(rows, 1)] if self.tall else []
        return broadcast(product(*above, self.content, *[sp.OneMatrix(1, cols)] * self.wide), rows, cols)

    def turned(self) -> Value:
        """The transpose."""
        if self.kind != "matrix":
            return self
        return Value(transpose(self.content), "matrix", self.wide, self.tall)

    def mapped(self, function: Callable[[Matrix], Matrix]) -> Value:
        """Something done to every entry."""
        return Value(function(self.content), "matrix", self.tall, self.wide)


MINUS = Value(sp.S.NegativeOne, "scalar")
COLUMN = Value(sp.OneMatrix(1, 1), "matrix", tall=True)  # of ones
ROW = COLUMN.turned()


def bounded(base: sp.Expr, exponent: sp.Expr) -> bool:
    """Whether a power of a number is one that can be computed in no time."""
    bits = sum(a.p.bit_length() + a.q.bit_length() for a in base.atoms(sp.Rational) if abs(a) != 1) or 1
    return bool(exponent.is_Rational and abs(exponent) * bits <= LARGEST)


def frame(*values: Value) -> tuple[sp.Expr, sp.Expr, bool, bool]:
    """Rows and columns of what acts entry by entry on some matrices, and whether these are to be repeated still."""
    known = [v for v in values if v.kind == "matrix"]
    most = [v for v in known if v.content.shape != (1, 1)] or known
    rows = next((v.content.rows for v in most if not v.tall), sp.S.One)
    cols = next((v.content.cols for v in most if not v.wide), sp.S.One)
    return rows, cols, all(v.tall for v in known), all(v.wide for v in known)


def broadcast(entry: Matrix, rows: sp.Expr, cols: sp.Expr) -> Matrix:
    """A matrix of one entry as one of this shape; any other as it is."""
    if entry.shape != (1, 1):
        return entry
    return product(sp.OneMatrix(rows, 1), entry, sp.OneMatrix(1, cols))
