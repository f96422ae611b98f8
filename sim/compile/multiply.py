"""Chains of factors multiplied in their cheapest order, reusing what is at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from typing import Any

import numpy as np
import scipy.sparse as sparse
import sympy as sp

from ...theory.algebra.chain import ELEMENT_WEIGHT, INFEASIBLE, SPARSE_WEIGHT, Operand, Plan, plan_chain
from ...theory.algebra.matrices import product, split, total, transpose
from ...theory.algebra.nodes import Centering, HeadSymbol, Matrix
from .graph import Ref
from .host import Host

DENSE_FOLD_BYTES = 2**28  # a folded data product may be dense up to this size
SPARSE_FOLD_NNZ = 2**26  # products of sparse data above this bound are not attempted
# Sums of what data read: whole, read with the weights that they meet, multiplied out.
READINGS = ("together", "joined", "apart")


class Multiplier:
    """Multiplies chains in the graph of a `Host`."""

    def __init__(self, host: Host) -> None:
        self.host, self.graph = host, host.graph
        self.operands: dict[tuple[Matrix, ...], Operand | None] = {}

    def multiply(self, factors: list[Any], refs: list[Ref]) -> Ref:
        """Product of the factors, whose values the references are."""
        graph = self.graph
        data = [not isinstance(f, Ref) and self.host.is_data(f) for f in factors]

        def at_hand(i: int, j: int) -> Operand | None:
            known = graph.products.get(tuple(refs[i:j]))
            if known is not None:
                return graph.operand(known)
            if all(data[i:j]):
                key = tuple(factors[i:j])
                if key not in self.operands:
                    self.operands[key] = self._fold_operand(factors[i:j], refs[i:j])
                return self.operands[key]
            return None

        plans = plan_chain([graph.operand(r) for r in refs], at_hand)
        if plans[0, len(refs)].cost == INFEASIBLE:
            return self.multiply(*self._with_a_dense_factor(factors, refs))

        return self._build(factors, refs, plans, 0, len(refs))

    def _build(
        self, factors: list[Any], refs: list[Ref], plans: Mapping[tuple[int, int], Plan], i: int, j: int
    ) -> Ref:
        """Product of the factors from i up to j; no closure that calls itself, a cycle that would keep the graph."""
        if j == i + 1:
            return refs[i]
        run = tuple(refs[i:j])
        known = self.graph.products.get(run)
        if known is not None:
            return known
        split_at = plans[i, j].split
        if split_at is None:
            return self.host.data(product(*factors[i:j]))
        left = self._build(factors, refs, plans, i, split_at)
        ref = self.graph.matmul(left, self._build(factors, refs, plans, split_at, j))
        self.graph.products[run] = ref
        self.graph.products.setdefault(tuple(r.T for r in reversed(run)), ref.T)
        return ref

    def _with_a_dense_factor(self, factors: list[Any], refs: list[Ref]) -> tuple[list[Any], list[Ref]]:
        """Give a chain a kernel: join a diagonal factor with a sparse one, or write the smallest out."""
        for k in range(len(refs) - 1):
            pair = factors[k : k + 2]
            kinds = {self.graph.operand(r).storage for r in refs[k : k + 2]}
            if kinds == {"diag", "csr"} and not any(isinstance(f, Ref) for f in pair):
                _, ref = self.host.lower(
                    product(*pair)
                )  # coefficients of the parts are in the chain's already
                return [*factors[:k], ref, *factors[k + 2 :]], [*refs[:k], ref, *refs[k + 2 :]]
        sizes = [
            (np.prod(self.graph.shape(r), dtype=float), k)
            for k, r in enumerate(refs)
            if self.graph.operand(r).storage != "dense"
        ]
        _, k = min(sizes)
        dense = self.host.densified(refs[k])
        return [*factors[:k], dense, *factors[k + 1 :]], [*refs[:k], dense, *refs[k + 1 :]]

    def _fold_operand(self, factors: list[Matrix], refs: list[Ref]) -> Operand | None:
        """Operand of a run of data factors folded into one array, or None if that would be too large."""
        rows, cols = self.graph.shape(refs[0])[0], self.graph.shape(refs[-1])[1]
        centred = any(isinstance(f, Centering) for f in factors)
        dense = centred or any(self.graph.operand(r).storage == "dense" for r in refs)
        if dense and 8 * rows * cols > DENSE_FOLD_BYTES:
            return None
        if not dense and self._nnz_bound(refs) > SPARSE_FOLD_NNZ:
            return None
        value = self.host.folded(product(*factors))
        if sparse.issparse(value):
            return Operand("csr", value.shape, value.nnz)
        return Operand("dense", value.shape)

    def _nnz_bound(self, refs: list[Ref]) -> float:
        """Upper bound on the products formed by a chain of sparse matrices (number of paths through it)."""
        paths = None
        for ref in refs:
            if self.graph.operand(ref).storage == "csr":
                pattern = abs(self.graph.value(ref)).sign()
                start = np.ones(pattern.shape[0]) if paths is None else paths
                paths = pattern.T @ start
        return 0.0 if paths is None else float(paths.sum())


class Readings:
    """Sums of what sparse data read, (D U + E W) V: as they are, or read anew for every product, D (U V) + E (W V).

    Reading costs little where each row of D has few entries, and spares a dense product over all rows.

    Parameters
    ----------
    host : Host
        The lowering.
    how : str
        One of `READINGS`.
    fuses : callable
        Whether data put before a term becomes one operation with it.

    Attributes
    ----------
    met : bool
        Whether there was such a sum; where there is none, all ways of reading are the same.
    """

    def __init__(self, host: Host, how: str, fuses: Callable[[Matrix], bool]) -> None:
        self.host, self.how, self.fuses, self.met = host, how, fuses, False
        self.hand: dict[tuple[Matrix, ...], Ref] = {}

    def spread(self, factors: list[Matrix]) -> list[Matrix]:
        """Multiply data on either side into those terms of a sum that then fold or fuse."""
        for i, factor in enumerate(factors):
            if self._spreads(factor) and self.run(factors, i) is None:
                before, after = self._data_run(factors[:i][::-1])[::-1], self._data_run(factors[i + 1 :])
                if not before:
                    continue
                gain = [t for t in factor.args if self._joins(t)]
                rest = [t for t in factor.args if t not in gain]
                tail = after if after and all(map(self.host.is_data, gain)) and not rest else []
                spread = [product(*before, t, *tail) for t in gain]
                if rest:
                    spread.append(product(*before, total(*rest)))
                if gain:
                    head = factors[: i - len(before)]
                    return [*head, total(*spread), *factors[i + 1 + len(tail) :]]
        return factors

    def _spreads(self, factor: Matrix) -> bool:
        return (
            isinstance(factor, sp.MatAdd)
            and not self.host.is_data(factor)
            and not self.host.has_pattern(factor)  # one sparse matrix: better kept whole
        )

    def _data_run(self, factors: Sequence[Matrix]) -> list[Matrix]:
        data = takewhile(lambda f: self.host.is_data(f) and not isinstance(f, Centering), factors)
        return list(data)

    def _joins(self, term: Matrix) -> bool:
        """Whether data put before a term folds with its first factor or fuses with it."""
        first = split(term)[1][0]
        return (self.host.is_data(first) and not isinstance(first, sp.OneMatrix)) or self.fuses(term)

    def apart(self, factors: list[Matrix]) -> list[Matrix] | None:
        """Terms of a product with such a sum multiplied out; None where there is none to multiply out."""
        for i, factor in enumerate(factors):
            if len(factors) > 1 and self._is_reading(factor) and self.run(factors, i) is None:
                return [product(*factors[:i], t, *factors[i + 1 :]) for t in factor.args]
        return None

    def joined(self, factors: list[Any]) -> tuple[slice, float, Ref] | None:
        """Places of the first such sum and the weights it meets, and their product: [D E] times U V over W V."""
        for i, factor in enumerate(factors):
            if isinstance(factor, Ref) or (run := self.run(factors, i)) is None:
                continue
            turned = not self._opens_with_data(factor.args[0])
            others = (
                [transpose(f) for f in reversed(factors[run.start : i])]
                if turned
                else factors[i + 1 : run.stop]
            )
            data, read = zip(*(self._parts(transpose(t) if turned else t) for t in factor.args), strict=True)
            beside = run.stop if turned else run.start - 1
            if 0 <= beside < len(factors) and self._picks(factors[beside], turned):
                picker = transpose(factors[beside]) if turned else factors[beside]
                data = tuple(product(picker, d) for d in data)
                run = slice(min(run.start, beside), max(run.stop, beside + 1))
            terms = [self.host.lower_dense(product(r, *others)) for r in read]
            coefficient, stacked = self.host.graph.stacked(terms)
            ref = self.host.graph.matmul(self._beside(data), stacked)
            return run, coefficient, ref.T if turned else ref
        return None

    def _picks(self, factor: Any, turned: bool) -> bool:
        """Whether a factor beside such a sum picks so few rows of the data that these had better be read alone."""
        if isinstance(factor, Ref) or not self.host.is_data(factor):
            return False
        rows = self.host.folded(transpose(factor) if turned else factor)
        return sparse.issparse(rows) and rows.nnz <= rows.shape[0] <= rows.shape[1] / 2

    def _parts(self, term: Matrix) -> tuple[Matrix, Matrix]:
        """Data that a term opens with, and the rest with its coefficient."""
        scalar, factors = split(term)
        count = next(k for k, f in enumerate(factors) if not self.host.is_data(f))
        return product(*factors[:count]), product(scalar, *factors[count:])

    def _beside(self, data: tuple[Matrix, ...]) -> Ref:
        if data not in self.hand:
            value = sparse.hstack([self.host.folded(d) for d in data], format="csr")
            self.hand[data] = self.host.graph.add_data(value, ("beside", *data))
        return self.hand[data]

    def run(self, factors: list[Any], i: int) -> slice | None:
        """Places of the sum at i and of the weights beside it, as far as these narrow it most."""
        if self.how != "joined" or not self._is_reading(factors[i]):
            return None
        step = 1 if self._opens_with_data(factors[i].args[0]) else -1
        best, narrowest, k = i, np.inf, i + step
        while 0 <= k < len(factors) and self._is_weight(factors[k]):
            width = self.host.number(factors[k].shape[1 if step == 1 else 0])
            best, narrowest = (k, width) if width < narrowest else (best, narrowest)
            k += step
        return None if best == i else slice(min(i, best), max(i, best) + 1)

    def _is_weight(self, factor: Any) -> bool:
        """Whether a factor is as small as a weight: one itself, centring, or what picks columns of one."""
        bare = factor.arg if isinstance(factor, sp.Transpose) else factor
        return isinstance(bare, (HeadSymbol, Centering)) or (
            isinstance(bare, sp.MatrixSymbol) and not self.host.is_data(bare)
        )

    def _is_reading(self, factor: Any) -> bool:
        """Whether a factor is such a sum, and reading costs less than a product with it."""
        if self.how == "together" or not isinstance(factor, sp.MatAdd) or self.host.is_data(factor):
            return False
        rows, cols = (self.host.number(s) for s in factor.shape)
        spent = sum(
            2.0 * SPARSE_WEIGHT * self._places(t) + ELEMENT_WEIGHT * max(rows, cols) for t in factor.args
        )
        found = spent < 2.0 * rows * cols  # for each column of the result
        self.met |= found
        return found

    def _places(self, term: Matrix) -> float:
        """Nonzeros of the data that read a weight; infinite for terms of another kind."""
        _, factors = split(term)
        if not self._opens_with_data(term):
            factors = [transpose(f) for f in reversed(factors)]
        count = next((k for k, f in enumerate(factors) if not self.host.is_data(f)), 0)
        if count == 0 or not all(isinstance(f, sp.MatrixSymbol) for f in factors[count:]):
            return np.inf
        value = self.host.folded(product(*factors[:count]))
        return float(value.nnz) if sparse.issparse(value) else np.inf

    def _opens_with_data(self, term: Matrix) -> bool:
        return self.host.is_data(split(term)[1][0])
