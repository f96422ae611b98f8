"""Equal rows worked on once: the same values, and nothing that can be had from distinct rows is formed at all rows."""

import numpy as np
import pytest
import scipy.sparse as sparse
import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction
from sympy.matrices.expressions.diagonal import DiagMatrix

from smallinit.sim.compile import compiler, ordering
from smallinit.sim.compile.lower import Lowering
from smallinit.sim.compile.multiply import READINGS
from smallinit.sim.compile.rewriting import Merged
from smallinit.sim.compile.rows.picked_rows import PickedRows
from smallinit.sim.compile.rows.shared_rows import SharedRows, equal_rows
from smallinit.theory import Dataset, Decoder, EmbMLP, derive
from smallinit.theory.algebra.evaluate import evaluate
from smallinit.theory.algebra.matrices import apply, diagonal, hadamard, product, total, transpose
from smallinit.theory.algebra.nodes import Centering, RowLogSumExp, RowNorm, RowSoftmax, StochasticSymbol
from smallinit.theory.algebra.sizes import dimension_sizes
from smallinit.theory.data.inputs import N_CTX, ROWS, dimension

N, V, D, P, M = (
    dimension("n_all"),
    dimension("d_vocab"),
    dimension("d_model"),
    dimension("n_ctx"),
    dimension("n"),
)
X, PLACE = StochasticSymbol("X_all", N, V), StochasticSymbol("P_all", N, P)
LOOK, PICK = StochasticSymbol("A_all", N, N), StochasticSymbol("R_last", M, N)
E, W_POS, B = sp.MatrixSymbol("W_E", V, D), sp.MatrixSymbol("W_pos", P, D), sp.MatrixSymbol("B", D, D)
F, G = sp.MatrixSymbol("F", N, D), sp.MatrixSymbol("G", M, D)
U = total(product(X, E), product(PLACE, W_POS))
SCORES = product(U, B, transpose(U))
SIZES = {N: 24, V: 3, D: 5, P: 3, M: 8}


def arrays(seed=0):
    """Data, eight sequences of three positions, three tokens: 24 rows, nine of them distinct; and weights."""
    rng = np.random.default_rng(seed)
    tokens, places = rng.integers(0, 3, 24), np.tile(np.arange(3), 8)
    block = np.tril(np.ones((3, 3))) / np.arange(1, 4)[:, None]
    dense = {s.name: rng.normal(size=[SIZES[d] for d in s.shape]) for s in (E, W_POS, B, F, G)}
    data = {
        "X_all": sparse.csr_array(np.eye(3)[tokens]),
        "P_all": sparse.csr_array(np.eye(3)[places]),
        "A_all": sparse.kron(sparse.eye_array(8), sparse.csr_array(block), format="csr"),
        "R_last": sparse.csr_array(np.eye(24)[2::3]),
    }
    return data, dense


def value(expr, values, sizes):
    """An array without holes."""
    found = evaluate(expr, values, sizes)
    return found.toarray() if sparse.issparse(found) else found


def column(x):
    """Sums along the rows."""
    return product(x, sp.OneMatrix(x.cols, 1))


DISTINCT = dimension("n_all_distinct")
# What is left: no row of U is formed but the nine distinct ones.
INSIDE = {
    "function": product(transpose(F), apply("tanh", product(U, B))),
    "norm": product(transpose(F), RowNorm(product(U, Centering(D)), sp.Rational(1, 100)), B),
    "softmax of rows": product(transpose(F), RowSoftmax(U)),
    "entrywise": product(transpose(X), hadamard(F, U)),
    "power": product(transpose(F), hadamard(U, U)),
    "diagonal": product(transpose(F), diagonal(column(U)), U),
    "weighted": product(transpose(U), diagonal(column(F)), U),
    "bias": product(transpose(F), apply("tanh", total(U, product(sp.OneMatrix(N, 1), sp.OneMatrix(1, D))))),
    "attention": product(RowSoftmax(SCORES, LOOK), U, B),
    "pattern": product(
        total(hadamard(LOOK, SCORES), product(diagonal(column(hadamard(LOOK, SCORES))), LOOK)), U
    ),
    "half a pattern": product(3, hadamard(LOOK, product(F, transpose(U))), U),
    "picked": product(transpose(G), RowNorm(product(PICK, U), sp.Rational(1, 100))),
    "picked, turned": product(transpose(U), transpose(PICK), hadamard(G, product(PICK, U))),
    "sums down": product(sp.OneMatrix(1, N), hadamard(F, U)),
}


