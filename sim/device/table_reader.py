"""The table of a problem, read number by number for another machine than the interpreter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sparse
import torch
from torch import Tensor

from ..kernel.calls._operands import OPERAND
from ..kernel.operations import FLOATS
from ..kernel.problem import Problem

Buffers = tuple[Tensor, Tensor, Tensor, Tensor]  # state, data, scratch, result; all flat
View = Callable[[Buffers], Tensor]


@dataclass(frozen=True, eq=False)
class Entries:
    """Index arrays of data in CSR form, with the row of every entry: what is picked out of dense arrays by them."""

    values: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray

    @property
    def rows(self) -> np.ndarray:
        """Row of each entry, in storage order."""
        return np.repeat(np.arange(self.indptr.size - 1), np.diff(self.indptr))

    def array(self, cols: int, values: np.ndarray | None = None) -> sparse.csr_array:
        """The matrix, with values of its own or these."""
        shape = (self.indptr.size - 1, cols)
        return sparse.csr_array((self.values if values is None else values, self.indices, self.indptr), shape)


class Cursor:
    """Reads the numbers of one operation, one after the other.

    Parameters
    ----------
    problem : Problem
        The table and its data.
    p : int
        Where the numbers begin.
    fixed : dict
        Buffers that no call changes, on the device.
    """

    def __init__(self, problem: Problem, p: int, fixed: dict[int, Tensor]) -> None:
        self.problem, self.p, self.fixed = problem, p, fixed
        self.device = fixed[FLOATS].device

    def whole(self) -> int:
        """A whole number."""
        self.p += 1
        return int(self.problem.ints[self.p - 1])

    def number(self, offset: int = 0) -> float:
        """A number that lies among the data; the table holds its place."""
        return float(self.problem.floats[self.whole() + offset])

    def numbers(self, count: int) -> list[float]:
        """Several that lie there side by side."""
        start = self.whole()
        return self.problem.floats[start : start + count].tolist()

    def array(self) -> View:
        """An array, transposed where its transpose is meant."""
        buffer, start, rows, cols, flipped = (self.whole() for _ in range(OPERAND))

        def view(buffers: Buffers) -> Tensor:
            stored = buffers[buffer].narrow(0, start, rows * cols).view(rows, cols)
            return stored.T if flipped else stored

        if buffer not in self.fixed:
            return view
        known = self.fixed[buffer].narrow(0, start, rows * cols).view(rows, cols)
        known = known.T if flipped else known
        return lambda _: known

    def shape(self) -> tuple[int, int]:
        """Rows and columns, as stored, of the array that comes next, which is not read yet."""
        rows, cols = self.problem.ints[self.p + 2 : self.p + 4].tolist()
        return rows, cols

    def csr(self) -> Entries:
        """Sparse data."""
        ints, (values, indices, indptr, rows, nnz) = self.problem.ints, (self.whole() for _ in range(OPERAND))
        indices, indptr = indices + int(ints[1]), indptr + int(ints[1])
        return Entries(
            self.problem.floats[values : values + nnz],
            ints[indices : indices + nnz],
            ints[indptr : indptr + rows + 1],
        )

    def tensor(self, values: Any) -> Tensor:
        """Numbers on the device."""
        return torch.as_tensor(np.ascontiguousarray(values), device=self.device)

    def sparse(self, array: sparse.csr_array) -> Tensor:
        """A sparse matrix on the device."""
        return csr_tensor(
            self.tensor(array.indptr), self.tensor(array.indices), self.tensor(array.data), array.shape
        )


def csr_tensor(indptr: Tensor, indices: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    """Torch's own form of a sparse matrix; of indices that are known to be right."""
    return torch.sparse_csr_tensor(indptr, indices, values, size=shape, check_invariants=False)
