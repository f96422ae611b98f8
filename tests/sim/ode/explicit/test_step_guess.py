"""Sizes that the guess of a first step is made of."""

import math

import numpy as np
import pytest

from smallinit.sim.ode.explicit.step_guess import _size_of


@pytest.mark.parametrize("n", [1, 7, 130, 5000])
def test_a_size_is_summed_up_in_order(n):
    """Pairwise sums, as numpy's own, would leave other bits, and other steps, in every trajectory."""
    rng = np.random.default_rng(n)
    x, tolerated = rng.normal(size=n), rng.uniform(1e-9, 1e-3, n)
    total = 0.0
    for value, scale in zip(x.tolist(), tolerated.tolist(), strict=True):
        total += (value / scale) * (value / scale)
    assert _size_of(x, tolerated, np.empty(n)) == math.sqrt(total / n)


@pytest.mark.parametrize(("bad", "expected"), [(np.inf, math.inf), (np.nan, math.nan)])
def test_what_is_not_finite_shows(bad, expected):
    x = np.ones(5)
    x[2] = bad
    with np.errstate(all="ignore"):
        np.testing.assert_equal(_size_of(x, np.ones(5), np.empty(5)), expected)
