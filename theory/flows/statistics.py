"""The statistics of the data that equations are written in: signature matrices M and co-occurrence matrices K."""

from __future__ import annotations

from itertools import combinations_with_replacement

import sympy as sp

from ..algebra.matrices import diagonal, hadamard, product, transpose
from ..algebra.nodes import Matrix, matrix_symbols
from ..data.inputs import ROW_WEIGHTS, ROWS
from ..models.content import kept_by_content
from ..models.model import Model
from ..printing.letters import free_name
from .powers import model_logits

# Suffix of a statistic by the data matrix it is made of; others go by the matrix's own name.
SUFFIXES = {"C": "", "X": "", "C_mean": "mean", "X_last": "last", "X_1": "1", "X_2": "2"}


@kept_by_content(64)
def statistics(model: Model) -> dict[sp.MatrixSymbol, Matrix]:
    """Statistics of a model's data, of theory.md (0.1) and (0.3), by name.

    Returns
    -------
    dict
        M_a = A^T diag(omega) Y Pi (Y alone for other losses than the cross-entropy) for every data matrix A of the
        logits with one row per sequence, K_a = A^T diag(omega) A, and K_a_b = A^T diag(omega) B for every pair of
        them. No two share a name, nor does one share it with a weight or a data matrix.
    """
    found = {s.name: s for s in matrix_symbols(model_logits(model))}
    inputs = [
        s for name, s in found.items() if name not in model.weights and s.rows == ROWS and s.cols != ROWS
    ]
    inputs.sort(key=str)
    signature = model.loss_function.signature(model_logits(model).cols)
    names = _Names(inputs, {*found, *model.weights, "Y", ROW_WEIGHTS.name})
    named = {}
    for a in inputs:
        symbol = sp.MatrixSymbol(names("M", a), a.cols, signature[-1].cols)
        named[symbol] = product(transpose(a), *_weighted(signature))
    for a, b in combinations_with_replacement(inputs, 2):
        symbol = sp.MatrixSymbol(names("K", a, *([] if a == b else [b])), a.cols, b.cols)
        named[symbol] = product(transpose(a), diagonal(ROW_WEIGHTS), b)
    return named


class _Names:
    """Names of statistics: letter and suffixes, each name once."""

    def __init__(self, inputs: list[sp.MatrixSymbol], taken: set[str]) -> None:
        bare = [a.name for a in inputs if SUFFIXES.get(a.name) == ""]
        self.suffixes = {a.name: SUFFIXES.get(a.name, a.name) for a in inputs}
        if len(bare) > 1:
            self.suffixes |= {name: name for name in bare}
        self.taken = taken

    def __call__(self, letter: str, *inputs: sp.MatrixSymbol) -> str:
        words = [self.suffixes[a.name] for a in inputs]
        if len(inputs) > 1:  # K_C_last: without the C it would be the name of the last tokens' own statistic
            words = [word or a.name for word, a in zip(words, inputs, strict=True)]
        name = free_name("_".join([letter, *filter(None, words)]), self.taken)
        self.taken.add(name)
        return name


def _weighted(signature: tuple[Matrix, ...]) -> tuple[Matrix, ...]:
    """Targets times row weights, in the form in which gradients have them: columns multiply entry by entry."""
    if signature[-1].cols == 1:
        return (hadamard(*signature, ROW_WEIGHTS),)
    return diagonal(ROW_WEIGHTS), *signature
