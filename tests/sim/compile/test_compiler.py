"""Kernels: equal to sympy's own evaluation, minimal, sparse where the data are, cached on disk."""

import gc
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sympy as sp
from helpers import (
    CLOSURES,
    MODELS,
    data_for,
    random_data,
    random_weights,
    relative,
    small_case,
    sympy_value,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from smallinit.sim.compile import compiler
from smallinit.sim.compile.compiler import compile_flow, distinct_rows
from smallinit.sim.compile.graph import Graph, Ref
from smallinit.sim.compile.lower import Lowering
from smallinit.sim.compile.scalar import apply_function
from smallinit.sim.compile.table.emit import Emitter
from smallinit.sim.kernel._interpreter import rhs
from smallinit.sim.kernel.cache import cache_dir
from smallinit.theory import Dataset, Decoder, EmbMLP, derive
from smallinit.theory.algebra.evaluate import evaluate
from smallinit.theory.algebra.scalars.functions import X
from smallinit.theory.base.arrays import full_array
from smallinit.theory.data.inputs import ROWS

TINY = {"sizes": (3, 2, 2), "n": 4}  # sympy writes every entry out


@pytest.mark.parametrize("closure", ["drive", "leading", "softmax", "order=6", "order=9", "exact"])
@pytest.mark.parametrize("activation", ["tanh", "gelu"])
def test_kernel_equals_sympys_evaluation_at_30_digits(activation, closure):
    data, model, weights = small_case(activation, **TINY)
    flow = derive(model, closure)
    values = model.data_matrices(data) | weights
    statistics = {name: sympy_value(e, model, values) for name, e in flow.statistics.items()}
    kernel = flow.rhs(data, weights)
    for name in flow.moving:
        assert relative(kernel[name], sympy_value(flow.equations[name], model, values | statistics)) < 1e-12
    assert all(not kernel[name].any() for name in kernel if name not in flow.moving)


@pytest.mark.parametrize("closure", [*CLOSURES, "order=12"])
@pytest.mark.parametrize("activation", ["tanh", "gelu", "identity"])
def test_kernel_equals_numpy_interpreter(activation, closure):
    data, model, weights = small_case(activation, seed=3, sizes=(11, 5, 7), n=50, held_out=True)
    flow = derive(model, closure)
    values = model.data_matrices(data) | weights
    sizes = model.sizes | {ROWS: values["omega"].shape[0]}
    kernel = flow.rhs(data, weights)
    for name in flow.moving:
        assert relative(kernel[name], evaluate(flow.right_hand_sides[name], values, sizes)) < 1e-12


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_products_that_stand_in_products_equal_numpy(norm):
    """A transposed product of centred rows is a factor of its own in a decoder with LayerNorm and biases."""
    model = Decoder(5, 4, 2, 4, 2, n_layers=1, norm=norm, biases=True)
    flow, data, weights = (
        derive(model, "order=4"),
        random_data(d_vocab=5, n=12, n_ctx=2),
        random_weights(model),
    )
    sides, values, sizes = compiler.flow_parts(flow, data, flow.moving)
    found = flow.rhs(data, weights)
    for name, side in sides.items():
        expected = full_array(evaluate(side, values | weights, sizes))
        np.testing.assert_allclose(found[name], expected, rtol=1e-10, atol=1e-13 * np.abs(expected).max())


def test_sparse_counts_in_every_closure():
    """A vocabulary large enough that the counts are kept sparse."""
    rng = np.random.default_rng(0)
    data = Dataset(rng.integers(0, 60, (90, 3)), rng.integers(0, 60, 90), 60, weights=rng.uniform(0.1, 1, 90))
    model = EmbMLP(60, 4, 5, "gelu")
    weights = random_weights(model)
    for closure in CLOSURES:
        flow = derive(model, closure)
        values = model.data_matrices(data) | weights
        sizes = model.sizes | {ROWS: values["omega"].shape[0]}
        kernel = flow.rhs(data, weights)
        for name in flow.moving:
            assert relative(kernel[name], evaluate(flow.right_hand_sides[name], values, sizes)) < 1e-12, (
                closure
            )


FUNCTIONS = [
    sp.exp(X), sp.log(2 + X**2), sp.sin(X), sp.cos(X), sp.tan(X / 3), sp.asin(X / 9), sp.acos(X / 9), sp.atan(X),
    sp.sinh(X), sp.cosh(X), sp.tanh(X), sp.asinh(X), sp.acosh(2 + X**2), sp.atanh(X / 9), sp.erf(X), sp.erfc(X),
    sp.gamma(2 + X**2), sp.loggamma(2 + X**2), sp.sech(X), 3 * X**2 - X / 2 + 7, (1 + X**2) ** sp.Rational(-3, 2),
    sp.Integer(4), (2 + X**2) ** X, X * sp.exp(-X) * sp.tanh(X) ** 3 / (1 + sp.exp(X)),
]  # fmt: skip


@pytest.mark.parametrize("function", FUNCTIONS, ids=str)
@pytest.mark.parametrize("flipped", [False, True])
def test_every_function_equals_sympys_value(function, flipped):
    x = np.random.default_rng(0).normal(size=(3, 50))
    graph = Graph()
    ref = graph.add("weight", (), x.shape, "x")
    coefficient, out = apply_function(graph, sp.Lambda(X, function), 1.5, ref.T if flipped else ref)
    shape = graph.shape(out)
    kernel = Emitter(graph, {"x": (0, x.shape), "f": (0, shape)}, {"f": [(coefficient, out)]}).run()
    result = np.empty(x.size)
    rhs(0.0, x.ravel(), result, kernel.floats, kernel.ints, np.empty(kernel.work_size))
    values = [float(function.subs(X, 1.5 * v).evalf(25)) for v in (x.T if flipped else x).ravel()]
    np.testing.assert_allclose(result, values, rtol=1e-13)


def test_a_function_without_a_kernel_is_named():
    with pytest.raises(TypeError, match="no numerical form is known of the function besselj"):
        apply_function(Graph(), sp.Lambda(X, sp.besselj(0, X)), 1.0, Ref(0))


@pytest.mark.parametrize("shape", [(1, 1), (3, 5000), (70, 45), (1, 100), (100, 1)])
@given(st.data())
@settings(max_examples=20, deadline=None, derandomize=True)
def test_sums_and_products_of_transposes(shape, drawn):
    """Tiles and stretches: every entry is met once, whatever the shape and the orientation."""
    rng = np.random.default_rng(drawn.draw(st.integers(0, 99)))
    arrays = [rng.normal(size=shape if straight else shape[::-1]) for straight in (True, False, True)]
    graph, layout, start = Graph(), {}, 0
    for k, x in enumerate(arrays):
        layout[str(k)] = (start, x.shape)
        start += x.size
    refs = [graph.add("weight", (), x.shape, str(k)) for k, x in enumerate(arrays)]
    straight = [ref.T if k == 1 else ref for k, ref in enumerate(refs)]
    powers = drawn.draw(st.lists(st.integers(1, 3), min_size=3, max_size=3))
    total = graph.sum([(2.0, straight[0]), (-1.0, straight[1]), (0.5, straight[2])], constant=0.25)
    outputs = {
        "a": [(1.0, total), (3.0, graph.hadamard(list(zip(straight, powers, strict=True))))],
        "b": [(1.0, total.T)],
    }
    size = arrays[0].size
    kernel = Emitter(graph, layout | {"a": (0, shape), "b": (size, shape[::-1])}, outputs).run()
    result = np.empty(2 * size)
    y = np.concatenate([x.ravel() for x in arrays])
    rhs(0.0, y, result, kernel.floats, kernel.ints, np.empty(kernel.work_size))
    x, z, w = arrays[0], arrays[1].T, arrays[2]
    combined = 0.25 + 2.0 * x - z + 0.5 * w
    expected = combined + 3.0 * x ** powers[0] * z ** powers[1] * w ** powers[2]
    np.testing.assert_allclose(result[:size].reshape(shape), expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(result[size:].reshape(shape[::-1]), combined.T, rtol=1e-13, atol=1e-15)


def test_rows_that_the_model_cannot_tell_apart_merge():
    sequences = [[0, 1, 2], [0, 2, 1], [1, 1, 2], [0, 1, 2]]
    data = Dataset(sequences, [3, 4, 0, 4], 5, weights=[1.0, 2.0, 3.0, 2.0])
    merged = distinct_rows(EmbMLP(5, 2, 2), data)
    assert np.allclose(merged["omega"].ravel(), [5 / 8, 3 / 8])
    assert np.allclose(merged["Y"].toarray(), [[0, 0, 0, 0.2, 0.8], [1, 0, 0, 0, 0]])
    assert merged["C"].toarray().tolist() == [[1, 1, 1, 0, 0], [0, 2, 1, 0, 0]]


def test_softmax_survives_extreme_logits():
    """Products of exponentials underflow here; the careful path takes over and nothing turns NaN."""
    data, model, weights = small_case("identity", sizes=(6, 4, 5), n=40)
    huge = {name: 12.0 * w for name, w in weights.items()}
    flow = derive(model, "softmax")
    values = model.data_matrices(data) | huge
    sizes = model.sizes | {ROWS: values["omega"].shape[0]}
    logits = evaluate(model.logits, values, sizes)
    assert np.ptp(logits, axis=1).max() > 700
    kernel = flow.rhs(data, huge)
    for name in flow.moving:
        assert relative(kernel[name], evaluate(flow.right_hand_sides[name], values, sizes)) < 1e-10


def test_large_vocabulary_stays_sparse():
    """V = 50,257: nothing of size V x V, and the sparse product with M is what the time goes into."""
    rng = np.random.default_rng(0)
    d_vocab, n = 50_257, 20_000
    data = Dataset(rng.zipf(1.3, (n, 8)) % d_vocab, rng.zipf(1.3, n) % d_vocab, d_vocab)
    model = EmbMLP(d_vocab, 16, 8)
    start = model.init(0.8, 0)
    problem = compile_flow(derive(model, "leading"), data, start)
    assert problem.work.nbytes + problem.floats.nbytes + problem.ints.nbytes < 2**27
    out = derive(model, "leading").rhs(data, start)
    pairs, occurrences = data.signature_parts()
    centred = start["W_out"] - start["W_out"].mean(axis=1, keepdims=True)
    expected = pairs @ centred.T @ start["W_in"].T
    assert relative(out["W_E"], expected) < 1e-10
    assert occurrences.shape == (d_vocab,)


def test_work_is_private_and_folded_data_shared():
    data, model, weights = small_case()
    flow = derive(model, "softmax")
    a, b = compile_flow(flow, data, weights), compile_flow(flow, data, weights)
    assert a.work is not b.work
    assert a.floats is b.floats


def test_drive_follows_its_own_start():
    """Frozen weights are folded like data; a second start must not meet the first one's products."""
    data, model, weights = small_case()
    flow = derive(model, "drive")
    first = flow.rhs(data, weights)["W_E"]
    second = flow.rhs(data, weights | {"W_out": 2 * weights["W_out"]})["W_E"]
    assert relative(second, 2 * first) < 1e-14


def test_threads_may_compile_the_same_kernel():
    data, model, weights = small_case(seed=11, sizes=(8, 3, 4))
    flow = derive(model, "order=7")
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: flow.rhs(data, weights)["W_E"], range(8)))
    expected = derive(model, "order=7").rhs(data, weights)["W_E"]
    assert all(np.array_equal(r, expected) for r in results)


