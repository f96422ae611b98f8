"""Nodes exist once: equal expressions are one object, in deep networks too."""

import subprocess
import sys

import sympy as sp

from smallinit.theory import Decoder, derive
from smallinit.theory.algebra.matrices import apply, hadamard, hadamard_power, product, total, transpose
from smallinit.theory.algebra.nodes import Matrix, RowNorm, RowSoftmax, free_symbols, nodes_within

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
