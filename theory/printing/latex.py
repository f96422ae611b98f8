"""Matrix expressions as LaTeX, in the letters of arXiv 2502.04375 and with the same conventions as the text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import sympy as sp
from sympy.printing.latex import LatexPrinter

from ..algebra.nodes import Matrix, free_symbols
from .letters import letters
from .writer import Writer


class _Scalars(LatexPrinter):
    def _print_Abs(self, expr: sp.Abs, exp: str | None = None) -> str:
        shown = rf"\operatorname{{abs}}\left({self._print(expr.args[0])}\right)"
        return shown if exp is None else f"{shown}^{{{exp}}}"


class _Latex(Writer):
    purpose = "printing as LaTeX"
    SIGNS: ClassVar = {
        **{"(": r"\left(", ")": r"\right)", "[": r"\left[", "]": r"\right]", "*": " ", "o": r" \circ "},
        **{"1": r"\mathbf{1}", "I": r"\mathbb{I}", "Pi": r"\Pi"},
    }

    def __init__(self, expr: Matrix, shown: Mapping[str, str]) -> None:
        super().__init__(expr)
        self.shown = shown

    def word(self, function: str) -> str:
        """Upright."""
        return rf"\operatorname{{{function}}}"

    def scalar(self, value: sp.Expr) -> str:
        """In brackets where it is a sum."""
        shown = self._print(value)
        return rf"\left({shown}\right)" if value.is_Add else shown

    def name(self, symbol: sp.Basic) -> str:
        """In the page's letters."""
        return self.shown[str(symbol)]

    def value(self, expr: sp.Expr, variable: sp.Symbol, inner: str) -> str:
        """By sympy's printer."""
        place = sp.Symbol("x", real=True)
        return _Scalars({"symbol_names": {place: inner}}).doprint(expr.xreplace({variable: place}))

    def flip(self, inner: str) -> str:
        """A superscript T, outside brackets where there is a superscript already."""
        return f"{_closed(inner)}^{{T}}"

    def raise_(self, base: str, exponent: sp.Expr) -> str:
        """A superscript with a ring."""
        return rf"{_closed(base)}^{{\circ {{{self._print(exponent)}}}}}"

    def _print(self, value: sp.Expr) -> str:
        named = {s: self.shown[str(s)] for s in value.free_symbols}
        return _Scalars({"symbol_names": named}).doprint(value)


def _closed(inner: str) -> str:
    whole = inner.startswith(r"\left(") or "^" not in inner
    return inner if whole else rf"\left({inner}\right)"


def latex(expr: Matrix, shown: Mapping[str, str] | None = None) -> str:
    """LaTeX in the paper's letters.

    Parameters
    ----------
    expr : sympy matrix expression
        What to print.
    shown : dict, optional
        Name -> LaTeX of all symbols of the page (`letters`); by default of this expression alone.

    Raises
    ------
    UnknownNodeError
        For a kind of node without a rule.
    """
    return _Latex(expr, letters(free_symbols(expr)) if shown is None else shown)(expr)