def test_tiny_row_weights_do_not_overflow():
    data = Dataset([[0, 1], [1, 0], [2, 2]], [0, 1, 2], 3, weights=[1e-300, 1.0, 1.0])
    model = EmbMLP(3, 2, 2)
    assert all(np.isfinite(v).all() for v in derive(model, "softmax").rhs(data, model.init(0.5, 0)).values())


def test_flows_with_equal_equations_share_their_kernel(monkeypatch):
    """As long as the data live; other equations, sizes, data and models of the user's have their own."""
    data, model, weights = small_case()
    kernel = compile_flow(derive(model, "order=6"), data, weights)
    again = compile_flow(derive(replace(model), "order=6"), data, weights)
    assert again.floats is kernel.floats
    assert again.work is not kernel.work
    larger = replace(model, d_mlp=model.d_mlp + 1)
    others = [(derive(model, "order=9"), data), (derive(larger, "order=6"), data)]
    others += [(derive(model, "order=6").only("W_E"), data), (derive(model, "order=6"), small_case()[0])]
    for flow, rows in others:
        other = compile_flow(flow, rows, random_weights(flow.model), fold=False)
        assert other.floats is not kernel.floats
    monkeypatch.setattr(compiler, "KEPT", 1)
    compile_flow(derive(model, "softmax"), data, weights)
    assert compile_flow(derive(model, "order=6"), data, weights).floats is not kernel.floats


