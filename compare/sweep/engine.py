"""Carrying out the points of a sweep on any executor, whatever happens to its workers."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from copy import copy
from typing import Any

from ...theory.base.errors import FieldError
from .plan import SweepPlan, SweepPoint
from .point import run_batch, single_threaded
from .store import Store

BATCH_SECONDS = 1.0  # what a batch should last: an engine's milliseconds per task then do not count
LARGEST_BATCH = 256
ATTEMPTS = 2  # of a point that was alone when its worker died


class Progress:
    """What is done, at what rate, and how long the rest will take."""

    def __init__(self, total: int, call: Callable[[Progress], None] | None) -> None:
        self.total, self.call = total, call
        self.done = self.failed = 0
        self._begin = time.perf_counter()

    def note(self, done: int, failed: int) -> None:
        """Count points, and tell."""
        self.done += done
        self.failed += failed
        if self.call is not None:
            self.call(copy(self))  # as it is now: the caller may keep it

    @property
    def rate(self) -> float:
        """Points per second so far."""
        return (self.done + self.failed) / max(time.perf_counter() - self._begin, 1e-9)

    @property
    def seconds_left(self) -> float:
        """Seconds that the rest will take at this rate."""
        left = self.total - self.done - self.failed
        return left / self.rate if self.rate > 0 else float("inf")

    def __str__(self) -> str:
        """One line."""
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{self.done} of {self.total} points{failed}; {self.rate:.3g} per s, {self.seconds_left:.0f} s left"


class Engine:
    """Runs batches of points and keeps what they return.

    A worker that dies takes its batch with it: the batch is cut in half and tried again until the point that kills
    workers stands alone, and that one is recorded as failed.

    Parameters
    ----------
    plan, store : SweepPlan, Store
        What is to be computed, and where it goes.
    submit : callable
        ``submit(configs, run, observables) -> Future``.
    workers : int
        Batches under way at once are twice that.
    """

    def __init__(
        self, plan: SweepPlan, store: Store, submit: Callable[..., Future], workers: int, progress: Progress
    ):
        self.plan, self.store, self.submit, self.workers, self.progress = (
            plan,
            store,
            submit,
            workers,
            progress,
        )
        self.size, self.attempts = 1, dict[str, int]()

    def run(self, points: Sequence[SweepPoint]) -> None:
        """Compute points; returns when all are kept or recorded as failed."""
        queue, halves = deque(points), deque[list[SweepPoint]]()
        under_way: dict[Future, list[SweepPoint]] = {}
        try:
            while queue or halves or under_way:
                while (queue or halves) and len(under_way) < 2 * self.workers:
                    batch = halves.popleft() if halves else self._take(queue)
                    if batch := self._not_done(batch):
                        under_way[self._submit(batch)] = batch
                done, _ = wait(under_way, return_when=FIRST_COMPLETED)
                for future in done:
                    halves.extend(self._finish(future, under_way.pop(future)))
        finally:
            for future in under_way:
                future.cancel()

    def _take(self, queue: deque[SweepPoint]) -> list[SweepPoint]:
        return [queue.popleft() for _ in range(min(self.size, len(queue)))]

    def _not_done(self, batch: list[SweepPoint]) -> list[SweepPoint]:
        """Without what another driver has done in the meantime."""
        self.store.refresh()
        left = [point for point in batch if point.id not in self.store.places]
        if len(left) < len(batch):
            self.progress.note(len(batch) - len(left), 0)
        return left

    def _submit(self, batch: list[SweepPoint]) -> Future:
        configs = [(point.id, point.config) for point in batch]
        return self.submit(configs, self.plan.run, self.plan.observables)

    def _finish(self, future: Future, batch: list[SweepPoint]) -> list[list[SweepPoint]]:
        """Keep a batch's results; what is to be tried again."""
        try:
            found, seconds = future.result()
        except Exception as error:
            if isinstance(error, (BrokenExecutor, OSError)) and not _worker_died(error):
                raise
            return self._again(batch, error)
        self._adapt(len(batch), seconds)
        good = {name: value for name, value in found.items() if not isinstance(value, str)}
        if good:
            self.store.write(good)
        for name, value in found.items():
            if isinstance(value, str):
                self.store.write_failure(name, value)
        self.progress.note(len(good), len(found) - len(good))
        return []

    def _again(self, batch: list[SweepPoint], error: Exception) -> list[list[SweepPoint]]:
        if len(batch) > 1:
            middle = len(batch) // 2
            return [batch[:middle], batch[middle:]]
        name = batch[0].id
        self.attempts[name] = self.attempts.get(name, 0) + 1
        if self.attempts[name] < ATTEMPTS:
            return [batch]
        self.store.write_failure(name, f"its worker died: {type(error).__name__}: {error}")
        self.progress.note(0, 1)
        return []

    def _adapt(self, n: int, seconds: float) -> None:
        """Batches of about a second."""
        fitting = int(n * BATCH_SECONDS / max(seconds, 1e-6))
        self.size = max(1, min(2 * self.size, fitting, LARGEST_BATCH))


def _worker_died(error: Exception) -> bool:
    return type(error).__name__ in ("ProcessExpired", "KilledWorker")


@contextmanager
def workers_of(executor: Executor | str | None, workers: int | None, train: bool) -> Iterator[Any]:
    """Give (submit, number of workers) of an executor: threads of our own, processes of our own, or the caller's.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    number = workers or os.cpu_count() or 1
    if executor is None:
        # The limits around all batches: a batch that ends must not lift those of another that still runs.
        with single_threaded(train), ThreadPoolExecutor(number) as pool:
            yield (lambda *args: pool.submit(run_batch, *args)), number
    elif executor == "process":
        with _process_pool(number) as pool:
            yield (lambda *args: pool.schedule(run_batch, args=args)), number
    elif isinstance(executor, Executor):
        own = getattr(executor, "_max_workers", None) or workers or os.cpu_count() or 1
        yield (lambda *args: executor.submit(run_batch, *args)), int(own)
    else:
        raise FieldError(
            "executor",
            f'must be None (threads), "process" or a concurrent.futures.Executor, got {executor!r}.',
        )


@contextmanager
def _process_pool(workers: int) -> Iterator[Any]:
    """Pebble's pool: a dead worker costs one task, where the standard library's and loky's lose all that wait."""
    import multiprocessing

    try:
        from pebble import ProcessPool
    except ImportError:
        raise FieldError("executor", '"process" needs pebble: pip install "smallinit[process]".') from None
    context: Any = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    pool = ProcessPool(workers, context=context)
    try:
        yield pool
        pool.close()
    except BaseException:
        pool.stop()
        raise
    finally:
        pool.join()
