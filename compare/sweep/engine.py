"""Carrying out the points of a sweep on any executor, whatever happens to its workers."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from copy import copy

from .input_files import files_of
from .plan import SweepPlan, SweepPoint
from .point_claims import BEAT, PointClaims
from .store import Store
from .workers.point import WrongWorker
from .workers.time_limit import too_slow

BATCH_SECONDS = 1.0  # what a batch should last: an engine's milliseconds per task then do not count
LARGEST_BATCH = 256
PAUSE = 0.2  # seconds between looks at what other drivers are about
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

    Points are claimed before they are computed, so that several drivers in one directory share the work. A worker that
    dies takes its batch with it: the batch is cut in half and tried again until the point that kills workers stands
    alone, and that one is recorded as failed. So is a point that hangs, where workers can be ended from outside.

    Parameters
    ----------
    plan, store : SweepPlan, Store
        What is to be computed, and where it goes.
    submit : callable
        ``submit(configs, run, observables, ...) -> Future``; see `run_batch`.
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
        self.claims = PointClaims(store.folder / "claims")
        self._failed_before = store.failure_stamps()

    def run(self, points: Sequence[SweepPoint]) -> None:
        """Compute points; returns when all are kept or recorded as failed, by this driver or another."""
        queue, halves = deque(points), deque[list[SweepPoint]]()
        under_way: dict[Future, list[SweepPoint]] = {}
        try:
            while queue or halves or under_way:
                self._fill(under_way, queue, halves)
                self.claims.beat()
                if not under_way:  # all that is left is under way elsewhere
                    time.sleep(PAUSE)
                    continue
                done, _ = wait(under_way, timeout=BEAT, return_when=FIRST_COMPLETED)
                for future in done:
                    halves.extend(self._finish(future, under_way.pop(future)))
        finally:
            for future in under_way:
                future.cancel()
            self.claims.close()

    def _fill(
        self,
        under_way: dict[Future, list[SweepPoint]],
        queue: deque[SweepPoint],
        halves: deque[list[SweepPoint]],
    ) -> None:
        """Submit batches until enough are under way; what other drivers hold goes to the end of the queue."""
        left = len(queue)
        while (left or halves) and len(under_way) < 2 * self.workers:
            if halves:
                batch = halves.popleft()
            else:
                looked, batch = self._take(queue, left)
                left -= looked
            if batch := self._not_settled(batch):
                under_way[self._submit(batch)] = batch

    def _take(self, queue: deque[SweepPoint], left: int) -> tuple[int, list[SweepPoint]]:
        """Claim points for one batch; how many were looked at, and those that are ours."""
        batch: list[SweepPoint] = []
        for looked in range(left):
            if len(batch) == self.size:
                return looked, batch
            point = queue.popleft()
            if self.claims.take(point.id):
                batch.append(point)
            else:
                queue.append(point)
        return left, batch

    def _not_settled(self, batch: list[SweepPoint]) -> list[SweepPoint]:
        """Without what another driver has kept, or recorded as failed, in the meantime; asked once it is claimed."""
        if not batch:
            return batch
        self.store.refresh()
        kept = [point for point in batch if point.id in self.store.places]
        rest = [point for point in batch if point.id not in self.store.places]
        failed = [point for point in rest if self._failed_elsewhere(point.id)]
        for point in (*kept, *failed):
            self.claims.release(point.id)
        if kept or failed:
            self.progress.note(len(kept), len(failed))
        return [point for point in rest if point not in failed] if failed else rest

    def _failed_elsewhere(self, name: str) -> bool:
        """Whether another driver has recorded a failure since this one began."""
        stamp = self.store.failure_stamp(name)
        return name not in self.attempts and stamp is not None and stamp != self._failed_before.get(name)

    def _submit(self, batch: list[SweepPoint]) -> Future:
        configs = [(point.id, point.config) for point in batch]
        plan, now = self.plan, self.store.surroundings
        expected = None if now is None or self.store.accepted else dict(now.environment)
        inputs = (
            {}
            if now is None
            else {n: now.inputs[n] for p in batch for n in files_of(p.config) if n in now.inputs}
        )
        return self.submit(configs, plan.run, plan.observables, plan.max_seconds, inputs, expected)

    def _finish(self, future: Future, batch: list[SweepPoint]) -> list[list[SweepPoint]]:
        """Keep a batch's results; what is to be tried again."""
        try:
            found, seconds = future.result()
        except Exception as error:
            if isinstance(error, (BrokenExecutor, OSError, MemoryError, WrongWorker)) and not _worker_lost(
                error
            ):
                raise
            return self._again(batch, error)
        self._adapt(len(batch), seconds)
        good = {name: value for name, value in found.items() if not isinstance(value, str)}
        if good:
            self.store.write(good)
        for name, value in found.items():
            if isinstance(value, str):
                self.store.write_failure(name, value)
        for name in found:
            self.claims.release(name)
        self.progress.note(len(good), len(found) - len(good))
        return []

    def _again(self, batch: list[SweepPoint], error: Exception) -> list[list[SweepPoint]]:
        if len(batch) > 1:
            middle = len(batch) // 2
            return [batch[:middle], batch[middle:]]
        name = batch[0].id
        self.attempts[name] = self.attempts.get(name, 0) + 1
        slow = isinstance(error, TimeoutError)
        if self.attempts[name] < ATTEMPTS and not slow:
            return [batch]
        why = f"its worker died: {type(error).__name__}: {error}"
        if slow:
            why = too_slow(self.plan.max_seconds or 0.0, "its worker had to be ended")
        self.store.write_failure(name, why)
        self.claims.release(name)
        self.progress.note(0, 1)
        return []

    def _adapt(self, n: int, seconds: float) -> None:
        """Batches of about a second."""
        fitting = int(n * BATCH_SECONDS / max(seconds, 1e-6))
        self.size = max(1, min(2 * self.size, fitting, LARGEST_BATCH))


def _worker_lost(error: Exception) -> bool:
    """Whether a worker has died, or was ended because its time was up: an error of its batch, not of the system."""
    return type(error).__name__ in ("ProcessExpired", "KilledWorker") or type(error) is TimeoutError
