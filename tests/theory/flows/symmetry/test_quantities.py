"""Quantities: their text, their values, and the identity between rate and direction on which the proofs rest."""

import numpy as np
import pytest
import sympy as sp

from smallinit.theory.algebra.evaluate import evaluate
from smallinit.theory.algebra.tangent import tangent
from smallinit.theory.data.inputs import weight
from smallinit.theory.flows.symmetry.quantities import (
    AXIS,
    DIAGONAL,
    GRAM,
    ORDERS,
    SUM,
    TRACE,
    WHOLE,
    Quantity,
    Term,
    implied,
)

A, B = weight("A", "d", "h"), weight("B", "h", "d")
G, BIAS = weight("G", "d", "h"), weight("b", 1, "h")
SIZES = {s: n for s, n in zip(A.shape, (4, 3), strict=True)}
LEVELS = [level for order in ORDERS for level in order]


def quantity(level, *terms):
    return Quantity(level, tuple((Term(w, flipped), c) for w, flipped, c in terms))


@pytest.mark.parametrize(
    ("made", "name"),
    [
        (quantity(WHOLE, (A, False, 1), (G, False, -1)), "A - G"),
        (quantity(AXIS, (A, False, 1)), "A*1"),
        (quantity(AXIS, (A, True, 1), (G, True, -3)), "1.T*A - 3*1.T*G"),
        (quantity(AXIS, (A, True, 1), (B, False, 1)), "A.T*1 + B*1"),
        (quantity(AXIS, (A, True, 1), (BIAS, True, -1)), "1.T*A - b"),
        (quantity(SUM, (A, False, 2)), "2*1.T*A*1"),
        (quantity(GRAM, (A, False, 1), (B, True, -1)), "A.T*A - B*B.T"),
        (quantity(DIAGONAL, (A, False, 1), (B, True, -2)), "diag(A.T*A - 2*B*B.T)"),
        (quantity(TRACE, (A, False, 1), (B, False, -1)), "tr(A.T*A) - tr(B.T*B)"),
    ],
)
def test_names(made, name):
    assert made.name == name


def test_values():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(4, 3)), rng.normal(size=(3, 4))
    for made, expected in [
        (quantity(WHOLE, (A, False, 2)), 2 * a),
        (quantity(AXIS, (A, True, 1), (B, False, 1)), (a.sum(axis=0) + b.sum(axis=1))[:, None]),
        (quantity(SUM, (A, False, 1)), [[a.sum()]]),
        (quantity(GRAM, (A, False, 1), (B, True, -1)), a.T @ a - b @ b.T),
        (quantity(DIAGONAL, (A, False, 1), (B, True, -1)), np.diag(a.T @ a - b @ b.T)[:, None]),
        (quantity(TRACE, (A, False, 1), (B, False, -1)), [[np.sum(a**2) - np.sum(b**2)]]),
    ]:
        found = evaluate(made.expression, {"A": a, "B": b}, SIZES)
        assert np.broadcast_to(found, np.shape(expected)) == pytest.approx(np.array(expected), rel=1e-13)


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.frame)
@pytest.mark.parametrize("flipped", [False, True])
def test_rate_is_the_derivative_of_the_value(level, flipped):
    """As arrays, as the derivative of the expression, and contracted with the free columns: the product with D."""
    rng = np.random.default_rng(1)
    a, slope = rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
    term = Term(A, flipped)
    made = Quantity(level, ((term, 1),))
    rate = level.rate(term.turned(a), term.turned(slope))
    change = evaluate(tangent(made.expression, {A: G}), {"A": a, "G": slope}, SIZES)
    assert np.ravel(rate) == pytest.approx(np.ravel(change), rel=1e-12)
    columns = {
        s.name: rng.normal(size=(SIZES[s.rows], 1))
        for s in made.directions[A].free_symbols
        if isinstance(s, sp.MatrixSymbol) and s != A
    }
    direction = np.broadcast_to(evaluate(made.directions[A], {"A": a} | columns, SIZES), a.shape)
    contracted = np.sum(slope * direction) * (2 if level in ORDERS[1] else 1)
    left = columns.get("<a>", columns.get("<s>", np.ones((1, 1))))
    right = columns.get("<b>", left if level is GRAM else np.ones((1, 1)))
    expected = left.T @ (rate if rate.ndim == 2 else rate[:, None]) @ right
    assert contracted == pytest.approx(float(expected[0, 0]), rel=1e-12)


def test_terms_share_a_space_where_their_shapes_agree():
    d, h = A.shape
    assert GRAM.spaces([A, B]) == {(h,): [Term(A), Term(B, True)], (d,): [Term(A, True), Term(B)]}
    assert TRACE.spaces([A, B]) == {(): [Term(A), Term(B)]}
    assert WHOLE.spaces([A, B, G]) == {(d, h): [Term(A), Term(G)], (h, d): [Term(B)]}


def test_what_follows_from_a_conserved_sum():
    both = {Term(A): 1, Term(A, True): 2, Term(B, True): -1}
    assert implied(GRAM, DIAGONAL, both) == [both]
    assert implied(DIAGONAL, TRACE, both) == [{Term(A): 3, Term(B): -1}]
    assert implied(WHOLE, AXIS, {Term(A): 1}) == [{Term(A): 1}, {Term(A, True): 1}]
    assert implied(AXIS, SUM, {Term(A, True): 1}) == [{Term(A): 1}]