@pytest.mark.parametrize("expr", INSIDE.values(), ids=INSIDE)
def test_work_is_done_on_distinct_rows(expr):
    (values, weights), sizes = arrays(), dict(SIZES)
    share = SharedRows([expr], values, sizes)
    found = share(expr)
    np.testing.assert_allclose(
        value(found, values | weights, sizes), value(expr, values | weights, sizes), atol=1e-13
    )
    assert sizes[DISTINCT] == 9
    assert not {X, PLACE} & found.atoms(sp.MatrixSymbol)
    nodes = [n for n in sp.preorder_traversal(found) if isinstance(n, sp.MatrixExpr)]
    assert all(n.rows == DISTINCT for n in nodes if isinstance(n, (RowNorm, ElementwiseApplyFunction)))
    assert not [n for n in nodes if n.shape == (N, N) and not isinstance(n, DiagMatrix)]


def test_what_meets_no_selection_keeps_its_value():
    (values, weights), sizes = arrays(), dict(SIZES)
    exprs = [
        RowLogSumExp(total(U, F)),
        hadamard(U, F),
        total(U, F, product(2, X, E)),
        product(transpose(LOOK), U),
        product(LOOK, F),
        hadamard(SCORES, LOOK),
        transpose(product(hadamard(LOOK, SCORES), sp.OneMatrix(N, 1), sp.OneMatrix(1, D))),
    ]
    share = SharedRows(exprs, values, sizes)
    for expr in exprs:
        np.testing.assert_allclose(
            value(share(expr), values | weights, sizes),
            value(expr, values | weights, sizes),
            atol=1e-13,
            err_msg=str(expr),
        )


def test_rows_that_differ_are_left_alone():
    (values, _), sizes = arrays(), dict(SIZES)
    values["X_all"] = sparse.csr_array(np.eye(24))
    share = SharedRows([U], values, sizes)
    assert not share.found
    assert share(U) == U
    assert sizes == SIZES


def test_labels_and_weights_of_rows_tell_none_apart():
    labels, omega = StochasticSymbol("Y", N, V), sp.MatrixSymbol("omega", N, 1)
    (values, weights), sizes, rng = arrays(), dict(SIZES), np.random.default_rng(1)
    values["omega"] = rng.uniform(size=(24, 1))
    values["Y"] = sparse.csr_array(np.eye(3)[rng.integers(0, 3, 24)])
    expr = product(transpose(labels), diagonal(omega), U)
    share = SharedRows([expr], values, sizes)
    assert share.found
    found = share(expr)
    np.testing.assert_allclose(
        value(found, values | weights, sizes), value(expr, values | weights, sizes), atol=1e-13
    )


def test_equal_rows_are_numbered_in_order_of_first_occurrence():
    rows = sparse.csr_array(np.array([[0, 1.0], [2, 0], [0, 1], [0, 0], [2, 0]]))
    assert equal_rows(rows).tolist() == [0, 1, 0, 2, 1]


