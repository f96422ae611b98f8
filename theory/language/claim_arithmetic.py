"""What the signs and functions of a claim do with its values; what does not fit is refused in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sympy as sp

from ..algebra.matrices import apply, diagonal, hadamard, hadamard_power, product, split, total, transpose
from ..algebra.nodes import Matrix, MatrixFunction, RowNorm, RowSoftmax
from ..algebra.scalars.functions import X
from ..base.validate import did_you_mean
from .claim_entries import SCALARS, not_real
from .claim_values import Value, bounded, broadcast, frame

MOST_FACTORS = 400  # of a product of matrices
ARGUMENTS = {"hadamard": (2, 2), "softmax": (1, 2), "norm": (1, 2)}
CLOSE = 0.6  # names of a letter or two are nearest to others that are less alike


class MisfitError(Exception):
    """Values that do not fit; the reader of the text says where."""


def matrix(value: Value) -> Matrix:
    """The matrix that a value is.

    Raises
    ------
    MisfitError
        If it is a number, or of a size that its place must give.
    """
    if value.kind == "matrix" and not (value.tall or value.wide):
        return value.content
    what = "a number, where a matrix is needed" if value.kind == "scalar" else "a matrix of unknown size"
    raise MisfitError(f"`claim` has {what}.")


def chain(*factors: Matrix) -> Matrix:
    """A product of matrices, unless it is longer than any that is meant.

    Raises
    ------
    MisfitError
        If it is.
    """
    if sum(len(split(factor)[1]) for factor in factors) > MOST_FACTORS:
        raise MisfitError(f"`claim` multiplies more than {MOST_FACTORS} matrices: simplify it.")
    return product(*factors)


def times(a: Value, b: Value) -> Value:
    """A product of which one factor at least is a scalar, or of two open matrices."""
    if a.kind == b.kind == "scalar":
        return Value(a.content * b.content, "scalar")
    if a.kind == b.kind == "open":
        return Value(lambda n: chain(a.content(n), b.content(n)), "open")
    scalar, other = (a, b) if a.kind == "scalar" else (b, a)
    if other.kind == "open":
        return Value(lambda n: product(scalar.content, other.content(n)), "open")
    return other.mapped(lambda x: product(scalar.content, x))


def plus(a: Value, b: Value) -> Value:
    """A sum; a scalar is added to every entry."""
    if a.kind == b.kind == "scalar":
        return Value(a.content + b.content, "scalar")
    rows, cols, tall, wide = frame(a, b)
    sizeless = "open" in (a.kind, b.kind)
    if sizeless and tall and wide:
        return Value(lambda n: total(a.sized(n, n), b.sized(n, n)), "open")
    if sizeless and tall != wide:
        rows, cols, tall, wide = (cols, cols, False, False) if tall else (rows, rows, False, False)
    if sizeless and rows != cols:
        raise MisfitError(f"`claim` adds I or Pi to a matrix of shape ({rows}, {cols}).")
    left, right = a.sized(rows, cols), b.sized(rows, cols)
    if left.shape != right.shape:
        raise MisfitError(f"`claim` adds shapes {left.shape} and {right.shape}.")
    return Value(total(left, right), "matrix", tall, wide)


def quotient(a: Value, b: Value) -> Value:
    """Something over a scalar."""
    if b.kind != "scalar":
        raise MisfitError("`claim` divides by a matrix: only scalars divide.")
    if b.content == 0:
        raise MisfitError("`claim` divides by zero.")
    return times(Value(1 / b.content, "scalar"), a)


def matmul(a: Value, b: Value) -> Value:
    """A product, of matrices or with a scalar."""
    if "scalar" in (a.kind, b.kind) or a.kind == b.kind == "open":
        return times(a, b)
    found = _with_open(a, b) if "open" in (a.kind, b.kind) else _of_matrices(a, b)
    if found is None:
        shapes = [v.content.shape if v.kind == "matrix" else "unknown" for v in (a, b)]
        raise MisfitError(f"`claim` multiplies shapes {shapes[0]} and {shapes[1]}{_scaled_rows(a, b)}.")
    return found


def _scaled_rows(a: Value, b: Value) -> str:
    """The remedy where a column stands before a matrix that has as many rows."""
    if not (a.kind == b.kind == "matrix" and not (a.tall or a.wide or b.tall or b.wide)):
        return ""
    column = a.content.cols == 1 and a.content.rows == b.content.rows
    return ": diag(..) of the column multiplies the rows" if column else ""


def _with_open(a: Value, b: Value) -> Value | None:
    known, unknown = (b, b.tall) if a.kind == "open" else (a, a.wide)
    if unknown:
        return None
    size = known.content.rows if known is b else known.content.cols
    left, right = (v.content(size) if v.kind == "open" else v.content for v in (a, b))
    return Value(chain(left, right), "matrix", a.tall, b.wide)


def _of_matrices(a: Value, b: Value) -> Value | None:
    if a.wide and b.tall:
        return None
    left = product(a.content, sp.OneMatrix(1, b.content.rows)) if a.wide else a.content
    right = product(sp.OneMatrix(a.content.cols, 1), b.content) if b.tall else b.content
    if left.cols == right.rows:
        return Value(chain(left, right), "matrix", a.tall, b.wide)
    if (1, 1) not in (left.shape, right.shape):
        return None
    entry, other = (left, b) if left.shape == (1, 1) else (right, a)
    return other.mapped(lambda x: hadamard(broadcast(entry, *x.shape), x))


def entrywise(a: Value, b: Value) -> Value:
    """A product entry by entry."""
    if a.kind == b.kind == "matrix":
        rows, cols, tall, wide = frame(a, b)
        left, right = (v.sized(rows, cols) if v.tall or v.wide else v.content for v in (a, b))
        if left.shape == right.shape:
            return Value(hadamard(left, right), "matrix", tall, wide)
    raise MisfitError(f"`claim` needs two matrices of one shape on either side of '.*'{_scaled_rows(a, b)}.")


def raised(value: Value, exponent: sp.Expr, entries: bool) -> Value:
    """A power of a scalar or of a square matrix, or of every entry."""
    if value.kind == "scalar":
        if value.content == 0 and exponent < 0:
            raise MisfitError("`claim` divides by zero.")
        if not bounded(value.content, exponent):
            raise MisfitError(
                f"`claim` takes the power {exponent} of a number too long for it: write it out."
            )
        return Value(_real(value.content**exponent), "scalar")
    if not (exponent.is_Integer and exponent >= 0):
        raise MisfitError(f"`claim` takes the power {exponent} of a matrix: only whole ones.")
    if entries and value.kind == "matrix":
        return value.mapped(lambda x: hadamard_power(x, exponent))
    if not entries and value.kind == "open" and exponent > 0:
        return Value(lambda n: chain(*[value.content(n)] * int(exponent)), "open")
    square = matrix(value)
    if square.rows != square.cols or exponent == 0:
        raise MisfitError(f"`claim` takes a power of shape {square.shape}: only squares.")
    return Value(chain(*[square] * int(exponent)), "matrix")


def _real(content: sp.Expr) -> sp.Expr:
    if not_real(content):
        raise MisfitError("`claim` takes a root of a negative number.")
    return content


def _trace(x: Matrix) -> Matrix:
    """Trace as a matrix of one entry: 1^T (A o B^T) 1 for a product A B, which is never formed."""
    if x.rows != x.cols:
        raise MisfitError(f"`claim` takes the trace of shape {x.shape}: only of a square.")
    scalar, factors = split(x)
    if len(factors) == 1:
        factors = [*factors, sp.Identity(x.cols)]
    entries = hadamard(factors[0], transpose(product(*factors[1:])))
    return product(scalar, sp.OneMatrix(1, entries.rows), entries, sp.OneMatrix(entries.cols, 1))


def _norm(x: Matrix, eps: sp.Expr = sp.S.Zero) -> Matrix:
    if not (eps.is_Rational and eps >= 0):
        raise MisfitError(f"`claim` adds {eps} to the mean squares of norm: give a number, zero or more.")
    return RowNorm(x, eps)


def _diag(x: Matrix) -> Matrix:
    if x.cols != 1:
        raise MisfitError(f"`claim` takes diag of shape {x.shape}: only of a column.")
    return diagonal(x)


def _softmax(x: Matrix, *base: Matrix) -> Matrix:
    if base and base[0].shape != x.shape:
        raise MisfitError(
            f"`claim` takes a softmax of shape {x.shape} against a base of shape {base[0].shape}."
        )
    return RowSoftmax(x, *base)


CALLS: dict[str, Any] = {kind.word: kind for kind in MatrixFunction.__subclasses__()} | {
    "tr": _trace,
    "diag": _diag,
    "rowsum": lambda x: product(x, sp.OneMatrix(x.cols, 1)),
    "softmax": _softmax,
    "norm": _norm,
    "transpose": transpose,
}


def callable_names(functions: Mapping[str, sp.Lambda]) -> tuple[str, ...]:
    """Names that may stand before round brackets, with those of a model's functions."""
    return (*CALLS, "hadamard", *functions, *SCALARS)


