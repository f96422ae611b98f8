"""A right-hand side as instructions over slots, and what writes them: sums of products, constants folded.

Every number that changes is a slot. `contract`, a sum of products, is the one primitive of polynomials: matrix
products, sums, scalings, patterns and powers all come down to it, and what is constant is folded on the way. Smooth
functions add three: values at the point of expansion, rates of slots, and integrals of rates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

# Codes of the instructions, and results of one PRODUCTS; numba compiles them into the loops. Those from LATE on are of
# coefficients one lower: a rate is known to one order less than what it is the rate of.
LINEAR, PRODUCTS, SQUARES, LATE, RATES, INTEGRALS, VALUES = 0, 1, 2, 3, 6, 7, 8
CHAINS = 4
MAX_PRODUCTS = 400_000
SLOT = 9  # products that the instructions and the memory of a slot outweigh: tests/benchmarks/taylor.py, order 10

Entries = tuple[np.ndarray, np.ndarray]  # slot of each entry, or -1 and its constant value


@dataclass(frozen=True, eq=False)
class Program:
    """A right-hand side as instructions over slots.

    ``LINEAR, place, n, result, x_1 .. x_n`` is ``floats[place] + sum_i floats[place + i] x_i``;
    ``PRODUCTS, n, results (4), (a (4), b (4)) n times`` is ``sum_i a_i b_i`` for four results, and ``SQUARES, n,
    results (4), (a (2), b (2)) n times`` for each a with each b. Such a code plus `LATE` is the same of rates.
    ``RATES, n, x_1 .. x_n, d_1 .. d_n`` is ``d_i = x_i'``, and its reverse is ``INTEGRALS, n, d_1 .. d_n, x_1 .. x_n``,
    which leaves the values at the point of expansion to ``VALUES, n, place, x_1 .. x_n, f_1 .. f_n``: the operations at
    ``tables[place]`` write f from x.

    Attributes
    ----------
    ints : ndarray of int
        Number of state entries, number of instructions, the slot of every derivative, the instructions.
    is_slot : ndarray of bool
        Which of `ints` are slots.
    floats : ndarray
        Constants and coefficients.
    tables, numbers : ndarray
        Tables of operations (see `smallinit.sim.kernel`), and the numbers that they read.
    slots : int
        Number of slots; the first are the state.
    products : int
        Products of two slots in one evaluation.
    widest : int
        Most slots of one VALUES.
    """

    ints: np.ndarray
    is_slot: np.ndarray
    floats: np.ndarray
    tables: np.ndarray
    numbers: np.ndarray
    slots: int
    products: int
    widest: int

    @property
    def work(self) -> int:
        """What one evaluation takes, in products: a slot that is written takes as much as nine (see `SLOT`)."""
        return self.products + SLOT * self.slots

    def placed(self, stride: int) -> np.ndarray:
        """Instructions with the place of each slot in an array of `stride` numbers a slot."""
        return np.where(self.is_slot, self.ints * stride, self.ints)


class ProgramWriter:
    """Writes the instructions of a program on a state of n numbers."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.slots, self.products, self.count, self.widest = n + 2, 0, 0, 0
        self.zero, self.waste = n, n + 1  # what fills up a PRODUCTS instruction
        self.code: list[np.ndarray] = []
        self.slot_marks: list[np.ndarray] = []
        self.floats: list[np.ndarray] = []
        self.tables: list[int] = []
        self.numbers: list[float] = []
        self._places = self._written = 0
        self._rates = np.full(n + 2, -1)

    def program(self, out: np.ndarray) -> Program:
        """Close the program; `out` (n,) holds the slot of every derivative."""
        return Program(
            np.concatenate([[self.n, self.count], out, *self.code]).astype(np.int64),
            np.concatenate([np.zeros(2, bool), np.ones(self.n, bool), *self.slot_marks]),
            np.concatenate([*self.floats, np.zeros(1)]),
            np.array([*self.tables, 0]),
            np.array([*self.numbers, 0.0]),
            self.slots,
            self.products,
            self.widest,
        )

    def contract(self, a: Any, b: Any, late: bool = False) -> Entries:
        """Sum over the last axis of the entrywise products of two arrays, broadcast together; `late` for rates."""
        (*shape, length) = np.broadcast_shapes(a[0].shape, b[0].shape)
        self.check(int(np.prod(shape)) * length)
        full = [np.broadcast_to(e, (*shape, length)).reshape(-1, length) for e in (*a, *b)]
        (ia, va, ib, vb), moving_a, moving_b = full, full[0] >= 0, full[2] >= 0
        both = moving_a & moving_b
        values = np.sum(np.where(moving_a | moving_b, 0.0, va * vb), axis=1)
        factors = np.where(both | ~(moving_a | moving_b), 0.0, np.where(moving_a, vb, va))
        slots = np.where(moving_a, ia, ib)
        order = _in_squares(shape) if len(shape) == 2 and both.all() else np.arange(len(both))
        ids = np.empty(len(both), int)
        ids[order] = self._sums_of_products(ia[order], ib[order], both[order], late)
        if (written := ids >= 0).any():  # a term more, where others stand beside the products
            factors = np.column_stack([factors, written.astype(float)])
            slots = np.column_stack([slots, ids])
        ids = self._sums(values, factors, slots, late)
        return ids.reshape(shape), np.where(ids >= 0, 0.0, values).reshape(shape)

    def check(self, terms: int) -> None:
        """Refuse what is too long to be written out, before any of it is."""
        self._written += terms
        if self._written > MAX_PRODUCTS:
            raise ValueError(
                f'`method` "taylor" is for small states: this flow has more than {MAX_PRODUCTS:,} products'
                ' a call; use method="dop853".'
            )

    def moving(self, x: Entries) -> np.ndarray:
        """Slots of all entries, constants among them."""
        ids, values = x[0].copy(), x[1]
        still = np.flatnonzero(ids.ravel() < 0)
        if still.size:
            none = np.zeros((still.size, 0))
            ids.flat[still] = self._linear(values.ravel()[still], none, none.astype(int), False)
        return ids

    def rates(self, x: np.ndarray) -> np.ndarray:
        """Slots of the rates of slots."""
        self._rates = np.append(self._rates, np.full(self.slots - len(self._rates), -1))
        if (new := np.unique(x[self._rates[x] < 0])).size:
            found = self._new(new.size)
            self._rates[new] = found
            self._emit(np.concatenate([[RATES, new.size], new, found]), 2)
        return self._rates[x]

    def integrals(self, rates: np.ndarray, x: np.ndarray) -> None:
        """Let slots x be the integrals of `rates`, from the values that `values` writes."""
        self._emit(np.concatenate([[INTEGRALS, x.size], rates.ravel(), x.ravel()]), 2)

    def store(self, numbers: Any) -> int:
        """Place of numbers that operations read."""
        self.numbers += [float(number) for number in numbers]
        return len(self.numbers) - len(numbers)

    def values(self, table: list[int], x: np.ndarray) -> np.ndarray:
        """New slots, whose values at the point of expansion are those of operations on x."""
        found, place = self._new(x.size), len(self.tables)
        self.tables += table
        self.widest = max(self.widest, x.size)
        self._emit(np.concatenate([[VALUES, x.size, place], x.ravel(), found]), 3)
        return found.reshape(x.shape)

    def place(self) -> int:
        """Where the next instruction is written."""
        return len(self.code)

    def cut(self, place: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Take away the instructions from a place on."""
        taken = self.code[place:], self.slot_marks[place:]
        del self.code[place:], self.slot_marks[place:]
        return taken

    def paste(self, taken: tuple[list[np.ndarray], list[np.ndarray]]) -> None:
        """Append instructions that were taken away."""
        self.code += taken[0]
        self.slot_marks += taken[1]

    def _emit(self, numbers: np.ndarray, plain: int) -> None:
        """Append instructions, one a row, whose first numbers are no slots."""
        rows = np.atleast_2d(numbers)
        self.code.append(rows.ravel())
        self.slot_marks.append(np.tile(np.arange(rows.shape[1]) >= plain, len(rows)))
        self.count += len(rows)

    def _new(self, count: int) -> np.ndarray:
        self.slots += count
        return np.arange(self.slots - count, self.slots)

    def _sums(self, constants: np.ndarray, factors: np.ndarray, slots: np.ndarray, late: bool) -> np.ndarray:
        """Slot of each sum, a constant and slots times factors a row; -1 where nothing moves."""
        found, kept = np.full(len(slots), -1), factors != 0.0
        counts = kept.sum(axis=1)
        rows, columns = np.nonzero(kept & (counts == 1)[:, None])
        same = (factors[rows, columns] == 1.0) & (constants[rows] == 0.0)
        found[rows[same]] = slots[rows[same], columns[same]]
        for count in np.unique(counts[counts > 0]):
            rows = np.flatnonzero((counts == count) & (found < 0))
            if rows.size:
                chosen = kept[rows]
                some, of = (e[rows][chosen].reshape(-1, count) for e in (factors, slots))
                found[rows] = self._linear(constants[rows], some, of, late)
        return found

    def _linear(self, constants: np.ndarray, factors: Any, slots: Any, late: bool) -> np.ndarray:
        """Slots of constant + sum of factors times slots, one a row."""
        n, count = factors.shape
        result, places = self._new(n), self._places + np.arange(n) * (count + 1)
        codes = np.full(n, LINEAR + LATE * late)
        self._emit(np.column_stack([codes, places, np.full(n, count), result, slots]), 3)
        self.floats.append(np.column_stack([constants, factors]).ravel())
        self._places += n * (count + 1)
        return result

    def _sums_of_products(self, a: Any, b: Any, both: np.ndarray, late: bool) -> np.ndarray:
        """Slot of each row's sum of products of two slots, four of equal length an instruction; -1 where none is."""
        found, counts = np.full(len(both), -1), both.sum(axis=1)
        for count in np.unique(counts[counts > 0]):
            rows = np.flatnonzero(counts == count)
            found[rows] = self._new(rows.size)
            fill = -rows.size % CHAINS
            results = np.append(found[rows], np.full(fill, self.waste)).reshape(-1, CHAINS)
            chosen, blank = both[rows], np.full((fill, count), self.zero)
            pairs = (np.concatenate([e[rows][chosen].reshape(-1, count), blank]) for e in (a, b))
            x, y = (e.reshape(-1, CHAINS, count).transpose(0, 2, 1) for e in pairs)
            shared = [
                (x[..., 0] == x[..., 1]),
                (x[..., 2] == x[..., 3]),
                (y[..., :2] == y[..., 2:]).all(axis=2),
            ]
            square = np.logical_and.reduce(shared).all(axis=1)
            for code, which, terms in (
                (PRODUCTS, ~square, np.concatenate([x, y], axis=2)),
                (SQUARES, square, np.concatenate([x[..., ::2], y[..., :2]], axis=2)),
            ):
                if which.any():
                    head = np.tile([code + LATE * late, count], (int(which.sum()), 1))
                    rest = terms[which].reshape(len(head), -1)
                    self._emit(np.column_stack([head, results[which], rest]), 2)
            self.products += int(count) * rows.size
        return found


def _in_squares(shape: list[int]) -> np.ndarray:
    """Entries of a matrix in an order in which four that follow each other are of two rows and two columns."""
    i, j = (e.ravel() for e in np.indices(shape))
    left_over = (i >= shape[0] // 2 * 2) | (j >= shape[1] // 2 * 2)
    return np.lexsort((j % 2, i % 2, j // 2, i // 2, left_over))
