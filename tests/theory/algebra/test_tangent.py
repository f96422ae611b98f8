"""Forward derivatives of whole losses: the product of the reverse sweep's gradient with the direction."""

import numpy as np
import pytest
import sympy as sp
from helpers import MODELS, data_for, random_weights

from smallinit.theory.algebra.adjoint import gradients
from smallinit.theory.algebra.evaluate import evaluate
from smallinit.theory.algebra.sizes import dimension_sizes
from smallinit.theory.algebra.tangent import tangent
from smallinit.theory.flows.closure import Closure


@pytest.mark.parametrize("closure", ["leading", "exact", "activation=3,attention=1"])
@pytest.mark.parametrize("name", MODELS)
def test_it_agrees_with_the_reverse_sweep(name, closure):
    model, _ = MODELS[name]
    loss = Closure.of(closure, model).loss(model)
    along = {w: sp.MatrixSymbol(f"d{w.name}", *w.shape) for w in model.weight_symbols}
    steps = {f"d{name}": step for name, step in random_weights(model, seed=1).items()}
    values = model.data_matrices(data_for(name, n=8)) | random_weights(model) | steps
    sizes = model.sizes | dimension_sizes(loss, values)
    found = float(evaluate(tangent(loss, along), values, sizes)[0, 0])
    parts = [
        np.sum(steps[f"d{w.name}"] * evaluate(g, values, sizes))
        for w, g in gradients(loss, model.weight_symbols).items()
    ]
    assert found == pytest.approx(sum(parts), rel=1e-11, abs=1e-12 * np.abs(parts).max())


def test_what_does_not_move_has_no_derivative():
    model, _ = MODELS["emb-mlp"]
    W_E, _, _ = model.weight_symbols
    assert isinstance(tangent(W_E, {model.weight_symbols[1]: model.weight_symbols[1]}), sp.ZeroMatrix)
