"""The command that sweeps."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from ...theory.base.errors import FAILED, InputError
from ...theory.base.waiting import waiting
from .destinations import output_file, output_picture, sweep_folder
from .flags import AcceptChanges, Overwrite, flag_values, flagged
from .terminal import interruptible, no_picture

if TYPE_CHECKING:
    from ..sweep.run_sweep import Sweep


@flagged()
def sweep(
    file: Path,
    /,
    *,
    out: Path | None = None,
    executor: Literal["threads", "process"] = "threads",
    workers: int | None = None,
    shard: str = "1/1",
    status: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    collect: Path | None = None,
    picture: Path | None = None,
    overwrite: Overwrite = False,
    max_seconds: float | None = None,
    accept_changes: AcceptChanges = False,
    **flags: Any,
) -> int:
    """Simulate and train over axes of an experiment; run again to resume.

    Parameters
    ----------
    file
        A TOML file: an experiment, [axes] and [sweep]; docs/sweeps.md has the keys.
    out
        Directory for the results; results/NAME if absent.
    executor
        threads or process (spawned; survives a worker's death).
    workers
        Threads or processes; one per core if absent.
    shard
        i/n: compute only the i-th of n parts.
    status
        Say what is done, and compute nothing.
    collect
        Also write all points to this netCDF file, a .nc.
    picture
        Also draw medians over init.seed against the other axis, to this .png, .pdf or .svg.
    overwrite
        Replace existing files of --collect and --picture.
    max_seconds
        Wall-clock limit of one point; one that takes longer is a failed point.
    accept_changes
        Go on although inputs, sources or versions are not those that began; the points say so.
    """
    from ..sweep.plan import read_sweep
    from ..sweep.run_sweep import open_sweep, run_sweep

    folder = out if out is not None else Path("results") / file.stem
    part = _part(shard)
    if collect is not None:
        output_file("--collect", collect, overwrite, (".nc",))
    if picture is not None:
        output_picture("--picture", picture, overwrite)
    plan = read_sweep(file, flag_values(flags))
    axis = _picture_axis(plan) if picture is not None else ""
    try:
        if status:
            done = open_sweep(plan, folder)
            return _shown(done, collect, overwrite, axis, picture)[1]
        sweep_folder(folder, {"--collect": collect, "--picture": picture})
        with interruptible(lambda: _kept(plan, folder)):
            with waiting("sweeping") as wait:
                done = run_sweep(
                    plan, folder, None if executor == "threads" else executor, workers=workers, shard=part,
                    max_seconds=max_seconds, accept_changes=accept_changes, progress=lambda p: wait.say(str(p)),
                )  # fmt: skip
            said = f"results in {folder}; for a page of them, smallinit report {folder}"
            failed, drawn = _shown(done, collect, overwrite, axis, picture, said)
    except (ValueError, FileExistsError) as error:
        raise InputError(str(error)) from error
    return FAILED if failed else drawn


def _shown(
    done: Sweep, collect: Path | None, overwrite: bool, axis: str, picture: Path | None, said: str = ""
) -> tuple[int, int]:
    """Say what is done, and write what is asked for of it; the number of failures, and the picture's exit status."""
    print("\n".join(filter(None, (str(done), said))))
    failures = done.failures
    for point, reason in list(failures.items())[:10]:
        print(f"failed: {point}: {reason}", file=sys.stderr)
    if collect is not None:
        done.save(collect, overwrite)
        print(f"wrote {collect}")
    return len(failures), 0 if picture is None else _draw(done, axis, picture)


def _draw(done: Any, axis: str, picture: Path) -> int:
    """Draw the phases, if there are any to draw; the exit status."""
    from ..plots.escapes import PART, NothingEscapes
    from ..plots.phase import plot_phases

    try:
        plot_phases(done.to_xarray(), axis, "init.seed", picture)
    except NothingEscapes:
        lost = f"{PART:.0%} of its loss at the start"
        return no_picture(
            str(picture),
            f"in no point that is done does a group lose {lost}, whose time it shows; let the points run longer "
            "(theory.t1 or training.steps), or draw what they lost by plot_phases with a smaller `part`, "
            "see docs/sweeps.md.",
        )
    except ValueError as error:
        return no_picture(str(picture), str(error))
    print(f"wrote {picture}")
    return 0


def _kept(plan: Any, folder: Path) -> str:
    """Say what an interrupted sweep has kept."""
    from ..sweep.run_sweep import open_sweep

    try:
        found = open_sweep(plan, folder)
    except (OSError, ValueError):
        return "no point was computed yet"
    if found.done == len(plan.points):
        return f"all {found.done} points are kept in {folder}"
    return (
        f"{found.done} of {len(plan.points)} points are kept in {folder}: the same command computes the rest"
    )


def _picture_axis(plan: Any) -> str:
    others = [names[0] for names in plan.dimensions if names != ("init.seed",)]
    if len(others) != 1 or len(plan.dimensions) != 2 or any(len(names) > 1 for names in plan.dimensions):
        raise InputError(
            f"--picture needs two axes, init.seed and another, and this sweep has {', '.join(plan.axes)}: leave it out "
            "and draw two axes with plot_phase_map, see docs/sweeps.md."
        )
    return others[0]


def _part(text: str) -> tuple[int, int]:
    i, _, n = text.partition("/")
    if not (i.isdecimal() and n.isdecimal()):
        raise InputError(f"--shard must be i/n, such as 2/8, got {text!r}.")
    return int(i), int(n)