def called(name: str, arguments: Sequence[Value], functions: Mapping[str, sp.Lambda]) -> Value:
    """A function by name: of entries, those of a model first, or of matrices."""
    known = callable_names(functions)
    if name == "d" and name not in known:
        raise MisfitError(
            "`claim` has d(..) in an expression: it stands alone on the left, so write the motion out."
        )
    if name not in known:
        hint = did_you_mean(name, known, cutoff=CLOSE)
        raise MisfitError(f"`claim` calls the unknown function {name!r}: {hint}")
    least, most = ARGUMENTS.get(name, (1, 1))
    if not least <= len(arguments) <= most:
        wanted = str(least) if least == most else f"{least} or {most}"
        raise MisfitError(f"`claim` gives {name} {len(arguments)} arguments, it takes {wanted}.")
    first = arguments[0]
    if name == "sqrt" and first.kind == "scalar":
        return Value(_real(sp.sqrt(first.content)), "scalar")
    if name == "sqrt":
        raise MisfitError("`claim` takes the square root of a matrix: only of scalars.")
    if name == "hadamard":
        return entrywise(*arguments)
    if name in functions:
        return mapped(functions[name], first)
    if name not in CALLS:
        return mapped(sp.Lambda(X, SCALARS[name](X)), first)
    others = [v.content if v.kind == "scalar" else matrix(v) for v in arguments[1:]]
    return Value(CALLS[name](matrix(first), *others), "matrix")


def mapped(function: sp.Lambda, value: Value) -> Value:
    """A function of every entry."""
    if value.kind != "matrix":
        matrix(value)  # says what it is instead
    return value.mapped(lambda x: apply(function, x))
