"""Sympy expression -> torch function, so that theory and training share one definition of the activation."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import sympy as sp
import torch
from torch import Tensor

from ...sim.device.tensor_functions import UNARY as NAMED
from ...theory.algebra.scalars.activations import UNSCALED
from ...theory.algebra.scalars.functions import KNOWN, X
from ...theory.algebra.scalars.pieces import Piece
from ...theory.algebra.scalars.stable import stable_pieces
from ...theory.algebra.traversal import Traversal, UnknownNodeError, rule
from ...theory.base.errors import FieldError

# One entry for each function that kernels know.
UNARY: dict[type, Callable[[Tensor], Tensor]] = {kind: NAMED[kind.__name__] for kind in KNOWN}
Function = Callable[[Tensor], Tensor]
# Functions that torch has in one piece, several times as fast as what they are made of.
WHOLE: dict[sp.Expr, Function] = {
    UNSCALED["gelu"]: torch.nn.functional.gelu,
    UNSCALED["silu"]: torch.nn.functional.silu,
    UNSCALED["relu"]: torch.relu,
}


def torch_function(expr: sp.Expr, symbol: sp.Symbol) -> Function:
    """Turn an expression of one symbol into a function of torch tensors, entry by entry.

    Parameters
    ----------
    expr : sympy.Expr
        The function, for example ``x / sqrt(1 + x**2)``; it may be given piece by piece.
    symbol : sympy.Symbol
        Its variable.

    Returns
    -------
    callable
        Tensor of any shape -> tensor of the same shape; differentiable by autograd.

    Raises
    ------
    ValueError
        If the expression has another free symbol or a function without a torch counterpart.
    """
    if symbol == X and expr in WHOLE:
        return WHOLE[expr]
    if expr.free_symbols - {symbol}:
        raise FieldError(
            "activation", f"must depend on {symbol} alone, got {expr}: give numbers to the other symbols."
        )
    try:
        parts = stable_pieces(expr, symbol)
    except UnknownNodeError as error:
        raise FieldError("activation", f"cannot be {expr}: {error}") from error
    return _smooth(parts[0].expr, symbol) if len(parts) == 1 else _by_pieces(parts, symbol)


def _by_pieces(parts: tuple[Piece, ...], symbol: sp.Symbol) -> Function:
    """Every piece is evaluated at places of its own interval alone, so that no gradient comes from elsewhere."""
    functions = [_smooth(part.expr, symbol) for part in parts]
    edges = [(float(part.low), float(part.high)) for part in parts]

    def activation(z: Tensor) -> Tensor:
        found = torch.full_like(z, torch.nan)
        for function, (low, high) in zip(functions, edges, strict=True):
            found = torch.where((z > low) & (z <= high), function(z.clamp(low, high)), found)
        return found

    return activation


def _smooth(expr: sp.Expr, symbol: sp.Symbol) -> Function:
    shared, (body,) = sp.cse(expr, symbols=sp.numbered_symbols("_shared"))

    def activation(z: Tensor) -> Tensor:
        values: dict[sp.Basic, Tensor | float] = {symbol: z}
        for name, part in shared:
            values[name] = _Value(values)(part)
        return torch.as_tensor(_Value(values)(body), dtype=z.dtype).expand_as(z)

    # The usual case costs one torch call per step and nothing else.
    return UNARY[type(body)] if not shared and body.args == (symbol,) and type(body) in UNARY else activation


class _Value(Traversal):
    """Tensor of an expression, or a number where it holds no variable."""

    purpose = "functions in torch"

    def __init__(self, values: dict[sp.Basic, Tensor | float]) -> None:
        super().__init__()
        self.known |= values

    def __call__(self, node: sp.Basic) -> Tensor | float:
        return float(node) if node.is_number else super().__call__(node)

    @rule(sp.Add)
    def add(self, node: sp.Add) -> Tensor | float:
        return reduce(lambda a, b: a + b, map(self, node.args))

    @rule(sp.Mul)
    def mul(self, node: sp.Mul) -> Tensor | float:
        return reduce(lambda a, b: a * b, map(self, node.args))

    @rule(sp.Pow)
    def power(self, node: sp.Pow) -> Tensor:
        base, exponent = node.args
        value = torch.as_tensor(self(base))
        if exponent == sp.Rational(-1, 2):
            return value.rsqrt()
        if exponent == sp.Rational(1, 2):
            return value.sqrt()
        return value ** (int(exponent) if exponent.is_Integer else self(exponent))

    @rule(*UNARY)
    def function(self, node: sp.Function) -> Tensor:
        return UNARY[type(node)](torch.as_tensor(self(node.args[0])))
