"""Sums of slopes by one row of a table: the order of additions, whatever the row's length and the state's."""

import numpy as np
import pytest

from smallinit.sim.ode.explicit.between_steps import interpolate
from smallinit.sim.ode.explicit.sums.arithmetic import SPAN
from smallinit.sim.ode.explicit.sums.one_row import FEW

H = 0.3


def summed(y, slopes, weights):
    """The same by numpy: in fours, then a pair, then one."""
    terms = [(H * w) * k for w, k in zip(weights, slopes, strict=True)]
    found, j = y, 0
    while j + 4 <= len(terms):
        found = found + ((terms[j] + terms[j + 1]) + (terms[j + 2] + terms[j + 3]))
        j += 4
    for term in terms[j:]:
        found = found + term
    return found


@pytest.mark.parametrize("n", [FEW, SPAN - 1, 2 * SPAN + 5])
@pytest.mark.parametrize("count", range(10))
def test_a_sum_is_formed_in_a_fixed_order(n, count):
    rng = np.random.default_rng(n)
    y, k, out = rng.standard_normal(n), rng.standard_normal((12, n)), np.empty((3, n))
    order, columns = rng.permutation(12), np.sort(rng.choice(12, count, replace=False))
    weights = rng.standard_normal((3, count))
    interpolate(out, y, k, order, columns, weights, H)
    for point, row in zip(out, weights, strict=True):
        assert np.array_equal(point, summed(y, k[order[columns]], row))


@pytest.mark.parametrize("n", range(1, FEW))
def test_a_short_state_takes_its_slopes_one_by_one(n):
    rng = np.random.default_rng(n)
    y, k, out = rng.standard_normal(n), rng.standard_normal((7, n)), np.empty((1, n))
    weights, total = rng.standard_normal((1, 7)), np.zeros(n)
    interpolate(out, y, k, np.arange(7), np.arange(7), weights, H)
    for weight, slope in zip(weights[0], k, strict=True):
        total = total + weight * slope
    assert np.array_equal(out[0], y + H * total)
