"""Squares of the gradients of single sequences, summed over the data: what minibatches add to a second moment.

With sequence weights omega the gradient of the mean loss is g = sum_i omega_i g_i, and S = sum_i omega_i g_i o g_i.
Every g is a sum of products A^T B over the rows of the logits, so g_i is a sum of outer products of rows
of A and B: where a sequence has one row and the gradient one product, ``S = (A o A)^T diag(omega) (B o B)``, factors
squared entry by entry; several products or several rows of a sequence are summed before they are squared, which takes
one such product for each pair of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sparse
import sympy as sp

from ..algebra.matrices import diagonal, hadamard, product, split, terms_of, total, transpose
from ..algebra.nodes import Matrix, StochasticSymbol, matrix_symbols
from ..algebra.rebuild import Substitution
from ..algebra.terms import CountSymbols
from ..base.validate import kind_of
from ..data.inputs import ROW_WEIGHTS, ROWS, dimension, one_hot

if TYPE_CHECKING:
    from .flow import Flow

# Every pair of rows of one sequence, the second not before the first: which two, one-hot, and how much they count.
ROW_PAIRS = dimension("n_row_pair")
FIRST, SECOND = (StochasticSymbol(f"R_{which}", ROW_PAIRS, ROWS) for which in ("first", "second"))
PAIR_WEIGHTS = sp.MatrixSymbol("omega_pair", ROW_PAIRS, 1)
SHOWN = 40  # symbols of a term that a message holds


@dataclass(frozen=True)
class RowSum:
    """``mask o (left^T right)``: a sum over the rows of the logits, of one outer product each.

    Attributes
    ----------
    left, right : Matrix
        Shapes (n, rows) and (n, cols).
    mask : Matrix
        Factor of every entry that all rows share, shape (rows, cols).
    """

    left: Matrix
    right: Matrix
    mask: Matrix

    @classmethod
    def of(cls, left: Matrix, right: Matrix) -> RowSum:
        """The sum without a mask."""
        return cls(left, right, sp.OneMatrix(left.cols, right.cols))

    def unweighted(self) -> RowSum:
        """The sum with all rows of weight 1."""
        ones = Substitution({ROW_WEIGHTS: sp.OneMatrix(*ROW_WEIGHTS.shape)})
        return RowSum(ones(self.left), ones(self.right), self.mask)

    @property
    def T(self) -> RowSum:
        """The transpose."""
        return RowSum(self.right, self.left, transpose(self.mask))

    def between(self, before: Sequence[Matrix], after: Sequence[Matrix]) -> RowSum | None:
        """``before mask o (left^T right) after`` as such a sum; None where a mask stands in the way."""
        if isinstance(self.mask, sp.OneMatrix):
            left = product(self.left, *(transpose(f) for f in reversed(before)))
            return RowSum.of(left, product(self.right, *after))
        if not before and not after:
            return self
        if (cut := _column(after)) is not None:  # (K o a b^T) v = a o (K diag(v) b)
            column, rest = cut
            inner = product(self.right, diagonal(column), transpose(self.mask))
            found = RowSum.of(hadamard(self.left, inner), sp.OneMatrix(self.left.rows, 1))
            return found.between(before, rest)
        turned = [transpose(f) for f in reversed(before)]
        if _column(turned) is not None:
            found = self.T.between([], turned)
            return found and found.T.between([], after)
        return None


def _column(factors: Sequence[Matrix]) -> tuple[Matrix, list[Matrix]] | None:
    """First factors that make up a column, and the rest; ones are a column times a row."""
    for i, f in enumerate(factors):
        if f.cols == 1:
            return product(*factors[: i + 1]), list(factors[i + 1 :])
        if isinstance(f, sp.OneMatrix):
            column = product(*factors[:i], sp.OneMatrix(f.rows, 1))
            return column, [sp.OneMatrix(1, f.cols), *factors[i + 1 :]]
    return None


def sequence_gradients(flow: Flow) -> dict[str, list[RowSum]]:
    """Derive minus the gradient of every weight as sums over the rows of the logits, each of weight 1.

    The terms of one sequence, over its number of rows, add up to minus its gradient. Arguments and errors as in
    `squared_gradients`.
    """
    return {w: [s.unweighted() for s in _row_sums(e, w)] for w, e in flow.right_hand_sides.items()}


def squared_gradients(flow: Flow) -> dict[str, Matrix]:
    """Derive S = sum_i omega_i g_i o g_i of every weight, g_i the gradient of the closure on sequence i.

    Logits of one sequence must not depend on another. The data matrices are those of `Flow.right_hand_sides`, of rows
    that are *not* merged where labels differ; where a sequence has several rows, those of `row_pairs` stand beside
    them.

    Parameters
    ----------
    flow : Flow
        The closure, of any model.

    Returns
    -------
    dict
        Weight name -> S, of the weight's shape; zero for a weight that rests.

    Raises
    ------
    ValueError
        If a gradient is no sum of products over the rows of the logits.
    """
    from .flow import Flow  # which prints what is here

    kind_of("flow", flow, Flow, "`derive` makes one")
    pairs = flow.model.per_position
    return {
        w: _squared(sums, flow.right_hand_sides[w], pairs) for w, sums in sequence_gradients(flow).items()
    }


def row_pairs(weights: np.ndarray, counts: np.ndarray) -> dict[str, sparse.csr_array | np.ndarray]:
    """Values of the data matrices of pairs of rows, of sequences with `weights` (m,) and `counts` (m,) of rows."""
    first, second = np.triu_indices(counts.max(initial=0))
    own = second < counts[:, None]  # a sequence that is shorter has fewer pairs
    starts = (np.cumsum(counts) - counts)[:, None]
    both = np.where(first == second, 1.0, 2.0)  # each pair stands for both orders
    width = int(counts.sum())
    return {
        FIRST.name: one_hot((starts + first)[own], width),
        SECOND.name: one_hot((starts + second)[own], width),
        PAIR_WEIGHTS.name: (weights[:, None] * both / counts[:, None] ** 2)[own].reshape(-1, 1),
    }


def _squared(sums: list[RowSum], like: Matrix, pairs: bool) -> Matrix:
    """sum_i omega_i (sum of all products on the rows of sequence i), squared entry by entry."""
    first, second, weights = (FIRST, SECOND, PAIR_WEIGHTS) if pairs else (sp.S.One, sp.S.One, ROW_WEIGHTS)
    squares = [
        hadamard(
            a.mask,
            b.mask,
            product(
                transpose(hadamard(product(first, a.left), product(second, b.left))),
                diagonal(weights),
                hadamard(product(first, a.right), product(second, b.right)),
            ),
        )
        for a in sums
        for b in sums
    ]
    return total(sp.ZeroMatrix(*like.shape), *squares)


def _row_sums(expr: Matrix, weight: str) -> Iterator[RowSum]:
    """Write a gradient as sums over rows."""
    for term in terms_of(expr):
        scalar, factors = split(term)
        cut = next((i for i, f in enumerate(factors[:-1]) if f.cols == ROWS), None)
        if cut is not None:
            left = transpose(product(*factors[: cut + 1]))
            yield RowSum.of(left, product(scalar, *factors[cut + 1 :]))
            continue
        held = [i for i, f in enumerate(factors) if _holds_rows(f)]
        if len(held) != 1:
            raise _refusal(weight, term)
        i = held[0]
        for inner in _inside(factors[i], weight):
            found = inner.between(factors[:i], factors[i + 1 :])
            if found is None:
                raise _refusal(weight, term)
            yield RowSum(product(scalar, found.left), found.right, found.mask)


def _inside(factor: Matrix, weight: str) -> Iterator[RowSum]:
    """Sums over rows of a factor that is a sum, a transpose or an entrywise product."""
    if isinstance(factor, sp.MatAdd):
        yield from _row_sums(factor, weight)
    elif isinstance(factor, sp.Transpose):
        yield from (inner.T for inner in _inside(factor.arg, weight))
    elif isinstance(factor, sp.HadamardProduct) and sum(map(_holds_rows, factor.args)) == 1:
        shared = hadamard(*(f for f in factor.args if not _holds_rows(f)))
        (rows,) = filter(_holds_rows, factor.args)
        yield from (
            RowSum(inner.left, inner.right, hadamard(inner.mask, shared)) for inner in _row_sums(rows, weight)
        )
    else:
        raise _refusal(weight, factor)


def _holds_rows(expr: Matrix) -> bool:
    return any(ROWS in symbol.shape for symbol in matrix_symbols(expr))


def _refusal(weight: str, term: Matrix) -> ValueError:
    return ValueError(
        f"the gradient for {weight!r} holds {_named(term)}, which is no sum of products over the sequences: there "
        "is no closed form for the noise of its minibatches; leave `batch_size` out, or give a `seed`."
    )


def _named(term: Matrix) -> str:
    """A term as text, or what it is made of if it is long: sympy takes minutes to write that out."""
    names = ", ".join(sorted(s.name for s in matrix_symbols(term)))
    return str(term) if CountSymbols()(term) <= SHOWN else f"a long term in {names}"
