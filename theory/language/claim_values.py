"""What the parts of a claim stand for while it is read: scalars, matrices, and matrices whose size is still open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sympy as sp

from ..algebra.matrices import diagonal, hadamard, product, split, transpose
from ..algebra.nodes import Centering, Matrix, RowSoftmax

SIZELESS: dict[str, Callable[[sp.Expr], Matrix]] = {"I": sp.Identity, "Pi": Centering}


@dataclass(frozen=True)
class ParsedClaim:
    """A claim dNAME = expression.

    Attributes
    ----------
    target : str
        The weight whose motion is claimed.
    expression : Matrix
        The right-hand side.
    text : str
        What was read.
    """

    target: str
    expression: Matrix
    text: str


@dataclass(frozen=True)
class Value:
    """A scalar, a matrix, or a square matrix whose size is still open."""

    content: Any
    kind: str  # "scalar", "matrix" or "open"

    def sized(self, size: sp.Expr) -> Matrix:
        """The matrix, its size now known."""
        return self.content(size) if self.kind == "open" else self.content


def trace(x: Matrix) -> Matrix:
    """Trace as a matrix of one entry: 1^T (A o B^T) 1 for a product A B, which is never formed."""
    scalar, factors = split(x)
    if len(factors) == 1:
        factors = [*factors, sp.Identity(x.cols)]
    entries = hadamard(factors[0], transpose(product(*factors[1:])))
    return product(scalar, sp.OneMatrix(1, entries.rows), entries, sp.OneMatrix(entries.cols, 1))


CALLS: dict[str, Any] = {
    "tr": trace,
    "diag": diagonal,
    "rowsum": lambda x: product(x, sp.OneMatrix(x.cols, 1)),
    "softmax": RowSoftmax,
    "transpose": transpose,
    "hadamard": hadamard,
    "sqrt": sp.sqrt,
}


def times(a: Value, b: Value) -> Value:
    """A product of which one factor at least is a scalar, or of two open matrices."""
    if a.kind == b.kind == "scalar":
        return Value(a.content * b.content, "scalar")
    if a.kind == b.kind == "open":
        return Value(lambda n: product(a.content(n), b.content(n)), "open")
    scalar, other = (a, b) if a.kind == "scalar" else (b, a)
    if other.kind == "open":
        return Value(lambda n: product(scalar.content, other.content(n)), "open")
    return Value(product(scalar.content, other.content), "matrix")


def spread(value: Value, rows: sp.Expr, cols: sp.Expr) -> Matrix:
    """A term of a sum of this shape: a scalar, or a matrix of one entry, stands for a matrix of equal entries."""
    if value.kind == "scalar":
        return product(value.content, sp.OneMatrix(rows, cols))
    return broadcast(value.sized(rows), rows, cols)


def broadcast(entry: Matrix, rows: sp.Expr, cols: sp.Expr) -> Matrix:
    """A matrix of one entry as one of this shape; any other as it is."""
    if entry.shape != (1, 1):
        return entry
    return product(sp.OneMatrix(rows, 1), entry, sp.OneMatrix(1, cols))


def scaled(a: Matrix, b: Matrix) -> Matrix:
    """Product of two matrices of which one has a single entry and stands for a number."""
    entry, other = (a, b) if a.shape == (1, 1) else (b, a)
    return hadamard(broadcast(entry, *other.shape), other)
