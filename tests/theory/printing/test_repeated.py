"""What stands twice on a page gets a name, once."""

import numpy as np
import sympy as sp

from smallinit.theory.algebra.evaluate import evaluate
from smallinit.theory.algebra.matrices import diagonal, product, total, transpose
from smallinit.theory.algebra.nodes import RowSoftmax, StochasticSymbol, matrix_symbols
from smallinit.theory.data.inputs import weight
from smallinit.theory.printing.repeated import name_repeated

P, Q = weight("a_first_weight", "p", "q"), weight("a_second_weight", "q", "p")
U = weight("a_column", "p", 1)
PQ = product(P, Q)
SIZES = {P.rows: 3, P.cols: 4}


def values(seed=0):
    rng = np.random.default_rng(seed)
    return {s.name: rng.normal(size=[SIZES.get(d, 1) for d in s.shape]) for s in (P, Q, U)}


def evaluated(lines, definitions):
    known = values()
    for name, meaning in definitions.items():
        assert {s.name for s in matrix_symbols(meaning)} <= known.keys()  # what it uses stands before it
        known[name] = evaluate(meaning, known, SIZES)
    return {key: evaluate(line, known, SIZES) for key, line in lines.items()}


def assert_same(lines, taken=()):
    found, definitions = name_repeated(lines, {}, taken)
    expected = evaluated(lines, {})
    for key, value in evaluated(found, definitions).items():
        np.testing.assert_allclose(value, expected[key], rtol=1e-12)
    return found, definitions


def test_a_run_of_factors_and_its_transpose_have_one_name():
    lines = {
        1: product(P, Q, P),
        2: product(2, transpose(Q), transpose(P), diagonal(U)),
        3: total(PQ, sp.Identity(P.rows)),
    }
    found, definitions = assert_same(lines)
    assert definitions == {"B": PQ}
    assert [str(s) for s in sorted(matrix_symbols(found[2]), key=str)] == ["B", "a_column"]


def test_definitions_are_numbered_in_order_of_use():
    inner = total(PQ, sp.Identity(P.rows))
    outer = product(inner, inner, U)
    lines = {k: product(k + 2, outer, sp.OneMatrix(1, P.rows), diagonal(U), *[PQ] * k) for k in range(4)}
    _, definitions = assert_same(lines, taken={"B_2"})
    assert definitions["B_1"] == PQ
    assert [*definitions] == ["B_1", "B_3"]
    assert {s.name for s in matrix_symbols(definitions["B_3"])} == {"B_1", "a_column"}


def test_what_is_short_or_stands_once_has_no_name():
    short = weight("W", "p", "q")
    lines = {1: product(short, transpose(short), P), 2: product(short, transpose(short), transpose(Q))}
    assert name_repeated(lines, {}, ()) == (lines, {})
    once = {1: product(PQ, U), 2: product(P, transpose(P), U)}
    assert name_repeated(once, {}, ()) == (once, {})


def test_rows_that_sum_to_one_still_do():
    attention = RowSoftmax(product(P, Q, P, Q))
    lines = {1: product(attention, P), 2: product(transpose(U), attention), 3: product(2, attention, U)}
    found, definitions = name_repeated(lines, {}, ())
    named = [s for line in found.values() for s in matrix_symbols(line) if isinstance(s, StochasticSymbol)]
    assert named
    assert all(product(s, sp.OneMatrix(P.rows, 1)) == sp.OneMatrix(P.rows, 1) for s in named)
    assert evaluated(found, definitions).keys() == lines.keys()


def test_definitions_given_keep_their_names():
    given = {"A": product(P, Q, P)}
    lines = {1: product(sp.MatrixSymbol("A", *P.shape), Q, P, Q), 2: product(P, Q, P, Q)}
    found, definitions = name_repeated(lines, given, {"a_first_weight", "a_second_weight"})
    assert "A" in definitions
    expected = values()
    A = expected["a_first_weight"] @ expected["a_second_weight"] @ expected["a_first_weight"]
    result = evaluated(found, definitions)
    np.testing.assert_allclose(result[2], A @ expected["a_second_weight"], rtol=1e-12)
