"""Models made up at random: what is predicted of them is measured, and kernel, twin and numbers agree."""

import numpy as np
import pytest
from random_models import make

from smallinit.compare.proof.residuals import autodiff_gradient, measure_residual
from smallinit.theory import derive

DIRECTIONS = (0, 1, 2)
LARGEST = 8  # powers beyond which float64 leaves less than a decade to measure in
WITHIN = {7: 0.3, 8: 0.3}  # and the last of those are read off few digits; all others to 0.1
CLOSURES = ("leading", "softmax", "activation=3,attention=1")


@pytest.mark.parametrize("seed", range(36))
def test_predicted_powers_are_measured(seed):
    """No direction shows an error that falls more slowly than predicted, and one at least shows the predicted power."""
    model, data = make(seed)
    flow = derive(model, CLOSURES[seed % len(CLOSURES)])
    predicted = {w: p for w, p in flow.residual_order.items() if 0 < p <= LARGEST}
    missing = set(predicted)
    for direction in DIRECTIONS:
        if not missing:
            break
        measured = measure_residual(flow, data, model.init(0.5, direction)).measured
        for name, power in predicted.items():
            assert measured[name] > power - WITHIN.get(power, 0.1), (name, power, measured[name])
            if measured[name] < power + WITHIN.get(power, 0.1):
                missing.discard(name)
    assert not missing, {name: (predicted[name], measured[name]) for name in missing}


@pytest.mark.parametrize("seed", range(0, 60, 3))
def test_the_exact_flow_is_the_gradient(seed):
    model, data = make(seed)
    weights = {k: 2.0 * w for k, w in model.init(0.5, 7).items()}
    slope, gradient = derive(model, "exact").rhs(data, weights), autodiff_gradient(model, data, weights)
    for name in slope:
        assert slope[name] == pytest.approx(
            -gradient[name], rel=1e-11, abs=1e-13 * np.abs(gradient[name]).max()
        )
