"""The one compiled right-hand side: it carries out a table of operations, so that no flow has to be compiled.

`ints` starts with the number of operations and the place where sparse index arrays begin; the operations follow, each
as (code, length, numbers). An array is five numbers: buffer, start, rows and columns as stored, and whether its
transpose is meant. A sparse matrix is five numbers too: starts of its values (in `floats`), of its column indices and
of its row pointers (counted from the first index array), rows, nonzeros. `emit` writes such tables.
"""

import numpy as np
from numba import njit

from . import _dense, _elementwise, _patterns
from ._operands import OPERAND, csr, flat, view
from .cache import compiled
from .operations import (  # fmt: skip
    BAG_SOFTMAX,
    CENTRE,
    CSR_DOT,
    CSR_TURNED,
    DENSIFY,
    DOT,
    FLOATS,
    GATHER,
    GATHER_COLUMN,
    HADAMARD,
    MAP,
    PATTERN_DOT,
    ROW_DOT,
    SCALE,
    SDDMM,
    SEGMENT_SOFTMAX,
    SOFTMAX,
    SUM,
)
from .problem import RHS_SIGNATURE


# result, a, b
@njit(nogil=True, error_model="numpy")
def _dot(buffers, ints, p):
    a, b = p + OPERAND, p + 2 * OPERAND
    out, left, right = view(buffers, ints, p), view(buffers, ints, a), view(buffers, ints, b)
    if ints[a + 4]:
        if ints[b + 4]:
            np.dot(left.T, right.T, out)
        else:
            np.dot(left.T, right, out)
    elif ints[b + 4]:
        np.dot(left, right.T, out)
    else:
        np.dot(left, right, out)


# result, then what the operation needs; no operand is transposed
@njit(nogil=True, error_model="numpy")
def _special(code, buffers, ints, floats, p):
    out, x, rest = view(buffers, ints, p), view(buffers, ints, p + OPERAND), p + 2 * OPERAND
    if code == CSR_DOT:
        values, indices, indptr = csr(floats, ints, rest)
        _dense.rows_dot(values, indices, indptr, x, out)
    elif code == CSR_TURNED:
        values, indices, indptr = csr(floats, ints, rest)
        _dense.rows_dot_turned(values, indices, indptr, x, out)
    elif code == CENTRE:
        _dense.centre(x, ints[rest], out)
    elif code == SCALE:
        _dense.scale(x, flat(buffers, ints, rest), ints[rest + OPERAND], out)
    elif code == ROW_DOT:
        _dense.row_dot(x, view(buffers, ints, rest), out)
    elif code == SOFTMAX:
        _dense.row_softmax(x, floats[ints[rest]], out)
    elif code == BAG_SOFTMAX:
        counts, indices, indptr = csr(floats, ints, rest)
        weights, scratch = flat(buffers, ints, rest + 5), flat(buffers, ints, rest + 10)
        _dense.bag_softmax(x, floats[ints[rest + 15]], counts, indices, indptr, weights, out, scratch)


# result, first operand, pattern, then what the operation needs
@njit(nogil=True, error_model="numpy")
def _at_pattern(code, buffers, ints, floats, p):
    out, x, rest = view(buffers, ints, p), view(buffers, ints, p + OPERAND), p + 3 * OPERAND
    base, indices, indptr = csr(floats, ints, p + 2 * OPERAND)
    if code == SDDMM:
        _patterns.sddmm(x, view(buffers, ints, rest), indices, indptr, out)
    elif code == GATHER:
        _patterns.gather(x, indices, indptr, ints[rest], out)
    elif code == GATHER_COLUMN:
        _patterns.gather_column(x, indices, indptr, ints[rest], out)
    elif code == SEGMENT_SOFTMAX:
        _patterns.segment_softmax(x, base, indices, indptr, floats[ints[rest]], out)
    elif code == DENSIFY:
        _patterns.densify(x, indices, indptr, out)
    elif code == PATTERN_DOT:
        b = view(buffers, ints, rest)
        if ints[rest + OPERAND]:
            _patterns.pattern_dot_transposed(x, indices, indptr, b, out)
        else:
            _patterns.pattern_dot(x, indices, indptr, b, out)


# All operations, one after another; `buffers` as `operations` numbers them, all of one precision
@njit(nogil=True, error_model="numpy")
def carry_out(buffers, ints):
    floats, p = buffers[FLOATS], 2
    for _ in range(ints[0]):
        code, q = ints[p], p + 2
        if code == DOT:
            _dot(buffers, ints, q)
        elif code == SUM:
            _elementwise.combine(buffers, ints, floats, q)
        elif code == HADAMARD:
            _elementwise.multiply(buffers, ints, q)
        elif code == MAP:
            _elementwise.apply(buffers, ints, floats, q)
        elif code >= SDDMM:
            _at_pattern(code, buffers, ints, floats, q)
        else:
            _special(code, buffers, ints, floats, q)
        p += ints[p + 1]


@compiled(RHS_SIGNATURE)
def rhs(t, y, out, floats, ints, work):
    carry_out((y, floats, work, out), ints)