def test_a_package_whose_name_begins_as_ours_is_not_ours(monkeypatch):
    """What its models read from data may change in a notebook, so that they share no kernel."""
    data, model, weights = small_case()
    monkeypatch.setattr(type(model), "__module__", "smallinit_mine.models")
    one, other = (compile_flow(derive(model, "order=6"), data, weights) for _ in range(2))
    assert one.floats is not other.floats


@pytest.mark.parametrize(("positions", "predict"), [("learned", "last"), (None, "all")])
def test_models_that_read_data_otherwise_have_their_own_kernels(positions, predict):
    """Padding is seen in no equation, only in what the data matrices hold."""
    rng = np.random.default_rng(0)
    rows = np.c_[rng.integers(0, 4, (30, 3)), rng.integers(0, 5, 30)], rng.integers(0, 4, 30)
    data = Dataset(*rows, 5)
    bare = Decoder(5, 6, 4, 3, 4, n_layers=1, positions=positions, predict=predict)
    padded, start = replace(bare, padding=4), bare.init(0.5, 0)
    assert bare.content == padded.content
    alone = derive(padded, "exact").rhs(Dataset(*rows, 5), start)
    derive(bare, "exact").rhs(data, start)
    found = derive(padded, "exact").rhs(data, start)
    assert all(np.array_equal(found[name], slope) for name, slope in alone.items())


