"""How torch runs: with how many threads, and what it does with denormal numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ...theory.models.spec import Spec

# Flops of one product below which a single thread costs at most a tenth on an idle machine (the demo preset), and saves
# up to fifty times on one whose other cores are busy, where the threads of each small product wait for one another.
SINGLE_THREAD_FLOPS = 5e7


@contextmanager
def torch_threads(model: Spec, rows: int) -> Iterator[None]:
    """Run with one torch thread if products of `rows` rows are small; the former number is put back."""
    before = torch.get_num_threads()
    largest = max(a * b for a, b in model.weights.values())
    if 2.0 * rows * largest < SINGLE_THREAD_FLOPS:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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
