"""Activations as sympy functions, held to Assumption 1 of arXiv 2502.04375."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import sympy as sp

from ..base.errors import FieldError
from ..base.validate import unknown

X = sp.Symbol("x", real=True)

# GELU and SiLU have slope 1/2 at the origin, so they are rescaled by 2; SiLU is written with tanh, which cannot
# overflow. The usual softsign x/(1+|x|) has no second derivative at 0: its smooth form stands under that name.
NAMED = {
    "tanh": sp.tanh(X),
    "sin": sp.sin(X),
    "arctan": sp.atan(X),
    "softsign": X / sp.sqrt(1 + X**2),
    "gelu": X * (1 + sp.erf(X / sp.sqrt(2))),
    "silu": X * (1 + sp.tanh(X / 2)),
    "identity": X,
}
# Beyond Assumption 1, by name only: its first Taylor term is the second, which is what joins two tokens at
# leading order in a `TwoTokenMLP`.
BEYOND = {"square": X**2}
KINKED = (sp.Max, sp.Min, sp.Abs, sp.Piecewise, sp.sign, sp.Heaviside, sp.floor, sp.ceiling)
PROBES = np.linspace(-4.0, 4.0, 161)  # pre-activations at which an activation must be real and finite
KNOWN_BAD = {"relu": sp.Max(0, X), "leaky_relu": sp.Max(X / 100, X), "sigmoid": 1 / (1 + sp.exp(-X))}


@dataclass(frozen=True)
class Activation:
    """A scalar function s with s(0) = 0, s'(0) = 1, twice differentiable.

    Attributes
    ----------
    name : str
        A name of `NAMED`, or the printed expression.
    expr : sympy.Expr
        s as an expression in `symbol`.
    """

    name: str
    expr: sp.Expr
    symbol: sp.Symbol = X

    @classmethod
    def of(cls, activation: str | sp.Expr | Activation) -> Activation:
        """Build from a name or from a sympy expression in one symbol.

        Raises
        ------
        ValueError
            If the name is unknown, or if the function breaks Assumption 1; the sentence says how.
        """
        if isinstance(activation, Activation):
            return activation
        if isinstance(activation, str) and activation in BEYOND:
            return cls(activation, BEYOND[activation])
        if isinstance(activation, str):
            return cls(activation, _checked(activation, _named(activation)))
        if not isinstance(activation, sp.Expr):
            raise FieldError("activation", f"must be a name or a sympy expression, got {activation!r}.")
        return cls(str(activation), _checked(str(activation), _in_standard_symbol(activation)))

    def __str__(self) -> str:
        """The name."""
        return self.name

    def lambda_(self) -> sp.Lambda:
        """S as a sympy Lambda, to be applied element by element."""
        return _lambda(self.symbol, self.expr)


@lru_cache(maxsize=256)
def _lambda(symbol: sp.Symbol, expr: sp.Expr) -> sp.Lambda:
    """Made once each: sympy leaves cycles of references behind whenever it makes one."""
    return sp.Lambda(symbol, expr)


@lru_cache(maxsize=256)
def taylor(function: sp.Lambda, order: int) -> tuple[sp.Expr, ...]:
    """Taylor coefficients c_0 .. c_order of a function of one variable at 0.

    Raises
    ------
    ValueError
        If the function has no Taylor series there.
    """
    (x,) = function.variables
    series = sp.series(function.expr, x, 0, order + 1).removeO()
    poly = sp.expand(series)
    found = tuple(poly.coeff(x, j) for j in range(order + 1))
    if sp.expand(poly - sum(c * x**j for j, c in enumerate(found))) != 0:
        raise ValueError(
            f"the function {function.expr} has no Taylor series at 0, which every closure but 'exact' needs."
        )
    return tuple(map(sp.nsimplify, found))


def _named(name: str) -> sp.Expr:
    expr = NAMED.get(name, KNOWN_BAD.get(name))
    if expr is None:
        raise unknown("activation", name, [*NAMED, *BEYOND])
    return expr


def _in_standard_symbol(expr: sp.Expr) -> sp.Expr:
    free = expr.free_symbols
    if len(free) != 1:
        raise FieldError("activation", f"must have exactly one free symbol, got {expr} with {len(free)}.")
    return expr.subs(free.pop(), X)


def _checked(name: str, expr: sp.Expr) -> sp.Expr:
    refusal = f"`activation` {name!r} breaks Assumption 1 (s twice differentiable, s(0) = 0, s'(0) = 1): "
    if expr.has(*KINKED):
        raise ValueError(refusal + "it has a kink; use a smooth activation such as 'tanh' or 'gelu'.")
    value, slope, bend = (sp.simplify(sp.limit(expr.diff(X, k), X, 0)) for k in range(3))
    if not all(v.is_finite for v in (value, slope, bend)):
        raise ValueError(refusal + "its first two derivatives at 0 are not finite; use a smooth activation.")
    if value != 0:
        raise ValueError(refusal + f"s(0) = {value}; subtract that constant.")
    if slope != 1:
        raise ValueError(refusal + f"s'(0) = {slope}; divide by it (or absorb it in the weights).")
    _check_numerically(refusal, expr)
    return expr


def _check_numerically(refusal: str, expr: sp.Expr) -> None:
    """Refuse what cannot be compiled, or is not real and finite at pre-activations that occur."""
    try:
        for derivative in (expr, sp.diff(expr, X)):
            sp.pycode(derivative)
            with np.errstate(all="ignore"):
                values = sp.lambdify(X, derivative, ["scipy", "numpy"])(PROBES)
            values = np.broadcast_to(np.asarray(values), PROBES.shape)
            if np.iscomplexobj(values) or not np.isfinite(values).all():
                raise ValueError(refusal + f"it is not real and finite on {PROBES[0]:g} .. {PROBES[-1]:g}.")
    except (NotImplementedError, NameError, TypeError) as error:
        name = str(expr)
        raise FieldError(
            "activation", f"{name!r} uses a function that has no numerical form: use another."
        ) from error
