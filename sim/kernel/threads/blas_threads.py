"""How many threads BLAS gets: products of small matrices lose more to waiting for one another than they gain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any

from ..work import in_parts, largest_product

if TYPE_CHECKING:
    from ..problem import Problem

# Below, a second thread saves at most a third on an idle machine, and costs up to thirty times the work where other
# processes keep the cores busy: the threads of each product wait for one that is not running.
SINGLE_THREAD_FLOPS = 9e6


@contextmanager
def blas_threads(problem: Problem) -> Iterator[None]:
    """Run with one BLAS thread if all products of a right-hand side are small, or in parts that threads share.

    The former number is put back.
    """
    if largest_product(problem) >= SINGLE_THREAD_FLOPS and not in_parts(problem):
        yield
        return
    with _LIMIT.held(_libraries()):
        yield


def threads_given() -> int:
    """How many threads BLAS is given now, in all libraries that are loaded; 1 where none of them says."""
    return min((each.get_num_threads() for each in _libraries()), default=1)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Run with one BLAS thread, in all libraries that are loaded by now."""
    _libraries.cache_clear()
    with _LIMIT.held(_libraries()):
        yield


def one_here() -> None:
    """Have the thread that calls use one BLAS thread until it ends, by libraries that count per thread.

    A limit that is held elsewhere is none for it.
    """
    if found := [each for each in _libraries() if _per_thread(each)]:
        with _LIMIT.lock:
            _limited(found)


class _Limit:
    """The limits of all threads are one: the first that is set notes the numbers before, the last puts them back.

    So it holds in whatever order the threads that want it come and go. Libraries that count per thread are limited in
    each.
    """

    def __init__(self) -> None:
        self.lock, self.inside = Lock(), 0
        self.before: list[tuple[Any, int]] = []

    @contextmanager
    def held(self, libraries: Sequence[Any]) -> Iterator[None]:
        with self.lock:
            if self.inside == 0:
                self.before = _limited([each for each in libraries if not _per_thread(each)])
            self.inside += 1
        own = _limited([each for each in libraries if _per_thread(each)])
        try:
            yield
        finally:
            _put_back(own)
            with self.lock:
                self.inside -= 1
                if self.inside == 0:
                    _put_back(self.before)


def _per_thread(library: Any) -> bool:
    return library.internal_api == "openblas" and getattr(library, "threading_layer", "") == "openmp"


def _limited(libraries: Sequence[Any]) -> list[tuple[Any, int]]:
    """Set one thread; returns what there was."""
    before = [(each, each.get_num_threads()) for each in libraries]
    _put_back([(each, 1) for each in libraries])
    return before


def _put_back(numbers: Sequence[tuple[Any, int | None]]) -> None:
    """Set numbers of threads, in the name of no thread: threadpoolctl lets only the first that ever did do it again."""
    import threadpoolctl

    free = getattr(getattr(threadpoolctl, "OpenBLASController", None), "clear_controlling_thread", None)
    for library, number in numbers:
        if number is not None:
            if free is not None:
                free(force=True)
            library.set_num_threads(number)
    if free is not None:
        free(force=True)


_LIMIT = _Limit()


@cache
def _libraries() -> tuple[Any, ...]:
    from importlib import import_module

    from threadpoolctl import ThreadpoolController

    import_module("scipy.linalg.cython_blas")  # what numba calls; only what is loaded is found
    return tuple(each for each in ThreadpoolController().lib_controllers if each.user_api == "blas")
