"""Functions written so that they overflow nowhere before their value does."""

from __future__ import annotations

from functools import lru_cache

import sympy as sp

from ..traversal import Traversal, rule
from .functions import KNOWN, NAMES, RECIPROCAL, expit, softplus
from .pieces import Piece, pieces


@lru_cache(maxsize=256)
def stable_pieces(expr: sp.Expr, symbol: sp.Symbol) -> tuple[Piece, ...]:
    """The pieces of a function, each of known functions that overflow nowhere before their value does.

    Parameters
    ----------
    expr : sympy.Expr
        Function of the symbol.
    symbol : sympy.Symbol
        Its variable.

    Raises
    ------
    UnknownNodeError
        If it holds a function that is not in `KNOWN`; the message names it.
    ValueError
        If its pieces are not intervals.
    """
    write = _Stable(symbol)
    return tuple(Piece(write(part.expr), part.low, part.high) for part in pieces(expr, symbol))


class _Stable(Traversal):
    """Writes 1 / (1 + exp(u)) as expit(-u), log(1 + exp(u)) as softplus(u), sinh / cosh as tanh.

    The naive forms are inf / inf once exp(u) overflows, though their values are near 0 or 1.
    """

    purpose = "evaluation entry by entry"

    def __init__(self, symbol: sp.Symbol) -> None:
        super().__init__()
        self.symbol = symbol

    def __call__(self, node: sp.Expr) -> sp.Expr:
        """What is equal to the node; numbers stay."""
        return super().__call__(node) if node.has(self.symbol) else node

    @classmethod
    def refusal(cls, kind: type) -> str:
        """The functions there are."""
        return f"no numerical form is known of the function {kind.__name__}: build it from + - * / ** and {NAMES}."

    @rule(sp.Symbol)
    def variable(self, node: sp.Symbol) -> sp.Expr:
        return node

    @rule(*KNOWN)
    def function(self, node: sp.Function) -> sp.Expr:
        return node.func(self(node.args[0]))

    @rule(*RECIPROCAL)
    def reciprocal(self, node: sp.Function) -> sp.Expr:
        return 1 / RECIPROCAL[node.func](self(node.args[0]))

    @rule(sp.log)
    def logarithm(self, node: sp.log) -> sp.Expr:
        inner = self(node.args[0])
        if (raised := _constant_and_exponential(inner, self.symbol)) is not None:
            constant, exponent = raised
            return sp.log(constant) + softplus(exponent)
        return sp.log(inner)

    @rule(sp.Add)
    def add(self, node: sp.Add) -> sp.Expr:
        return _hyperbolic(sp.Add(*map(self, node.args)))

    @rule(sp.Pow)
    def power(self, node: sp.Pow) -> sp.Expr:
        base, exponent = map(self, node.args)
        raised = _constant_and_exponential(base, self.symbol)
        if raised is not None and exponent.is_number and exponent.is_negative:
            constant, inner = raised
            return constant**exponent * expit(-inner) ** (-exponent)
        return base**exponent

    @rule(sp.Mul)
    def mul(self, node: sp.Mul) -> sp.Expr:
        return _joined_factors(sp.Mul(*map(self, node.args)))


def _constant_and_exponential(expr: sp.Expr, symbol: sp.Symbol) -> tuple[sp.Expr, sp.Expr] | None:
    """A and u of A (1 + exp(u)), A a positive number."""
    constant, rest = expr.as_independent(symbol, as_Add=True)
    factor, raised = rest.as_independent(symbol, as_Add=False)
    if not (isinstance(raised, sp.exp) and constant.is_positive and factor.is_positive):
        return None
    return constant, raised.args[0] + sp.log(factor / constant)


def _hyperbolic(expr: sp.Expr) -> sp.Expr:
    """C exp(u) + c exp(-u) as 2 c cosh(u), and with a minus as 2 c sinh(u)."""
    terms = {term.as_coeff_Mul()[1]: term.as_coeff_Mul()[0] for term in sp.Add.make_args(expr)}
    for raised, factor in terms.items():
        if isinstance(raised, sp.exp):
            other = terms.get(sp.exp(-raised.args[0]))
            if other is not None and raised.args[0] != 0 and abs(other) == abs(factor):
                pair = factor * raised + other / raised
                curve = sp.cosh if other == factor else sp.sinh
                return _hyperbolic(expr - pair + 2 * factor * curve(raised.args[0]))
    return expr


def _joined_factors(expr: sp.Expr) -> sp.Expr:
    """Products whose factors overflow on either side, by what they come to."""
    if not isinstance(expr, sp.Mul):
        return expr
    sums = [f for f in expr.args if isinstance(f, sp.Add) and f.has(sp.exp)]
    if sums and expr.has(expit):
        rest = expr / sums[0]
        return sp.Add(*(_joined_factors(rest * term) for term in sums[0].args))
    powers = {f.base if _is_power(f) else f: f.exp if _is_power(f) else sp.S.One for f in expr.args}
    for base, exponent in powers.items():
        if isinstance(base, expit) and exponent.is_positive:
            for raised in powers:
                if isinstance(raised, sp.exp):
                    return _joined_exponential(expr, raised, base, exponent)
        if isinstance(base, sp.cosh) and exponent.is_negative:
            count = powers.get(sp.sinh(base.args[0]), sp.S.Zero)
            least = sp.Min(count, -exponent)
            if least.is_positive:
                u = base.args[0]
                return _joined_factors(expr * (sp.cosh(u) / sp.sinh(u)) ** least * sp.tanh(u) ** least)
    return expr


def _is_power(factor: sp.Expr) -> bool:
    return isinstance(factor, sp.Pow) and not isinstance(factor, sp.exp)


def _joined_exponential(expr: sp.Expr, raised: sp.exp, base: expit, count: sp.Expr) -> sp.Expr:
    """exp(-k w) expit(w)^n as expit(-w)^k expit(w)^(n - k)."""
    w = base.args[0]
    slope = sp.cancel(-raised.args[0].diff() / w.diff())
    spare = sp.expand(raised.args[0] + slope * w)
    if not (slope.is_number and spare.is_number and slope.is_positive and (count - slope).is_nonnegative):
        return expr
    return expr / raised / base**slope * sp.exp(spare) * expit(-w) ** slope
