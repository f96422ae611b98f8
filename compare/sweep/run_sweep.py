"""Sweeps: an experiment over axes of its keys, kept shard by shard, resumed by running it again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...theory.base.disk.files import check_file
from ...theory.base.errors import FieldError
from ...theory.base.validate import brief, callback, flag, integer, is_integer, kind_of, path_of, positive
from .collect import collected
from .engine import Engine, Progress
from .foresight import refuse_large_batches
from .plan import SweepPlan as SweepPlan
from .plan import SweepPoint as SweepPoint
from .plan import read_sweep as read_sweep
from .store import PLAN, Store
from .surroundings import Surroundings
from .workers.executors import workers_of

if TYPE_CHECKING:
    import xarray


@dataclass(frozen=True, eq=False, repr=False)
class Sweep:
    """A sweep and what has been computed of it so far.

    Attributes
    ----------
    plan : SweepPlan
        Axes and experiment.
    store : Store
        Its directory.
    """

    plan: SweepPlan
    store: Store

    @property
    def done(self) -> int:
        """Points that are kept."""
        return sum(point.id in self.store.places for point in self.plan.points)

    @property
    def failures(self) -> dict[str, str]:
        """What could not be computed: the point's values, as text -> why."""
        found = self.store.failures()
        return {_named(point): found[point.id] for point in self.plan.points if point.id in found}

    @property
    def status(self) -> str:
        """One sentence."""
        total, failed = len(self.plan.points), len(self.failures)
        parts = [f"{self.done} of {total} points done"]
        parts += [f"{failed} of {total} failed"] if failed else []
        if n := self.store.n_damaged:
            parts.append(f"{n} damaged {'shard' if n == 1 else 'shards'}, whose points count as missing")
        return ", ".join(parts)

    def __repr__(self) -> str:
        """Axes and status."""
        axes = " x ".join(
            f"{'+'.join(names)} ({n})" for names, n in zip(self.plan.dimensions, self.plan.shape, strict=True)
        )
        return f"Sweep({axes}: {self.status})"

    def _repr_html_(self) -> str:
        """Axes and status, for notebooks."""
        from ...theory.printing import html as markup

        rows = [
            (name, len(v), f"{markup.shown(v[0])} .. {markup.shown(v[-1])}")
            for name, v in self.plan.axes.items()
        ]
        return markup.card("Sweep", markup.table(("axis", "values", "from .. to"), rows), status=self.status)

    def to_xarray(self) -> xarray.Dataset:
        """Collect everything into one dataset; see `smallinit.compare.sweep.collect`.

        Its names hold a "/", which netCDF does not allow: `save` writes it to a file.
        """
        return collected(self.plan, self.store)

    def save(self, path: str | Path, overwrite: bool = False) -> Path:
        """Collect everything into one netCDF4 file, written whole or not at all; "/" in names becomes "|".

        Raises
        ------
        FileExistsError
            If the file exists and `overwrite` is False.
        FileNotFoundError
            If its folder does not exist.
        ValueError
            If no point is done yet.
        """
        from ...sim.trajectory.netcdf import write_netcdf

        check_file(path := path_of("path", path), overwrite)
        return write_netcdf(self.to_xarray(), path)


def _named(point: SweepPoint) -> str:
    return ", ".join(f"{name} = {value!r}" for name, value in point.values.items())


