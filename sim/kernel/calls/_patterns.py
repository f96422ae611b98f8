"""Kernels for matrices that are sparse by structure, with values computed at run time: see `sampled`."""

import numpy as np

from ..inner import inlined
from ._dense import fill, inner, rows_dot, rows_dot_turned
from ._extremes import greater
from ._functions import exp
from ._operands import part
from ._operands import row as row_of

# A pattern is the index arrays of a CSR matrix; `values` and `out` below are columns (nnz, 1) of numbers at its places,
# in storage order. Products read them as a flat array, the type for which `_dense` is compiled already.


# out = rows of a times rows of b, at the places of a pattern: (a b^T) sampled
@inlined()
def sddmm(a, b, indices, indptr, out):
    for i in range(indptr.size - 1):
        row = row_of(a, i)
        for p in range(indptr[i], indptr[i + 1]):
            out[p, 0] = inner(row, row_of(b, indices[p]))


# out = entries of a dense matrix at the places of a pattern; of its transpose if flipped
@inlined()
def gather(x, indices, indptr, flipped, out):
    for i in range(indptr.size - 1):
        for p in range(indptr[i], indptr[i + 1]):
            out[p, 0] = x[indices[p], i] if flipped else x[i, indices[p]]


# out = entries of a column (or row) by the row (axis 0) or the column (axis 1) of each place
@inlined()
def gather_column(u, indices, indptr, axis, out):
    wide = u.shape[1] > 1
    for i in range(indptr.size - 1):
        for p in range(indptr[i], indptr[i + 1]):
            k = indices[p] if axis == 1 else i
            out[p, 0] = u[0, k] if wide else u[k, 0]


# out = softmax of c * scores within each row, against the values `base` of the pattern; rows without places stay empty
@inlined()
def segment_softmax(scores, base, indices, indptr, c, out):
    x, p = part(scores, 0, scores.size), part(out, 0, out.size)
    for i in range(indptr.size - 1):
        start, stop = indptr[i], indptr[i + 1]
        top = -np.inf
        for k in range(start, stop):
            top = greater(top, c * x[k])
        for k in range(start, stop):
            p[k] = c * x[k] - top
    for k in range(p.size):
        p[k] = base[k] * exp(p[k])
    for i in range(indptr.size - 1):
        start, stop = indptr[i], indptr[i + 1]
        norm = 0.0
        for k in range(start, stop):
            norm += p[k]
        for k in range(start, stop):
            p[k] /= norm


# out (rows, k) = A @ b for the matrix A with these values
@inlined(fastmath={"contract"})
def pattern_dot(values, indices, indptr, b, out):
    rows_dot(part(values, 0, values.size), indices, indptr, b, False, out)


# out (cols, k) = A^T @ b
@inlined(fastmath={"contract"})
def pattern_dot_transposed(values, indices, indptr, b, out):
    rows_dot_turned(part(values, 0, values.size), indices, indptr, b, out)


# out = A written out
@inlined()
def densify(values, indices, indptr, out):
    fill(part(out, 0, out.size), 0.0)
    for i in range(indptr.size - 1):
        for p in range(indptr[i], indptr[i + 1]):
            out[i, indices[p]] += values[p, 0]
