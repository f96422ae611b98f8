"""Generated kernels: equal to sympy's own evaluation, minimal, sparse where the data are, cached on disk."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers import CLOSURES, random_weights, relative, small_case, sympy_value

from smallinit.sim.compile import compile_flow, distinct_rows
from smallinit.sim.emit import Emitter
from smallinit.sim.numeric import evaluate
from smallinit.sim.schedule import lower_flow
from smallinit.theory import CompositeTask, Dataset, EmbMLP, derive
from smallinit.theory.inputs import ROWS

TINY = {"sizes": (3, 2, 2), "n": 4}  # sympy writes every entry out


def kernel_text(flow, data):
    model = flow.model
    values = distinct_rows(model, data)
    sizes = model.sizes | {ROWS: values["omega"].shape[0]}
    graph, outputs = lower_flow(flow.right_hand_sides, values, model.weights, sizes)
    layout, offset = {}, 0
    for name, shape in model.weights.items():
        layout[name] = (offset, shape)
        offset += shape[0] * shape[1]
    return Emitter(graph, layout, outputs).run().text, graph


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


def test_leading_takes_five_products():
    data, model, _ = small_case(sizes=(12, 12, 12))
    text, _ = kernel_text(derive(model, "leading"), data)
    assert text.count("np.dot(") == 5
    assert "for i" not in text


def test_softmax_takes_six_products_and_one_fused_softmax():
    data = CompositeTask().dataset()
    text, graph = kernel_text(derive(EmbMLP(161, 200, 400), "softmax"), data)
    assert text.count("np.dot(") == 6
    assert text.count("_kernels.bag_softmax(") == 1
    largest = max(
        rows * cols for rows, cols in (node.shape for node in graph.nodes if node.op not in ("data", "diag"))
    )
    assert largest <= 200 * 400  # nothing of size sequences x labels


def test_text_does_not_depend_on_the_number_of_sequences():
    model = EmbMLP(40, 6, 7)
    rng = np.random.default_rng(0)
    texts = set()
    for n in (200, 300):
        data = Dataset(rng.integers(0, 40, (n, 3)), rng.integers(0, 40, n), 40)
        texts.add(kernel_text(derive(model, "softmax"), data)[0])
    assert len(texts) == 1


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


PROGRAM = """
from helpers import small_case
from smallinit.theory import derive
data, model, weights = small_case()
flow = derive(model, "order=9")
from smallinit.sim.compile import compile_flow
rhs = compile_flow(flow, data, weights).rhs
print(sum(rhs.stats.cache_hits.values()), sum(rhs.stats.cache_misses.values()))
"""


def test_second_process_loads_the_kernel_from_the_cache(tmp_path):
    environment = os.environ | {
        "SMALLINIT_CACHE": str(tmp_path),
        "PYTHONPATH": os.path.dirname(os.path.dirname(__file__)),
    }
    outputs = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-P", "-c", PROGRAM],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout.split())
    assert outputs == [["0", "1"], ["1", "0"]]  # cache hits and misses
