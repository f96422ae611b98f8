"""Sympy expression -> torch function, so that theory and training share one definition of the activation."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import sympy as sp
import torch
from torch import Tensor

from ...theory.base.errors import FieldError

UNARY: dict[type, Callable[[Tensor], Tensor]] = {
    sp.tanh: torch.tanh,
    sp.sinh: torch.sinh,
    sp.cosh: torch.cosh,
    sp.sin: torch.sin,
    sp.cos: torch.cos,
    sp.tan: torch.tan,
    sp.asinh: torch.asinh,
    sp.atan: torch.atan,
    sp.exp: torch.exp,
    sp.log: torch.log,
    sp.erf: torch.erf,
    sp.erfc: torch.erfc,
}
Values = dict[sp.Basic, Tensor | float]


def torch_function(expr: sp.Expr, symbol: sp.Symbol) -> Callable[[Tensor], Tensor]:
    """Turn an expression of one symbol into a function of torch tensors, entry by entry.

    Parameters
    ----------
    expr : sympy.Expr
        The function, for example ``x / sqrt(1 + x**2)``.
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
    if expr.free_symbols - {symbol}:
        raise FieldError(
            "activation", f"must depend on {symbol} alone, got {expr}: give numbers to the other symbols."
        )
    _refuse_unknown(expr)
    shared, (body,) = sp.cse(expr, symbols=sp.numbered_symbols("_shared"))

    def activation(z: Tensor) -> Tensor:
        values: Values = {symbol: z}
        for name, part in shared:
            values[name] = _evaluate(part, values)
        return torch.as_tensor(_evaluate(body, values), dtype=z.dtype).expand_as(z)

    # The usual case costs one torch call per step and nothing else.
    return UNARY[type(body)] if not shared and body.args == (symbol,) and type(body) in UNARY else activation


def _refuse_unknown(expr: sp.Expr) -> None:
    for node in sp.preorder_traversal(expr):
        if not (
            node.is_number or isinstance(node, (sp.Symbol, sp.Add, sp.Mul, sp.Pow)) or type(node) in UNARY
        ):
            known = ", ".join(sorted(kind.__name__ for kind in UNARY))
            raise FieldError(
                "activation",
                f"uses {node}, which has no torch counterpart here: build it from + - * / ** and {known}.",
            )


def _evaluate(expr: sp.Basic, values: Values) -> Tensor | float:
    if expr in values:
        return values[expr]
    if expr.is_number:
        return float(expr)
    if isinstance(expr, sp.Pow):
        return _power(expr, values)
    arguments = [_evaluate(a, values) for a in expr.args]
    if isinstance(expr, sp.Add):
        return reduce(lambda a, b: a + b, arguments)
    if isinstance(expr, sp.Mul):
        return reduce(lambda a, b: a * b, arguments)
    return UNARY[type(expr)](torch.as_tensor(arguments[0]))


def _power(expr: sp.Pow, values: Values) -> Tensor:
    base, exponent = expr.args
    if exponent.is_number and (logistic := _logistic(base, values)) is not None:
        return logistic ** float(-exponent)
    value = torch.as_tensor(_evaluate(base, values))
    if exponent == sp.Rational(-1, 2):
        return value.rsqrt()
    if exponent == sp.Rational(1, 2):
        return value.sqrt()
    return value ** (int(exponent) if exponent.is_Integer else _evaluate(exponent, values))


def _logistic(base: sp.Basic, values: Values) -> Tensor | None:
    # 1 / (1 + exp(u)) as sigmoid(-u): the naive gradient is 0 * inf = nan once exp(u) overflows.
    if (
        isinstance(base, sp.Add)
        and len(base.args) == 2
        and base.args[0] == 1
        and isinstance(base.args[1], sp.exp)
    ):
        return torch.sigmoid(-torch.as_tensor(_evaluate(base.args[1].args[0], values)))
    return None
