"""Arrays of numbers, and cosines of rows."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from smallinit.theory.base.arrays import cosine_matrix, full_array, joint_norm, off_diagonal, real_array
from smallinit.theory.base.errors import FieldError


@pytest.mark.parametrize("dtype", [np.float64, ">f8", np.float32, np.longdouble, np.int64])
def test_a_real_array_is_a_native_copy_in_one_piece(dtype):
    given = np.asfortranarray(np.arange(6).reshape(2, 3).astype(dtype))
    found = real_array("x", given)
    np.testing.assert_array_equal(found, given)
    assert found.dtype == np.dtype("=f8")
    assert found.flags.c_contiguous
    assert not np.shares_memory(found, given)


def test_numbers_that_are_none_are_counted():
    with pytest.raises(FieldError, match="got 2 nan or inf"):
        real_array("x", np.array([np.nan, 1.0, -np.inf]))


def test_cosines_of_rows_and_of_batches_of_them():
    rows = np.random.default_rng(0).normal(size=(3, 5, 7))
    sizes = np.linalg.norm(rows, axis=2)
    expected = rows @ rows.transpose(0, 2, 1) / (sizes[:, :, None] * sizes[:, None, :])
    np.testing.assert_allclose(cosine_matrix(rows), expected, rtol=1e-13)
    np.testing.assert_allclose(cosine_matrix(rows[1]), expected[1], rtol=1e-13)


def test_the_cosine_of_a_zero_row_is_zero():
    np.testing.assert_array_equal(cosine_matrix(np.array([[0.0, 0.0], [0.0, 2.0]])), [[0.0, 0.0], [0.0, 1.0]])


def test_off_diagonal_reads_each_pair_once():
    matrix = np.array([[9, 1, 2], [1, 9, 3], [2, 3, 9]])
    assert off_diagonal(matrix).tolist() == [1, 2, 3]
    assert off_diagonal(np.stack([matrix, 2 * matrix])).tolist() == [[1, 2, 3], [2, 4, 6]]


def test_arrays_without_holes_and_their_joint_norm():
    x = np.array([[0.0, 3.0], [0.0, 0.0]])
    assert full_array(csr_array(x)) == pytest.approx(x)
    assert full_array(x) is x
    assert joint_norm([x, np.array([4.0])]) == 5.0
    assert joint_norm([]) == 0.0
