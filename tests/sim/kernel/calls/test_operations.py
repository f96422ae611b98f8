"""Operations of the interpreter against numpy: sparse products in both directions, patterns, sums along rows."""

import numpy as np
import pytest
import scipy.sparse as sparse
from helpers import alone

from smallinit.sim.kernel.calls import _dense, _patterns

WIDTHS = (1, 3, 8, 33)


@pytest.fixture
def rows_of_every_length():
    """A matrix whose rows have 0, 1, ..., 11 entries, in turn."""
    rng = np.random.default_rng(0)
    dense = np.zeros((24, 15))
    for i in range(24):
        places = rng.choice(15, i % 12, replace=False)
        dense[i, places] = rng.normal(size=places.size)
    return sparse.csr_array(dense)


def parts(matrix):
    """Values, indices and row pointers as the interpreter has them."""
    return matrix.data, matrix.indices.astype(np.int64), matrix.indptr.astype(np.int64)


@pytest.mark.parametrize("width", WIDTHS)
def test_sparse_products(rows_of_every_length, width):
    a, rng = rows_of_every_length, np.random.default_rng(width)
    b, c = rng.normal(size=(15, width)), rng.normal(size=(24, width))
    out, turned = np.full((24, width), np.nan), np.full((15, width), np.nan)
    alone(_dense.rows_dot)(*parts(a), b, False, out)
    alone(_dense.rows_dot_turned)(*parts(a), c, turned)
    np.testing.assert_allclose(out, a @ b, atol=1e-14)
    alone(_dense.rows_dot)(*parts(a), b, True, out)
    np.testing.assert_allclose(out, 2.0 * (a @ b), atol=1e-14)
    np.testing.assert_allclose(turned, a.T @ c, atol=1e-14)


@pytest.mark.parametrize("width", WIDTHS)
def test_products_with_a_pattern_and_at_one(rows_of_every_length, width):
    a, rng = rows_of_every_length, np.random.default_rng(width)
    values, indices, indptr = parts(a)
    b, c = rng.normal(size=(15, width)), rng.normal(size=(24, width))
    out, turned, sampled = np.empty((24, width)), np.empty((15, width)), np.empty((a.nnz, 1))
    alone(_patterns.pattern_dot)(values[:, None], indices, indptr, b, out)
    alone(_patterns.pattern_dot_transposed)(values[:, None], indices, indptr, c, turned)
    alone(_patterns.sddmm)(c, b, indices, indptr, sampled)
    np.testing.assert_allclose(out, a @ b, atol=1e-14)
    np.testing.assert_allclose(turned, a.T @ c, atol=1e-14)
    rows = np.repeat(np.arange(24), np.diff(indptr))
    np.testing.assert_allclose(sampled[:, 0], (c @ b.T)[rows, indices], atol=1e-13)


@pytest.mark.parametrize("width", WIDTHS)
def test_sums_of_products_along_rows(width):
    x, y = np.random.default_rng(width).normal(size=(2, 17, width))
    out = np.empty((17, 1))
    alone(_dense.row_dot)(x, y, out)
    np.testing.assert_allclose(out[:, 0], (x * y).sum(axis=1), atol=1e-14)


def test_what_is_not_finite_stays_seen():
    x, y = np.ones((2, 3, 40))
    x[0, 7], x[1, 39], y[2, 0] = np.nan, np.inf, -np.inf
    out = np.empty((3, 1))
    alone(_dense.row_dot)(x, y, out)
    assert np.isnan(out[0, 0])
    assert out[1:, 0].tolist() == [np.inf, -np.inf]


@pytest.mark.parametrize("size", [0.1, 50.0, 5e3])
def test_softmax_within_rows_of_a_pattern(rows_of_every_length, size):
    """Against a base measure; rows without places stay empty, large scores neither overflow nor vanish."""
    a, rng = rows_of_every_length, np.random.default_rng(1)
    _, indices, indptr = parts(a)
    base, scores = rng.uniform(0.1, 2.0, a.nnz), size * rng.normal(size=(a.nnz, 1))
    out = np.empty((a.nnz, 1))
    alone(_patterns.segment_softmax)(scores, base, indices, indptr, 0.7, out)
    for i in range(24):
        row = slice(indptr[i], indptr[i + 1])
        x = 0.7 * scores[row, 0]
        weights = base[row] * np.exp(x - x.max(initial=-np.inf))
        np.testing.assert_allclose(out[row, 0], weights / weights.sum(), rtol=1e-14)


@pytest.mark.parametrize("size", [0.1, 50.0, 5e3])
def test_softmax_of_rows(size):
    x = size * np.random.default_rng(2).normal(size=(9, 51))
    out = np.empty_like(x)
    alone(_dense.row_softmax)(x, 0.7, out)
    weights = np.exp(0.7 * x - (0.7 * x).max(axis=1, keepdims=True))
    np.testing.assert_allclose(out, weights / weights.sum(axis=1, keepdims=True), rtol=1e-13)
