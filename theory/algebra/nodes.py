"""Nodes that sympy's matrix expressions lack: centring, functions of rows (softmax, norm, ...), symbols of data."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from functools import cached_property, lru_cache
from itertools import count, pairwise
from typing import Any, ClassVar
from weakref import WeakValueDictionary

import sympy as sp

from ..base.errors import FieldError
from ..base.validate import brief, nonnegative

Matrix = sp.MatrixExpr
_SHARED: WeakValueDictionary[tuple[Any, ...], Matrix] = WeakValueDictionary()
# Nodes that die after Python's modules would hash their keys, for which sympy imports what is gone by then.
atexit.register(_SHARED.clear)
_LONG: dict[type, bool] = {}  # kind of node -> whether it is built from matrices


def shared(kind: type[Matrix], *args: Any, build: Callable[..., Matrix] | None = None) -> Any:
    """A node of a kind, built once for each set of arguments that lives.

    A residual stream is part of everything after it: two copies of a long expression would be compared term by term,
    again and again, while one object is known to equal itself.
    """
    key = (kind, *map(_mark, args))
    found = _SHARED.get(key)
    if found is None or found.args != args:
        found = _SHARED[key] = (build or _BUILD.get(kind, kind))(*args)
    return found


def _product(*args: Any) -> Matrix:
    """A product of what may be multiplied as it stands: one that sympy would look through and leave as it is.

    The arguments are sympy's own, matrices and numbers that commute; where sizes fit, sympy has no more to say of them.
    """
    sizes = [a.shape for a in args if a.is_Matrix]
    if all([a[1] is b[0] for a, b in pairwise(sizes)]):
        return sp.Basic.__new__(sp.MatMul, *args)
    return sp.MatMul(*args)  # sizes that differ, or are equal numbers: sympy decides


def _sum(*args: Any) -> Matrix:
    """A sum, in the same way."""
    rows, cols = args[0].shape
    if all([(size := a.shape)[0] is rows and size[1] is cols for a in args]):
        return sp.Basic.__new__(sp.MatAdd, *args)
    return sp.MatAdd(*args)


_BUILD: dict[type[Matrix], Callable[..., Matrix]] = {sp.MatMul: _product, sp.MatAdd: _sum}


def _mark(arg: Any) -> Any:
    """What tells an argument from others: itself, or its place in memory if it is long."""
    return (id(arg),) if isinstance(arg, sp.MatrixExpr) and _is_long(arg) else arg


def _is_long(node: Matrix) -> bool:
    kind = type(node)
    if kind not in _LONG:
        _LONG[kind] = any(isinstance(a, sp.MatrixExpr) for a in node.args)
    return _LONG[kind]


def check_matrix(name: str, value: Any) -> None:
    """Refuse what is no matrix, before sympy does in words of its own."""
    if not isinstance(value, sp.MatrixExpr | sp.MatrixBase):
        raise FieldError(name, f"must be a matrix of weights and data, such as C * W_E, got {brief(value)}.")


class Centering(sp.MatrixExpr):
    """The projector Pi = I - 1 1^T / size, which takes the mean away."""

    def __new__(cls, size: sp.Expr) -> Centering:
        """Build Pi of shape (size, size)."""
        return super().__new__(cls, sp.sympify(size))

    shape = property(lambda self: (self.args[0], self.args[0]))

    def _entry(self, i: sp.Expr, j: sp.Expr, **_: object) -> sp.Expr:
        return sp.KroneckerDelta(i, j) - 1 / self.args[0]

    def _eval_transpose(self) -> Centering:
        return self

    def doit(self, **hints: object) -> Matrix:
        """Write the projector out once its size is a number."""
        return self.as_explicit() if self.args[0].is_Integer else self

    def _latex(self, printer: object, **_: object) -> str:
        return r"\Pi"

    def _sympystr(self, printer: object, **_: object) -> str:
        return "Pi"


class MatrixFunction(sp.MatrixExpr):
    """Base of this package's nodes that are built from matrices.

    The generic rules (parts, rebuilding, printing, reading of claims) hold for every subclass;
    `tests/theory/algebra/test_passes.py` lists which passes need a rule of their own.

    Attributes
    ----------
    word : str
        What pages and claims call it.
    """

    word: ClassVar[str]

    def __new__(cls, *args: Any) -> Any:
        """Build the node, or find it."""
        check_matrix("x", args[0])
        return shared(cls, *args, build=lambda *given: sp.MatrixExpr.__new__(cls, *given))

    @cached_property  # sympy asks for it often, and again for that of every part below
    def shape(self) -> tuple[sp.Expr, sp.Expr]:
        """That of the first argument."""
        return self.args[0].shape

    @property
    def matrices(self) -> tuple[Matrix, ...]:
        """The arguments that are matrices; those after them are numbers."""
        return tuple(a for a in self.args if isinstance(a, sp.MatrixExpr))

    @property
    def made_of(self) -> Matrix | None:
        """The same in other nodes, if there is such an expression; powers of the weight scale are read off it."""
        return None

    def of(self, *matrices: Matrix) -> Matrix:
        """The same function of other matrices."""
        return type(self)(*matrices, *self.args[len(self.matrices) :])

    @property
    def at_zero(self) -> Matrix:
        """Its value where the first matrix is zero."""
        return self.of(sp.ZeroMatrix(*self.args[0].shape), *self.matrices[1:])

    def of_first(self, point: Matrix | None) -> Matrix:
        """The same function of another first matrix, or of zero if that is None."""
        return self.at_zero if point is None else self.of(point, *self.matrices[1:])


class RowSoftmax(MatrixFunction):
    """Softmax of every row of `x`, against a base measure: out_ij = base_ij exp(x_ij) / sum_k base_ik exp(x_ik).

    The base, a matrix of data whose rows sum to one, says where a row may look and how often each place counts: a
    causal average, or the share of each token in a sequence. Without it the base is uniform.
    """

    word = "softmax"

    def __new__(cls, x: Matrix, base: Matrix | None = None) -> RowSoftmax:
        """Build softmax(x) of the shape of `x`."""
        return super().__new__(cls, x) if base is None else super().__new__(cls, x, base)

    base = property(lambda self: self.args[1] if len(self.args) > 1 else None)

    def doit(self, **hints: object) -> Matrix:
        """Write the softmax out once its arguments are explicit matrices."""
        args = [a.doit(**hints) for a in self.args]
        node = RowSoftmax(*args)
        return node.as_explicit() if all(isinstance(a, sp.MatrixBase) for a in args) else node

    def _entry(self, i: sp.Expr, j: sp.Expr, **_: object) -> sp.Expr:
        return self._mass(i, j) / sum(self._mass(i, k) for k in range(int(self.shape[1])))

    def _mass(self, i: sp.Expr, j: sp.Expr) -> sp.Expr:
        return sp.exp(self.args[0][i, j]) * (1 if self.base is None else self.base[i, j])

    def _latex(self, printer: object, **_: object) -> str:
        inner = ", ".join(printer._print(a) for a in self.args)  # type: ignore[attr-defined]
        return rf"\operatorname{{softmax}}\left({inner}\right)"


class RowLogSumExp(MatrixFunction):
    """Log of the sum of exponentials of every row of its argument; shape (rows, 1)."""

    word = "logsumexp"

    def __new__(cls, x: Matrix) -> RowLogSumExp:
        """Build logsumexp(x)."""
        return super().__new__(cls, x)

    @cached_property
    def shape(self) -> tuple[sp.Expr, sp.Expr]:
        """A column."""
        return self.args[0].shape[0], sp.S.One

    @property
    def at_zero(self) -> Matrix:
        """The log of the number of columns."""
        return shared(sp.MatMul, sp.log(self.args[0].cols), sp.OneMatrix(*self.shape))

    def _entry(self, i: sp.Expr, j: sp.Expr, **_: object) -> sp.Expr:
        x = self.args[0]
        return sp.log(sum(sp.exp(x[i, k]) for k in range(int(x.shape[1]))))


class RowNorm(MatrixFunction):
    """Every row over the root of its mean square plus eps: out_ij = x_ij / sqrt(sum_k x_ik^2 / d + eps).

    The RMSNorm of x, and of centred rows their LayerNorm. It holds x once; what it is made of is `written_out`.
    """

    word = "norm"

    def __new__(cls, x: Matrix, eps: sp.Expr) -> RowNorm:
        """Build the normalisation of the rows of `x`; eps is a number, zero or more."""
        if not isinstance(eps, sp.Expr):
            nonnegative("eps", eps)
        return super().__new__(cls, x, sp.sympify(eps))

    eps = property(lambda self: self.args[1])

    def doit(self, **hints: object) -> Matrix:
        """Write the quotients out once the argument is an explicit matrix."""
        node = RowNorm(self.args[0].doit(**hints), self.eps)
        return node.as_explicit() if isinstance(node.args[0], sp.MatrixBase) else node

    def _entry(self, i: sp.Expr, j: sp.Expr, **_: object) -> sp.Expr:
        x, cols = self.args[0], int(self.shape[1])
        return x[i, j] / sp.sqrt(sum(x[i, k] ** 2 for k in range(cols)) / cols + self.eps)

    def _latex(self, printer: object, **_: object) -> str:
        return rf"\operatorname{{norm}}\left({printer._print(self.args[0])}\right)"  # type: ignore[attr-defined]


class StochasticSymbol(sp.MatrixSymbol):
    """A matrix symbol whose rows sum to one (labels, attention averages)."""


class HeadSymbol(sp.MatrixSymbol):
    """Data that select the columns of one head: S_g^T S_h is the identity for g = h and else zero."""

    @property
    def index(self) -> int:
        """Number of the head, which ends its name."""
        return int(self.name.rpartition("_")[2])


class Rate(sp.MatrixSymbol):
    """The derivative of an expression by the weight scale, while a series is found from it."""

    whole: Matrix

    @staticmethod
    @lru_cache(maxsize=2**12)
    def of(whole: Matrix) -> Rate:
        """That of an expression."""
        rate = Rate(f"rate_{next(_RATES)}", *whole.shape)
        rate.whole = whole
        return rate


_RATES = count()


@lru_cache(maxsize=2**16)
def matrix_symbols(expr: sp.Basic) -> frozenset[sp.MatrixSymbol]:
    """Matrix symbols in an expression; sympy's own search goes through shared sub-expressions again and again."""
    if isinstance(expr, Rate):
        return matrix_symbols(expr.whole)
    if isinstance(expr, sp.MatrixSymbol):
        return frozenset((expr,))
    return frozenset().union(*map(matrix_symbols, expr.args))


@lru_cache(maxsize=2**16)
def free_symbols(expr: sp.Basic) -> frozenset[sp.Basic]:
    """Free symbols of an expression, matrices and scalars, found once in each shared sub-expression."""
    if isinstance(expr, sp.MatrixSymbol):
        return frozenset(expr.free_symbols)
    if not any(isinstance(a, sp.MatrixExpr) for a in expr.args):
        return frozenset(expr.free_symbols)
    return frozenset().union(*map(free_symbols, expr.args))


def nodes_within(expr: Matrix, kind: type[Matrix]) -> list[Any]:
    """All nodes of a kind in an expression, each once, inner ones first."""
    seen: dict[sp.Basic, None] = {}
    _visit(expr, seen)
    return [node for node in seen if isinstance(node, kind)]


def _visit(node: sp.Basic, seen: dict[sp.Basic, None]) -> None:
    if node not in seen:
        for part in node.args:
            if isinstance(part, sp.MatrixExpr):
                _visit(part, seen)
        seen[node] = None
