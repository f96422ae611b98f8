"""Matrix expressions as lines: what text and LaTeX have in common, brackets and signs."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction
from sympy.matrices.expressions.diagonal import DiagMatrix

from ..algebra.matrices import product, split
from ..algebra.nodes import (
    Centering,
    Matrix,
    MatrixFunction,
    matrix_symbols,
)
from ..algebra.traversal import LEAVES, Traversal, rule
from .letters import free_name

SUM, PRODUCT, POWER, ATOM = range(4)  # how closely a line binds


class Writer(Traversal):
    """Writes an expression; a kind of node without a rule is refused by name.

    Terms and factors keep the order in which they stand, which sympy's own printers do not, and a sign is read off a
    term's coefficient alone. An entrywise function of a symbol is written with it, ``[1 - tanh(z)^2]``, one of a
    compound as a function of x that is applied to it, ``[1 - tanh(x)^2](A*B)``: within square brackets all is entry
    by entry.
    """

    SIGNS: ClassVar[dict[str, str]]

    def __init__(self, expr: Matrix) -> None:
        super().__init__()
        self.variable = free_name("x", map(str, matrix_symbols(expr)))

    @abstractmethod
    def scalar(self, value: sp.Expr) -> str:
        """Write a coefficient, with brackets if it needs them in a product."""

    @abstractmethod
    def name(self, symbol: sp.Basic) -> str:
        """Write a symbol."""

    @abstractmethod
    def value(self, expr: sp.Expr, variable: sp.Symbol, inner: str) -> str:
        """Write a scalar function with a line in the place of its variable."""

    @abstractmethod
    def flip(self, inner: str) -> str:
        """Write the transpose of an atom."""

    @abstractmethod
    def raise_(self, base: str, exponent: sp.Expr) -> str:
        """Write the entrywise power of an atom."""

    def call(self, function: str, *arguments: str) -> str:
        """A named function of matrices."""
        left, right = self.SIGNS["("], self.SIGNS[")"]
        return f"{self.word(function)}{left}{'; '.join(arguments)}{right}"

    def word(self, function: str) -> str:
        """Write the name of a function of matrices."""
        return function

    def within(self, node: Matrix, least: int) -> str:
        """A part, in brackets unless it binds at least as closely."""
        shown = self(node)
        return shown if binding(node) >= least else f"{self.SIGNS['(']}{shown}{self.SIGNS[')']}"

    @rule(sp.MatrixSymbol)
    def symbol(self, node: sp.MatrixSymbol) -> str:
        """By name."""
        return self.name(node)

    @rule(sp.Identity)
    def identity(self, node: sp.Identity) -> str:
        """Its size is what it meets."""
        return self.SIGNS["I"]

    @rule(sp.ZeroMatrix)
    def zero(self, node: sp.ZeroMatrix) -> str:
        """Of any shape."""
        return "0"

    @rule(Centering)
    def centering(self, node: Centering) -> str:
        """Its size is what it meets."""
        return self.SIGNS["Pi"]

    @rule(sp.OneMatrix)
    def ones(self, node: sp.OneMatrix) -> str:
        """A column of ones, a row of ones, or a column times a row."""
        one = self.SIGNS["1"]
        if node.cols == 1:
            return one
        return self.flip(one) if node.rows == 1 else one + self.SIGNS["*"] + self.flip(one)

    @rule(sp.MatAdd)
    def mat_add(self, node: sp.MatAdd) -> str:
        """Terms with their signs."""
        out = ""
        for term in node.args:
            negative = _negative(term)
            sign = (" - " if out else "-") if negative else (" + " if out else "")
            out += sign + self(product(-1, term) if negative else term)
        return out

    @rule(sp.MatMul)
    def mat_mul(self, node: sp.MatMul) -> str:
        """Sign, coefficient, factors."""
        if _negative(node):
            return f"-{self.within(product(-1, node), PRODUCT)}"
        scalar, factors = node.as_coeff_matrices()
        weight = [] if scalar == 1 else [self.scalar(scalar)]
        least = [PRODUCT + 1 if len(weight) + len(factors) > 1 and not _is_ones(f) else SUM for f in factors]
        return self.SIGNS["*"].join([*weight, *map(self.within, factors, least)])

    @rule(sp.Transpose)
    def transposed(self, node: sp.Transpose) -> str:
        """Of a symbol or of something in brackets."""
        return self.flip(self.within(node.arg, ATOM))

    @rule(sp.HadamardProduct)
    def hadamard_product(self, node: sp.HadamardProduct) -> str:
        """Factors, all but atoms in brackets."""
        return self.SIGNS["o"].join(self.within(a, ATOM) for a in node.args)

    @rule(sp.HadamardPower)
    def power(self, node: sp.HadamardPower) -> str:
        """Of a symbol or of something in brackets."""
        least = ATOM + (not isinstance(node.base, sp.MatrixSymbol))
        return self.raise_(self.within(node.base, least), node.exp)

    @rule(DiagMatrix)
    def diag(self, node: DiagMatrix) -> str:
        """Of a column."""
        return self.call("diag", self(node.args[0]))

    @rule(MatrixFunction)
    def own(self, node: MatrixFunction) -> str:
        """By its word, of its matrices and then its numbers, but for zeros."""
        numbers = [self.scalar(number) for number in node.args[len(node.matrices) :] if number]
        return self.call(node.word, *map(self, node.matrices), *numbers)

    @rule(ElementwiseApplyFunction)
    def function(self, node: ElementwiseApplyFunction) -> str:
        """Entry by entry."""
        (variable,), expr = node.function.variables, node.function.expr
        inner = self(node.expr)
        if isinstance(node.expr, sp.MatrixSymbol) or _is_flipped_symbol(node.expr):
            shown = self.value(expr, variable, inner)
            bare = expr.is_Function and expr.args[0] in (variable, -variable)
            return shown if bare else f"{self.SIGNS['[']}{shown}{self.SIGNS[']']}"
        if expr.is_Function and expr.args == (variable,):
            return self.value(expr, variable, inner)
        shown = self.value(expr, variable, self.variable)
        return f"{self.SIGNS['[']}{shown}{self.SIGNS[']']}{self.SIGNS['(']}{inner}{self.SIGNS[')']}"


class _Binding(Traversal):
    """How closely what is written for a node binds."""

    purpose = "brackets"
    most = 2**16

    @rule(*LEAVES, sp.Transpose, DiagMatrix, ElementwiseApplyFunction, MatrixFunction)
    def atom(self, node: Matrix) -> int:
        return ATOM

    @rule(sp.MatAdd)
    def mat_add(self, node: sp.MatAdd) -> int:
        return SUM

    @rule(sp.MatMul)
    def mat_mul(self, node: sp.MatMul) -> int:
        return SUM if _negative(node) else PRODUCT

    @rule(sp.HadamardProduct)
    def hadamard_product(self, node: sp.HadamardProduct) -> int:
        return PRODUCT

    @rule(sp.HadamardPower)
    def power(self, node: sp.HadamardPower) -> int:
        return POWER

    @rule(sp.OneMatrix)
    def ones(self, node: sp.OneMatrix) -> int:
        return PRODUCT if _is_ones(node) else ATOM


binding = _Binding()


def _is_ones(node: Matrix) -> bool:
    return isinstance(node, sp.OneMatrix) and 1 not in node.shape


def _is_flipped_symbol(node: Matrix) -> bool:
    return isinstance(node, sp.Transpose) and isinstance(node.arg, sp.MatrixSymbol)


def _negative(term: Matrix) -> bool:
    return bool(split(term)[0].could_extract_minus_sign())
