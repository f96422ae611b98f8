"""Continuation to negative scales: truncated series say what the continued expression is."""

import numpy as np
import pytest
import sympy as sp
from own_models import A, B, E, own

from smallinit.theory import RowNorm, apply
from smallinit.theory.algebra.evaluate import evaluate
from smallinit.theory.algebra.norms import mean_square, power_of_mean_square
from smallinit.theory.algebra.scale.expansion import expand, first_power
from smallinit.theory.algebra.scale.mirrored import mirrored
from smallinit.theory.data.inputs import COUNTS, D_MODEL

X = COUNTS * E
STREAM = X + apply("tanh", RowNorm(X, 0) * A) * B
SQUARE = X * A + X * A * B
CASES = {
    "a stream of power one": (STREAM, 1),
    "its direction": (RowNorm(STREAM, 0), 0),
    "a norm of power two": (RowNorm(SQUARE, 0) * A, 1),
    "a norm of a norm": (RowNorm(RowNorm(X, 0) + SQUARE, 0), 0),
    "a root of a mean square": (power_of_mean_square(mean_square(STREAM), sp.S.Zero, -sp.Rational(3, 2)), -3),
}


@pytest.mark.parametrize("name", CASES)
def test_the_series_goes_on_to_negative_scales(name):
    """Without the continuation the error would be of the size of the expression itself."""
    expr, low = CASES[name]
    model, data = own(X * A * B)
    weights = {E, A, B}
    series = expand(expr, weights, low + 3, norms={sp.S.Zero})
    rng = np.random.default_rng(1)
    inputs = {"C": np.stack([np.bincount(s, minlength=5) for s in data.sequences]).astype(float)}
    direction = {w: rng.normal(size=model.weights[w]) for w in ("W_E", "W_A", "W_B")}
    sizes = model.sizes | {COUNTS.rows: len(data.labels), D_MODEL: 3}
    other, errors = mirrored(expr, weights), []
    for eps in (0.02, 0.01):
        at = inputs | {w: -eps * x for w, x in direction.items()}
        unit = inputs | direction
        expected = evaluate(other, at, sizes)
        said = sum((-eps) ** d * evaluate(t, unit, sizes) for d, t in series.items())
        errors.append(np.abs(said - expected).max() / np.abs(expected).max())
    assert first_power(expr, weights) == low
    assert errors[0] < 0.02
    assert errors[1] < errors[0] / 10
