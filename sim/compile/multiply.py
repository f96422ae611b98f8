"""Chains of factors multiplied in their cheapest order, reusing what is at hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse as sparse

from ...theory.algebra.chain import INFEASIBLE, Operand, Plan, plan_chain
from ...theory.algebra.matrices import product
from ...theory.algebra.nodes import Centering, Matrix
from .graph import Ref
from .host import Host

DENSE_FOLD_BYTES = 2**28  # a folded data product may be dense up to this size
SPARSE_FOLD_NNZ = 2**26  # products of sparse data above this bound are not attempted


class Multiplier:
    """Multiplies chains in the graph of a `Host`."""

    def __init__(self, host: Host) -> None:
        self.host, self.graph = host, host.graph

    def multiply(self, factors: list[Any], refs: list[Ref]) -> Ref:
        """Product of the factors, whose values the references are."""
        graph = self.graph

        def at_hand(i: int, j: int) -> Operand | None:
            known = self._known(tuple(refs[i:j]))
            if known is not None:
                return graph.operand(known)
            if all(not isinstance(f, Ref) and self.host.is_data(f) for f in factors[i:j]):
                return self._fold_operand(factors[i:j], refs[i:j])
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
        known = self._known(tuple(refs[i:j]))
        if known is not None:
            return known
        split_at = plans[i, j].split
        if split_at is None:
            return self.host.data(product(*factors[i:j]))
        left = self._build(factors, refs, plans, i, split_at)
        ref = self.graph.matmul(left, self._build(factors, refs, plans, split_at, j))
        self.graph.products[tuple(refs[i:j])] = ref
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

    def _known(self, run: tuple[Ref, ...]) -> Ref | None:
        if run in self.graph.products:
            return self.graph.products[run]
        flipped = self.graph.products.get(tuple(r.T for r in reversed(run)))
        return None if flipped is None else flipped.T

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
