"""Tables in float32 against the same in float64: every model, every closure, and where products leave the range."""

import numpy as np
import pytest
import scipy.sparse as sparse
from helpers import MODELS, alone, data_for, random_weights

from smallinit.sim.compile.compiler import compile_flow
from smallinit.sim.kernel.calls import _dense
from smallinit.sim.kernel.problem import Problem
from smallinit.sim.kernel.single_precision import ROUNDING, in_single_precision, rounding_errors
from smallinit.theory import derive

SERIES = ("drive", "leading", "softmax", "order=4")
# The whole loss of every model, and two of the series by turns.
CELLS = [(name, c) for i, name in enumerate(MODELS) for c in ("exact", SERIES[i % 4], SERIES[(i + 1) % 4])]


@pytest.mark.parametrize(("name", "closure"), CELLS)
def test_derivatives_are_off_by_the_rounding_of_float32(name, closure):
    model, data = MODELS[name][0], data_for(name)
    start = random_weights(model, scale=0.5)
    problem = compile_flow(derive(model, closure), data, start)
    single = in_single_precision(problem)
    errors = rounding_errors(problem, single, problem.pack(start))
    assert list(errors) == list(problem.layout)
    assert max(errors.values()) < 500 * ROUNDING  # differences of like numbers are in it
    assert max(errors.values()) > 0.01 * ROUNDING  # float64 would be 1e9 times closer


def test_the_state_and_the_derivative_stay_float64():
    """An entry beyond float32 is the kernel's to meet, not the state's: nothing outside is rounded."""
    model, data = MODELS["emb-mlp"][0], data_for("emb-mlp")
    start = random_weights(model)
    problem = compile_flow(derive(model, "exact"), data, start)
    single, y = in_single_precision(problem), problem.pack(start)
    before, out = y.copy(), np.full(problem.n, np.nan)
    single(0.0, y, out)
    np.testing.assert_array_equal(y, before)
    assert out.dtype == np.float64
    np.testing.assert_array_equal(out, out.astype(np.float32))
    assert single.rounding == ROUNDING
    assert problem.rounding == np.finfo(float).eps
    assert single.floats.nbytes <= problem.floats.nbytes // 2 + 8


@pytest.mark.parametrize("logit", [1.0, 30.0, 90.0])
def test_softmax_of_bags_whose_products_underflow(logit):
    """Each bag of four tokens has another largest logit: at 30 no product of its exponentials is a float32 number."""
    rng = np.random.default_rng(0)
    x = logit * np.eye(4) + 0.1 * rng.normal(size=(4, 4))
    bags = sparse.csr_array(np.array([[1.0, 1, 1, 1], [2, 0, 0, 1], [0, 1, 0, 0]]))
    index = bags.indices.astype(np.int64), bags.indptr.astype(np.int64)
    weights = np.array([0.5, 0.3, 0.2])
    f = bags @ x
    p = np.exp(f - f.max(axis=1, keepdims=True))
    expected = bags.T @ (weights[:, None] * p / p.sum(axis=1, keepdims=True))
    for real in (np.float64, np.float32):
        out = np.empty((4, 4), real)
        arrays = (x.astype(real), real(1.0), bags.data.astype(real), *index, weights.astype(real), out)
        alone(_dense.bag_softmax)(*arrays, np.empty(4 * 4 + 4, real))
        np.testing.assert_allclose(out, expected, rtol=300 * np.finfo(real).eps, atol=0)


def test_code_of_ones_own_is_no_table():
    def f(t, y, out):
        out[:] = -y

    with pytest.raises(TypeError, match="only a table"):
        in_single_precision(Problem.from_function(f, 3))
