"""What threads share of a graph, in which stages, and what is left as it was."""

import numpy as np
import pytest
import scipy.sparse as sparse
from helpers import small_blocks

from smallinit.sim.compile.graph import Graph
from smallinit.sim.compile.rows import row_teams
from smallinit.sim.compile.rows.row_teams import in_teams
from smallinit.sim.compile.table.emit import Emitter
from smallinit.sim.kernel._interpreter import rhs
from smallinit.sim.kernel.calls._addresses import make_ready
from smallinit.sim.kernel.problem import Problem
from smallinit.sim.kernel.work import functions_of, in_parts

ROWS, WIDTH, OUT = 23, 6, 4


@pytest.fixture(autouse=True)
def small(monkeypatch):
    small_blocks(monkeypatch)


def network(a):
    """tanh(x) U, its softmax p, x^T p and a tanh(p U^T): of rows x, weights U and sparse data a."""
    graph = Graph()
    x, u = (
        graph.add("weight", (), shape, name) for name, shape in (("x", (ROWS, WIDTH)), ("u", (WIDTH, OUT)))
    )
    p = graph.map(graph.matmul(graph.map(x, "tanh"), u), "exp")
    outputs = {
        "y": graph.matmul(x.T, p),
        "z": graph.matmul(graph.add_data(a, "a"), graph.map(graph.matmul(p, u.T), "tanh")),
    }
    return graph, {name: [(1.0, ref)] for name, ref in outputs.items()}


def data():
    return sparse.random_array((3, ROWS), density=0.5, rng=np.random.default_rng(1), format="csr")


def planned(graph, outputs):
    return in_teams(graph, range(len(graph.nodes)), outputs, [])


def test_products_and_sums_over_rows_are_one_stretch():
    graph, outputs = network(data())
    (stretch,) = (s for s in planned(graph, outputs) if s.parts)
    assert len(stretch.nodes) == sum(1 for node in graph.nodes if node.args)
    assert {graph.nodes[k].shape for k in stretch.totals} == {(WIDTH, OUT), (3, WIDTH)}
    assert [k for share in stretch.shares for k in share] == stretch.blocks
    assert len(stretch.shares) == stretch.parts <= 8


def test_what_reads_a_sum_comes_after_all_rows():
    graph, outputs = network(data())
    x = next(k for k, node in enumerate(graph.nodes) if node.payload == "x")
    (y,) = (ref for _, ref in outputs["y"])
    again = graph.matmul(type(y)(x), graph.map(y, "tanh"))
    first, second = (
        s for s in planned(graph, outputs | {"w": [(1.0, again)]}) if again.node in s.nodes or s.totals
    )
    assert y.node in first.totals
    assert again.node in second.nodes


def test_a_network_in_parts_equals_numpy():
    a, rng = data(), np.random.default_rng(0)
    graph, outputs = network(a)
    x, u = rng.normal(size=(ROWS, WIDTH)), rng.normal(size=(WIDTH, OUT))
    sizes = {"x": (0, x.shape), "u": (x.size, u.shape), "y": (0, u.shape), "z": (u.size, (3, WIDTH))}
    kernel = Emitter(graph, sizes, outputs).run()
    problem = Problem(
        rhs, sizes, kernel.floats, kernel.ints, np.full(kernel.work_size, np.nan), compiled=True
    )
    assert in_parts(problem)
    make_ready(functions_of(problem))
    out = np.full(u.size + 3 * WIDTH, np.nan)
    rhs(0.0, np.concatenate([x.ravel(), u.ravel()]), out, kernel.floats, kernel.ints, problem.work)
    p = np.exp(np.tanh(x) @ u)
    np.testing.assert_allclose(out[: u.size].reshape(u.shape), x.T @ p, rtol=1e-13)
    np.testing.assert_allclose(out[u.size :].reshape(3, WIDTH), a @ np.tanh(p @ u.T), rtol=1e-12)


def test_a_matrix_that_is_read_by_rows_and_as_a_whole():
    """x x^T: its rows would stand in the place of the whole."""
    graph = Graph()
    x = graph.map(graph.add("weight", (), (ROWS, WIDTH), "x"), "tanh")
    outputs = {"y": [(1.0, graph.map(graph.matmul(x, x.T), "exp"))]}
    assert planned(graph, outputs) is None  # its one product is left to one thread
    kernel = Emitter(graph, {"x": (0, (ROWS, WIDTH)), "y": (0, (ROWS, ROWS))}, outputs).run()
    problem = Problem(
        rhs, {"x": (0, (ROWS, WIDTH))}, kernel.floats, kernel.ints, np.zeros(kernel.work_size), compiled=True
    )
    make_ready(functions_of(problem))
    values, out = np.random.default_rng(0).normal(size=(ROWS, WIDTH)), np.empty(ROWS * ROWS)
    rhs(0.0, values.ravel(), out, kernel.floats, kernel.ints, problem.work)
    expected = np.exp(np.tanh(values) @ np.tanh(values).T)
    np.testing.assert_allclose(out.reshape(ROWS, ROWS), expected, rtol=1e-12)


@pytest.mark.parametrize(("name", "value"), [("WHOLE", -1.0), ("LEAST_HEIGHT", 10**6)])
def test_products_that_do_not_suit_stay_with_blas(monkeypatch, name, value):
    monkeypatch.setattr(row_teams, name, value)
    assert planned(*network(data())) is None
