"""The range in which truncated functions stand for the true ones, and when a trajectory leaves it."""

import numpy as np
import pytest
import sympy as sp

from smallinit.sim import integrate
from smallinit.sim.trajectory.left_range import excursions
from smallinit.theory import Activation, CompositeTask, EmbMLP, OneLayerTransformer, derive
from smallinit.theory.flows.ranges import EXP, radius, ranges, truncation_limit


@pytest.mark.parametrize(
    ("name", "expected"),
    [("tanh", np.pi / 2), ("arctan", 1.0), ("softsign", 1.0), ("silu", np.pi), ("sin", np.inf)],
)
def test_radius_of_convergence(name, expected):
    assert radius(Activation.of(name).lambda_()) == pytest.approx(expected, rel=5e-3)


def test_limits_are_where_the_truncation_is_ten_per_cent_off():
    tanh = Activation.of("tanh").lambda_()
    z = truncation_limit(tanh, 3)
    assert abs(z - z**3 / 3 - np.tanh(z)) == pytest.approx(0.1 * np.tanh(z), rel=1e-6)
    assert truncation_limit(EXP, 0) == pytest.approx(np.log(1.1), rel=1e-6)
    x = sp.Symbol("x", real=True)
    assert truncation_limit(sp.Lambda(x, x), 1) == np.inf


def test_what_a_closure_truncates():
    model = OneLayerTransformer(7, 5, 3, 4, 3)
    assert [r.what for r in ranges(model, "softmax")] == ["pre-activations", "scores"]
    assert [r.what for r in ranges(model, "leading")] == ["pre-activations", "scores", "logits"]
    assert [r.what for r in ranges(model, "attention=1")] == ["scores"]
    assert ranges(model, "exact") == ()


def test_a_trajectory_says_when_it_left_the_range():
    data = CompositeTask(range(11, 31), range(1, 6), range(6, 11), masked=()).dataset()
    model = EmbMLP(51, 40, 40)
    start = model.init(0.8, 0)
    path = integrate(derive(model, "softmax"), data, start, t1=100.0, save_at=21)
    size = excursions(path)["pre-activations"]
    left = path.left_range["pre-activations"]
    assert size[0] < 1.0 < size[-1]
    assert left == path.t[np.argmax(size > 1.0)]
    weights = {name: w[-1] for name, w in path.weights.items()}
    largest = np.abs(data.counts @ weights["W_E"] @ weights["W_in"])[:: -(-len(data) // 512)].max()
    assert size[-1] * ranges(model, "softmax")[0].limit == pytest.approx(largest, rel=1e-12)
    kept = integrate(derive(model, "activation=3,attention=0"), data, start, t1=100.0, save_at=21)
    assert kept.left_range["pre-activations"] > left
    exact = integrate(derive(model, "exact"), data, start, t1=1.0, save_at=2)
    assert exact.left_range == {}