@pytest.mark.parametrize(
    ("closure", "norm", "predict", "most"),
    [("leading", "pre", "last", 0.45), ("leading", "pre", "all", 0.5), ("softmax", "pre", "last", 0.8),
     ("exact", "pre", "last", 0.95), ("leading", None, "last", 0.8)],
)  # fmt: skip
def test_decoders_cost_less_and_give_the_same(closure, norm, predict, most, monkeypatch):
    rng = np.random.default_rng(0)
    data = Dataset(rng.integers(0, 11, (200, 6)), rng.integers(0, 11, 200), 11)
    model = Decoder(11, 32, 16, 32, 6, n_heads=2, norm=norm, predict=predict)
    start, flow = model.init(0.5, 0), derive(model, closure)
    ours, cost = _slopes(flow, data, start, monkeypatch)
    monkeypatch.setattr(SharedRows, "_share", lambda *_: None)
    compiler._PROBLEMS.clear()
    compiler._LATEST.clear()
    bare, before = _slopes(flow, data, start, monkeypatch)
    assert cost < most * before
    for name, slope in bare.items():
        assert np.abs(ours[name] - slope).max() <= 1e-12 * np.abs(slope).max()


def _slopes(flow, data, start, monkeypatch):
    """Right-hand sides, and what an evaluation costs."""
    costs = []
    monkeypatch.setattr(
        compiler, "lower_flow", lambda *args: costs.append(ordering.lower_flow(*args)) or costs[-1]
    )
    found = flow.rhs(data, start)
    return found, costs[-1][0].cost


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("positions", ["rotary", None, "learned"])
def test_every_kind_of_position_is_shared_right(norm, positions, monkeypatch):
    """Without positions, one sequence holds equal rows: what looks at them adds up."""
    rng = np.random.default_rng(2)
    sequences, labels = rng.integers(0, 4, (40, 5)), rng.integers(0, 3, 40)
    sequences[:, -1] %= 3  # none ends with padding
    data = Dataset(sequences, labels, 4, weights=rng.uniform(0.5, 2, 40))
    model = Decoder(
        4, 12, 4, 6, 5, n_heads=2, norm=norm, positions=positions, padding=3, biases=True, predict="all",
        activation="gelu",
    )  # fmt: skip
    start, flow = model.init(0.3, 0), derive(model, "exact")
    values = compiler.distinct_rows(model, data)
    assert SharedRows(flow.right_hand_sides.values(), values, {}).found
    ours = flow.rhs(data, start)
    monkeypatch.setattr(SharedRows, "_share", lambda *_: None)
    compiler._PROBLEMS.clear()
    compiler._LATEST.clear()
    for name, slope in flow.rhs(data, start).items():
        assert np.abs(ours[name] - slope).max() <= 1e-12 * max(np.abs(slope).max(), 1e-3)


def test_other_models_have_no_rows_to_share():
    rng = np.random.default_rng(0)
    data = Dataset(rng.integers(0, 5, (50, 3)), rng.integers(0, 5, 50), 5)
    model = EmbMLP(5, 8, 4)
    values = compiler.distinct_rows(model, data)
    assert not SharedRows(derive(model, "exact").right_hand_sides.values(), values, {}).found


def test_sums_of_what_distinct_rows_read_are_read_with_the_weights_they_meet():
    """Of distinct rows too, X_distinct W_E + P_distinct W_pos costs less once it has met a narrow weight."""
    rng = np.random.default_rng(0)
    data = Dataset(rng.integers(0, 60, (200, 8)), rng.integers(0, 60, 200), 60)
    model = Decoder(60, 32, 8, 32, 8, n_layers=1, norm=None, predict="all")
    flow, values = derive(model, "leading"), compiler.distinct_rows(model, data)
    sizes = model.sizes | {ROWS: values["omega"].shape[0], N_CTX: data.n_ctx}
    sides = dict(flow.right_hand_sides)
    for side in sides.values():
        sizes |= dimension_sizes(side, values)
    cheapest = ordering.lower_flow(sides, values, model.weights, sizes)[0].cost
    pick, merge = PickedRows(values), Merged(set(model.weights), lambda _: None)
    share = SharedRows(sides.values(), values, sizes)
    shared = {name: merge(pick(share(pick(side)))) for name, side in sides.items()}
    cost = {}
    for how in READINGS[:2]:
        tried = ordering.Tries(Lowering(values, model.weights, sizes, {}, how), shared)
        assert tried.lower(tuple(sides), np.inf)
        cost[how] = tried.cost
    assert cost["joined"] < 0.95 * cost["together"]
    assert cheapest <= cost["joined"]
