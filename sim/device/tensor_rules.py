"""What each operation of a kernel's table is in torch: one rule per code, read once, called at every evaluation.

A rule reads the numbers of its operation and returns a function of the four buffers. Results are written in place; what
is sparse is multiplied in torch's CSR form, transposes of it made once, so that no sum depends on an order of threads.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ..kernel import operations as codes
from .table_reader import Buffers, Cursor, Entries, View, csr_tensor
from .tensor_functions import PARAMETRIC, UNARY

Call = Callable[[Buffers], object]
MOST_AT_ONCE = 2**26  # numbers of an intermediate array that is made block by block


def dot(read: Cursor) -> Call:
    """Product of dense arrays."""
    out, a, b = read.array(), read.array(), read.array()
    return lambda m: torch.mm(a(m), b(m), out=out(m))


def combine(read: Cursor) -> Call:
    """Constant plus a linear combination."""
    n = read.whole()
    constant, *factors = read.numbers(n + 1)
    out, terms = read.array(), [read.array() for _ in range(n)]

    def call(m: Buffers) -> None:
        target = out(m)
        if not terms or constant:
            target.fill_(constant)
        else:
            torch.mul(terms[0](m), factors[0], out=target)
        first = 0 if constant else 1
        for factor, term in zip(factors[first:], terms[first:], strict=True):
            target.add_(term(m), alpha=factor)

    return call


def multiply(read: Cursor) -> Call:
    """Entry by entry, the product of whole powers."""
    n, out = read.whole(), read.array()
    parts = [view for _ in range(n) for view in _repeated(read)]

    def call(m: Buffers) -> None:
        target = (
            out(m).copy_(parts[0](m)) if len(parts) == 1 else torch.mul(parts[0](m), parts[1](m), out=out(m))
        )
        for part in parts[2:]:
            target.mul_(part(m))

    return call


def _repeated(read: Cursor) -> list[View]:
    view = read.array()
    return [view] * read.whole()


def apply(read: Cursor) -> Call:
    """A function of a multiple."""
    name = codes.FUNCTIONS[read.whole()]
    scale, parameter = read.numbers(2)
    out, x = read.array(), read.array()

    def scaled(m: Buffers) -> Tensor:
        return x(m) if scale == 1.0 else x(m) * scale

    if name in PARAMETRIC:
        function = PARAMETRIC[name]
        return lambda m: out(m).copy_(function(scaled(m), parameter))
    plain = UNARY[name]
    return lambda m: out(m).copy_(plain(scaled(m)))


def csr_dot(read: Cursor) -> Call:
    """A b with A sparse, or what it adds to what is there."""
    return _sparse_product(read, turned=False)


def csr_turned(read: Cursor) -> Call:
    """A^T b with A sparse."""
    return _sparse_product(read, turned=True)


def _sparse_product(read: Cursor, turned: bool) -> Call:
    rows, _ = read.shape()
    out, (inner, _), x, data = read.array(), read.shape(), read.array(), read.csr()
    matrix = read.sparse(data.array(rows).T.tocsr() if turned else data.array(inner))
    if not turned and read.whole():
        return lambda m: out(m).addmm_(matrix, x(m))
    return lambda m: torch.mm(matrix, x(m), out=out(m))


def centre(read: Cursor) -> Call:
    """Without the means of the columns (0) or of the rows (1)."""
    out, x, axis = read.array(), read.array(), read.whole()
    return lambda m: torch.sub(x(m), x(m).mean(axis, keepdim=True), out=out(m))


def scale(read: Cursor) -> Call:
    """Rows (0) or columns (1) times numbers."""
    out, x, u, axis = read.array(), read.array(), read.array(), read.whole()
    shape = (1, -1) if axis else (-1, 1)
    return lambda m: torch.mul(x(m), u(m).reshape(shape), out=out(m))


def row_dot(read: Cursor) -> Call:
    """Inner products of rows."""
    out, x, y = read.array(), read.array(), read.array()
    return lambda m: torch.sum(x(m) * y(m), 1, keepdim=True, out=out(m))


def softmax(read: Cursor) -> Call:
    """Of the rows of a multiple."""
    out, x, factor = read.array(), read.array(), read.number()
    return lambda m: torch.softmax(x(m) * factor, 1, out=out(m))


def bag_softmax(read: Cursor) -> Call:
    """C^T diag(w) softmax(c C x), a block of bags at a time: all of them would be bags x labels numbers."""
    tokens, labels = read.shape()
    out, x, bags, weights, _ = read.array(), read.array(), read.csr(), read.array(), read.array()
    factor, counts = read.number(), bags.array(tokens)
    height = max(1, MOST_AT_ONCE // labels)
    blocks = []
    for first in range(0, counts.shape[0], height):
        block = counts[first : first + height]
        blocks.append((first, block.shape[0], read.sparse(block), read.sparse(block.T.tocsr())))

    def call(m: Buffers) -> None:
        target, table, w = out(m).zero_(), x(m) * factor, weights(m).reshape(-1, 1)
        for first, count, block, turned in blocks:
            share = torch.softmax(torch.mm(block, table), 1).mul_(w.narrow(0, first, count))
            target.add_(torch.mm(turned, share))

    return call


def sddmm(read: Cursor) -> Call:
    """Rows of a times rows of b at the places of a pattern, a block of places at a time."""
    out, (_, width), a, pattern, b = read.array(), read.shape(), read.array(), read.csr(), read.array()
    rows, cols = read.tensor(pattern.rows), read.tensor(pattern.indices)
    height = max(1, MOST_AT_ONCE // max(width, 1))
    cuts = [(first, min(height, rows.numel() - first)) for first in range(0, rows.numel(), height)]

    def call(m: Buffers) -> None:
        target, left, right = out(m), a(m), b(m)
        for first, count in cuts:
            at = left.index_select(0, rows.narrow(0, first, count))
            at.mul_(right.index_select(0, cols.narrow(0, first, count)))
            torch.sum(at, 1, keepdim=True, out=target.narrow(0, first, count))

    return call


def gather(read: Cursor) -> Call:
    """Entries of a dense matrix, or of its transpose, at the places of a pattern."""
    out, (_, cols), x, pattern, flipped = read.array(), read.shape(), read.array(), read.csr(), read.whole()
    high, low = (pattern.indices, pattern.rows) if flipped else (pattern.rows, pattern.indices)
    places = read.tensor(high * cols + low)
    return lambda m: torch.index_select(x(m).reshape(-1), 0, places, out=out(m).view(-1))


def gather_column(read: Cursor) -> Call:
    """Entries of a column or row by the row (0) or the column (1) of each place."""
    out, u, pattern, axis = read.array(), read.array(), read.csr(), read.whole()
    places = read.tensor(pattern.indices if axis else pattern.rows)
    return lambda m: torch.index_select(u(m).reshape(-1), 0, places, out=out(m).view(-1))


def segment_softmax(read: Cursor) -> Call:
    """Softmax within each row of a pattern, against its values."""
    out, scores, pattern, factor = read.array(), read.array(), read.csr(), read.number()
    base, rows, count = read.tensor(pattern.values), read.tensor(pattern.rows), pattern.indptr.size - 1
    nnz = pattern.values.size
    places = Entries(np.ones(nnz), np.arange(nnz), pattern.indptr)
    sums = read.sparse(places.array(nnz))

    def call(m: Buffers) -> None:
        x = scores(m).view(-1) * factor
        top = x.new_full((count,), -torch.inf).scatter_reduce_(0, rows, x, "amax")
        p = x.sub_(top.index_select(0, rows)).exp_().mul_(base)
        norm = torch.mm(sums, p.view(-1, 1)).view(-1)
        torch.div(p, norm.index_select(0, rows), out=out(m).view(-1))

    return call


def densify(read: Cursor) -> Call:
    """A matrix with values at the places of a pattern, written out."""
    _, cols = read.shape()
    out, values, pattern = read.array(), read.array(), read.csr()
    places = read.tensor(pattern.rows * cols + pattern.indices)
    return lambda m: out(m).zero_().view(-1).index_add_(0, places, values(m).view(-1))


def pattern_dot(read: Cursor) -> Call:
    """A b, or A^T b, with A of values at the places of a pattern."""
    rows = read.shape()[0]
    out, values, pattern, (inner, _), b = read.array(), read.array(), read.csr(), read.shape(), read.array()
    if not read.whole():
        indptr, indices = read.tensor(pattern.indptr), read.tensor(pattern.indices)
        shape = (rows, inner)
        return lambda m: torch.mm(csr_tensor(indptr, indices, values(m).view(-1), shape), b(m), out=out(m))
    turned = pattern.array(rows, np.arange(pattern.values.size)).T.tocsr()  # where its values come from
    indptr, indices, order = (read.tensor(a) for a in (turned.indptr, turned.indices, turned.data))

    def call(m: Buffers) -> None:
        matrix = csr_tensor(indptr, indices, values(m).view(-1).index_select(0, order), turned.shape)
        torch.mm(matrix, b(m), out=out(m))

    return call


RULES: dict[int, Callable[[Cursor], Call]] = {
    codes.DOT: dot,
    codes.CSR_DOT: csr_dot,
    codes.CSR_TURNED: csr_turned,
    codes.CENTRE: centre,
    codes.SCALE: scale,
    codes.SUM: combine,
    codes.HADAMARD: multiply,
    codes.MAP: apply,
    codes.SOFTMAX: softmax,
    codes.BAG_SOFTMAX: bag_softmax,
    codes.ROW_DOT: row_dot,
    codes.SDDMM: sddmm,
    codes.GATHER: gather,
    codes.GATHER_COLUMN: gather_column,
    codes.SEGMENT_SOFTMAX: segment_softmax,
    codes.PATTERN_DOT: pattern_dot,
    codes.DENSIFY: densify,
}
