"""Equal expressions become equal, and nothing else does."""

import numpy as np
import pytest
import sympy as sp

from smallinit.theory.algebra.evaluate import evaluate
from smallinit.theory.algebra.matrices import (
    apply,
    diagonal,
    hadamard,
    hadamard_power,
    product,
    total,
    transpose,
)
from smallinit.theory.algebra.monomials import Monomials, TooLongError
from smallinit.theory.algebra.nodes import RowSoftmax, StochasticSymbol

n, d = sp.symbols("n d", integer=True, positive=True)
X, Y, Z = (sp.MatrixSymbol(name, n, d) for name in "XYZ")
A, B = StochasticSymbol("A", n, n), sp.MatrixSymbol("B", n, n)
u, v, s = sp.MatrixSymbol("u", n, 1), sp.MatrixSymbol("v", n, 1), sp.MatrixSymbol("s", d, 1)
ONES, ROW = sp.OneMatrix(n, 1), sp.OneMatrix(1, d)
x = sp.Symbol("x", real=True)
SIZES = {n: 4, d: 3}

EQUAL = {
    "diagonals on both sides of a Hadamard product": (
        hadamard(product(diagonal(u), X, diagonal(s)), product(diagonal(v), Y)),
        product(diagonal(hadamard(u, v)), hadamard(X, Y), diagonal(s)),
    ),
    "diagonals commute": (product(diagonal(u), diagonal(v), X), product(diagonal(v), diagonal(u), X)),
    "a diagonal times a column": (product(diagonal(u), X, s), hadamard(u, product(X, s))),
    "a product of columns in a Hadamard product": (
        hadamard(X, product(u, transpose(s))),
        product(diagonal(u), X, diagonal(s)),
    ),
    "squares of sums": (
        hadamard_power(total(X, Y), sp.Integer(2)),
        total(hadamard(X, X), product(2, hadamard(X, Y)), hadamard(Y, Y)),
    ),
    "polynomials": (apply(sp.Lambda(x, 2 * x + x**2), X), total(product(2, X), hadamard(X, X))),
    "powers that are not whole": (
        hadamard(apply(sp.Lambda(x, x ** sp.Rational(-3, 2)), X), X),
        apply(sp.Lambda(x, 1 / sp.sqrt(x)), X),
    ),
    "row sums of a softmax": (product(diagonal(u), RowSoftmax(product(X, transpose(Y)), A), ONES), u),
    "sums within diagonals": (
        product(diagonal(product(total(X, Y), s)), Z),
        total(product(diagonal(product(X, s)), Z), product(diagonal(product(Y, s)), Z)),
    ),
}


@pytest.mark.parametrize("name", EQUAL)
def test_equal_expressions_become_equal(name):
    left, right = EQUAL[name]
    rng = np.random.default_rng(0)
    values = {str(m): rng.uniform(0.5, 1.5, [SIZES.get(k, k) for k in m.shape]) for m in (X, Y, Z, u, v, s)}
    values["A"] = rng.dirichlet(np.ones(4), 4)
    numbers = [np.asarray(evaluate(Monomials()(e), values, SIZES)) for e in (left, right)]
    assert numbers[0] == pytest.approx(numbers[1], rel=1e-13)
    assert isinstance(Monomials()(total(left, product(-1, right))), sp.ZeroMatrix)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (product(diagonal(u), X), product(diagonal(v), X)),
        (hadamard(X, product(Y, diagonal(s))), hadamard(X, Y)),
        (hadamard_power(X, sp.Integer(2)), hadamard_power(X, sp.Integer(3))),
        (product(A, ONES), product(B, ONES)),
        (hadamard(A, B), A),
    ],
)
def test_other_expressions_stay_different(left, right):
    assert Monomials()(left) != Monomials()(right)


def test_facts_about_data_hold_within_the_data_alone():
    known = Monomials({A: B})
    assert known(hadamard(A, B)) == A
    assert known(hadamard(transpose(A), transpose(B))) == transpose(A)
    attention = RowSoftmax(product(X, transpose(Y)), A)
    assert known(hadamard(attention, B)) == attention
    elsewhere = RowSoftmax(product(X, transpose(Y)), StochasticSymbol("other", n, n))
    assert known(hadamard(elsewhere, B)) != elsewhere
    assert known(product(A, B)) == product(A, B)


def test_what_is_too_long_is_refused():
    with pytest.raises(TooLongError, match="more than"):
        Monomials()(hadamard_power(total(X, Y, Z), sp.Integer(9)))
    whole = hadamard_power(total(X, Y, Z), sp.Integer(9))
    assert Monomials(powers=False)(whole) == whole
