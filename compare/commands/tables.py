"""What a command says on standard output: short plain tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isinf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.base.columns import aligned
from ..overlays.learning_times import BELOW, learning_order, learnt_at
from ..overlays.loss_error import VANISHED, loss_error

if TYPE_CHECKING:
    from ...sim.trajectory.trajectory import Trajectory
    from ..experiment.build import Built
    from ..overlays.overlay import Overlay


def heading(built: Built) -> str:
    """Describe the experiment in two lines."""
    init = built.loaded.experiment.init
    start = f"weights from {init.file}" if init.file else f"gamma {init.gamma:g}, seed {init.seed}"
    start += f", convention {init.convention}" if init.file is None and init.convention != "rows" else ""
    shapes = ", ".join(f"{name} {rows} x {cols}" for name, (rows, cols) in built.model.weights.items())
    spec = ", ".join(f"{key} {value}" for key, value in built.model.spec().items() if key != "name")
    groups, counts = np.unique(built.data.groups, return_counts=True)
    sequences = ", ".join(f"{count} {group}" for group, count in zip(groups, counts, strict=True))
    read = f"Distinct sequences of {built.data.n_ctx} tokens: {sequences}"
    return f"{built.model.name}: {spec}; {start}; {shapes}\n{read}"


def overlay_table(overlays: Mapping[str, Overlay], training: Trajectory, tolerance: float) -> str:
    """Tell how every closure ended, how long it held, how far its losses were off and what both cost."""
    groups = [name for name in training.observable_names if name.startswith("loss/")] or ["loss"]
    header = [
        "closure",
        "outcome",
        "horizon",
        *(f"error {name}" for name in groups),
        "seconds",
        "speed-up",
    ]
    rows = [_overlay_row(name, result, groups, tolerance) for name, result in overlays.items()]
    return "\n".join(
        [
            aligned(header, rows),
            *_learnt(overlays, training),
            f"horizon: first flow time at which the displacement of a weight, the one named, is {tolerance:.0%} off; "
            "errors: largest relative error of the group's loss up to the end (a theory that ends before has none); in "
            f"nats where training has less than {VANISHED:.0%} of that loss left",
            f"training: {_training(training)}",
        ]
    )


def _learnt(overlays: Mapping[str, Overlay], training: Trajectory) -> list[str]:
    """When each group is learnt in training and in the theories that reach its end, and in which order."""
    theory = {name: learnt_at(o.theory) for name, o in overlays.items() if not o.end_of_equations}
    times = {"training": learnt_at(training), **theory}
    if not times["training"]:
        return []
    groups = list(times["training"])
    rows = [[name, *map(_at_time, own.values())] for name, own in times.items()]
    return [
        "",
        aligned(["learnt", *groups], rows),
        f"learnt: loss {BELOW:.0%} below the entropy of the group's labels, to which their frequencies alone bring it",
        learning_order(times["training"], theory),
        "",
    ]


def _at_time(t: float) -> str:
    return "not by the end" if isinf(t) else f"t = {t:.4g}"


def _overlay_row(name: str, result: Overlay, groups: Sequence[str], tolerance: float) -> list[str]:
    horizon = result.horizon(tolerance)
    speed = result.summary()["speed"]
    faster = speed["theory_is_faster_by"]
    return [
        name,
        _ended(result.theory),
        str(horizon) if isinf(horizon) else f"t = {horizon}",
        *("-" if result.end_of_equations else str(loss_error(result.alignment, g)) for g in groups),
        _figure(speed["theory_seconds"], ".2f"),
        _figure(faster, ".0f" if faster and faster >= 10 else ".1f", " x"),
    ]


def run_table(trajectories: Mapping[str, Trajectory]) -> str:
    """Tell how trajectories ended and with which losses."""
    names = [n for n in next(iter(trajectories.values())).observable_names if n.partition("/")[0] == "loss"]
    rows = [
        [
            label,
            _ended(t),
            *(f"{t[n][-1]:.4f}" for n in names),
            _figure(t.statistics.get("seconds"), ".2f"),
        ]
        for label, t in trajectories.items()
    ]
    return aligned(["run", "outcome", *(f"last {n}" for n in names), "seconds"], rows)


def _ended(run: Trajectory) -> str:
    """How a run ended, without the remedy, which is too long for a column."""
    return str(run.outcome).partition(";")[0]


def _training(training: Trajectory) -> str:
    steps = "" if training.steps is None else f"{int(training.steps[-1])} steps, "
    return (
        f"{training.label}, {steps}{training.outcome}, {_figure(training.statistics.get('seconds'), '.2f')} s"
    )


def _figure(value: Any, form: str, unit: str = "") -> str:
    return "-" if value is None else f"{value:{form}}{unit}"


def listed(folder: Path, names: Iterable[str]) -> str:
    """Name the directory, relative where that is shorter, and its files."""
    shown = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    return f"{shown}: {', '.join(sorted(names))}"
