"""What stands in square brackets of a printed equation: one function of one variable, entry by entry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import sympy as sp

from ..algebra.scalars.functions import KNOWN, PIECEWISE, RECIPROCAL, X
from ..base.validate import did_you_mean
from .claim_text import ClaimCursor
from .claim_values import LARGEST, Value, bounded

SCALARS: dict[str, Callable[..., sp.Expr]] = {
    **{kind.__name__: kind for kind in (*KNOWN, *RECIPROCAL, *PIECEWISE) if kind is not sp.Piecewise},
    **{"abs": sp.Abs, "sqrt": sp.sqrt},
}


def not_real(expr: sp.Expr) -> bool:
    """Whether it has no real value, as the root of a negative number."""
    return getattr(expr, "is_real", None) is False


@dataclass
class _Found:
    """What a bracket is a function of."""

    word: str = ""
    flipped: bool = False


class EntryReader:
    """Reads ``1 - tanh(z)^2`` as a function of x and the name of what x is.

    Parameters
    ----------
    cursor : ClaimCursor
        Behind the opening bracket.
    names : dict
        Name -> matrix or scalar; another name than these is a variable, whose value follows the bracket.
    """

    def __init__(self, cursor: ClaimCursor, names: Mapping[str, Any]) -> None:
        self.cursor, self.names = cursor, names
        self.found = _Found()

    def read(self) -> tuple[sp.Lambda, str, bool]:
        """The function, the name of its argument, and whether that is transposed; up to the closing bracket."""
        position = self.cursor.peek()[2]
        expr = self.sum()
        if expr.has(sp.nan, sp.zoo, sp.oo, -sp.oo) or any(map(not_real, sp.preorder_traversal(expr))):
            raise self.cursor.error("`claim` has no number in this square bracket.", position)
        self.cursor.expect("]")
        return sp.Lambda(X, expr), self.found.word, self.found.flipped

    def sum(self) -> sp.Expr:
        """Terms with signs."""
        with self.cursor.nested():
            value = self.term()
            while taken := self.cursor.take("+", "-"):
                value = value + self.term() if taken[0] == "+" else value - self.term()
        return value

    def term(self) -> sp.Expr:
        """Factors, the first with a sign."""
        sign = -1 if self.cursor.take("-") else 1
        value = sign * self.factor()
        while taken := self.cursor.take("*", "/"):
            other = self.factor()
            if taken[0] == "/" and other == 0:
                raise self.cursor.error("`claim` divides by zero.", taken[1])
            value = value * other if taken[0] == "*" else value / other
        return value

    def factor(self) -> sp.Expr:
        """An atom or its power."""
        value = self.atom()
        if taken := self.cursor.take("^", "**"):
            power = -self.atom() if self.cursor.take("-") else self.atom()
            if not bounded(value, power):
                raise self.cursor.error(f"`claim` needs a power of at most {LARGEST} here.", taken[1])
            return value**power
        return value

    def atom(self) -> sp.Expr:
        """A number, a name, a function or something in brackets."""
        kind, word, position = self.cursor.peek()
        self.cursor.next += 1
        if kind == "number":
            return self.cursor.number(word, position)
        if kind == "sign" and word == "(":
            value = self.sum()
            self.cursor.expect(")")
            return value
        if kind != "name":
            raise self.cursor.error(
                f"`claim` needs a name, a number or a bracket here, not {word!r}.", position
            )
        if self.cursor.peek()[1] == "(":
            return self.call(word, position)
        return self.name(word, position)

    def call(self, word: str, position: int) -> sp.Expr:
        """A function of one or more numbers."""
        if word not in SCALARS:
            hint = did_you_mean(word, [*SCALARS])
            raise self.cursor.error(
                f"`claim` calls the unknown function {word!r} of an entry: {hint}", position
            )
        self.cursor.expect("(")
        arguments = [self.sum()]
        while self.cursor.take(","):
            arguments.append(self.sum())
        self.cursor.expect(")")
        if word in ("gamma", "loggamma") and any(a.is_Rational and abs(a) > LARGEST for a in arguments):
            raise self.cursor.error(f"`claim` takes {word} of a number beyond {LARGEST}.", position)
        try:
            return SCALARS[word](*arguments)
        except TypeError as error:
            raise self.cursor.error(f"`claim` gives {word} {len(arguments)} arguments.", position) from error

    def name(self, word: str, position: int) -> sp.Expr:
        """pi, a scalar, or the one matrix of which this is a function."""
        known = self.names.get(word)
        scalar = known.content if isinstance(known, Value) and known.kind == "scalar" else known
        if isinstance(scalar, sp.Expr) and not getattr(scalar, "is_Matrix", False):
            return scalar
        if word == "pi" and known is None:
            return sp.pi
        flipped = bool(self.cursor.take(".T"))
        if self.found.word and (word, flipped) != (self.found.word, self.found.flipped):
            one, other = (n + ".T" * f for n, f in ((word, flipped), (self.found.word, self.found.flipped)))
            raise self.cursor.error(
                f"`claim` has {one!r} and {other!r} in one square bracket: it is a function of one.", position
            )
        self.found = _Found(word, flipped)
        return X
