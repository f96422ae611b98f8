"""The Jacobian of a flow against differences, and free weights of the rows against data that have them."""

import numpy as np
import pytest
from helpers import MODELS, data_for, random_weights

from smallinit.sim.compile.companions import compile_tangent, compile_weighted
from smallinit.sim.compile.compiler import compile_flow
from smallinit.theory import Dataset, derive

SERIES = ("softmax", "leading", "drive")
CELLS = [(name, closure) for i, name in enumerate(MODELS) for closure in ("exact", SERIES[i % 3])]


@pytest.mark.parametrize(("name", "closure"), CELLS)
def test_the_jacobian_is_the_limit_of_differences(name, closure):
    model, data = MODELS[name][0], data_for(name, 3)
    flow, weights = derive(model, closure), random_weights(model, 4, 0.6)
    problem, tangent = compile_flow(flow, data, weights), compile_tangent(flow, data, weights)
    y, along = problem.pack(weights), np.random.default_rng(0).normal(size=problem.n)
    ends = np.empty((2, problem.n))
    for row, sign in zip(ends, (1, -1), strict=True):
        problem(0.0, y + sign * 1e-5 * along, row)
    out = np.empty(tangent.n)
    tangent(0.0, np.concatenate([y, along]), out)
    np.testing.assert_array_equal(out[: problem.n], 0.0)
    differences = (ends[0] - ends[1]) / 2e-5
    np.testing.assert_allclose(
        out[problem.n :], differences, rtol=1e-5, atol=1e-7 * np.abs(differences).max()
    )


@pytest.mark.parametrize("name", MODELS)
def test_weights_of_the_rows_are_those_of_the_data(name):
    model, data = MODELS[name][0], data_for(name, 3)
    flow, weights = derive(model, "exact"), random_weights(model, 4, 0.6)
    problem = compile_weighted(flow, data, weights)
    shares = np.random.default_rng(1).uniform(0.5, 1.5, len(data))
    other = Dataset(data.sequences, data.labels, data.d_vocab, weights=shares)
    rows = problem.n - sum(w.size for w in weights.values())
    omega = np.repeat(other.weights, rows // len(data)) * len(data) / rows
    out = np.empty(problem.n)
    problem(0.0, problem.pack({**weights, "omega": omega.reshape(-1, 1)}), out)
    found, wanted = problem.unpack(out), flow.rhs(other, weights)
    for w in weights:
        np.testing.assert_allclose(found[w], wanted[w], rtol=1e-10, atol=1e-14)
