"""The words a claim may use about a model: weights, data matrices, statistics, sizes, functions, with their meaning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy as sp
from sympy.matrices.expressions.diagonal import DiagMatrix

from ..algebra.matrices import diagonal, product, transpose
from ..algebra.nodes import Matrix, StochasticSymbol, matrix_symbols
from ..algebra.rebuild import Substitution, canonical
from ..algebra.scalars.activations import Activation
from ..algebra.traversal import rule
from ..base.arrays import full_array
from ..data.inputs import COUNTS, D_VOCAB, N_CTX, ROW_WEIGHTS, ROWS
from ..flows.powers import model_logits
from ..flows.statistics import statistics
from ..models.model import Model

if TYPE_CHECKING:
    from ..data.dataset import Dataset

OCCURRENCES = sp.MatrixSymbol("r", D_VOCAB, 1)


@dataclass(frozen=True)
class Vocabulary:
    """Names for claims about one model.

    Attributes
    ----------
    names : dict
        Name -> symbol, matrix or scalar.
    definitions : dict
        Symbol -> what it stands for in raw data symbols.
    functions : dict
        Name -> sympy Lambda, applied entry by entry.
    """

    names: dict[str, sp.Expr]
    definitions: dict[sp.Symbol | sp.MatrixSymbol, sp.Expr]
    functions: dict[str, sp.Lambda]

    @classmethod
    def of(cls, model: Model) -> Vocabulary:
        """Collect the names.

        ``r`` (d_vocab, 1) are the occurrences per sequence, ``P`` (d_vocab, outputs) the label laws, so that diag(r) P
        = C^T diag(omega) Y; ``V`` counts the outputs and ``L`` the tokens of a sequence; ``s`` and ``ds`` are the
        activation and its slope.
        """
        logits = model_logits(model)
        loss, outputs = model.loss_function, logits.cols
        found = {s.name: s for s in sorted(matrix_symbols(logits), key=str)}
        labels = loss.labels(outputs)
        names: dict[str, sp.Expr] = dict(found)
        names |= {"Y": labels, "omega": ROW_WEIGHTS, "L": N_CTX, "n_ctx": N_CTX, "V": outputs, "n": ROWS}
        names |= {str(d): d for d in model.sizes}
        definitions: dict[Any, sp.Expr] = dict(statistics(model))
        counts = COUNTS if "C" in found else product(N_CTX, found["C_mean"]) if "C_mean" in found else None
        if counts is not None:
            names |= {"C": COUNTS, "r": OCCURRENCES, "P": StochasticSymbol("P", D_VOCAB, outputs)}
            pairs = product(transpose(counts), diagonal(ROW_WEIGHTS), labels)
            definitions |= {COUNTS: counts, OCCURRENCES: product(transpose(counts), ROW_WEIGHTS)}
            definitions[names["P"]] = pairs  # stands after diag(r) only: see `define`
            bag = sp.MatrixSymbol("M_bag", D_VOCAB, outputs)
            definitions[bag] = product(transpose(counts), diagonal(ROW_WEIGHTS), *loss.signature(outputs))
        names |= {s.name: s for s in definitions if isinstance(s, sp.MatrixSymbol)}
        weights = {w.name: w for w in model.weight_symbols}  # a weight called V or r is that weight
        definitions = {s: d for s, d in definitions.items() if s.name not in weights}
        names |= weights
        functions = {}
        if (own := getattr(model, "activation", None)) is not None:
            s = Activation.of(own)
            functions = {"s": s.lambda_(), "ds": sp.Lambda(s.symbol, sp.diff(s.expr, s.symbol))}
        return cls(names, {s: d for s, d in definitions.items() if s != d}, functions)

    @property
    def _laws(self) -> Any:
        """Symbol of the label laws, if the model counts tokens (another model may call positions P)."""
        return self.names["P"] if OCCURRENCES in self.definitions else None

    def define(self, expr: Matrix) -> Matrix:
        """Write an expression in raw data symbols; a law P after diag(r) becomes C^T diag(omega) Y."""
        return canonical(_Definition(self.definitions, self._laws)(canonical(expr)))

    def values(self, model: Model, data: Dataset) -> dict[str, Any]:
        """Values of all data symbols that `define` leaves, on a dataset."""
        matrices = model.data_matrices(data)
        if self._laws is not None:
            from ..data.frequencies import count_tokens

            rows = np.flatnonzero(~data.held_out)
            weighted = (
                count_tokens(data.sequences[rows], data.d_vocab).multiply(data.weights[rows, None]).tocsr()
            )
            pairs = full_array(weighted.T @ matrices["Y"])
            r = np.asarray(weighted.sum(axis=0)).reshape(-1, 1)
            matrices["P"] = np.divide(pairs, r, out=np.zeros_like(pairs), where=r > 0)
        return matrices


class _Definition(Substitution):
    """Names replaced by what they stand for."""

    purpose = "claims"

    def __init__(self, definitions: dict[Any, Any], laws: sp.MatrixSymbol | None) -> None:
        super().__init__({name: meaning for name, meaning in definitions.items() if name != laws})
        self.laws = laws
        self.pairs = None if laws is None else definitions[laws]

    @rule(sp.MatMul)
    def mat_mul(self, node: sp.MatMul) -> Matrix:
        scalar, factors = node.as_coeff_matrices()
        return product(scalar, *map(self, factors if self.laws is None else self._joined(factors)))

    def _joined(self, factors: list[Matrix]) -> list[Matrix]:
        """Factors with diag(r) P and P^T diag(r) as one, which holds where r = 0 and P is undefined too."""
        weight, joined = DiagMatrix(OCCURRENCES), list[Matrix]()
        for factor in factors:
            if joined and factor == self.laws and joined[-1] == weight:
                joined[-1] = self.pairs
            elif joined and factor == weight and joined[-1] == transpose(self.laws):
                joined[-1] = transpose(self.pairs)
            else:
                joined.append(factor)
        return joined
