"""Threads of an ensemble that stop soon where nobody waits for their results any more."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any


class Crew:
    """Threads whose tasks ask from time to time whether their results are still wanted.

    A pool waits for all that its threads have begun, and what a member of an ensemble has begun may take hours: after
    Ctrl-C, or where another member has failed, nobody wants it.

    Parameters
    ----------
    workers : int
        Number of threads.
    """

    def __init__(self, workers: int) -> None:
        self.workers, self._over = workers, threading.Event()

    def go_on(self, t: float = 0.0) -> None:
        """End the task that calls this if nobody waits for its result.

        Parameters
        ----------
        t : float
            Flow time that the task has reached, as `progress` is told.

        Raises
        ------
        RuntimeError
            If the crew has stopped. `map` raises what stopped it instead.
        """
        if self._over.is_set():
            raise RuntimeError(f"ended at t = {t:g} with the others.")

    def map(self, work: Callable[[Any], Any], tasks: Iterable[Any]) -> list[Any]:
        """Results in the order of the tasks; what one of them raises, or an interrupt, stops all of them."""
        with ThreadPoolExecutor(self.workers) as pool:
            try:
                given = [pool.submit(work, task) for task in tasks]
                ended, _ = wait(given, return_when=FIRST_EXCEPTION)
                for one in ended:  # the first to fail need not be the first task
                    one.result()
                return [one.result() for one in given]
            except BaseException:
                self._over.set()
                pool.shutdown(cancel_futures=True)
                raise
