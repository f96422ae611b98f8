"""The grammar of expressions in claims and printed equations: text to matrices by a whitelist, never by evaluation.

::

    sum        = ["-"] product (("+" | "-") product)*
    product    = power (("@" | "*" | ".*" | "o" | "/") power)*
    power      = atom (".T" | "^T" | "^" integer | "**" integer | ".^" integer | "^o" integer)*
    atom       = number | NAME | FUNCTION "(" sum [("," | ";") sum] ")" | "(" sum ")" | "[" entries "]" ["(" sum ")"]

``@`` and ``*`` are the product of matrices, or with a scalar; ``.*`` and ``.^``, printed ``o`` and ``^o``, act entry by
entry; ``/`` divides by a scalar. ``I`` and ``Pi`` take their size from what they meet; a scalar added to a matrix is
added to every entry. As a factor, ``1`` is a column of ones and ``1.T`` a row of them. Square brackets hold a function
of entries, see `claim_entries`. ``tr`` gives a matrix of one entry, which multiplies and adds like a scalar. What
stands around the expressions, `claimed_motion` reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sympy as sp

from ..algebra.nodes import Matrix
from ..base.validate import did_you_mean
from .claim_arithmetic import (
    CLOSE,
    MisfitError,
    callable_names,
    called,
    entrywise,
    mapped,
    matmul,
    matrix,
    plus,
    quotient,
    raised,
    times,
)
from .claim_entries import EntryReader
from .claim_text import ClaimCursor
from .claim_text import ClaimError as ClaimError
from .claim_values import COLUMN, MINUS, ROW, SIZELESS, Value

LARGEST_POWER = 12


def parse_expression(
    text: str, names: Mapping[str, sp.Expr], functions: Mapping[str, sp.Lambda] | None = None
) -> Matrix:
    """Read a bare matrix expression, in the names and functions of `claimed_motion.parse`."""
    return Reader(text, names, functions or {}).whole(None)


class Reader(ClaimCursor):
    """Recursive descent over the tokens of one line."""

    def __init__(self, text: str, names: Mapping[str, Any], functions: Mapping[str, sp.Lambda]) -> None:
        super().__init__(text)
        self.names, self.functions = names, functions

    def whole(self, shape: tuple[sp.Expr, sp.Expr] | None) -> Matrix:
        """Read everything that is left as one matrix."""
        start = self.peek()[2]
        value = self.all()
        if shape is not None and (
            (value.kind == "open" and shape[0] == shape[1]) or value.tall or value.wide or value.content == 0
        ):
            return value.sized(*shape)
        return self._at(start, matrix, value)

    def bracket(self) -> Matrix:
        """Read a matrix in round brackets, up to the closing one."""
        start = self.expect("(")
        value = self._at(start, matrix, self._sum())
        self.expect(")")
        return value

    def all(self) -> Value:
        """Read everything that is left."""
        value = self._sum()
        if self.peek()[0] != "end":
            raise self._stuck()
        return value

    def _stuck(self) -> ClaimError:
        """Two things follow each other: a sign is missing between factors, or there are two equations."""
        kind, word, position = self.peek()
        before = self.text[:position]
        remedy = ": write a product with '*' or '@'" if kind != "sign" or word in ("(", "[") else ""
        if remedy and "\n" in before[len(before.rstrip()) :]:
            remedy = ": one equation is checked at a time, with the lines 'with ..' that it needs"
        return self.error(f"`claim` cannot go on with {word!r} here{remedy}.", position)

    def _at(self, position: int, act: Callable[..., Any], *arguments: Any) -> Any:
        """Act on values; where they do not fit, the error points at the position."""
        try:
            return act(*arguments)
        except MisfitError as error:
            raise self.error(str(error), position) from None

    def _sum(self) -> Value:
        with self.nested():
            sign = self.take("-", "+")
            value = self._product()
            value = times(MINUS, value) if sign and sign[0] == "-" else value
            while taken := self.take("+", "-"):
                term = self._product()
                if taken[0] == "-":
                    term = times(MINUS, term)
                value = self._at(taken[1], plus, value, term)
        return value

    def _product(self) -> Value:
        value = self._ones("") or self._power()
        while taken := self.take("@", "*", ".*", "/") or self._ring():
            sign, position = taken
            other = self._ones(sign) or self._power()
            act = quotient if sign == "/" else matmul if sign in ("@", "*") else entrywise
            value = self._at(position, act, value, other)
        return value

    def _ring(self) -> tuple[str, int] | None:
        """The letter o between two factors."""
        kind, word, position = self.peek()
        if (kind, word) != ("name", "o"):
            return None
        self.next += 1
        return word, position

    def _ones(self, before: str) -> Value | None:
        """A column or a row of ones, where a factor 1 stands."""
        if self.peek()[1] != "1" or before not in ("", "@", "*"):
            return None
        after = self.peek(1)[1]
        if after == ".T":
            self.next += 2
            return ROW
        if after in ("*", "@") or (before and after not in ("/", "^", "**")):
            self.next += 1
            return COLUMN
        return None

    def _power(self) -> Value:
        value = self._atom()
        while taken := self.take(".T", "^", "**", ".^", "^o"):
            sign, position = taken
            if sign == ".T" or (sign == "^" and self.peek()[1] == "T"):
                self.next += sign == "^"
                value = value.turned()
                continue
            exponent = self._fraction() if value.kind == "scalar" and self.take("(") else self._exponent()
            value = self._at(position, raised, value, exponent, sign in (".^", "^o"))
        return value

    def _fraction(self) -> sp.Expr:
        """An exponent in brackets, which are open."""
        position = self.peek()[2]
        value = self._sum()
        self.expect(")")
        if not (value.kind == "scalar" and value.content.is_Rational and abs(value.content) <= LARGEST_POWER):
            raise self.error(f"`claim` needs a power of at most {LARGEST_POWER} here.", position)
        return value.content

    def _exponent(self) -> sp.Integer:
        kind, word, position = self.peek()
        if kind != "number" or not word.isdigit() or int(word[:9]) > LARGEST_POWER or len(word) > 9:
            raise self.error(
                f"`claim` needs a power of at most {LARGEST_POWER} here, not {word!r}.", position
            )
        self.next += 1
        return sp.Integer(word)

    def _atom(self) -> Value:
        kind, word, position = self.peek()
        self.next += 1
        if kind == "number":
            return Value(self.number(word, position), "scalar")
        if kind == "sign" and word == "(":
            value = self._sum()
            self.expect(")")
            return value
        if kind == "sign" and word == "[":
            return self._bracket(position)
        if kind == "name" and self.peek()[1] == "(":
            if word in self.names and word not in callable_names(self.functions):
                raise self._stuck()
            return self._call(word, position)
        if kind == "name" and word in SIZELESS and word not in self.names:
            return Value(SIZELESS[word], "open")
        if kind == "name" and word in self.names:
            known = self.names[word]
            if isinstance(known, Value):
                return known
            return Value(known, "matrix" if getattr(known, "is_Matrix", False) else "scalar")
        if (kind, word) == ("name", "pi"):
            return Value(sp.pi, "scalar")
        raise self._unread(kind, word, position)

    def _unread(self, kind: str, word: str, position: int) -> ClaimError:
        if kind != "name":
            return self.error(f"`claim` needs a name, a number or a bracket here, not {word!r}.", position)
        known = [*self.names, *SIZELESS]
        page = f"a name that a page defines needs its line 'with {word} = ..' below the claim; "
        hint = did_you_mean(word, known, f"{page}else choose one of {', '.join(known)}.", cutoff=CLOSE)
        return self.error(f"`claim` has the unknown name {word!r}: {hint}", position)

    def _bracket(self, position: int) -> Value:
        """A function of entries, of a name in it or of what follows."""
        function, word, flipped = EntryReader(self, self.names).read()
        if word in self.names:
            value = self.names[word]
            value = value if isinstance(value, Value) else Value(value, "matrix")
            value = value.turned() if flipped else value
        else:
            self.expect("(")
            value = self._sum()
            self.expect(")")
        return self._at(position, mapped, function, value)

    def _call(self, name: str, position: int) -> Value:
        self.expect("(")
        arguments = [self._sum()]
        while self.take(",", ";"):
            arguments.append(self._sum())
        self.expect(")")
        return self._at(position, called, name, arguments, self.functions)
