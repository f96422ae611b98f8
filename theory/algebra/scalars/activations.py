"""Activations as sympy functions, held to Assumption 1 of arXiv 2502.04375."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import sympy as sp

from ...base.errors import FieldError
from ...base.validate import brief, unknown
from ..traversal import UnknownNodeError
from .functions import X
from .pieces import Piece, joined, pieces
from .singular import singularity
from .stable import stable_pieces

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
# As torch has them, for networks that are trained as they are; the ramp has no Taylor series at 0.
UNSCALED = {
    "gelu": NAMED["gelu"] / 2,
    "silu": NAMED["silu"] / 2,
    "relu": sp.Piecewise((0, X <= 0), (X, True)),
}
KNOWN_BAD = {"relu": sp.Max(0, X), "leaky_relu": sp.Max(X / 100, X), "sigmoid": 1 / (1 + sp.exp(-X))}
REACH = 4.0  # pre-activations up to this size must have a value, a slope and a curvature
DIGITS, EQUAL = 30, 1e-15  # numbers are compared by their first digits; coefficients may be floats


@dataclass(frozen=True, repr=False)
class Activation:
    """A scalar function s with s(0) = 0, s'(0) = 1, twice differentiable, if need be piece by piece.

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
            raise FieldError(
                "activation",
                f"must be a name or a sympy expression, such as sympy.sin(x) with x = sympy.Symbol('x'), "
                f"got {brief(activation)}.",
            )
        return cls(str(activation), _checked(str(activation), _in_standard_symbol(activation)))

    @classmethod
    def unscaled(cls, activation: str | sp.Expr | Activation) -> Activation:
        """The same, but with "gelu" and "silu" of slope 1/2 at 0 and with "relu", as torch has them.

        Raises
        ------
        ValueError
            As `of`.
        """
        if isinstance(activation, str) and activation in UNSCALED:
            return cls(activation, UNSCALED[activation])
        return cls.of(activation)

    def __str__(self) -> str:
        """The name."""
        return self.name

    def __repr__(self) -> str:
        """As a model is given it: the name in quotes, or the expression."""
        return repr(self.name) if self.name in (*NAMED, *BEYOND, *UNSCALED) else self.name

    def lambda_(self) -> sp.Lambda:
        """S as a sympy Lambda, to be applied element by element."""
        return _lambda(self.symbol, self.expr)


@lru_cache(maxsize=256)
def _lambda(symbol: sp.Symbol, expr: sp.Expr) -> sp.Lambda:
    """Made once each: sympy leaves cycles of references behind whenever it makes one."""
    return sp.Lambda(symbol, expr)


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


@lru_cache(maxsize=256)
def _checked(name: str, expr: sp.Expr) -> sp.Expr:
    """The expression, its pieces in order, if Assumption 1 holds at pre-activations up to `REACH`.

    No limit is taken and nothing is simplified or solved for, so that there is always an answer.
    """
    refusal = f"`activation` {name!r} breaks Assumption 1 (s twice differentiable, s(0) = 0, s'(0) = 1): "
    try:
        parts = pieces(expr, X)
    except ValueError as error:
        raise ValueError(refusal + str(error)) from error
    jets = [_jet(name, part) for part in parts]
    for left, here, beyond in zip(parts, jets, jets[1:], strict=False):
        _check_joint(refusal, left.high, here, beyond)
    for part, jet in zip(parts, jets, strict=True):
        if found := _first_singularity(part, jet):
            raise ValueError(refusal + f"it is not real and finite on {-REACH:g} .. {REACH:g}: {found}.")
    at_zero = next(jet for part, jet in zip(parts, jets, strict=True) if part.low <= 0 <= part.high)
    value, slope = (derivative.subs(X, 0) for derivative in at_zero[:2])
    if not _equal(value, sp.S.Zero):
        raise ValueError(refusal + f"s(0) = {value}; subtract that constant.")
    if not _equal(slope, sp.S.One):
        raise ValueError(refusal + f"s'(0) = {slope}; {_remedy(slope)}")
    return joined(parts, X)


def _remedy(slope: sp.Expr) -> str:
    if _equal(slope, sp.S.Zero):
        return f"of functions that start with a higher power, only {', '.join(map(repr, BEYOND))} is known."
    return f"give s(x) / ({slope}), and in a model of your own multiply what `apply` returns by {slope}."


Jet = tuple[sp.Expr, sp.Expr, sp.Expr]  # value, slope and curvature


def _jet(name: str, part: Piece) -> Jet:
    jet = part.expr, part.expr.diff(X), part.expr.diff(X, 2)
    try:
        for derivative in jet:
            stable_pieces(derivative, X)
    except UnknownNodeError as error:
        raise FieldError("activation", f"cannot be {name!r}: {error}") from error
    return jet


def _first_singularity(part: Piece, jet: Jet) -> str | None:
    low, high = max(-REACH, float(part.low)), min(REACH, float(part.high))
    if low >= high:
        return None
    return next((found for derivative in jet if (found := singularity(derivative, low, high))), None)


def _check_joint(refusal: str, joint: sp.Expr, left: Jet, right: Jet) -> None:
    for name, a, b in zip(("value", "slope", "curvature"), left, right, strict=True):
        before, after = a.subs(X, joint), b.subs(X, joint)
        if not _equal(before, after):
            raise ValueError(
                refusal + f"it has a kink at x = {joint}, where its {name} jumps from {before} to {after}; "
                "use a smooth activation such as 'tanh' or 'gelu'."
            )


def _equal(a: sp.Expr, b: sp.Expr) -> bool:
    gap = sp.N(a - b, DIGITS)
    return bool(gap.is_finite) and abs(gap) <= EQUAL * max(1, abs(sp.N(b, DIGITS)))
