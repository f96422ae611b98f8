"""The grammar of claims: text to matrix expressions by a whitelist, never by evaluation.

::

    claim      = "d" NAME ["/dt"] "=" sum
    sum        = ["-"] product (("+" | "-") product)*
    product    = power (("@" | "*" | ".*" | "o" | "/") power)*
    power      = atom (".T" | "^" integer | "**" integer | ".^" integer)*
    atom       = number | NAME | FUNCTION "(" sum ["," sum] ")" | "(" sum ")"

``@`` and ``*`` are the product of matrices, or with a scalar; ``.*``, printed as ``o``, and ``.^`` act entry by entry;
``/`` divides by a scalar. ``I`` and ``Pi`` take their size from what they meet; a scalar added to a matrix is added to
every entry. ``tr`` gives a matrix of one entry, which multiplies and adds like a scalar.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import sympy as sp

from ..algebra.matrices import apply, hadamard, hadamard_power, product, total, transpose
from ..algebra.nodes import Matrix
from ..base.validate import did_you_mean
from .claim_text import ClaimError as ClaimError
from .claim_text import tokens
from .claim_values import CALLS, SIZELESS, ParsedClaim, Value, scaled, spread, times

DEEPEST, LARGEST_POWER, DIGITS = 60, 12, 30
SHORT = 0.6  # names of a letter or two are nearest to others that are less alike


def parse(
    text: str,
    names: Mapping[str, sp.Expr],
    targets: Mapping[str, sp.MatrixSymbol],
    functions: Mapping[str, sp.Lambda] | None = None,
) -> ParsedClaim:
    """Read a claim such as "dW_E = M_last @ (W_in @ W_out + I).T".

    Parameters
    ----------
    text : str
        The claim.
    names : dict
        Every name that may stand on the right -> matrix or scalar.
    targets : dict
        Every weight that may stand on the left -> its symbol.
    functions : dict, optional
        Name -> scalar function that may be applied entry by entry.

    Raises
    ------
    ClaimError
        For anything outside the grammar, an unknown name or shapes that do not fit.
    """
    reader = Reader(text, names, functions or {})
    weight = reader.target(targets)
    value = reader.whole(targets[weight].shape)
    if value.shape != targets[weight].shape:
        rows, cols = targets[weight].shape
        raise ClaimError(
            f"`claim` gives d{weight} the shape {value.shape}, it must be ({rows}, {cols}).",
            text,
            text.index("=") + 1,
        )
    return ParsedClaim(weight, value, text)


def parse_expression(
    text: str, names: Mapping[str, sp.Expr], functions: Mapping[str, sp.Lambda] | None = None
) -> Matrix:
    """Read a bare matrix expression; see `parse`."""
    return Reader(text, names, functions or {}).whole(None)


class Reader:
    """Recursive descent over the tokens of one text."""

    def __init__(self, text: str, names: Mapping[str, sp.Expr], functions: Mapping[str, sp.Lambda]) -> None:
        if not isinstance(text, str):
            raise ValueError(f"`claim` must be text, got {type(text).__name__}.")
        self.text, self.names, self.functions = text, names, functions
        self.tokens = list(tokens(text))
        self.next, self.depth = 0, 0

    def _error(self, reason: str, position: int) -> ClaimError:
        return ClaimError(reason, self.text, position)

    def _peek(self) -> tuple[str, str, int]:
        end = len(self.text.rstrip())
        return self.tokens[self.next] if self.next < len(self.tokens) else ("end", "the end", end)

    def _take(self, *signs: str) -> tuple[str, int] | None:
        kind, word, position = self._peek()
        if word not in signs or (kind != "sign" and word != "o"):  # which no name can be between two factors
            return None
        self.next += 1
        return word, position

    def _expect(self, sign: str) -> int:
        taken = self._take(sign)
        if taken is None:
            _, word, position = self._peek()
            raise self._error(f"`claim` needs {sign!r} here, not {word!r}.", position)
        return taken[1]

    def target(self, targets: Mapping[str, sp.MatrixSymbol]) -> str:
        """Read the left-hand side up to the equals sign."""
        kind, word, position = self._peek()
        if kind != "name" or word[:1] != "d" or word[1:] not in targets:
            motions = [f"d{t}" for t in targets]
            hint = did_you_mean(word, motions, f"it starts with one of {', '.join(motions)}.")
            raise self._error(f"`claim` starts with {word!r}, which is no weight's motion: {hint}", position)
        self.next += 1
        if self._take("/"):
            kind, after, position = self._peek()
            if after != "dt":
                raise self._error(f"`claim` needs 'dt' here, not {after!r}.", position)
            self.next += 1
        self._expect("=")
        return word[1:]

    def whole(self, shape: tuple[sp.Expr, sp.Expr] | None) -> Matrix:
        """Read everything that is left as one matrix."""
        start = self._peek()[2]
        value, at = self._sum(), self._peek()
        if at[0] != "end":
            raise self._error(f"`claim` cannot go on with {at[1]!r} here.", at[2])
        if value.kind == "open" and shape is not None and shape[0] == shape[1]:
            return value.sized(shape[0])
        return self._matrix(value, start)

    def _matrix(self, value: Value, position: int) -> Matrix:
        if value.kind == "matrix":
            return value.content
        what = "a number, where a matrix is needed" if value.kind == "scalar" else "a matrix of unknown size"
        raise self._error(f"`claim` has {what}.", position)

    def _sum(self) -> Value:
        self.depth += 1
        if self.depth > DEEPEST:
            raise self._error(
                f"`claim` is nested deeper than {DEEPEST} brackets: simplify it.", self._peek()[2]
            )
        sign = self._take("-", "+")
        value = self._product()
        value = times(Value(sp.S.NegativeOne, "scalar"), value) if sign and sign[0] == "-" else value
        while taken := self._take("+", "-"):
            term = self._product()
            if taken[0] == "-":
                term = times(Value(sp.S.NegativeOne, "scalar"), term)
            value = self._plus(value, term, taken[1])
        self.depth -= 1
        return value

    def _plus(self, a: Value, b: Value, position: int) -> Value:
        if a.kind == b.kind == "scalar":
            return Value(a.content + b.content, "scalar")
        if "matrix" not in (a.kind, b.kind):
            return Value(lambda n: total(spread(a, n, n), spread(b, n, n)), "open")
        rows, cols = max(
            (v.content for v in (a, b) if v.kind == "matrix"), key=lambda m: m.shape != (1, 1)
        ).shape
        for value in (a, b):
            if value.kind == "open" and rows != cols:
                raise self._error(f"`claim` adds I or Pi to a matrix of shape ({rows}, {cols}).", position)
        left, right = spread(a, rows, cols), spread(b, rows, cols)
        if left.shape != right.shape:
            raise self._error(f"`claim` adds shapes {left.shape} and {right.shape}.", position)
        return Value(total(left, right), "matrix")

    def _product(self) -> Value:
        value = self._power()
        while taken := self._take("@", "*", ".*", "o", "/"):
            other, (sign, position) = self._power(), taken
            if sign == "/":
                if other.kind != "scalar":
                    raise self._error("`claim` divides by a matrix: only scalars divide.", position)
                if other.content == 0:
                    raise self._error("`claim` divides by zero.", position)
                value = times(Value(1 / other.content, "scalar"), value)
            elif sign in (".*", "o"):
                value = self._entrywise(value, other, position)
            else:
                value = self._matmul(value, other, position)
        return value

    def _matmul(self, a: Value, b: Value, position: int) -> Value:
        if "scalar" in (a.kind, b.kind) or a.kind == b.kind == "open":
            return times(a, b)
        if a.kind == "open":
            return Value(product(a.sized(b.content.rows), b.content), "matrix")
        if b.kind == "open":
            return Value(product(a.content, b.sized(a.content.cols)), "matrix")
        if a.content.cols != b.content.rows and (1, 1) in (a.content.shape, b.content.shape):
            return Value(scaled(a.content, b.content), "matrix")
        if a.content.cols != b.content.rows:
            raise self._error(f"`claim` multiplies shapes {a.content.shape} and {b.content.shape}.", position)
        return Value(product(a.content, b.content), "matrix")

    def _entrywise(self, a: Value, b: Value, position: int) -> Value:
        if a.kind == b.kind == "matrix" and a.content.shape == b.content.shape:
            return Value(hadamard(a.content, b.content), "matrix")
        raise self._error("`claim` needs two matrices of one shape on either side of '.*'.", position)

    def _power(self) -> Value:
        value = self._atom()
        while taken := self._take(".T", "^", "**", ".^"):
            sign, position = taken
            if sign == ".T":
                value = value if value.kind != "matrix" else Value(transpose(value.content), "matrix")
                continue
            exponent = self._exponent()
            if value.kind == "scalar":
                value = Value(value.content**exponent, "scalar")
            elif value.kind == "open" and sign != ".^" and exponent > 0:
                value = Value(_repeated(value.content, exponent), "open")
            elif sign == ".^":
                value = Value(hadamard_power(self._matrix(value, position), sp.Integer(exponent)), "matrix")
            else:
                matrix = self._matrix(value, position)
                if matrix.rows != matrix.cols or exponent == 0:
                    raise self._error(
                        f"`claim` takes a power of shape {matrix.shape}: only squares.", position
                    )
                value = Value(product(*[matrix] * exponent), "matrix")
        return value

    def _exponent(self) -> int:
        kind, word, position = self._peek()
        if kind != "number" or not word.isdigit() or int(word[:9]) > LARGEST_POWER or len(word) > 9:
            raise self._error(
                f"`claim` needs a power of at most {LARGEST_POWER} here, not {word!r}.", position
            )
        self.next += 1
        return int(word)

    def _atom(self) -> Value:
        kind, word, position = self._peek()
        self.next += 1
        if kind == "number" and len(word) <= DIGITS:
            return Value(sp.Rational(word), "scalar")
        if kind == "sign" and word == "(":
            value = self._sum()
            self._expect(")")
            return value
        if kind == "name" and self._peek()[1] == "(":
            return self._call(word, position)
        if kind == "name" and word in SIZELESS and word not in self.names:
            return Value(SIZELESS[word], "open")
        if kind == "name" and word in self.names:
            known = self.names[word]
            return Value(known, "matrix" if getattr(known, "is_Matrix", False) else "scalar")
        raise self._unread(kind, word, position)

    def _unread(self, kind: str, word: str, position: int) -> ClaimError:
        if kind == "number":
            return self._error(
                f"`claim` has a number of {len(word)} digits: write at most {DIGITS}.", position
            )
        if kind != "name":
            return self._error(f"`claim` needs a name, a number or a bracket here, not {word!r}.", position)
        hint = did_you_mean(word, [*self.names, *SIZELESS], cutoff=SHORT)
        return self._error(f"`claim` has the unknown name {word!r}: {hint}", position)

    def _call(self, name: str, position: int) -> Value:
        self._expect("(")
        arguments = [self._sum()]
        while self._take(","):
            arguments.append(self._sum())
        self._expect(")")
        wanted = 2 if name == "hadamard" else 1
        if name not in (*CALLS, *self.functions):
            hint = did_you_mean(name, [*CALLS, *self.functions], cutoff=SHORT)
            raise self._error(f"`claim` calls the unknown function {name!r}: {hint}", position)
        if len(arguments) != wanted:
            raise self._error(
                f"`claim` gives {name} {len(arguments)} arguments, it takes {wanted}.", position
            )
        if name == "sqrt":
            if arguments[0].kind != "scalar":
                raise self._error("`claim` takes the square root of a matrix: only of scalars.", position)
            return Value(sp.sqrt(arguments[0].content), "scalar")
        if name == "hadamard":
            return self._entrywise(arguments[0], arguments[1], position)
        x = self._matrix(arguments[0], position)
        if name in self.functions:
            return Value(apply(self.functions[name], x), "matrix")
        if name == "diag" and x.cols != 1:
            raise self._error(f"`claim` takes diag of shape {x.shape}: only of a column.", position)
        if name == "tr" and x.rows != x.cols:
            raise self._error(f"`claim` takes the trace of shape {x.shape}: only of a square.", position)
        return Value(CALLS[name](x), "matrix")


def _repeated(content: Callable[[sp.Expr], Matrix], exponent: int) -> Callable[[sp.Expr], Matrix]:
    return lambda size: product(*[content(size)] * exponent)
