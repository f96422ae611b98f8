"""Counts of tokens and pairs against sums written out, and the loss of who knows frequencies alone."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from smallinit.theory import Dataset
from smallinit.theory.data.frequencies import count_tokens, entropy, label_entropy, paired


def test_tokens_are_counted_as_often_as_they_stand():
    counts = count_tokens(np.array([[2, 0, 2], [1, 1, 1]]), 4)
    assert counts.toarray().tolist() == [[1.0, 0.0, 2.0, 0.0], [0.0, 3.0, 0.0, 0.0]]
    assert counts.nnz == 3


def test_pairs_are_weighted_sums_over_rows():
    rng = np.random.default_rng(0)
    left, right = rng.integers(0, 3, (7, 4)).astype(float), rng.integers(0, 2, (7, 5)).astype(float)
    weights = rng.random(7)
    expected = sum(w * np.outer(a, b) for w, a, b in zip(weights, left, right, strict=True))
    found = paired(csr_array(left), weights, csr_array(right))
    np.testing.assert_allclose(found.toarray(), expected, rtol=1e-14)


def test_entropy_is_that_of_the_scaled_law():
    assert entropy(np.array([2.0, 0.0, 2.0, 4.0])) == pytest.approx(0.5 * np.log(4.0) + 0.5 * np.log(2.0))
    assert entropy(np.array([3.0, 0.0])) == 0.0


def test_label_entropy_is_that_of_the_labels_of_one_group():
    groups = ["memory"] * 4 + ["other"]
    data = Dataset([[0], [1], [2], [3], [0]], [0, 1, 0, 1, 3], 4, weights=[3, 1, 3, 1, 5], groups=groups)
    expected = -0.75 * np.log(0.75) - 0.25 * np.log(0.25)
    assert label_entropy(data, "memory") == pytest.approx(expected)
    assert label_entropy(data, "other") == 0.0
