"""A polynomial right-hand side as instructions over slots, and what writes them: sums of products, constants folded.

Every number that changes is a slot. `contract`, a sum of products, is the one primitive: matrix products, sums,
scalings, patterns and powers all come down to it, and what is constant is folded on the way.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np

# Codes of the two instructions, and results of one PRODUCTS; numba compiles them into the loops.
LINEAR, PRODUCTS, CHAINS = 0, 1, 4
MAX_PRODUCTS = 400_000

Entries = tuple[np.ndarray, np.ndarray]  # slot of each entry, or -1 and its constant value


@dataclass(frozen=True, eq=False)
class Program:
    """A polynomial right-hand side as instructions over slots.

    ``LINEAR, place, n, result, x_1 .. x_n`` is ``floats[place] + sum_i floats[place + i] x_i``;
    ``PRODUCTS, n, results (4), (a (4), b (4)) n times`` is ``sum_i a_i b_i`` for four results.

    Attributes
    ----------
    ints : ndarray of int
        Number of state entries, number of instructions, the slot of every derivative, the instructions.
    is_slot : ndarray of bool
        Which of `ints` are slots.
    floats : ndarray
        Constants and coefficients.
    slots : int
        Number of slots; the first are the state.
    products : int
        Products of two slots in one evaluation.
    """

    ints: np.ndarray
    is_slot: np.ndarray
    floats: np.ndarray
    slots: int
    products: int

    def placed(self, stride: int) -> np.ndarray:
        """Instructions with the place of each slot in an array of `stride` numbers a slot."""
        return np.where(self.is_slot, self.ints * stride, self.ints)


class ProgramWriter:
    """Writes the instructions of a program on a state of n numbers."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.slots, self.products, self.terms, self.count = n + 2, 0, 0, 0
        self.zero, self.waste = n, n + 1  # what fills up a PRODUCTS instruction
        self.code: list[np.ndarray] = []
        self.slot_marks: list[np.ndarray] = []
        self.floats: list[float] = []

    def program(self, out: np.ndarray) -> Program:
        """Close the program; `out` (n,) holds the slot of every derivative."""
        return Program(
            np.concatenate([[self.n, self.count], out, *self.code]).astype(np.int64),
            np.concatenate([np.zeros(2, bool), np.ones(self.n, bool), *self.slot_marks]),
            np.array([*self.floats, 0.0]),
            self.slots,
            self.products,
        )

    def contract(self, a: Any, b: Any) -> Entries:
        """Sum over the last axis of the entrywise products of two arrays, broadcast together."""
        (*shape, length) = np.broadcast_shapes(a[0].shape, b[0].shape)
        terms = int(np.prod(shape)) * length
        self.check(terms)
        self.terms += terms
        full = [np.broadcast_to(e, (*shape, length)).reshape(-1, length) for e in (*a, *b)]
        ids, values = np.full(len(full[0]), -1), np.zeros(len(full[0]))
        waiting: dict[int, list[tuple[int, np.ndarray, np.ndarray]]] = defaultdict(list)
        linear: list[tuple[int, float, np.ndarray, np.ndarray]] = []
        for row, (ia, va, ib, vb) in enumerate(zip(*full, strict=True)):
            moving_a, moving_b = ia >= 0, ib >= 0
            both = moving_a & moving_b
            constant = float(np.sum(np.where(moving_a | moving_b, 0.0, va * vb)))
            factor, slot = np.where(moving_a, vb, va), np.where(moving_a, ia, ib)
            kept = (moving_a ^ moving_b) & (factor != 0.0)
            linear.append((row, constant, factor[kept], slot[kept]))
            if both.any():
                waiting[int(both.sum())].append((row, ia[both], ib[both]))
        products = self._emit_products(waiting)
        for row, constant, factor, slot in linear:
            if row in products:
                factor, slot = np.append(factor, 1.0), np.append(slot, products[row])
            if slot.size == 0:
                values[row] = constant
            elif slot.size == 1 and factor[0] == 1.0 and constant == 0.0:
                ids[row] = slot[0]
            else:
                ids[row] = self.linear(constant, factor, slot)
        return ids.reshape(shape), values.reshape(shape)

    def check(self, terms: int) -> None:
        """Refuse what is too long to be written out, before any of it is."""
        if self.terms + terms > MAX_PRODUCTS:
            raise ValueError(
                f'`method` "taylor" is for small states: this flow has more than {MAX_PRODUCTS:,} products'
                ' a call; use method="dop853".'
            )

    def _emit(self, numbers: Any, plain: int) -> None:
        """Append one instruction whose first numbers are no slots."""
        self.code.append(np.asarray(numbers))
        self.slot_marks.append(np.arange(len(numbers)) >= plain)
        self.count += 1

    def _new(self) -> int:
        self.slots += 1
        return self.slots - 1

    def linear(self, constant: float, factors: np.ndarray, slots: np.ndarray) -> int:
        """Slot of constant + sum of factors times slots."""
        result = self._new()
        self._emit([LINEAR, len(self.floats), len(slots), result, *slots], 3)
        self.floats += [float(constant), *factors.tolist()]
        return result

    def _emit_products(self, waiting: dict) -> dict[int, int]:
        """Write sums of products, four of equal length at a time; returns the slot of each row."""
        found = {}
        for length, items in waiting.items():
            for first in range(0, len(items), CHAINS):
                batch = items[first : first + CHAINS]
                results = [self._new() for _ in batch]
                found |= {row: slot for (row, _, _), slot in zip(batch, results, strict=True)}
                fill = CHAINS - len(batch)
                blank = np.full((fill, length), self.zero)
                factors = [np.concatenate([[item[k] for item in batch], blank]) for k in (1, 2)]
                terms = np.concatenate(factors).T.ravel().astype(int)
                self._emit([PRODUCTS, length, *results, *[self.waste] * fill, *terms], 2)
                self.products += length * len(batch)
        return found
