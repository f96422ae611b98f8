"""The page of a run: what theory says, what training did, how long they agree."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...theory.base.disk.regular import inside
from ...theory.base.errors import InputError
from ...theory.printing.html import shown
from ..experiment.outputs import most_drawn
from ..experiment.own_model import class_of
from ..plots.literal import literal
from .blocks import (
    EquationBlock,
    LetterBlock,
    NoteBlock,
    PageBlock,
    PictureBlock,
    ReproduceBlock,
    TableBlock,
    VerdictBlock,
    facts,
    some,
)
from .page import Page
from .run_verdicts import percent, verdicts
from .sources import read_json, read_png, read_utf8

if TYPE_CHECKING:
    from ...sim.trajectory.trajectory import Trajectory
    from ...theory.data.dataset import Dataset
    from .embedding_motion import EmbeddingMotion

CLOSURE = re.compile(r"\\section\*\{Closure (.*?)\}\s*\\\[(.*?)\\\]", re.S)
UNITS = (
    "t is flow time = learning rate x step. Losses are weighted means in nats. The error of a weight is that of its "
    "displacement, |dW theory - dW training| / |dW training|; that of a loss is relative to the trained one, and so "
    "without bound where that vanishes. A horizon is the first flow time at which an error exceeds a tolerance."
)


def run_page(folder: Path) -> Page:
    """Make the page of a directory that `overlay`, `simulate` or `train` wrote."""
    summary = read_json(folder / "summary.json")
    closures, training = summary["closures"], summary["training"]
    verb = "overlay" if closures and training else "simulate" if closures else "train"
    found = verdicts(closures, training, float(summary["experiment"]["output"]["tolerance"]))
    return Page(
        title=f"{folder.resolve().name}: {_what(verb, closures)}",
        lead=_setting(summary["experiment"]),
        sections={
            "What was found": [VerdictBlock(found)],
            "The figure": some([_figure(folder, summary)]),
            "Equations": _equations(folder, closures),
            "Errors and horizons": _errors(closures),
            "Losses at the end": [_ends(closures, training)],
            "Provenance": [facts(summary["provenance"])],
            "Reproduce": some([_reproduce(folder, verb)]),
        },
    )


def _what(verb: str, closures: Mapping[str, Any]) -> str:
    names = ", ".join(closures)
    return {
        "overlay": f"theory ({names}) over training",
        "simulate": f"theory ({names})",
        "train": "training",
    }[verb]


def _setting(experiment: Mapping[str, Any]) -> str:
    model, init = experiment["model"], experiment["init"]
    start = (
        f"weights from {init['file']}" if init.get("file") else f"gamma {init['gamma']}, seed {init['seed']}"
    )
    if not init.get("file") and init.get("convention", "rows") != "rows":
        start += f", convention {init['convention']}"
    sizes = ", ".join(f"{key} {model[key]}" for key in ("d_vocab", "d_model", "d_mlp") if key in model)
    data = (
        f"data from {experiment['data']['file']}" if experiment.get("data") else "the composite anchor task"
    )
    parts = [part for part in (sizes, model.get("activation")) if part]
    named = class_of(model["name"])
    kind = f"{named} ({', '.join(parts)})" if parts else named
    return f"{kind} on {data}; initial weights: {start}."


def _figure(folder: Path, summary: Mapping[str, Any]) -> PictureBlock | None:
    picture = folder / "overlay.png"
    if picture.is_file():
        names = ", ".join([*summary["closures"]][: most_drawn()])
        outcomes = "; ".join(f"{n} {r['outcome']}" for n, r in summary["closures"].items())
        alt = (
            f"Losses by group (left) and norms of the weights (right) over flow time: theory ({names}) as lines, "
            f"training as hollow markers, relative errors underneath. {outcomes}."
        )
        caption = (
            "Theory as lines (solid the first closure, dashed the second), training as hollow markers, from the same "
            "initial weights; below, relative errors. Nothing is fitted."
        )
        return PictureBlock(read_png(picture), alt, caption)
    paths = trajectory_files(folder, summary)
    return _curves(paths) if paths else None


def motion_of(folder: Path) -> EmbeddingMotion | None:
    """The motion of embeddings in a directory with a training; None if it has none, or no embedding of two tokens.

    Raises
    ------
    InputError
        If a file in it is damaged.
    """
    from .embedding_motion import EMBEDDING, embedding_motion

    summary = read_json(folder / "summary.json")
    runs = _loaded(trajectory_files(folder, summary))
    training = runs.pop("training", None)
    if training is None or EMBEDDING not in training.weights or training.weights[EMBEDDING].shape[1] < 2:
        return None
    return embedding_motion(
        {name: run for name, run in runs.items() if EMBEDDING in run.weights},
        replace(training, data=_data_of(folder, training)),
    )


def _data_of(folder: Path, training: Trajectory) -> Dataset | None:
    """The data of a run, for the names and groups of its tokens; None if they are no longer what was trained on."""
    from ..experiment.build import build_data
    from ..experiment.layers import load

    try:
        data = build_data(loaded := load(folder / "experiment.toml"))
    except (InputError, OSError):
        return None
    if loaded.experiment.data is None:  # a task, which no file can change
        return data
    return data if data.fingerprint == training.provenance.get("data") else None


def trajectory_files(folder: Path, summary: Mapping[str, Any]) -> dict[str, Path]:
    """Files of the theories by closure and of the training, as far as they are there."""
    files = {name: folder / f"theory-{name}.nc" for name in summary["closures"] if "/" not in name}
    files["training"] = folder / "training.nc"
    return {name: inside(folder, path) for name, path in files.items() if path.exists()}


def _loaded(paths: Mapping[str, Path]) -> dict[str, Trajectory]:
    from ...sim.trajectory.loading import load_trajectory

    try:
        return {name: load_trajectory(path) for name, path in paths.items()}
    except ValueError as error:
        raise InputError(str(error)) from error


def _curves(paths: Mapping[str, Path]) -> PictureBlock:
    """Losses by group and norms of the weights, from the files of the trajectories."""
    runs = _loaded(paths)
    alt = f"Losses by group (left) and norms of the weights (right) over flow time, for {', '.join(runs)}."
    return PictureBlock(_drawn(runs), alt, "Losses and norms over flow time = learning rate x step.")


def _drawn(runs: Mapping[str, Trajectory]) -> bytes:
    from matplotlib.lines import Line2D

    from ..plots.drawn_runs import LINES
    from ..plots.marks.palette import GREY
    from ..plots.panels import plot_losses, plot_norms
    from ..plots.saving import STYLE, ShownFigure, drawing

    buffer, shown = io.BytesIO(), list(runs.values())[: len(LINES)]
    with drawing("default", STYLE):
        figure = ShownFigure(figsize=(7.2, 2.9), layout="constrained")
        left, right = figure.subplots(1, 2)
        if all("loss" in run.observable_names for run in shown):
            plot_losses(shown, ax=left)
        else:
            left.set_visible(False)
        plot_norms(shown, ax=right)
        lines = [
            Line2D([], [], color=GREY, ls=ls, label=literal(n)) for n, ls in zip(runs, LINES, strict=False)
        ]
        if len(shown) > 1:
            figure.legend(handles=lines, loc="outside upper center", ncols=len(lines))
        figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    return buffer.getvalue()


def _equations(folder: Path, closures: Mapping[str, Any]) -> list[PageBlock]:
    path = folder / "equations.tex"
    blocks: list[PageBlock] = []
    for name, latex in CLOSURE.findall(read_utf8(path)) if path.is_file() else ():
        record = closures.get(name, {})
        orders = record.get("residual_order", {})
        powers = ", ".join(f"{w} {'exact' if o is None else f'eps^{o}'}" for w, o in orders.items())
        blocks.append(EquationBlock(name, latex, powers, "; ".join(record.get("conserved", []))))
    return [*blocks, LetterBlock()] if blocks else []


def _errors(closures: Mapping[str, Any]) -> list[PageBlock]:
    rows = []
    for name, record in closures.items():
        overlay = record.get("overlay") or {"error": {}, "horizon": {}}
        for what, error in overlay["error"].items():
            horizons = ["not reached" if h is None else f"{h:.4g}" for h in overlay["horizon"][what].values()]
            rows.append((name, what, *(percent(error[k]) for k in ("median", "max", "last")), *horizons))
    if not rows:
        return []
    limits = next(iter(next(r["overlay"] for r in closures.values() if r.get("overlay"))["horizon"].values()))
    header = ("closure", "of", "median error", "largest", "at the end", *(f"{k} horizon (t)" for k in limits))
    notes = [
        NoteBlock(f"{name}: {r['overlay']['compared']['note']}.")
        for name, r in closures.items()
        if r.get("overlay")
    ]
    return [NoteBlock(UNITS, soft=True), TableBlock(header, rows, "Errors against training"), *notes]


def _ends(closures: Mapping[str, Any], training: Mapping[str, Any] | None) -> TableBlock:
    runs = dict(closures) | ({"training": training} if training else {})
    names = list(dict.fromkeys(n for record in runs.values() for n in record["last"]))
    rows = [
        (run, shown(record["t"]), *(shown(record["last"].get(n)) for n in names))
        for run, record in runs.items()
    ]
    header = ("run", "last saved t", *(f"{name} (nats)" for name in names))
    return TableBlock(
        header, rows, "Losses at the last saved flow time, each with the logits of its own closure"
    )


def _reproduce(folder: Path, verb: str) -> ReproduceBlock | None:
    path = folder / "experiment.toml"
    if not path.is_file():
        return None
    command = f"smallinit {verb} experiment.toml --out {folder.resolve().name}"
    promise = "With the same versions and the same machine the numbers are the same, bit for bit."
    return ReproduceBlock("experiment", "experiment.toml", read_utf8(path), command, promise)
