"""Derivatives by numpy are those of the compiled table, and so is what they say of float32."""

import numpy as np
import pytest
from helpers import MODELS, data_for, random_data, random_weights

from smallinit.sim.compile.compiler import compile_flow
from smallinit.sim.integration import by_numpy
from smallinit.sim.integration.by_numpy import derivatives
from smallinit.sim.kernel.single_precision import in_single_precision, rounding_errors
from smallinit.theory import Decoder, EmbMLP, derive

SERIES = ("drive", "leading", "softmax", "order=4")
# The whole loss of every model, and two of the series by turns.
CELLS = [(name, c) for i, name in enumerate(MODELS) for c in ("exact", SERIES[i % 4], SERIES[(i + 1) % 4])]


@pytest.mark.parametrize(("name", "closure"), CELLS)
def test_derivatives_are_those_of_the_table(name, closure):
    model, data = MODELS[name][0], data_for(name)
    flow, start = derive(model, closure), random_weights(model, scale=0.5)
    problem = compile_flow(flow, data, start)
    y, out = problem.pack(start), np.empty(problem.n)
    problem(0.0, y, out)
    found = derivatives(flow, data, start, problem)
    assert found is not None
    np.testing.assert_allclose(found, out, rtol=1e-9, atol=1e-12 * np.abs(out).max())
    single = in_single_precision(problem)
    compiled, by_hand = (rounding_errors(problem, single, y, exact) for exact in (None, found))
    assert by_hand == pytest.approx(compiled, rel=1e-5)  # of a rounding of 1e-7, what float64 leaves open


def test_what_is_large_is_left_to_the_table(monkeypatch):
    data = data_for("emb-mlp")
    model = EmbMLP(data.d_vocab, 4, 4)
    flow, start = derive(model, "exact"), random_weights(model)
    problem = compile_flow(flow, data, start)
    assert derivatives(flow, data, start, problem) is not None
    monkeypatch.setattr(by_numpy, "SMALL", problem.work.size - 1)
    assert derivatives(flow, data, start, problem) is None


def test_attention_among_the_positions_of_all_sequences_is_left_to_the_table(monkeypatch):
    """By numpy it is a matrix without holes, which filled the memory where the table needs some rows."""
    data = random_data(n=60, n_ctx=5)
    model = Decoder(data.d_vocab, 6, 4, 8, data.n_ctx, n_layers=1, predict="all")
    flow, start = derive(model, "exact"), random_weights(model)
    problem = compile_flow(flow, data, start)
    largest = (len(data.sequences) * data.n_ctx) ** 2
    monkeypatch.setattr(by_numpy, "SMALL", largest)
    assert derivatives(flow, data, start, problem) is not None
    monkeypatch.setattr(by_numpy, "SMALL", largest - 1)
    assert problem.work.size < by_numpy.SMALL
    assert derivatives(flow, data, start, problem) is None
