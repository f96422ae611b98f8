"""Rows worked through block by block: the same numbers, in less memory, of whatever is evaluated by rows."""

import numpy as np
import pytest
import scipy.sparse as sparse
from helpers import MODELS, data_for, random_data, random_weights, small_blocks

from smallinit.sim.compile import compiler
from smallinit.sim.compile.graph import Graph
from smallinit.sim.compile.rows import row_blocks
from smallinit.sim.compile.rows.row_blocks import in_stretches, lives
from smallinit.sim.compile.table.emit import Emitter
from smallinit.sim.kernel._interpreter import rhs
from smallinit.sim.kernel.calls._addresses import make_ready
from smallinit.sim.kernel.problem import Problem
from smallinit.sim.kernel.work import functions_of, in_parts, operations_of
from smallinit.theory import CompositeTask, Dataset, Decoder, EmbMLP, derive

FEW = ("drive", "leading", "softmax", "order=6", "exact")  # higher orders only repeat operations
# Every closure of every model, in parts or by one thread by turns; with the softmax in both.
CELLS = [
    (name, closure, parts)
    for i, name in enumerate(MODELS)
    for j, closure in enumerate(FEW)
    for parts in (False, True)
    if closure == "exact" or parts == (i + j) % 2
]
DECODERS = {
    "pre": {"norm": "pre", "predict": "all"},
    "post, rms": {"norm": "post", "norm_kind": "rms", "predict": "last"},
    "no norm": {"norm": None, "biases": True, "predict": "all"},
}


@pytest.fixture(params=[False, True], ids=["blocks", "parts"])
def small(request, monkeypatch):
    """Arrays are large, and blocks full, at a few numbers."""
    small_blocks(monkeypatch, request.param)


def slopes(problem, start):
    """dW/dt with scratch memory and a result that hold no numbers before."""
    problem.work[:] = np.nan
    out = np.full(problem.n, np.nan)
    for _ in range(2):  # nothing is left over from the first call
        problem(0.0, problem.pack(start), out)
    return out


def compiled(flow, data, start, blocks):
    frozen = {w: start[w] for w in flow.model.weights if w not in flow.moving}
    return compiler._compile(flow, data, frozen, blocks)


def compared(flow, data, start):
    """Number of operations more that a flow has in blocks, after its slopes were found to be the same."""
    whole, blocks = (compiled(flow, data, start, b) for b in (False, True))
    expected = slopes(whole, start)
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(
        slopes(blocks, start), expected, rtol=1e-11, atol=1e-13 * np.abs(expected).max()
    )
    assert not in_parts(whole)
    return sum(1 for _ in operations_of(blocks)) - sum(1 for _ in operations_of(whole))


@pytest.mark.parametrize(("name", "closure", "parts"), CELLS)
def test_a_flow_in_blocks_is_the_same_flow(name, closure, parts, monkeypatch):
    small_blocks(monkeypatch, parts)
    model, data = MODELS[name][0], data_for(name, n=37)
    more = compared(derive(model, closure), data, random_weights(model))
    assert more > 0 or closure != "exact" or name == "embed-unembed"  # its softmax is one operation


@pytest.mark.parametrize("closure", ["exact", "leading"])
def test_data_that_are_kept_sparse_in_blocks(closure, small):
    rng = np.random.default_rng(0)
    data = Dataset(rng.integers(0, 60, (90, 3)), rng.integers(0, 60, 90), 60, weights=rng.uniform(0.1, 1, 90))
    model = EmbMLP(60, 4, 5, "gelu")
    more = compared(derive(model, closure), data, random_weights(model))
    assert (more > 0) == (closure == "exact")


@pytest.mark.parametrize("options", DECODERS.values(), ids=DECODERS)
def test_decoders_in_blocks(options, small):
    model = Decoder(7, 6, 4, 8, 5, n_layers=2, n_heads=2, **options)
    compared(derive(model, "exact"), random_data(n=12, n_ctx=5), random_weights(model))


