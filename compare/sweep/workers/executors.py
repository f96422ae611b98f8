"""Where a sweep's batches are computed: threads, processes, or a caller's executor, all ended without a trace."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnContext
from typing import Any

from ....theory.base.cores import usable_cores
from ....theory.base.errors import FieldError
from ....theory.base.validate import brief
from .point import run_batch, single_threaded

STARTUP_SECONDS = 60.0  # a process may take for its imports and the first compilation, besides its points


@contextmanager
def workers_of(executor: Executor | str | None, workers: int | None, train: bool) -> Iterator[Any]:
    """Give (submit, number of workers) of an executor: threads of our own, processes of our own, or the caller's.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    number = workers or usable_cores()
    if executor is None:
        # The limits around all batches: a batch that ends must not lift those of another that still runs.
        with single_threaded(train), _thread_pool(number) as pool:
            yield (lambda *args: pool.submit(run_batch, *args)), number
    elif isinstance(executor, str) and executor == "process":
        with _process_pool(number) as pool:
            yield (lambda *args: _schedule(pool, args)), number
    elif isinstance(executor, Executor):
        own = getattr(executor, "_max_workers", None) or workers or usable_cores()
        yield (lambda *args: executor.submit(run_batch, *args)), int(own)
    else:
        raise FieldError(
            "executor",
            f'must be None (threads), "process" or a concurrent.futures.Executor, got {brief(executor)}.',
        )


def _limit(
    configs: Sequence[Any], run: Any, observables: Any, max_seconds: float | None, *rest: Any
) -> float | None:
    """Seconds after which a process is ended with its batch: all that its points may take, and time to start."""
    return None if max_seconds is None else STARTUP_SECONDS + len(configs) * max_seconds


@contextmanager
def _thread_pool(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Threads of our own; an interrupt does not wait for what they have begun, which nobody would keep."""
    pool = ThreadPoolExecutor(workers)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


@contextmanager
def _process_pool(workers: int) -> Iterator[Any]:
    """Pebble's pool: a dead worker costs one task, where the standard library's and loky's lose all that wait."""
    try:
        from pebble import ProcessPool
    except ImportError:
        raise FieldError("executor", '"process" needs pebble: pip install "smallinit[process]".') from None
    context: Any = _SpawnKeepingLocks()
    pool = ProcessPool(workers, context=context)
    try:
        yield pool
        pool.close()
        pool.join()
    except BaseException:
        pool.stop()
        pool.join()
        raise
    finally:
        context.locks.clear()


def _schedule(pool: Any, args: Sequence[Any]) -> Future:
    """Hand a batch to a pool, which starts with its first, from a thread that no interrupt reaches.

    So the pool knows every process that has begun, and they are deaf to Ctrl-C, which terminals send to all, from
    their first instant and not only once they are ready for work.
    """

    def hand_over() -> Future:
        if hasattr(signal, "pthread_sigmask"):  # what a thread blocks is blocked in all that it starts
            resource_tracker.ensure_running()  # first: as it starts it unblocks the signal
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        return pool.schedule(run_batch, args=args, timeout=_limit(*args))

    with ThreadPoolExecutor(1) as apart:
        return apart.submit(hand_over).result()


class _SpawnKeepingLocks(SpawnContext):
    """Spawns workers (a fork of a process with threads may hang) and keeps their locks until the last has ended.

    The pool drops its locks and then ends its workers: one that is still starting would look for them in vain, and say
    so in a traceback of its own.
    """

    def __init__(self) -> None:
        super().__init__()
        self.locks: list[Any] = []

    def RLock(self) -> Any:
        self.locks.append(super().RLock())
        return self.locks[-1]