PROGRAM = """
from helpers import small_case
from smallinit.theory import derive
data, model, weights = small_case()
flow = derive(model, "order=9")
from smallinit.sim.compile.compiler import compile_flow
rhs = compile_flow(flow, data, weights).rhs
print(sum(rhs.stats.cache_hits.values()), sum(rhs.stats.cache_misses.values()))
"""


@pytest.mark.parametrize("name", MODELS)
def test_data_are_given_back_without_a_collection(name):
    """No circle of references keeps a lowering, whose data fill half a gigabyte at V = 50,257."""
    model, data = MODELS[name][0], data_for(name)
    flow, start = derive(model, "leading"), random_weights(model)
    gc.freeze()  # what is there already: neither searched nor collected, here and later
    gc.disable()
    try:
        compile_flow(flow, data, start)
        left = [thing for thing in gc.get_objects() if type(thing) in (Graph, Lowering)]
    finally:
        gc.enable()
    assert left == []


def test_second_process_loads_the_interpreter_from_the_cache():
    """This process has compiled or loaded the interpreter; another one must find it, for a flow of its own."""
    data, model, weights = small_case()
    ours = compile_flow(derive(model, "leading"), data, weights).rhs
    assert ours.stats.cache_path.startswith(str(cache_dir()))
    assert sum(ours.stats.cache_hits.values()) + sum(ours.stats.cache_misses.values()) == 1
    paths = str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM],
        env=os.environ | {"SMALLINIT_CACHE": str(cache_dir().parent), "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", "0"]  # cache hits and misses


def test_small_products_run_on_one_blas_thread():
    from threadpoolctl import threadpool_info, threadpool_limits

    from smallinit.sim.kernel.threads.blas_threads import blas_threads, largest_product

    model, data = EmbMLP(7, 5, 4), random_data()
    small = compile_flow(derive(model, "leading"), data, random_weights(model))
    assert largest_product(small) == 2.0 * 7 * 7 * 4  # M @ W_out.T

    def threads():
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    with threadpool_limits(2, user_api="blas"):
        before = threads()
        with blas_threads(small):
            assert threads() == {1}
        assert threads() == before
        first, second = blas_threads(small), blas_threads(small)
        first.__enter__()
        second.__enter__()  # as from another thread: neither the first to leave nor the last may leave it wrong
        first.__exit__(None, None, None)
        assert threads() == {1}
        second.__exit__(None, None, None)
        assert threads() == before
