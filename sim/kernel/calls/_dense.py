"""Operations on dense and on data matrices that the interpreter carries out."""

from ..inner import helper, inlined
from ._extremes import greater
from ._functions import exp
from ._operands import part, place, shaped
from ._operands import row as row_of
from ._prefetch import ask_for, rows_ahead


@inlined()
def fill(x, value):
    for i in range(x.size):
        x[i] = value


# Sum of products of two rows. "reassoc" lets it run in lanes; the order is fixed at compile time, and numbers that are
# not finite keep their meaning.
@inlined(fastmath={"reassoc", "contract"})
def inner(x, y):
    total = 0.0
    for k in range(x.size):
        total += x[k] * y[k]
    return total


# out (rows, cols) = A @ b for A in CSR form; rows in order, so that the bits do not depend on anything else. Four
# places are met at once, which spares the result as many journeys. Where it is `added`, to what is there.
@inlined(fastmath={"contract"})
def rows_dot(values, indices, indptr, b, added, out):
    n, ahead = out.shape[1], rows_ahead(b)
    for i in range(out.shape[0]):
        row, p, stop = place(out, i * n), indptr[i], indptr[i + 1]
        if ahead and stop - p < 3:
            ask_for(b, indices, p + ahead, stop + ahead)
        if stop - p == 1 and not added:
            v, source = values[p], place(b, indices[p] * n)
            for j in range(n):
                row[j] = v * source[j]
            continue
        if stop - p == 2 and not added:
            v, w = values[p], values[p + 1]
            r, s = place(b, indices[p] * n), place(b, indices[p + 1] * n)
            for j in range(n):
                row[j] = v * r[j] + w * s[j]
            continue
        if not added:
            for j in range(n):
                row[j] = 0.0
        while p + 4 <= stop:
            if ahead:
                ask_for(b, indices, p + ahead, p + ahead + 4)
            v, w, x, y = values[p], values[p + 1], values[p + 2], values[p + 3]
            r, s = place(b, indices[p] * n), place(b, indices[p + 1] * n)
            t, u = place(b, indices[p + 2] * n), place(b, indices[p + 3] * n)
            for j in range(n):
                row[j] += (v * r[j] + w * s[j]) + (x * t[j] + y * u[j])
            p += 4
        if ahead:
            ask_for(b, indices, p + ahead, stop + ahead)
        while p < stop:
            v, source = values[p], place(b, indices[p] * n)
            for j in range(n):
                row[j] += v * source[j]
            p += 1


# out (cols, k) = A^T @ b: the rows of b are met one after the other, those of the result as it comes
@inlined(fastmath={"contract"})
def rows_dot_turned(values, indices, indptr, b, out):
    fill(part(out, 0, out.size), 0.0)
    for i in range(indptr.size - 1):
        source = row_of(b, i)
        for p in range(indptr[i], indptr[i + 1]):
            v, target = values[p], row_of(out, indices[p])
            for j in range(source.size):
                target[j] += v * source[j]


# out (rows, 1) = sums of x * y along the rows
@inlined()
def row_dot(x, y, out):
    for i in range(x.shape[0]):
        out[i, 0] = inner(row_of(x, i), row_of(y, i))


# out = x minus its column means (axis 0) or row means (axis 1)
@inlined()
def centre(x, axis, out):
    rows, cols = x.shape
    if axis == 1:
        for i in range(rows):
            mean = 0.0
            for j in range(cols):
                mean += x[i, j]
            mean /= cols
            for j in range(cols):
                out[i, j] = x[i, j] - mean
        return
    last = row_of(out, rows - 1)
    fill(last, 0.0)
    for i in range(rows):  # the last row of `out` gathers the means until it is written itself
        for j in range(cols):
            last[j] += x[i, j] / rows
    for i in range(rows):
        for j in range(cols):
            out[i, j] = x[i, j] - last[j]


# out = diag(u) x (axis 0) or x diag(u) (axis 1); u flat
@inlined()
def scale(x, u, axis, out):
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = x[i, j] * (u[j] if axis == 1 else u[i])


# out = softmax of each row of c x
@inlined()
def row_softmax(x, c, out):
    for i in range(x.shape[0]):
        top = c * x[i, 0]
        for j in range(x.shape[1]):
            top = greater(top, c * x[i, j])
        for j in range(x.shape[1]):
            out[i, j] = exp(c * x[i, j] - top)
        norm = 0.0
        for j in range(x.shape[1]):
            norm += out[i, j]
        for j in range(x.shape[1]):
            out[i, j] /= norm


# Softmax of one bag by the logits themselves: the path that cannot under- or overflow; returns its norm.
@inlined()
def _careful_bag(x, c, indices, counts, start, stop, p):
    fill(p, 0.0)
    for q in range(start, stop):
        token = indices[q]
        for k in range(p.size):
            p[k] += c * counts[q] * x[token, k]
    top = p[0]
    for k in range(p.size):
        top = greater(top, p[k])
    norm = 0.0
    for k in range(p.size):
        p[k] = exp(p[k] - top)
    for k in range(p.size):
        norm += p[k]
    return norm


# The norm below which a product of exponentials has lost digits, the least normal number over the unit of rounding:
# what is no normal number in it counts then.
@inlined()
def _least_norm(p):
    return 2.0**-970 if p.itemsize == 8 else 2.0**-103


# Product of the table's rows for one bag, and its sum. "reassoc" lets the sum run in lanes; the order is fixed at
# compile time and non-finite numbers keep their meaning.
@helper(fastmath={"reassoc"})
def _bag_product(table, indices, counts, start, stop, p):
    for q in range(start, stop):
        row = row_of(table, indices[q])
        repeats = int(counts[q])
        for r in range(repeats):
            if q == start and r == 0:
                for k in range(p.size):
                    p[k] = row[k]
            else:
                for k in range(p.size):
                    p[k] *= row[k]
    norm = 0.0
    for k in range(p.size):
        norm += p[k]
    return norm


# out (tokens, labels) = C^T diag(w) softmax(c C x): one exp per (token, label) pair, products of the rows of a bag
# give its softmax, and the (bags, labels) array is never stored. `scratch` holds tokens * labels + labels numbers.
@inlined()
def bag_softmax(x, c, counts, indices, indptr, weights, out, scratch):
    tokens, labels = x.shape
    table, p = shaped(scratch, tokens, labels), part(scratch, tokens * labels, (tokens + 1) * labels)
    for s in range(tokens):
        top = c * x[s, 0]
        for k in range(labels):
            top = greater(top, c * x[s, k])
        for k in range(labels):
            table[s, k] = exp(c * x[s, k] - top)
    fill(part(out, 0, out.size), 0.0)
    least = _least_norm(p)
    for i in range(indptr.size - 1):
        start, stop = indptr[i], indptr[i + 1]
        norm = _bag_product(table, indices, counts, start, stop, p)
        if not norm > least:
            norm = _careful_bag(x, c, indices, counts, start, stop, p)
        factor = weights[i] / norm
        for q in range(start, stop):
            f = factor * counts[q]
            target = row_of(out, indices[q])
            for k in range(labels):
                target[k] += f * p[k]
