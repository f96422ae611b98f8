"""Nodes exist once: equal expressions are one object, in deep networks too."""

import random
import subprocess
import sys
from itertools import pairwise

import sympy as sp
from sympy.matrices.exceptions import ShapeError

from smallinit.theory import Decoder, derive
from smallinit.theory.algebra.matrices import apply, hadamard, hadamard_power, product, total, transpose
from smallinit.theory.algebra.nodes import (
    Centering,
    Matrix,
    RowNorm,
    RowSoftmax,
    StochasticSymbol,
    free_symbols,
    nodes_within,
    shared,
)

N, D = sp.symbols("n d", integer=True, positive=True)
X, W = sp.MatrixSymbol("X", N, D), sp.MatrixSymbol("W", D, D)


def built():
    """The same expressions, made anew from new symbols."""
    x, w = sp.MatrixSymbol("X", N, D), sp.MatrixSymbol("W", D, D)
    z = total(product(x, w), product(sp.Rational(-1, 3), x))
    return [
        z,
        transpose(z),
        hadamard(z, x),
        hadamard_power(z, 3),
        apply("tanh", z),
        RowNorm(z, 0),
        RowSoftmax(z),
    ]


def test_equal_expressions_are_one_object():
    assert all(a is b for a, b in zip(built(), built(), strict=True))
    assert built()[0] is not total(product(X, W), product(sp.Rational(-2, 3), X))  # they have one hash


def test_equal_numbers_of_other_kinds_are_other_factors():
    for kinds in ((2, 2.0), (2.0, 2), (sp.Float(2, 15), sp.Float(2, 30))):
        first, second = (product(number, X, W).args[0] for number in kinds)
        assert sp.srepr(first) != sp.srepr(second)
    other = sp.Symbol("n")  # without the assumptions of N
    assert product(X, W).rows is N
    assert product(sp.MatrixSymbol("X", other, D), W).rows is other


def drawn(rng, rows, cols):
    """A matrix of one of many kinds."""
    kinds = [
        lambda: sp.MatrixSymbol(rng.choice("AB"), rows, cols),
        lambda: sp.MatrixSymbol("A", cols, rows).T,
        lambda: sp.OneMatrix(rows, cols),
        lambda: sp.ZeroMatrix(rows, cols),
        lambda: StochasticSymbol("A", rows, cols),
        lambda: sp.MatAdd(sp.MatrixSymbol("A", rows, cols), sp.MatrixSymbol("B", rows, cols)),
        lambda: sp.MatMul(
            rng.choice([2, sp.Symbol("x")]), sp.MatrixSymbol("A", rows, D), sp.MatrixSymbol("B", D, cols)
        ),
    ]
    if rows == cols:
        kinds += [lambda: sp.Identity(rows), lambda: Centering(rows)]
    if rows.is_Integer and cols.is_Integer:
        kinds.append(lambda: sp.ImmutableMatrix(int(rows), int(cols), lambda i, j: i - j))
    return rng.choice(kinds)()


def outcome(build, args):
    """What is built, in all that tells two nodes apart; or that sizes do not fit."""
    try:
        node = build(*args)
    except ShapeError:
        return "misfit"
    return type(node), node.args, node.shape


def test_products_and_sums_are_those_that_sympy_builds():
    """Whatever the factors: numbers before, between and after them, one alone, products in products, explicit ones."""
    rng, misfits = random.Random(0), 0  # noqa: S311
    sizes = [N, D, sp.Symbol("n"), sp.S.One, sp.Integer(2), sp.Integer(3)]
    numbers = [sp.S.One, sp.S.Zero, sp.Integer(2), sp.Float(1.0), sp.Symbol("x"), 1 / D, sp.pi]
    for _ in range(1500):
        ends = [rng.choice(sizes) for _ in range(rng.randint(2, 5))]
        factors = [drawn(rng, *pair) for pair in pairwise(ends)]
        terms = [drawn(rng, *ends[:2]) for _ in range(rng.randint(1, 4))]
        for some in (factors, terms):
            if rng.random() < 0.2:
                some[rng.randrange(len(some))] = drawn(rng, rng.choice(sizes), rng.choice(sizes))
        for _ in range(rng.randint(0, 2)):
            factors.insert(rng.randint(0, len(factors)), rng.choice(numbers))
        for kind, args in ((sp.MatMul, factors), (sp.MatAdd, terms)):
            found = outcome(lambda *given, kind=kind: shared(kind, *given), args)
            assert found == outcome(kind, args), (kind, args)
            misfits += found == "misfit"
    assert misfits > 100


def objects_of(layers):
    """All long nodes of a flow, one for each object whether equal or not."""
    model = Decoder(5, d_model=4, d_head=2, d_mlp=3, n_ctx=3, n_layers=layers, n_heads=2, norm=None)
    flow = derive(model, "exact")
    found, waiting = {}, list(flow.right_hand_sides.values())
    while waiting:
        node = waiting.pop()
        inside = [a for a in node.args if isinstance(a, Matrix)]
        if inside and id(node) not in found:
            found[id(node)] = node
            waiting += inside
    return list(found.values())


def test_deep_networks_hold_no_copies_and_grow_slowly():
    found = {layers: objects_of(layers) for layers in (2, 4, 8)}
    assert len(set(found[8])) == len(found[8])
    first, second = (len(found[b]) - len(found[a]) for a, b in ((2, 4), (4, 8)))
    assert second < 3 * first  # twice the layers: twice the growth, and never its square


def test_symbols_and_kinds_are_found_within():
    z = product(2 / D, X, W)
    assert free_symbols(z) == {X, W, D}
    inner = RowNorm(z, 0)
    assert nodes_within(RowNorm(product(inner, W), 1), RowNorm) == [inner, RowNorm(product(inner, W), 1)]


LATE = """
import builtins
import sympy as sp
from smallinit.theory.algebra import nodes
from smallinit.theory.algebra.matrices import product
A = sp.MatrixSymbol("A", 3, 3)
builtins.kept = [nodes._SHARED, product(sp.Float(0.1), A, A)]
"""


def test_nodes_that_outlive_the_modules_end_in_silence():
    done = subprocess.run([sys.executable, "-c", LATE], capture_output=True, text=True, check=True)
    assert done.stderr == ""