def run_sweep(
    file: str | Path | SweepPlan,
    out: str | Path,
    executor: Executor | str | None = None,
    *,
    flags: Mapping[str, Any] | None = None,
    workers: int | None = None,
    shard: tuple[int, int] = (1, 1),
    max_seconds: float | None = None,
    accept_changes: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Sweep:
    """Compute all points of a sweep that its directory does not hold yet.

    Results do not depend on the executor, on the number of workers, on interruptions, or on what else is in the sweep:
    a point's numbers follow from its experiment alone, computed on one thread.

    Parameters
    ----------
    file : path or SweepPlan
        A sweep file; see `read_sweep`.
    out : path
        Directory for the results; run again to resume, or to extend the axes.
    executor : None, "process" or Executor
        Threads, spawned processes, or any `concurrent.futures.Executor`, such as that of
        ``distributed.Client(...).get_executor()``.
    flags : dict, optional
        "section.key" -> value; overrides the file's experiment.
    workers : int or None
        Threads or processes; None takes one per core.
    shard : (i, n)
        Compute only the i-th of n parts (from 1): for clusters without an engine, all into one directory.
    max_seconds : float or None
        Wall-clock limit of one point, in place of the file's; one that takes longer is a failed point. Integration and
        training look at the clock between their steps; a process that does not get that far is ended.
    accept_changes : bool
        Go on with a directory that was begun with other inputs, sources, versions or another processor; see
        ``accepted_changes`` of the points that are computed from then on.
    progress : callable or None
        Called with a `Progress` after every batch.

    Returns
    -------
    Sweep
        Points that could not be computed are in ``Sweep.failures``; they are tried again on the next run.

    Raises
    ------
    InputError, ValueError
        For input that is wrong, or a directory that holds something else or was begun by something else, before any
        work.
    OSError, MemoryError
        If results cannot be written or read; those written before stay.
    """
    plan, out = _plan_of(file, flags), path_of("out", out)
    i, n = _part(shard)
    callback("progress", progress)
    flag("accept_changes", accept_changes)
    if workers is not None:
        integer("workers", workers, 1)
    if max_seconds is not None:
        plan = replace(plan, max_seconds=positive("max_seconds", max_seconds))
    points = {point.id: point for point in plan.points[i - 1 :: n]}.values()
    refuse_large_batches(points)
    with workers_of(executor, workers, "train" in plan.run) as (submit, number):
        store = Store(out, plan.fixed, Surroundings.of(plan, accept_changes))
        store.record(plan.to_dict())
        missing = [point for point in points if point.id not in store.places]
        count = Progress(len(missing), progress)
        Engine(plan, store, submit, number, count).run(missing)
    return Sweep(plan, store)


def open_sweep(
    file: str | Path | SweepPlan, out: str | Path | None = None, flags: Mapping[str, Any] | None = None
) -> Sweep:
    """Open the directory of a sweep, computing and changing nothing.

    Parameters
    ----------
    file : path or SweepPlan
        The sweep's file, or its directory alone: then the axes are those that the directory has recorded.
    out : path, optional
        The directory, beside a file.
    flags : dict, optional
        What `run_sweep` took beside the file.

    Raises
    ------
    ValueError
        For a file without the directory, and flags without the file.
    InputError
        If the directory holds another sweep, or none.
    """
    _check_flags(flags)
    if out is None:
        if isinstance(file, SweepPlan) or path_of("file", file).is_file():
            raise FieldError("out", "is missing: give the directory of the sweep beside its file.")
        if flags:
            raise FieldError(
                "flags", "change a sweep's file, which is missing: give it, and its directory as `out`."
            )
        return recorded_sweep(file)
    plan = _plan_of(file, flags)
    return Sweep(plan, Store(path_of("out", out), plan.fixed))


def recorded_sweep(out: str | Path) -> Sweep:
    """Open the directory of a sweep by what it says of itself, whichever version of this package wrote it.

    Raises
    ------
    InputError
        If it holds no sweep, or one that has not recorded its axes.
    """
    store = Store(path_of("out", out))
    return Sweep(SweepPlan.from_dict(store.recorded(), f"in {store.folder / PLAN}"), store)


def _plan_of(file: Any, flags: Any) -> SweepPlan:
    """The plan in a file, or as it was read before: flags change what a file says."""
    _check_flags(flags)
    if not isinstance(file, SweepPlan):
        return read_sweep(file, flags)
    if flags:
        raise FieldError(
            "flags", "change a sweep's file: give that in place of a plan, or read_sweep(file, flags)."
        )
    return file


def _part(shard: Any) -> tuple[int, int]:
    pair = isinstance(shard, list | tuple) and len(shard) == 2 and all(map(is_integer, shard))
    if not pair or not 1 <= shard[0] <= shard[1]:
        raise FieldError("shard", f"must be (i, n), whole numbers with 1 <= i <= n, got {brief(shard)}.")
    return int(shard[0]), int(shard[1])


def _check_flags(flags: Any) -> None:
    if flags is not None:
        kind_of("flags", flags, Mapping, 'such as {"init.gamma": 0.8}')
