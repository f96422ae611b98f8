"""The page of a sweep: what was done, the phases it found, what failed."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from warnings import catch_warnings, simplefilter

from ...theory.base.disk.regular import inside
from ...theory.printing.html import shown
from .blocks import PictureBlock, ReproduceBlock, TableBlock, VerdictBlock, facts, some
from .page import Page
from .sources import read_json

if TYPE_CHECKING:
    import xarray

    from ..sweep.run_sweep import Sweep

SEED = "init.seed"
ROWS = 60  # of a table of medians, and of failures


def sweep_page(folder: Path) -> Page:
    """Make the page of a directory that `sweep` wrote."""
    from ..sweep.run_sweep import recorded_sweep

    for path in folder.rglob("*"):
        inside(folder, path)
    sweep = recorded_sweep(folder)
    data = sweep.to_xarray() if sweep.done else None
    failures = sweep.failures
    found: list[tuple[bool | None, str]] = [
        (sweep.done == len(sweep.plan.points) or None, f"{sweep.status}.")
    ]
    found += [(False, f"{point}: {reason}") for point, reason in list(failures.items())[:ROWS]]
    found += [(None, f"and {len(failures) - ROWS} more failures.")] if len(failures) > ROWS else []
    found += [(None, f"{name}.") for name in (*_firsts(data), *_endings(data))] if data is not None else []
    return Page(
        title=f"{folder.resolve().name}: sweep over {', '.join(sweep.plan.axes)}",
        lead=f"{' x '.join(map(str, sweep.plan.shape))} = {len(sweep.plan.points)} points, "
        f"{' and '.join(sweep.plan.run)}.",
        sections={
            "What was found": [VerdictBlock(found)],
            "The figure": some([] if data is None else [_picture(sweep, data)]),
            "Medians": [] if data is None else [_medians(data)],
            "Axes": [_axes(sweep)],
            "Experiment and code": [facts(_set(read_json(folder / "manifest.json")))],
            "Reproduce": [_reproduce(folder, sweep)],
        },
    )


def _firsts(data: xarray.Dataset) -> Iterator[str]:
    """In how many points each group is the first to lose a part of its loss; one that blows up says nothing."""
    import numpy as np

    from ..plots.escapes import PART, escape_times

    if sum(str(name).startswith("loss/") for name in data.data_vars) < 2:
        return
    times = escape_times(data)
    for run in data.run.values:
        ended = (data["outcome"].sel(run=run) == "REACHED_END").values
        own = times.sel(run=run).values[ended]
        known = own[np.isfinite(own).any(axis=-1)]
        counts = (
            np.bincount(np.nanargmin(known, axis=-1), minlength=times.sizes["group"]) if len(known) else []
        )
        ranked = sorted(zip(counts, times["group"].values, strict=False), key=lambda one: -one[0])
        if ranked:
            shares = ", ".join(f"{group} in {count}" for count, group in ranked if count)
            yield f"{run}: first to lose {PART:.0%} of its loss is {shares} of {len(own)} points that reached their end"


def _endings(data: xarray.Dataset) -> Iterator[str]:
    import numpy as np

    for run in data.run.values:
        names, counts = np.unique(data["outcome"].sel(run=run).values, return_counts=True)
        shown = {n.lower().replace("_", " ") or "missing": c for n, c in zip(names, counts, strict=True)}
        yield f"{run}: " + ", ".join(f"{count} {name}" for name, count in shown.items())


def _picture(sweep: Sweep, data: xarray.Dataset) -> PictureBlock | None:
    """The phases over one numeric axis and seeds; other sweeps have their table."""
    from ..plots.escapes import PART
    from ..plots.phase import plot_phases

    axes = [names[0] for names in sweep.plan.dimensions if names != (SEED,)]
    single = len(axes) == 1 and len(sweep.plan.axes) == 2 and SEED in sweep.plan.axes
    if not single or not all(isinstance(v, int | float) for v in sweep.plan.axes[axes[0]]):
        return None
    try:
        figure = plot_phases(data, axes[0], SEED)
    except ValueError:  # no losses of groups were kept, or nothing is learnt: the table says so
        return None
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, metadata={"Software": None})
    groups = ", ".join(str(n)[5:] for n in data.data_vars if str(n).startswith("loss/"))
    alt = (
        f"Against {axes[0]}: flow time at which each group ({groups}) has lost {PART:.0%} of its loss, and the share "
        f"of seeds in which each group is the first; one row for each of {', '.join(map(str, data.run.values))}."
    )
    caption = "Median over seeds with quartiles; crosses are failed or missing points."
    return PictureBlock(buffer.getvalue(), alt, caption)


def _medians(data: xarray.Dataset) -> TableBlock:
    """Medians over seeds of what the runs end with, one row for every other point of the axes."""
    import numpy as np

    names = [str(n) for n in data.data_vars if data[n].dims[-1] == "time" and n != "t"]
    last = {name: _last(data[name]) for name in names} | {
        f"{name} (t)": data[name] for name in ("t_end", "horizon") if name in data
    }
    others = [str(d) for d in data["t_end"].dims if d not in (SEED, "run")]
    with catch_warnings():
        simplefilter("ignore", RuntimeWarning)  # where all members are missing
        middle = {n: v.median(SEED) if SEED in v.dims else v for n, v in last.items()}
    values = {n: v.transpose(*others, "run").values for n, v in middle.items()}
    labels = [_labels(data, dim) for dim in others]
    rows = []
    for index in np.ndindex(*(len(label) for label in labels), len(data.run)):
        place = [label[i] for label, i in zip(labels, index, strict=False)]
        rows.append((*place, data.run.values[index[-1]], *(_figure(v[index]) for v in values.values())))
    header = (*others, "run", *(f"{n} (nats)" if n.startswith("loss") else n for n in values))
    over = "Medians over init.seed" if SEED in data.dims else "Values"
    left = f"; the first {ROWS} of {len(rows)} rows" if len(rows) > ROWS else ""
    return TableBlock(header, rows[:ROWS], f"{over} at the last time that was reached{left}")


def _last(values: xarray.DataArray) -> xarray.DataArray:
    """The last value that is known, nan where there is none."""
    known = values.notnull()
    last = known["time"].size - 1 - known.isel(time=slice(None, None, -1)).argmax("time")
    return values.isel(time=last)


def _labels(data: xarray.Dataset, dim: str) -> list[str]:
    """Values along a dimension; of zipped axes all of them."""
    coordinates = [data[c].values for c in data.coords if data[c].dims == (dim,)]
    return [
        ", ".join(shown(v.item() if hasattr(v, "item") else v) for v in vs)
        for vs in zip(*coordinates, strict=True)
    ]


def _figure(value: Any) -> str:
    if value != value:  # nan: nothing is known
        return "\N{EN DASH}"
    return "not reached" if value == float("inf") else f"{value:.4g}"


def _axes(sweep: Sweep) -> TableBlock:
    rows = [
        (name, len(values), shown(list(values[:8])) + (", ..." if len(values) > 8 else ""))
        for name, values in sweep.plan.axes.items()
    ]
    return TableBlock(("axis", "values", "which"), rows)


def _set(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _reproduce(folder: Path, sweep: Sweep) -> ReproduceBlock:
    command = f"smallinit sweep sweep.toml --out {folder.resolve().name}"
    promise = "In the directory itself this computes only what is missing."
    return ReproduceBlock("sweep", "sweep.toml", sweep.plan.to_toml(), command, promise)
