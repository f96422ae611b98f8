"""How many threads BLAS gets: products of small matrices lose more to waiting for one another than they gain."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any

from ._operands import OPERAND
from .operations import DOT

if TYPE_CHECKING:
    from .problem import Problem

# Below, a second thread saves at most a third on an idle machine, and costs up to thirty times the work where other
# processes keep the cores busy: the threads of each product wait for one that is not running.
SINGLE_THREAD_FLOPS = 9e6


@contextmanager
def blas_threads(problem: Problem) -> Iterator[None]:
    """Run with one BLAS thread if all products of a right-hand side are small; the former number is put back."""
    if largest_product(problem) >= SINGLE_THREAD_FLOPS:
        yield
        return
    _LIMIT.enter()
    try:
        yield
    finally:
        _LIMIT.leave()


class _Limit:
    """One limit for all threads of the process: set by the first that enters, lifted by the last that leaves."""

    def __init__(self) -> None:
        self.lock, self.inside = Lock(), 0
        self.limiter: Any = None

    def enter(self) -> None:
        with self.lock:
            if self.inside == 0:
                self.limiter = _controller().limit(limits=1, user_api="blas")
            self.inside += 1

    def leave(self) -> None:
        with self.lock:
            self.inside -= 1
            if self.inside == 0:
                self.limiter.restore_original_limits()


_LIMIT = _Limit()


def largest_product(problem: Problem) -> float:
    """Floating-point operations of the largest product of dense matrices in a table; 0 where there is none."""
    ints, p, most = problem.ints, 2, 0.0
    for _ in range(int(ints[0])):
        if ints[p] == DOT:
            out, left = ints[p + 2 : p + 2 + OPERAND], ints[p + 2 + OPERAND : p + 2 + 2 * OPERAND]
            inner = left[2] if left[4] else left[3]
            most = max(most, 2.0 * float(out[2]) * float(out[3]) * float(inner))
        p += int(ints[p + 1])
    return most


@cache
def _controller() -> Any:
    from importlib import import_module

    from threadpoolctl import ThreadpoolController

    import_module("scipy.linalg.cython_blas")  # what numba calls; a controller knows only what is loaded

    return ThreadpoolController()
