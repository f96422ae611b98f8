"""Nodes that sympy's matrix expressions lack: centring, row softmax, row log-sum-exp, stochastic matrices."""

from __future__ import annotations

import sympy as sp

Matrix = sp.MatrixExpr


class Centering(sp.MatrixExpr):
    """The projector Pi = I - 1 1^T / size, which takes the mean away."""

    def __new__(cls, size: sp.Expr) -> Centering:
        """Build Pi of shape (size, size)."""
        return super().__new__(cls, sp.sympify(size))

    shape = property(lambda self: (self.args[0], self.args[0]))

    def _entry(self, i: sp.Expr, j: sp.Expr, **_: object) -> sp.Expr:
        return sp.KroneckerDelta(i, j) - 1 / self.args[0]

    def _eval_transpose(self) -> Centering:
        return self

    def doit(self, **hints: object) -> Matrix:
        """Write the projector out once its size is a number."""
        return self.as_explicit() if self.args[0].is_Integer else self

    def _latex(self, printer: object, **_: object) -> str:
        return r"\Pi"

    def _sympystr(self, printer: object, **_: object) -> str:
        return "Pi"


class RowSoftmax(sp.MatrixExpr):
    """Softmax of every row of its argument; same shape."""

    def __new__(cls, x: Matrix) -> RowSoftmax:
        """Build softmax(x)."""
        return super().__new__(cls, x)

    shape = property(lambda self: self.args[0].shape)

    def doit(self, **hints: object) -> Matrix:
        """Write the softmax out once its argument is an explicit matrix."""
        x = self.args[0].doit(**hints)
        return RowSoftmax(x).as_explicit() if isinstance(x, sp.MatrixBase) else RowSoftmax(x)

    def _entry(self, i: sp.Expr, j: sp.Expr, **_: object) -> sp.Expr:
        x = self.args[0]
        return sp.exp(x[i, j]) / sum(sp.exp(x[i, k]) for k in range(int(x.shape[1])))

    def _latex(self, printer: object, **_: object) -> str:
        return rf"\operatorname{{softmax}}\left({printer._print(self.args[0])}\right)"  # type: ignore[attr-defined]


class RowLogSumExp(sp.MatrixExpr):
    """Log of the sum of exponentials of every row of its argument; shape (rows, 1)."""

    def __new__(cls, x: Matrix) -> RowLogSumExp:
        """Build logsumexp(x)."""
        return super().__new__(cls, x)

    shape = property(lambda self: (self.args[0].shape[0], sp.S.One))

    def _entry(self, i: sp.Expr, j: sp.Expr, **_: object) -> sp.Expr:
        x = self.args[0]
        return sp.log(sum(sp.exp(x[i, k]) for k in range(int(x.shape[1]))))


class StochasticSymbol(sp.MatrixSymbol):
    """A matrix symbol whose rows sum to one (labels, attention averages)."""
