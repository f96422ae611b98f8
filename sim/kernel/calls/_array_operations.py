"""Operations that read their operands from a table and hand them to the kernels of `_dense` and `_patterns`."""

from __future__ import annotations

from ..operations import (
    BAG_SOFTMAX,
    CENTRE,
    CSR_DOT,
    CSR_TURNED,
    DENSIFY,
    FLOATS,
    GATHER,
    GATHER_COLUMN,
    PATTERN_DOT,
    ROW_DOT,
    SCALE,
    SDDMM,
    SEGMENT_SOFTMAX,
    SOFTMAX,
)
from ._addresses import operation
from ._dense import bag_softmax, centre, row_dot, row_softmax, rows_dot, rows_dot_turned, scale
from ._operands import OPERAND, csr, flat, view
from ._patterns import (
    densify,
    gather,
    gather_column,
    pattern_dot,
    pattern_dot_transposed,
    sddmm,
    segment_softmax,
)

REST = 2 * OPERAND  # result, then an operand, then what the operation needs; no operand is transposed


@operation(CSR_DOT, fastmath={"contract"})
def _csr_dot(buffers, ints, p):
    values, indices, indptr = csr(buffers[FLOATS], ints, p + REST)
    b, added = view(buffers, ints, p + OPERAND), ints[p + REST + OPERAND] != 0
    rows_dot(values, indices, indptr, b, added, view(buffers, ints, p))


@operation(CSR_TURNED, fastmath={"contract"})
def _csr_turned(buffers, ints, p):
    values, indices, indptr = csr(buffers[FLOATS], ints, p + REST)
    rows_dot_turned(values, indices, indptr, view(buffers, ints, p + OPERAND), view(buffers, ints, p))


@operation(CENTRE)
def _centre(buffers, ints, p):
    centre(view(buffers, ints, p + OPERAND), ints[p + REST], view(buffers, ints, p))


@operation(SCALE)
def _scale(buffers, ints, p):
    u, axis = flat(buffers, ints, p + REST), ints[p + REST + OPERAND]
    scale(view(buffers, ints, p + OPERAND), u, axis, view(buffers, ints, p))


@operation(ROW_DOT, fastmath={"reassoc", "contract"})
def _row_dot(buffers, ints, p):
    row_dot(view(buffers, ints, p + OPERAND), view(buffers, ints, p + REST), view(buffers, ints, p))


@operation(SOFTMAX)
def _softmax(buffers, ints, p):
    c = buffers[FLOATS][ints[p + REST]]
    row_softmax(view(buffers, ints, p + OPERAND), c, view(buffers, ints, p))


@operation(BAG_SOFTMAX)
def _bag_softmax(buffers, ints, p):
    rest, floats = p + REST, buffers[FLOATS]
    counts, indices, indptr = csr(floats, ints, rest)
    weights, scratch, c = (
        flat(buffers, ints, rest + 5),
        flat(buffers, ints, rest + 10),
        floats[ints[rest + 15]],
    )
    x, out = view(buffers, ints, p + OPERAND), view(buffers, ints, p)
    bag_softmax(x, c, counts, indices, indptr, weights, out, scratch)


BEHIND = 3 * OPERAND  # result, first operand, pattern, then what the operation needs


@operation(SDDMM, fastmath={"reassoc", "contract"})
def _sddmm(buffers, ints, p):
    _, indices, indptr = csr(buffers[FLOATS], ints, p + REST)
    b = view(buffers, ints, p + BEHIND)
    sddmm(view(buffers, ints, p + OPERAND), b, indices, indptr, view(buffers, ints, p))


@operation(GATHER)
def _gather(buffers, ints, p):
    _, indices, indptr = csr(buffers[FLOATS], ints, p + REST)
    gather(view(buffers, ints, p + OPERAND), indices, indptr, ints[p + BEHIND], view(buffers, ints, p))


@operation(GATHER_COLUMN)
def _gather_column(buffers, ints, p):
    _, indices, indptr = csr(buffers[FLOATS], ints, p + REST)
    gather_column(view(buffers, ints, p + OPERAND), indices, indptr, ints[p + BEHIND], view(buffers, ints, p))


@operation(SEGMENT_SOFTMAX)
def _segment_softmax(buffers, ints, p):
    floats = buffers[FLOATS]
    base, indices, indptr = csr(floats, ints, p + REST)
    c, scores = floats[ints[p + BEHIND]], view(buffers, ints, p + OPERAND)
    segment_softmax(scores, base, indices, indptr, c, view(buffers, ints, p))


@operation(PATTERN_DOT, fastmath={"contract"})
def _pattern_dot(buffers, ints, p):
    _, indices, indptr = csr(buffers[FLOATS], ints, p + REST)
    x, b, out = view(buffers, ints, p + OPERAND), view(buffers, ints, p + BEHIND), view(buffers, ints, p)
    if ints[p + BEHIND + OPERAND]:
        pattern_dot_transposed(x, indices, indptr, b, out)
    else:
        pattern_dot(x, indices, indptr, b, out)


@operation(DENSIFY)
def _densify(buffers, ints, p):
    _, indices, indptr = csr(buffers[FLOATS], ints, p + REST)
    densify(view(buffers, ints, p + OPERAND), indices, indptr, view(buffers, ints, p))
