"""Exact Taylor series at 0, by arithmetic with coefficients: nothing is guessed and nothing is searched for."""

from __future__ import annotations

from functools import lru_cache

import sympy as sp

from ..traversal import Traversal, UnknownNodeError, rule
from .functions import expit, softplus
from .pieces import pieces

# Functions whose slopes are powers, or exponentials, of polynomials.
BY_SLOPE = (
    sp.log, sp.asin, sp.acos, sp.atan, sp.asinh, sp.acosh, sp.atanh, sp.erf, sp.erfc, softplus,
)  # fmt: skip
POLYNOMIAL_SLOPE = (
    sp.tan,
    sp.tanh,
    expit,
)  # whose slopes are polynomials of degree two in the functions themselves
Coefficients = list[sp.Expr]
VANISHING = 1e-40  # below this, found with 50 digits, a coefficient is zero


@lru_cache(maxsize=256)
def taylor(function: sp.Lambda, order: int) -> tuple[sp.Expr, ...]:
    """Taylor coefficients c_0 .. c_order of a function of one variable at 0.

    Raises
    ------
    ValueError
        If the function has no Taylor series there, or none up to this order.
    """
    (x,) = function.variables
    around = [p.expr for p in pieces(function.expr, x) if p.low <= 0 <= p.high]
    try:
        found = [_PowerSeries(x, order)(expr) for expr in around]
    except UnknownNodeError as error:
        raise ValueError(_refusal(function.expr, str(error))) from error
    if len(found) > 1:
        unequal = [k for k, (a, b) in enumerate(zip(*found, strict=True)) if _number(a - b) != 0]
        if unequal:
            raise ValueError(_refusal(function.expr, f"its pieces differ there in order {unequal[0]}."))
    return tuple(_number(c) for c in found[0])


def _refusal(expr: sp.Expr, reason: str) -> str:
    return f"the function {expr} has no Taylor series at 0, which every closure but 'exact' needs: {reason}"


def _number(c: sp.Expr) -> sp.Expr:
    """A coefficient with floats as fractions, and with what vanishes as zero."""
    exact = sp.nsimplify(c, rational=True) if c.has(sp.Float) else c
    if exact.is_zero is None and abs(sp.N(exact, 50)) < VANISHING:
        return sp.S.Zero
    return exact


class _PowerSeries(Traversal):
    """Coefficients c_0 .. c_order of an expression."""

    purpose = "power series"

    def __init__(self, symbol: sp.Symbol, order: int) -> None:
        super().__init__()
        self.symbol, self.order = symbol, order

    def __call__(self, node: sp.Expr) -> Coefficients:
        """The coefficients; what holds no variable is the first."""
        return super().__call__(node) if node.has(self.symbol) else self._padded([node])

    def _padded(self, head: Coefficients) -> Coefficients:
        return (head + [sp.S.Zero] * (self.order + 1))[: self.order + 1]

    @rule(sp.Symbol)
    def variable(self, node: sp.Symbol) -> Coefficients:
        return self._padded([sp.S.Zero, sp.S.One])

    @rule(sp.Add)
    def add(self, node: sp.Add) -> Coefficients:
        return [sp.expand(sp.Add(*terms)) for terms in zip(*map(self, node.args), strict=True)]

    @rule(sp.Mul)
    def mul(self, node: sp.Mul) -> Coefficients:
        first, *rest = map(self, node.args)
        for factor in rest:
            first = _multiplied(first, factor)
        return first

    @rule(sp.Pow)
    def power(self, node: sp.Pow) -> Coefficients:
        base, exponent = node.args
        if exponent.has(self.symbol):
            return self(sp.exp(exponent * sp.log(base)))
        return self._composed(self.symbol**exponent, self(base))

    @rule(*BY_SLOPE)
    def integral(self, node: sp.Function) -> Coefficients:
        """By k v_k = sum_j j u_j g_(k-j) for v = f(u) with the slope g = f'(u), a simpler function."""
        inner, outer = node.args[0], node.func(self.symbol)
        slope, u = self(outer.diff(self.symbol).subs(self.symbol, inner)), self(inner)
        found = [node.func(u[0])]
        for k in range(1, self.order + 1):
            terms = (j * u[j] * slope[k - j] for j in range(1, k + 1) if u[j] != 0)
            found.append(sp.expand(sp.Add(*terms) / k))
        return found

    @rule(*POLYNOMIAL_SLOPE)
    def riccati(self, node: sp.Function) -> Coefficients:
        """By k v_k = sum_j j u_j g_(k-j) for v = f(u), with the slope g = a + b v + c v^2."""
        outer, u = node.func(self.symbol), self(node.args[0])
        slope_of_outer = outer.diff(self.symbol).xreplace({expit(-self.symbol): 1 - expit(self.symbol)})
        a, b, c = reversed(sp.Poly(slope_of_outer, outer).all_coeffs())
        found, slope = [sp.expand(self._value(outer, u[0]))], []
        for k in range(1, self.order + 1):
            square = sp.Add(*(found[i] * found[k - 1 - i] for i in range(k)))
            slope.append(sp.expand((a if k == 1 else 0) + b * found[k - 1] + c * square))
            terms = (j * u[j] * slope[k - j] for j in range(1, k + 1) if u[j] != 0)
            found.append(sp.expand(sp.Add(*terms) / k))
        return found

    @rule(sp.Function)
    def function(self, node: sp.Function) -> Coefficients:
        if len(node.args) != 1:
            raise UnknownNodeError(f"{node} is no function of one variable that power series know.")
        return self._composed(node.func(self.symbol), self(node.args[0]))

    def _composed(self, outer: sp.Expr, inner: Coefficients) -> Coefficients:
        """Series of outer(inner), by Horner's scheme in what inner adds to its value at 0."""
        rise = [sp.S.Zero, *inner[1:]]
        found = self._padded([])
        for c in reversed(self._derivatives(outer, inner[0])):
            found = _multiplied(found, rise)
            found[0] = c
        return found

    def _derivatives(self, outer: sp.Expr, at: sp.Expr) -> Coefficients:
        """Taylor coefficients of a single function at a number."""
        found, factorial = [], sp.S.One
        for k in range(self.order + 1):
            found.append(sp.expand(self._value(outer, at) / factorial))
            outer, factorial = outer.diff(self.symbol), factorial * (k + 1)
        return found

    def _value(self, outer: sp.Expr, at: sp.Expr) -> sp.Expr:
        value = outer.subs(self.symbol, at)
        if not value.is_number or value.has(sp.nan, sp.zoo, sp.oo, sp.Derivative, sp.Subs):
            raise UnknownNodeError(f"{outer} has no value at {at}.")
        return value


def _multiplied(a: Coefficients, b: Coefficients) -> Coefficients:
    found = [sp.S.Zero] * len(a)
    for i, x in enumerate(a):
        if x != 0:
            for j, y in enumerate(b[: len(a) - i]):
                if y != 0:
                    found[i + j] += x * y
    return [sp.expand(c) for c in found]
