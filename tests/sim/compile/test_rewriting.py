"""Rewritten right-hand sides: the same numbers in every form, and what is passed once is passed once."""

import numpy as np
import pytest
import sympy as sp

from smallinit.sim.compile import compiler
from smallinit.sim.compile.lower import Lowering
from smallinit.sim.compile.multiply import READINGS
from smallinit.sim.compile.ordering import lower_flow
from smallinit.sim.compile.rewriting import Merged
from smallinit.sim.compile.rows.picked_rows import PickedRows
from smallinit.sim.compile.rows.shared_rows import SharedRows
from smallinit.sim.compile.table.emit import Emitter
from smallinit.sim.kernel._interpreter import rhs
from smallinit.theory import Dataset, Decoder, derive
from smallinit.theory.algebra.evaluate import evaluate, evaluate_all
from smallinit.theory.algebra.matrices import diagonal, hadamard, product, terms_of, total, transpose
from smallinit.theory.algebra.sizes import dimension_sizes
from smallinit.theory.data.inputs import N_CTX, ROWS

A, B, X, Y = (sp.MatrixSymbol(name, 4, 4) for name in "ABXY")
u = sp.MatrixSymbol("u", 4, 1)
CASES = [
    (None, "exact"),
    (None, "softmax"),
    (None, "leading"),
    ("pre", "exact"),
    ("pre", "softmax"),
    ("pre", "leading"),
    ("post", "exact"),
]
# Every closure under every norm, each at one of the two, and one at both.
EITHER = [(*case, ("last", "all")[i % 2]) for i, case in enumerate(CASES)] + [("pre", "exact", "last")]


def decoder(norm, closure, predict, seed=0):
    """Right-hand sides, data, shapes and sizes of a decoder wide enough that readings are taken apart."""
    rng = np.random.default_rng(seed)
    data = Dataset(rng.integers(0, 7, (30, 4)), rng.integers(0, 7, 30), 7, weights=rng.uniform(0.5, 2, 30))
    model = Decoder(7, 40, 10, 6, 4, n_heads=2, norm=norm, predict=predict)
    flow = derive(model, closure)
    values = compiler.distinct_rows(model, data)
    sides = {w: flow.right_hand_sides[w] for w in flow.moving}
    sizes = model.sizes | {ROWS: values["omega"].shape[0], N_CTX: data.n_ctx}
    for side in sides.values():
        sizes |= dimension_sizes(side, values)
    return sides, values, dict(model.weights), sizes


def run(graph, outputs, shapes, weights):
    """Values of the equations of a graph."""
    layout, offset = {}, 0
    for name, shape in shapes.items():
        layout[name] = (offset, shape)
        offset += shape[0] * shape[1]
    kernel = Emitter(graph, layout, outputs).run()
    y, out = np.concatenate([weights[w].ravel() for w in shapes]), np.zeros(offset)
    rhs(0.0, y, out, kernel.floats, kernel.ints, np.full(kernel.work_size, np.nan))
    return {
        w: out[start : start + r * c].reshape(r, c) for w, (start, (r, c)) in layout.items() if w in outputs
    }


def lowered(sides, lowering):
    """Graph and outputs of one way of lowering."""
    return lowering.graph, {w: [lowering.lower_dense(t) for t in terms_of(s)] for w, s in sides.items()}


def largest(arrays):
    """Largest entry of all."""
    return max(np.abs(a).max() for a in arrays.values())


@pytest.mark.parametrize(("norm", "closure", "predict"), EITHER)
def test_every_form_has_the_same_values(norm, closure, predict):
    try:
        sides, values, shapes, sizes = decoder(norm, closure, predict)
    except TypeError as error:
        pytest.skip(f"not derived: {error}")
    rng = np.random.default_rng(1)
    weights = {w: rng.normal(0, 0.4, s) + (1.0 if w.endswith(".w") else 0.0) for w, s in shapes.items()}
    expected = evaluate_all(sides, values | weights, sizes)
    more = dict(values)
    pick, share = PickedRows(more), SharedRows(sides.values(), more, sizes)
    assert share.found
    look = Lowering(more, shapes, sizes, {})
    merge = Merged(set(shapes), look.sampler.pattern_of)
    forms = {
        "as it is": sides,
        "merged": {w: merge(pick(s)) for w, s in sides.items()},
        "distinct rows": {w: merge(pick(share(pick(s)))) for w, s in sides.items()},
    }
    for name, form in forms.items():
        for how in READINGS:
            found = run(*lowered(form, look.anew(how)), shapes, weights)
            for w in sides:
                assert np.abs(found[w] - expected[w]).max() < 1e-13 * largest(expected), (w, name, how)


@pytest.mark.parametrize(("norm", "most"), [(None, 0.7), ("pre", 0.85)])
def test_what_arrives_along_several_paths_goes_on_once(norm, most):
    sides, values, shapes, sizes = decoder(norm, "exact", "last")
    plain, _ = lowered(sides, Lowering(values, shapes, sizes, {}))
    assert lower_flow(sides, values, shapes, sizes)[0].cost < most * plain.cost


def merged(expr, pattern_of=lambda _: None, weights="ABXYu"):
    """An expression with its terms merged."""
    return Merged(set(weights), pattern_of)(expr)


def test_terms_that_differ_in_one_factor_are_one():
    assert merged(total(product(A, X, B), product(2, A, Y, B))) == product(A, total(X, product(2, Y)), B)
    assert merged(total(hadamard(A, X), hadamard(A, Y))) == hadamard(A, total(X, Y))
    assert merged(total(product(A, X), product(Y, B))) == total(product(A, X), product(Y, B))


def test_sums_within_merged_terms_are_merged_too():
    inner = total(product(X, B), product(Y, B))
    assert merged(total(product(A, X, B), product(A, Y, B), product(A, inner))) == product(
        A, total(product(2, X), product(2, Y)), B
    )


def test_diagonal_factors_are_taken_out():
    d = diagonal(u)
    assert merged(total(product(d, X), product(d, Y))) == product(d, total(X, Y))
    assert merged(total(product(X, d), product(Y, d), B)) == total(B, product(total(X, Y), d))


def test_sums_of_different_patterns_are_not_formed():
    """Two sparse matrices of different patterns would be one without holes."""
    apart = {X: "one", Y: "other"}
    expr = total(product(A, X, B), product(A, Y, B))
    assert merged(expr, apart.get) == expr


def test_column_sums_meet_at_the_rows_of_data():
    """1^T (W^T o (H^T N)) is 1^T (N o (H W^T)), with the computed N alone: N = (A B) o X here."""
    ones, rows = sp.OneMatrix(1, 4), sp.MatrixSymbol("rows", 4, 4)
    n = hadamard(X, product(A, B))
    found = merged(product(ones, hadamard(A, product(transpose(rows), n))))
    assert found == product(ones, hadamard(n, product(rows, A)))
    rng = np.random.default_rng(0)
    values = {s.name: rng.normal(size=(4, 4)) for s in (A, B, X, rows)}
    direct = (values["A"] * (values["rows"].T @ (values["X"] * (values["A"] @ values["B"])))).sum(axis=0)
    np.testing.assert_allclose(evaluate(found, values, {})[0], direct, rtol=1e-13)
