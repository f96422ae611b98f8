"""A table of operations written out entry by entry, for Taylor series: its reader; `program` writes the result."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....theory.algebra.traversal import UnknownNodeError
from ...kernel import operations as op
from ...kernel.calls._operands import OPERAND
from .program import Entries, Program, ProgramWriter
from .smooth_series import function_of, result_and_argument, softmax_of, value_table

_NAMED = {name: "a function in pieces" for name in op.PARAMETRIC if name != "power"}


def unroll(ints: np.ndarray, floats: np.ndarray, n: int, work_size: int) -> Program:
    """Write out a table of operations on a state of n numbers.

    Raises
    ------
    ValueError
        If an operation has no series, or there are more than `MAX_PRODUCTS` terms.
    """
    return _Unroller(ints, floats, n, work_size).run()


class _Unroller:
    def __init__(self, ints: np.ndarray, floats: np.ndarray, n: int, work_size: int) -> None:
        self.table, self.writer = ints, ProgramWriter(n)
        self.ids = [np.arange(n), *(np.full(size, -1) for size in (floats.size, work_size, n))]
        self.values = [np.zeros(n), floats, np.zeros(work_size), np.zeros(n)]

    def run(self) -> Program:
        p = 2
        for _ in range(self.table[0]):
            self._operation(int(self.table[p]), p + 2)
            p += self.table[p + 1]
        out = self.ids[op.OUT]
        # a weight that stands still, or moves at a constant rate, is a constant here
        return self.writer.program(self.writer.moving((out, self.values[op.OUT])))

    def _view(self, p: int, flip: bool = False) -> Entries:
        buffer, start, rows, cols, flipped = (int(i) for i in self.table[p : p + OPERAND])
        part = slice(start, start + rows * cols)
        ids, values = (kind[buffer][part].reshape(rows, cols) for kind in (self.ids, self.values))
        return (ids.T, values.T) if flip and flipped else (ids, values)

    def _write(self, p: int, entries: Any, added: int = 0) -> None:
        """Take entries as the array at p, or add them to it."""
        if added:
            entries = self.writer.contract(_constant(np.ones(2)), _stack([self._view(p), entries]))
        ids, values = self._view(p)
        ids[:], values[:] = (e.reshape(ids.shape) for e in entries)

    def _csr(self, p: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Values, row and column of each place of the sparse matrix at p."""
        values, columns, pointers, rows, nnz = (int(i) for i in self.table[p : p + 5])
        first = int(self.table[1])
        counts = np.diff(self.table[first + pointers : first + pointers + rows + 1])
        cols = self.table[first + columns : first + columns + nnz]
        return self.values[op.FLOATS][values : values + nnz], np.repeat(np.arange(rows), counts), cols

    def _operation(self, code: int, p: int) -> None:
        if code == op.SUM:
            self._sum(p)
        elif code == op.HADAMARD:
            self._hadamard(p)
        elif code == op.MAP:
            self._map(p)
        elif code == op.DOT:
            a, b = self._view(p + OPERAND, True), self._view(p + 2 * OPERAND, True)
            self._write(p, self._matmul(a, b))
        elif code == op.SOFTMAX:
            x = self._view(p + OPERAND)
            self._write(p, self._softmax(x, self._number(p + 2 * OPERAND)))
        elif code == op.BAG_SOFTMAX:
            self._bag_softmax(p)
        elif code == op.TEAM:  # arrays with more numbers than a series may have terms
            raise ValueError(
                '`method` "taylor" is for small states, not for arrays that threads share: use method="dop853".'
            )
        elif code >= op.SDDMM:
            self._at_pattern(code, p)
        else:
            self._special(code, p)

    def _sum(self, p: int) -> None:
        n, place, operands = int(self.table[p]), int(self.table[p + 1]), p + 2 + OPERAND
        parts = [_one(self._view(p + 2)[0].shape)]
        parts += [self._view(operands + k * OPERAND, True) for k in range(n)]
        coefficients = self.values[op.FLOATS][place : place + n + 1]
        self._write(p + 2, self.writer.contract(_constant(coefficients), _stack(parts)))

    def _hadamard(self, p: int) -> None:
        n, operands, step = int(self.table[p]), p + 1 + OPERAND, OPERAND + 1
        places = range(operands, operands + n * step, step)
        parts = [self._power(self._view(q, True), int(self.table[q + OPERAND])) for q in places]
        product = parts[0]
        for part in parts[1:]:
            product = self._times(product, part)
        self._write(p + 1, product)

    def _number(self, p: int) -> float:
        return float(self.values[op.FLOATS][self.table[p]])

    def _map(self, p: int) -> None:
        place = int(self.table[p + 1])
        scale, parameter = self.values[op.FLOATS][place : place + 2]
        name, x = op.FUNCTIONS[self.table[p]], self._view(p + 2 + OPERAND)
        scaled = self._times(_constant(np.full(x[0].shape, scale)), x)
        try:
            self._write(p + 2, function_of(self.writer, name, float(parameter), scaled))
        except UnknownNodeError:
            raise ValueError(
                f'`method` "taylor" takes smooth functions, but this flow applies {_NAMED.get(name, name)}, whose'
                ' Taylor series is not known: use method="dop853".'
            ) from None

    def _softmax(self, x: Entries, scale: float) -> Entries:
        rows, cols = x[0].shape
        numbers = [*result_and_argument(rows, cols), self.writer.store([scale])]
        table, of_rows = value_table(op.SOFTMAX, numbers), np.repeat(np.arange(rows), cols)
        found = softmax_of(self.writer, self.writer.moving(x).ravel(), scale, table, of_rows)
        return found.reshape(rows, cols), np.zeros((rows, cols))

    def _bag_softmax(self, p: int) -> None:
        """C^T diag(w) softmax(c C x)."""
        x, rest = self._view(p + OPERAND), p + 2 * OPERAND
        values, rows, cols = self._csr(rest)
        counts = np.zeros((int(self.table[rest + 3]), x[0].shape[0]))
        self.writer.check(counts.size)
        np.add.at(counts, (rows, cols), values)
        soft = self._softmax(self._matmul(_constant(counts), x), self._number(rest + 3 * OPERAND))
        weights = self._view(rest + OPERAND)[1].reshape(-1, 1)
        self._write(p, self._matmul(_constant((weights * counts).T.copy()), soft))

    def _segment_softmax(self, p: int, x: Entries, rest: int) -> None:
        base, rows, cols = self._csr(p + 2 * OPERAND)
        n, scale, size = len(rows), self._number(rest), int(self.table[p + 2 * OPERAND + 3])
        pattern = [self.writer.store(base), 0, n, size, n]
        numbers = [*result_and_argument(n, 1), *pattern, self.writer.store([scale])]
        pointers = np.searchsorted(rows, np.arange(size + 1))
        table = value_table(op.SEGMENT_SOFTMAX, numbers, [*cols.tolist(), *pointers.tolist()])
        found = softmax_of(self.writer, self.writer.moving(x).ravel(), scale, table, rows)
        self._write(p, (found, np.zeros(n)))

    def _special(self, code: int, p: int) -> None:
        x, rest = self._view(p + OPERAND), p + 2 * OPERAND
        if code == op.CSR_DOT:
            values, rows, cols = self._csr(rest)
            self.writer.check(int(self.table[rest + 3]) * x[0].size)
            dense = np.zeros((int(self.table[rest + 3]), x[0].shape[0]))
            np.add.at(dense, (rows, cols), values)
            self._write(p, self._matmul(_constant(dense), x), self.table[rest + OPERAND])
        elif code == op.CSR_TURNED:
            values, rows, cols = self._csr(rest)
            self.writer.check(int(self.table[p + 2]) * x[0].size)
            dense = np.zeros((int(self.table[p + 2]), x[0].shape[0]))
            np.add.at(dense, (cols, rows), values)
            self._write(p, self._matmul(_constant(dense), x))
        elif code == op.ROW_DOT:
            self._write(p, self.writer.contract(x, self._view(rest)))
        elif code == op.CENTRE:
            axis = int(self.table[rest])
            lines = tuple(e if axis == 1 else e.T for e in x)
            size = lines[0].shape[1]
            means = self.writer.contract(_constant(np.full(size, 1.0 / size)), lines)
            spread = tuple(np.broadcast_to(e[:, None], lines[0].shape) for e in means)
            centred = self.writer.contract(_constant(np.array([1.0, -1.0])), _stack([lines, spread]))
            self._write(p, tuple(e if axis == 1 else e.T for e in centred))
        else:
            axis = int(self.table[rest + OPERAND])
            u = tuple(e.ravel()[None, :] if axis == 1 else e.ravel()[:, None] for e in self._view(rest))
            self._write(p, self._times(x, u))

    def _at_pattern(self, code: int, p: int) -> None:
        x, rest = self._view(p + OPERAND), p + 3 * OPERAND
        _, rows, cols = self._csr(p + 2 * OPERAND)
        if code == op.SDDMM:
            b = self._view(rest)
            self._write(p, self.writer.contract(tuple(e[rows] for e in x), tuple(e[cols] for e in b)))
        elif code == op.GATHER:
            i, j = (cols, rows) if self.table[rest] else (rows, cols)
            self._write(p, (x[0][i, j], x[1][i, j]))
        elif code == op.GATHER_COLUMN:
            k = cols if self.table[rest] == 1 else rows
            self._write(p, tuple(e.ravel()[k] for e in x))
        elif code == op.SEGMENT_SOFTMAX:
            self._segment_softmax(p, x, rest)
        elif code == op.DENSIFY:
            self._write(p, self._scatter(x, rows, cols, self._view(p)[0].shape))
        else:
            flipped, b = self.table[rest + OPERAND], self._view(rest)
            i, j = (cols, rows) if flipped else (rows, cols)
            shape = (self._view(p)[0].shape[0], b[0].shape[0])
            self.writer.check(shape[0] * b[0].size)
            self._write(p, self._matmul(self._scatter(x, i, j, shape), b))

    def _scatter(self, x: Entries, rows: np.ndarray, cols: np.ndarray, shape: tuple[int, ...]) -> Entries:
        """A matrix with these entries at places of a CSR pattern, which names each place once."""
        full = _constant(np.zeros(shape))
        for target, source in zip(full, x, strict=True):
            target[rows, cols] = source.ravel()
        return full

    def _matmul(self, a: Entries, b: Entries) -> Entries:
        left, right = tuple(e[:, None, :] for e in a), tuple(e.T[None, :, :] for e in b)
        return self.writer.contract(left, right)

    def _times(self, x: Any, y: Any) -> Entries:
        return self.writer.contract(tuple(e[..., None] for e in x), tuple(e[..., None] for e in y))

    def _power(self, x: Entries, power: int) -> Entries:
        if power == 0:
            return _one(x[0].shape)
        half = x if power == 1 else self._power(x, power // 2)
        square = x if power == 1 else self._times(half, half)
        return self._times(square, x) if power % 2 and power > 1 else square


def _constant(values: np.ndarray) -> Entries:
    return np.full(values.shape, -1), values


def _one(shape: tuple[int, ...]) -> Entries:
    return _constant(np.ones(shape))


def _stack(parts: list[Any]) -> Entries:
    """Entries of several arrays along a new last axis."""
    return np.stack([p[0] for p in parts], axis=-1), np.stack([p[1] for p in parts], axis=-1)
