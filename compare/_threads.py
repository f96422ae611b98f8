"""How many threads torch gets: small products lose more to thread start-up than they gain."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..theory.model import Model

# Flops of one product below which a single thread costs at most a tenth on an idle machine (the demo preset), and saves
# up to fifty times on one whose other cores are busy, where the threads of each small product wait for one another.
SINGLE_THREAD_FLOPS = 5e7


@contextmanager
def torch_threads(model: Model, rows: int) -> Iterator[None]:
    """Run with one torch thread if products of `rows` sequences are small; the former number is put back."""
    before = torch.get_num_threads()
    largest = max(a * b for a, b in model.weights.values())
    if 2.0 * rows * largest < SINGLE_THREAD_FLOPS:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
