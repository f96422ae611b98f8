"""Random points of a flow: of many sizes, the same every time, finite or none."""

import numpy as np
import pytest
import sympy as sp
from helpers import MODELS

from smallinit.theory import EmbMLP, derive
from smallinit.theory.algebra.matrices import hadamard_power, product
from smallinit.theory.flows.symmetry.points import sample
from smallinit.theory.flows.symmetry.screening import conserved


def test_points_differ_in_sizes_and_repeat_exactly():
    flow = derive(MODELS["transformer, positions"][0], "exact")
    points = sample(flow.model, flow.right_hand_sides, 6)
    assert len({p.weights["W_E"].shape for p in points}) > 2
    again = sample(flow.model, flow.right_hand_sides, 6)
    assert all(np.array_equal(p.speeds["W_Q"], q.speeds["W_Q"]) for p, q in zip(points, again, strict=True))
    assert np.linalg.norm(points[0].weights["W_E"]) != np.linalg.norm(points[5].weights["W_E"])


@pytest.mark.parametrize("name", MODELS)
def test_every_model_has_points(name):
    flow = derive(MODELS[name][0], "exact")
    for point in sample(flow.model, flow.right_hand_sides, 4):
        assert {w: a.shape for w, a in point.weights.items()} == {w: a.shape for w, a in point.speeds.items()}
        assert all(np.isfinite(a).all() for a in point.speeds.values())


def test_weights_shrink_where_equations_overflow():
    model = EmbMLP(7, 5, 6)
    steep = {w.name: hadamard_power(product(300, w), sp.Integer(120)) for w in model.weight_symbols}
    points = sample(model, steep, 2)
    assert len(points) == 2
    assert max(np.abs(p.weights["W_E"]).max() for p in points) < 2.0


def test_equations_that_overflow_everywhere_conserve_nothing_known():
    model = EmbMLP(7, 5, 6)
    sides = {
        w.name: hadamard_power(product(sp.Integer(10) ** 200, w), sp.Integer(3)) for w in model.weight_symbols
    }
    assert sample(model, sides, 3) == []
    assert conserved(model, sides) == []
