"""Rows asked for ahead of time: products with arrays that lie far away have the bits of those that lie near."""

import numpy as np
import pytest
from helpers import alone

from smallinit.sim.kernel.calls import _dense, _patterns, _prefetch
from smallinit.sim.kernel.calls._prefetch import AHEAD, FAR, LONG

rows_dot, pattern_dot, rows_ahead = map(alone, (_dense.rows_dot, _patterns.pattern_dot, _prefetch.rows_ahead))


def pattern(rows, cols, rng, longest=11):
    """Index arrays of a matrix whose rows have 0, 1, .., `longest` entries in turn, in no order."""
    counts = np.arange(rows) % (longest + 1)
    indices = np.concatenate([np.zeros(0, int), *(rng.choice(cols, n, replace=False) for n in counts)])
    return indices, np.append(0, np.cumsum(counts))


def near_and_far(indices, width, real, rng):
    """An array beyond `FAR`, and the rows that the indices name alone, with indices into them."""
    rows = FAR // (width * np.dtype(real).itemsize) + 1
    far = np.zeros((rows, width), real)
    named, places = np.unique(indices, return_inverse=True)
    far[named] = rng.normal(size=(named.size, width))
    return far, far[named], places


@pytest.mark.parametrize("real", [np.float64, np.float32])
@pytest.mark.parametrize("width", [3, 33, 64, 128])
def test_products_keep_their_bits(width, real):
    rng = np.random.default_rng(width)
    indices, indptr = pattern(150, FAR // (8 * width), rng)
    values = rng.normal(size=indices.size).astype(real)
    far, near, places = near_and_far(indices, width, real, rng)
    assert rows_ahead(far) > 0 == rows_ahead(near)
    wanted, out = np.full((2, 150, width), np.nan, real)
    rows_dot(values, places, indptr, near, False, wanted)
    rows_dot(values, indices, indptr, far, False, out)
    np.testing.assert_array_equal(out, wanted)
    out[:] = np.nan
    pattern_dot(values[:, None], indices, indptr, far, out)
    np.testing.assert_array_equal(out, wanted)


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_matrices_with_few_entries_or_none(rows):
    far, rng = np.ones((FAR // 512 + 1, 64)), np.random.default_rng(0)
    indices, indptr = pattern(rows, len(far), rng, longest=1)
    out = np.full((rows, 64), np.nan)
    rows_dot(np.ones(indices.size), indices, indptr, far, False, out)
    np.testing.assert_array_equal(out, np.repeat(np.diff(indptr)[:, None], 64, axis=1))


def test_when_it_asks():
    """Of large arrays of short rows, as many as fit."""
    assert rows_ahead(np.empty((FAR // 512, 64))) == 0
    assert rows_ahead(np.empty((FAR // 512 + 1, 64))) == AHEAD // 512
    assert rows_ahead(np.empty((FAR // LONG + 1, LONG // 8))) == 0
    assert rows_ahead(np.empty((FAR // 512, 64), np.float32)) == 0
