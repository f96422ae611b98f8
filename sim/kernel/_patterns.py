"""Kernels for matrices that are sparse by structure, with values computed at run time: see `sampled`."""

import numpy as np
from numba import njit

# A pattern is the index arrays of a CSR matrix; `values` and `out` below are columns (nnz, 1) of numbers at its places,
# in storage order.


# out = rows of a times rows of b, at the places of a pattern: (a b^T) sampled
@njit(nogil=True, error_model="numpy")
def sddmm(a, b, indices, indptr, out):
    width = a.shape[1]
    for i in range(indptr.size - 1):
        for p in range(indptr[i], indptr[i + 1]):
            j, s = indices[p], 0.0
            for k in range(width):
                s += a[i, k] * b[j, k]
            out[p, 0] = s


# out = entries of a dense matrix at the places of a pattern; of its transpose if flipped
@njit(nogil=True, error_model="numpy")
def gather(x, indices, indptr, flipped, out):
    for i in range(indptr.size - 1):
        for p in range(indptr[i], indptr[i + 1]):
            out[p, 0] = x[indices[p], i] if flipped else x[i, indices[p]]


# out = entries of a column (or row) by the row (axis 0) or the column (axis 1) of each place
@njit(nogil=True, error_model="numpy")
def gather_column(u, indices, indptr, axis, out):
    wide = u.shape[1] > 1
    for i in range(indptr.size - 1):
        for p in range(indptr[i], indptr[i + 1]):
            k = indices[p] if axis == 1 else i
            out[p, 0] = u[0, k] if wide else u[k, 0]


# out = softmax of c * scores within each row, against the values `base` of the pattern; rows without places stay empty
@njit(nogil=True, error_model="numpy")
def segment_softmax(scores, base, indices, indptr, c, out):
    for i in range(indptr.size - 1):
        start, stop = indptr[i], indptr[i + 1]
        if start == stop:
            continue
        top = c * scores[start, 0]
        for p in range(start, stop):
            top = max(top, c * scores[p, 0])
        norm = 0.0
        for p in range(start, stop):
            out[p, 0] = base[p] * np.exp(c * scores[p, 0] - top)
            norm += out[p, 0]
        for p in range(start, stop):
            out[p, 0] /= norm


# out (rows, k) = A @ b for the matrix A with these values
@njit(nogil=True, error_model="numpy")
def pattern_dot(values, indices, indptr, b, out):
    for i in range(out.shape[0]):
        row = out[i]
        row[:] = 0.0
        for p in range(indptr[i], indptr[i + 1]):
            v = values[p, 0]
            source = b[indices[p]]
            for j in range(row.size):
                row[j] += v * source[j]


# out (cols, k) = A^T @ b
@njit(nogil=True, error_model="numpy")
def pattern_dot_transposed(values, indices, indptr, b, out):
    out[:] = 0.0
    for i in range(indptr.size - 1):
        source = b[i]
        for p in range(indptr[i], indptr[i + 1]):
            v = values[p, 0]
            target = out[indices[p]]
            for j in range(source.size):
                target[j] += v * source[j]


# out = A written out
@njit(nogil=True, error_model="numpy")
def densify(values, indices, indptr, out):
    out[:] = 0.0
    for i in range(indptr.size - 1):
        for p in range(indptr[i], indptr[i + 1]):
            out[i, indices[p]] += values[p, 0]
