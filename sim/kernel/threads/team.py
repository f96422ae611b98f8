"""Threads that share the parts of one right-hand side, for as long as it is integrated; see `calls._team`.

They sleep by locks of Python's own, which compiled code calls without an interpreter, and read nothing that Python
holds: no signal and no exception meets them, and a process that ends need not wait for them.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..alignment import aligned
from ..operations import TEAM, TEAM_HEAD
from ..work import in_parts, operations_of
from .blas_threads import one_here, threads_given

if TYPE_CHECKING:
    from ..problem import Problem


NAME = "smallinit-team"  # of each thread


@contextmanager
def teamed(problem: Problem) -> Iterator[Problem]:
    """A problem whose right-hand side is shared by as many threads as BLAS is given, if it has parts to share.

    Its numbers are the same for any number of threads. The other threads end with the block; what is left of the
    problem then runs on one.
    """
    threads = threads_given() if in_parts(problem) else 1
    places = [p for code, p in operations_of(problem) if code == TEAM] if threads > 1 else []
    locks = _locks() if places else None
    if locks is None:
        yield problem
        return
    most = max(int(problem.ints[p + TEAM_HEAD - 1]) for p in places)
    team = Team(min(threads, most) - 1, max(int(problem.ints[p + 2]) for p in places), locks)
    ints = problem.ints.copy()
    try:
        team.start()
        ints[places] = team.address
        yield replace(problem, ints=ints)
    finally:
        ints[places] = 0
        team.end()


class Team:
    """Threads that wait for parts.

    Parameters
    ----------
    helpers : int
        Number of threads besides the one that asks.
    own_size : int
        Numbers of scratch memory that each needs for itself.
    locks : PyDLL
        Python's own functions for locks.
    """

    def __init__(self, helpers: int, own_size: int, locks: Any) -> None:
        from ..calls import _team as t

        self.locks = locks
        self.words = aligned(t.FIRST + helpers * t.EACH, zero=True).view(np.int64)
        self.own = [aligned(max(own_size, 1)) for _ in range(helpers)]
        self.words[t.ACQUIRE] = _address(locks.PyThread_acquire_lock)
        self.words[t.RELEASE] = _address(locks.PyThread_release_lock)
        self.made = [_held(locks) for _ in range(1 + helpers)]
        self.words[t.OWN_LOCK] = self.made[0]
        self.words[t.FIRST + t.LOCK :: t.EACH] = self.made[1:]
        self.threads = [
            threading.Thread(target=self._help, args=(k,), name=NAME, daemon=True) for k in range(helpers)
        ]

    @property
    def address(self) -> int:
        """Where the words of the team begin."""
        return self.words.ctypes.data

    def _help(self, number: int) -> None:
        from ..calls._team_help import help_team

        one_here()
        help_team(self.address, number, self.own[number].ctypes.data)

    def start(self) -> None:
        """Have the threads wait for parts; what they run is compiled before."""
        from ..calls import _team as t
        from ..calls import _team_help  # noqa: F401

        for k, thread in enumerate(self.threads):
            try:
                thread.start()
            except RuntimeError:  # there can be no more: those that are there do the work
                return
            self.words[t.HELPERS] = k + 1

    def end(self) -> None:
        """Have the threads end, and wait for them."""
        from ..calls._team_help import end_team

        end_team(self.address, len(self.threads))
        for thread in self.threads:
            if thread.ident is not None:  # one that begins after all finds the team over
                thread.join()
        for lock in self.made:  # nobody sleeps by them any more
            self.locks.PyThread_free_lock(lock)


def _locks() -> Any:
    """Python's functions for locks, where it is one that has them."""
    python: Any = getattr(ctypes, "pythonapi", None)
    try:
        allocate, free = python.PyThread_allocate_lock, python.PyThread_free_lock
        _ = python.PyThread_acquire_lock, python.PyThread_release_lock
    except AttributeError:
        return None
    allocate.restype, allocate.argtypes = ctypes.c_void_p, []
    free.restype, free.argtypes = None, [ctypes.c_void_p]
    return python


def _held(locks: Any) -> int:
    """A new lock, by which the first to acquire it sleeps."""
    lock = locks.PyThread_allocate_lock()
    if not lock:
        raise MemoryError("no lock could be made.")
    locks.PyThread_acquire_lock(ctypes.c_void_p(lock), 1)
    return lock


def _address(function: Any) -> int:
    found = ctypes.cast(function, ctypes.c_void_p).value
    if found is None:
        raise RuntimeError("a function of Python's own has no address.")
    return found
