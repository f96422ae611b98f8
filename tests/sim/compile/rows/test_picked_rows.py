"""Rows picked early: the same values, from data of the rows that are wanted."""

import numpy as np
import pytest
import scipy.sparse as sparse
import sympy as sp

from smallinit.sim.compile.rows.picked_rows import PickedRows
from smallinit.theory.algebra.evaluate import evaluate
from smallinit.theory.algebra.matrices import diagonal, hadamard, product, total, transpose
from smallinit.theory.algebra.nodes import StochasticSymbol

A, B = (sp.MatrixSymbol(name, 4, 4) for name in "AB")
R, LOOK = StochasticSymbol("R", 2, 4), StochasticSymbol("look", 4, 4)


def picking():
    """Values in which R picks two of four rows."""
    look = np.tril(np.ones((4, 4))) / np.arange(1, 5)[:, None]
    rng = np.random.default_rng(0)
    return {
        "R": sparse.csr_array(np.eye(4)[[1, 3]]),
        "look": sparse.csr_array(look),
        **{name: rng.normal(size=(4, 4)) for name in "ABXY"},
    }


@pytest.mark.parametrize(
    "expr",
    [
        product(R, hadamard(LOOK, product(A, B))),
        product(hadamard(transpose(LOOK), A), transpose(R)),
        hadamard(LOOK, product(transpose(R), R, A)),
        hadamard(LOOK, total(product(transpose(R), R, A), product(transpose(R), R, B))),
        hadamard(transpose(LOOK), product(A, transpose(R), R)),
        product(transpose(LOOK), diagonal(product(A, sp.OneMatrix(4, 1))), transpose(R)),
        product(R, total(hadamard(LOOK, A), product(diagonal(product(A, sp.OneMatrix(4, 1))), LOOK)), B),
    ],
    ids=["rows", "columns", "inside", "sum", "turned", "diagonal", "sum of patterns"],
)
def test_picked_rows_have_the_same_values_on_a_smaller_pattern(expr):
    values = picking()
    before = evaluate(expr, values, {})
    found = PickedRows(values)(expr)
    assert LOOK not in found.atoms(sp.MatrixSymbol)
    assert values["R_look"].shape == (2, 4)
    plain = [x.toarray() if sparse.issparse(x) else x for x in (evaluate(found, values, {}), before)]
    np.testing.assert_allclose(*plain, atol=1e-14)


def test_rows_that_are_known_are_not_formed_again():
    values = picking() | {"known": sparse.csr_array(picking()["R"] @ picking()["look"])}
    found = PickedRows(values)(product(R, hadamard(LOOK, A)))
    assert {s.name for s in found.atoms(sp.MatrixSymbol)} == {"known", "R", "A"}
    assert "R_look" not in values


def test_data_that_repeat_rows_pick_none():
    values = picking() | {"R": sparse.csr_array(np.eye(4)[[1, 1]])}
    expr = product(R, hadamard(LOOK, A))
    assert PickedRows(values)(expr) == expr
