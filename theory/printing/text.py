"""Matrix expressions as plain text: ``*`` and ``.T``, ``o`` the Hadamard product, ``^o3`` its power, ``1`` ones."""

from __future__ import annotations

from typing import ClassVar

import sympy as sp
from sympy.printing.str import StrPrinter

from ..algebra.nodes import Matrix
from .writer import Writer


class _Text(Writer):
    purpose = "printing as text"
    SIGNS: ClassVar = {
        **{"(": "(", ")": ")", "[": "[", "]": "]", "*": "*", "o": " o "},
        **{"1": "1", "I": "I", "Pi": "Pi"},
    }

    def scalar(self, value: sp.Expr) -> str:
        """In brackets where it is a sum, a product or a fraction."""
        shown = plain(value)
        compound = value.is_Add or value.is_Mul or (value.is_Rational and not value.is_Integer)
        return f"({shown})" if compound else shown

    def name(self, symbol: sp.Basic) -> str:
        """As in code."""
        return str(symbol)

    def value(self, expr: sp.Expr, variable: sp.Symbol, inner: str) -> str:
        """By sympy's printer."""
        return plain(expr.xreplace({variable: sp.Symbol(inner, real=True)}))

    def flip(self, inner: str) -> str:
        """``.T``."""
        return f"{inner}.T"

    def raise_(self, base: str, exponent: sp.Expr) -> str:
        """``^o3``."""
        whole = exponent.is_Integer and exponent >= 0
        return f"{base}^o{exponent}" if whole else f"{base}^o({plain(exponent)})"


class _Plain(StrPrinter):
    def _print_Abs(self, expr: sp.Abs) -> str:
        return f"abs({self._print(expr.args[0])})"


def plain(value: sp.Expr) -> str:
    """A scalar as text, ``^`` for powers."""
    return _Plain().doprint(value).replace("**", "^")


def text(expr: Matrix) -> str:
    """One line of plain text.

    Raises
    ------
    UnknownNodeError
        For a kind of node without a rule.
    """
    return _Text(expr)(expr)