def test_the_exact_flow_of_many_sequences_takes_less_memory():
    task = CompositeTask(range(11, 111), range(1, 6), range(6, 11), masked=())
    model, data = EmbMLP(131, 30, 400), task.dataset()
    flow, start = derive(model, "exact"), model.init(0.8, 0)
    whole, blocks = (compiled(flow, data, start, b) for b in (False, True))
    n = len(compiler.distinct_rows(model, data)["omega"])
    assert n * 400 > row_blocks.LARGE
    assert (
        whole.work.size - blocks.work.size > 0.9 * n * 400
    )  # slopes of the hidden layer are never all there
    found, expected = (problem.unpack(slopes(problem, start)) for problem in (blocks, whole))
    for name, slope in expected.items():
        np.testing.assert_allclose(found[name], slope, rtol=1e-11, atol=1e-14 * np.abs(slope).max())


def test_a_flow_that_is_carried_out_elsewhere_has_no_blocks(small):
    model, data = MODELS["emb-mlp"][0], data_for("emb-mlp", n=37)
    flow, start = derive(model, "exact"), random_weights(model)
    many, few = (compiler.compile_flow(flow, data, start, blocks=b) for b in (True, False))
    again = compiler.compile_flow(flow, data, start)
    assert len(many.ints) > len(few.ints)
    assert again.ints is many.ints


def chain(height=5, width=4):
    """y = 2 tanh(x)^2 - x of a weight x, and x^T y, as graph and outputs."""
    graph = Graph()
    x = graph.add("weight", (), (height, width), "x")
    square = graph.hadamard([(graph.map(x, "tanh"), 2)])
    y = graph.sum([(2.0, square), (-1.0, x)])
    return graph, {"y": [(1.0, y)], "z": [(1.0, graph.matmul(x.T, y))]}


def test_what_is_between_two_steps_is_as_large_as_a_block(monkeypatch):
    small_blocks(monkeypatch)
    monkeypatch.setattr(row_blocks, "LARGE", 20)
    monkeypatch.setattr(row_blocks, "BLOCK", 8)
    graph, outputs = chain()
    weight, stretch, product = in_stretches(graph, range(len(graph.nodes)), outputs, {4})
    assert [weight.nodes, stretch.nodes, product.nodes] == [(0,), (1, 2, 3), (4,)]
    assert stretch.blocks == [range(2), range(2, 4), range(4, 5)]
    found, end = lives([weight, stretch, product], graph, outputs)
    assert [life.passing for life in found.values()] == [False, True, True, False, False]
    assert (found[0].read, found[3].made, found[3].read) == (4, 1, end)


def carried_out(graph, outputs, layout, x, n):
    """Numbers (n,) that a graph writes of a weight x."""
    kernel = Emitter(graph, {"x": (0, x.shape), **layout}, outputs).run()
    problem = Problem(
        rhs, {"x": (0, x.shape)}, kernel.floats, kernel.ints, np.full(kernel.work_size, np.nan), compiled=True
    )
    make_ready(functions_of(problem))
    out = np.full(n, np.nan)
    rhs(0.0, x.ravel(), out, kernel.floats, kernel.ints, problem.work)
    return out


def test_a_chain_in_blocks_equals_numpy(small):
    graph, outputs = chain(23, 6)
    x = np.random.default_rng(0).normal(size=(23, 6))
    out = carried_out(graph, outputs, {"y": (0, (23, 6)), "z": (138, (6, 6))}, x, 138 + 36)
    y = 2.0 * np.tanh(x) ** 2 - x
    np.testing.assert_allclose(out[:138].reshape(23, 6), y, rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(out[138:].reshape(6, 6), x.T @ y, rtol=1e-13)


def test_two_sums_over_the_rows_of_the_same_blocks(small):
    """When the second joined its blocks, the first was taken for what has a row of its own for each of theirs."""
    rng, graph = np.random.default_rng(0), Graph()
    x, a = rng.normal(size=(23, 6)), sparse.random_array((4, 23), density=0.5, rng=rng, format="csr")
    y = graph.map(graph.add("weight", (), (23, 6), "x"), "tanh")
    sums = [graph.matmul(graph.add_data(a, "a"), graph.hadamard([(y, power)])) for power in (2, 3)]
    outputs = {name: [(1.0, found)] for name, found in zip("yz", sums, strict=True)}
    stretches = in_stretches(graph, range(len(graph.nodes)), outputs, [])
    assert [len(s.nodes) for s in stretches if s.rows] == [4]
    out = carried_out(graph, outputs, {"y": (0, (4, 6)), "z": (24, (4, 6))}, x, 48)
    expected = [a @ np.tanh(x) ** power for power in (2, 3)]
    np.testing.assert_allclose(out.reshape(2, 4, 6), expected, rtol=1e-12, atol=1e-14)
