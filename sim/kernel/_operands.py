"""Arrays as the table of a kernel names them; see `_interpreter`."""

from numba import njit

OPERAND = 5  # numbers that name an array


# The array that the five numbers at p name, as it is stored.
@njit(nogil=True, error_model="numpy")
def view(buffers, ints, p):
    start, rows, cols = ints[p + 1], ints[p + 2], ints[p + 3]
    return buffers[ints[p]][start : start + rows * cols].reshape((rows, cols))


# The same as one row of numbers.
@njit(nogil=True, error_model="numpy")
def flat(buffers, ints, p):
    start = ints[p + 1]
    return buffers[ints[p]][start : start + ints[p + 2] * ints[p + 3]]


# Values, column indices and row pointers of the sparse matrix at p.
@njit(nogil=True, error_model="numpy")
def csr(floats, ints, p):
    first, rows, nnz = ints[1], ints[p + 3], ints[p + 4]
    indices, indptr = first + ints[p + 1], first + ints[p + 2]
    return (
        floats[ints[p] : ints[p] + nnz],
        ints[indices : indices + nnz],
        ints[indptr : indptr + rows + 1],
    )
