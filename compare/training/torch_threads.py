"""How torch runs: with how many threads, and what it does with denormal numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import torch

from ...theory.models.model import Model

# Flops of one product below which a single thread costs at most a tenth on an idle machine (the demo preset), and saves
# up to fifty times on one whose other cores are busy, where the threads of each small product wait for one another.
SINGLE_THREAD_FLOPS = 5e7


class _Holders:
    """Threads that hold torch at one thread, and the number there was before the first of them."""

    def __init__(self) -> None:
        self.lock, self.inside, self.before = Lock(), 0, 1

    def enter(self) -> int:
        """Number of torch threads of this thread, were nobody inside; new threads start with what the last one set."""
        with self.lock:
            own = torch.get_num_threads()
            if self.inside == 0:
                self.before = own
            elif own == 1:
                own = self.before
            self.inside += 1
            torch.set_num_threads(1)
            return own

    def leave(self, own: int) -> None:
        """Put the number of this thread back, which is also that of threads to come; others keep the one they hold."""
        with self.lock:
            self.inside -= 1
            torch.set_num_threads(own)


_HOLDERS = _Holders()


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Run with one torch thread; the former number is put back, however such blocks of several threads overlap."""
    own = _HOLDERS.enter()
    try:
        yield
    finally:
        _HOLDERS.leave(own)


@contextmanager
def torch_threads(model: Model, rows: int) -> Iterator[None]:
    """Run with one torch thread if products of `rows` rows are small; the former number is put back."""
    largest = max(a * b for a, b in model.weights.values())
    if 2.0 * rows * largest >= SINGLE_THREAD_FLOPS:
        yield
        return
    with one_torch_thread():
        yield


@contextmanager
def flushed_denormals(dtype: str) -> Iterator[None]:
    """Round float32 numbers below 1e-38 to zero, on which arithmetic is up to 100 times slower; put back after."""
    before = float(torch.tensor(1e-310, dtype=torch.float64) * 1.0) == 0.0  # torch has no question for it
    if dtype == "float32":
        torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
