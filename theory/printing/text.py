"""Printing: data products as statistics, terms by rising power, code names as the paper's letters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction
from sympy.printing.latex import LatexPrinter
from sympy.printing.precedence import PRECEDENCE
from sympy.printing.printer import Printer
from sympy.printing.str import StrPrinter

from ..algebra.matrices import apply, hadamard, hadamard_power, product, split, total, transpose
from ..algebra.nodes import Matrix, RowSoftmax

# Code name -> letter of arXiv 2502.04375 (docs/notation.md has the table with shapes).
PAPER_LETTERS = {
    "W_E": r"W^{E}",
    "W_in": r"W^{(1)}",
    "W_out": r"W^{(2)}",
    "omega": r"\omega",
    "d_vocab": r"V",
    "d_model": r"d_m",
    "d_mlp": r"d_f",
}


class _Signs(Printer):
    """Signs of products read off their coefficients: sympy negates and simplifies the whole product, at every level."""

    def parenthesize(self: Any, item: Any, level: int, *flags: Any, **named: Any) -> str:
        """Set brackets around what binds no closer than `level`."""
        if not isinstance(item, sp.MatMul):
            return super().parenthesize(item, level, *flags, **named)
        weak = PRECEDENCE["Add"] if split(item)[0].could_extract_minus_sign() else PRECEDENCE["Mul"]
        strict = named.get("strict", flags[-1] if flags else False)
        shown = self._print(item)
        loose = weak < level or (not strict and weak == level)
        if not loose:
            return shown
        return self._add_parens(shown) if isinstance(self, LatexPrinter) else f"({shown})"


class _Text(_Signs, StrPrinter):
    """Plain text: ``o`` is the Hadamard product, ``^o3`` its power, ``1`` a matrix of ones."""

    def _print_MatAdd(self, expr: sp.MatAdd) -> str:
        return _signed_sum(expr, self)

    def _print_MatMul(self, expr: sp.MatMul) -> str:
        scalar, factors = expr.as_coeff_matrices()
        parts = [] if scalar == 1 else [self.parenthesize(scalar, PRECEDENCE["Mul"])]
        parts += [self.parenthesize(f, PRECEDENCE["Mul"]) for f in factors]
        return "*".join(parts).replace("-1*", "-")

    def _print_HadamardProduct(self, expr: sp.HadamardProduct) -> str:
        return " o ".join(self.parenthesize(a, PRECEDENCE["Pow"]) for a in expr.args)

    def _print_HadamardPower(self, expr: sp.HadamardPower) -> str:
        base = self._print(expr.base)
        return f"{base if isinstance(expr.base, sp.MatrixSymbol) else f'({base})'}^o{self._print(expr.exp)}"

    def _print_DiagMatrix(self, expr: Any) -> str:
        return f"diag({self._print(expr.args[0])})"

    def _print_RowSoftmax(self, expr: RowSoftmax) -> str:
        return f"softmax({self._print(expr.args[0])})"

    def _print_ElementwiseApplyFunction(self, expr: ElementwiseApplyFunction) -> str:
        return _applied(expr, self)


class _Latex(_Signs, LatexPrinter):
    """LaTeX, with the same conventions as the text."""

    def _print_MatMul(self, expr: sp.MatMul) -> str:
        scalar, factors = expr.as_coeff_matrices()
        sign = "- " if scalar.could_extract_minus_sign() else ""
        scalar = -scalar if sign else scalar
        weight = (
            ""
            if scalar == 1
            else self._add_parens(self._print(scalar))
            if scalar.is_Add
            else self._print(scalar)
        )
        parts = [weight] if weight else []
        return sign + " ".join([*parts, *(self.parenthesize(f, PRECEDENCE["Mul"]) for f in factors)])

    def _print_MatAdd(self, expr: sp.MatAdd) -> str:
        return _signed_sum(expr, self)

    def _print_DiagMatrix(self, expr: Any) -> str:
        return rf"\operatorname{{diag}}\left({self._print(expr.args[0])}\right)"

    def _print_OneMatrix(self, expr: sp.OneMatrix) -> str:
        return r"\mathbf{1}"

    def _print_ElementwiseApplyFunction(self, expr: ElementwiseApplyFunction) -> str:
        return _applied(expr, self)


def _signed_sum(expr: sp.MatAdd, printer: Any) -> str:
    """Terms in the order in which they stand (sympy's printers sort them by name)."""
    out = ""
    for term in expr.args:
        negative = split(term)[0].could_extract_minus_sign()
        sign = (" - " if out else "-") if negative else (" + " if out else "")
        out += sign + printer._print(product(-1, term) if negative else term)
    return out


def _applied(expr: ElementwiseApplyFunction, printer: Any) -> str:
    """A function of a matrix, entry by entry, with the matrix as its argument; brackets hold what is compound."""
    (symbol,) = expr.function.variables
    inner = printer._print(expr.expr)
    left, right = (r"\left(", r"\right)") if isinstance(printer, LatexPrinter) else ("(", ")")
    value = expr.function.expr.subs(symbol, sp.Symbol(left + inner + right, real=True))
    written = printer._print(value)
    for doubled in (f"(({inner}))", rf"\left(\left({inner}\right) \right)"):
        written = written.replace(doubled, left + inner + right)
    return f"{left[:-1]}[{written}{right[:-1]}]" if value.is_Add or value.is_Mul or value.is_Pow else written


def text(expr: Matrix) -> str:
    """One line of plain text."""
    return _Text().doprint(expr)


def latex(expr: Matrix) -> str:
    """LaTeX in the paper's letters."""
    names = {s: PAPER_LETTERS[str(s)] for s in expr.free_symbols if str(s) in PAPER_LETTERS}
    return _Latex({"symbol_names": names}).doprint(expr)


def by_rising_power(expr: Matrix, weights: tuple[sp.MatrixSymbol, ...]) -> Matrix:
    """Order the terms of a sum by their power of the weight scale."""
    if not isinstance(expr, sp.MatAdd):
        return expr
    return sp.MatAdd(*sorted(expr.args, key=lambda term: degree(term, weights)))


def degree(expr: sp.Basic, weights: tuple[sp.MatrixSymbol, ...]) -> int:
    """Power of the weight scale in a product."""
    if expr in weights:
        return 1
    if isinstance(expr, sp.HadamardPower):
        return int(expr.exp) * degree(expr.base, weights)
    if isinstance(expr, sp.MatAdd):
        return min(degree(a, weights) for a in expr.args)
    return sum(degree(a, weights) for a in expr.args)


def substitute_runs(expr: Matrix, names: Mapping[sp.MatrixSymbol, Matrix]) -> Matrix:
    """Write every run of factors that equals one of the named products (or its transpose) as its symbol."""
    if isinstance(expr, sp.MatMul):
        scalar, factors = expr.as_coeff_matrices()
        factors = [substitute_runs(f, names) for f in factors]
        for symbol, definition in names.items():
            factors = _replace(factors, list(definition.args), symbol)
            factors = _replace(factors, list(transpose(definition).args), transpose(symbol))
        return product(scalar, *factors)
    if isinstance(expr, sp.MatAdd):
        return total(*(substitute_runs(t, names) for t in expr.args))
    if isinstance(expr, sp.HadamardProduct):
        return hadamard(*(substitute_runs(a, names) for a in expr.args))
    if isinstance(expr, sp.HadamardPower):
        return hadamard_power(substitute_runs(expr.base, names), expr.exp)
    if isinstance(expr, ElementwiseApplyFunction):
        return apply(expr.function, substitute_runs(expr.expr, names))
    if isinstance(expr, RowSoftmax):
        return RowSoftmax(substitute_runs(expr.args[0], names))
    return expr


def _replace(factors: list[Matrix], run: list[Matrix], symbol: Matrix) -> list[Matrix]:
    out, i = [], 0
    while i < len(factors):
        if factors[i : i + len(run)] == run:
            out.append(symbol)
            i += len(run)
        else:
            out.append(factors[i])
            i += 1
    return out
