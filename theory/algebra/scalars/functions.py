"""The functions of one real variable that flows may be made of, one list for kernels, twins and numpy."""

from __future__ import annotations

from typing import ClassVar

import sympy as sp
from mpmath.libmp import prec_to_dps

X = sp.Symbol("x", real=True)


class _Own(sp.Function):
    """A function that sympy lacks: positive, and known to it by what it is made of."""

    is_positive: ClassVar[bool] = True

    def _eval_evalf(self, prec: int) -> sp.Expr:
        return self.rewrite(sp.exp).evalf(prec_to_dps(prec))


class expit(_Own):
    """The logistic function 1 / (1 + exp(-x)), which overflows nowhere."""

    @classmethod
    def eval(cls, arg: sp.Expr) -> sp.Expr | None:
        """A half at 0."""
        return sp.S.Half if arg.is_zero else None

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """Slope."""
        return expit(self.args[0]) * expit(-self.args[0])

    def _eval_rewrite_as_exp(self, arg: sp.Expr, **hints: object) -> sp.Expr:
        return 1 / (1 + sp.exp(-arg))


class softplus(_Own):
    """log(1 + exp(x)), which overflows nowhere."""

    @classmethod
    def eval(cls, arg: sp.Expr) -> sp.Expr | None:
        """Log 2 at 0."""
        return sp.log(2) if arg.is_zero else None

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """Slope."""
        return expit(self.args[0])

    def _eval_rewrite_as_exp(self, arg: sp.Expr, **hints: object) -> sp.Expr:
        return sp.log(1 + sp.exp(arg))


# Kernels (`sim.kernel.operations`), torch twins and numpy know exactly these, and powers.
KNOWN = (
    sp.exp, sp.log, sp.sin, sp.cos, sp.tan, sp.asin, sp.acos, sp.atan, sp.sinh, sp.cosh, sp.tanh, sp.asinh, sp.acosh,
    sp.atanh, sp.erf, sp.erfc, sp.gamma, sp.loggamma, expit, softplus,
)  # fmt: skip
# Reciprocals of known functions.
RECIPROCAL = {
    sp.sec: sp.cos, sp.csc: sp.sin, sp.cot: sp.tan, sp.sech: sp.cosh, sp.csch: sp.sinh, sp.coth: sp.tanh,
}  # fmt: skip
# What sympy can write piece by piece.
PIECEWISE = (sp.Piecewise, sp.Abs, sp.Max, sp.Min, sp.sign, sp.Heaviside)
NAMES = ", ".join(kind.__name__ for kind in KNOWN)
