"""The command that computes a figure of the paper."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ...theory.base.disk.destination import folder_destination
from ...theory.base.disk.files import make_folder
from ...theory.base.disk.npz import write_npz
from ...theory.base.disk.owner import remove_leftovers
from ...theory.base.disk.promised import promised
from ...theory.base.errors import InputError
from ...theory.base.records import record_bytes
from ...theory.base.validate import did_you_mean
from ...theory.base.waiting import waiting
from ..experiment.values import parse_tokens
from . import tables as report
from .destinations import output_folder
from .experiments import save
from .flags import AcceptChanges, Overwrite
from .terminal import interruptible, load_torch

if TYPE_CHECKING:
    from ..figures.arguments import FigureState
    from ..figures.result import FigureResult

# Each is a module `compare.figures.figure_<name>` with a `run` made by `arguments.figure`; 7 takes corpora too.
NAMES = ("3a", "3b", "4", "5", "6", "7", "8")


def figure(
    name: str,
    /,
    *,
    size: Literal["small", "paper"] = "small",
    seeds: str = "0-2",
    reasoning: Path | None = None,
    narrative: Path | None = None,
    out: Path | None = None,
    overwrite: Overwrite = False,
    accept_changes: AcceptChanges = False,
) -> int:
    """Compute a figure of the paper, and decide its claims by numbers.

    Interrupted, it keeps its trainings in OUT.state, and the same command takes them up.

    Parameters
    ----------
    name
        3a, 3b, 4, 5, 6, 7 or 8, as the paper counts.
    size
        small takes minutes on two cores, paper the sizes that the paper reports.
    seeds
        Seeds of the runs, such as "0-2" or "0,3,7".
    reasoning
        For figure 7: a text file, one document a line or with blank lines between them, for its generated proofs.
    narrative
        The same for its generated stories.
    out
        Directory for the results; results/figure-NAME if absent.
    overwrite
        Replace a former result.
    accept_changes
        Go on with kept trainings although inputs, sources or versions are others; the provenance says so.
    """
    chosen = parse_seeds(seeds)
    module = figure_module(name)
    folder = output_folder(out if out is not None else Path("results") / f"figure-{name}", overwrite)
    files = {"reasoning": reasoning, "narrative": narrative}
    options = {kind: corpus_file(name, kind, path) for kind, path in files.items() if path is not None}
    with kept_state(folder, accept_changes) as state:
        load_torch()
        with waiting(f"figure {name}") as wait:
            result = import_module(module).run(size, chosen, wait.say, state=state, **options)
        print(f"figure {result.name}: {result.title}\n\n{statistics_table(result)}\n")
        return save(folder, overwrite, figure_writers(result, size, chosen, changes_of(state)))


@contextmanager
def kept_state(folder: Path, accept_changes: bool = False) -> Iterator[FigureState]:
    """Give a folder beside the results where trainings keep their state: their files go when the results are there.

    A figure that was interrupted is taken up where it was when the same command is run again.

    Raises
    ------
    InputError
        If the folder holds anything else, or the state of other trainings.
    """
    from ..figures.arguments import FigureState
    from ..training.checkpoint import CheckpointError

    state = FigureState(folder_destination(folder.with_name(f"{folder.name}.state")), accept_changes)
    make_folder(state.folder)
    remove_leftovers(state.folder)
    if foreign := sorted(path.name for path in state.folder.iterdir() if path.suffix != ".npz"):
        raise InputError(f"{str(state.folder)!r} holds {foreign[0]!r}: remove it, or choose another --out.")
    try:
        with interruptible(lambda: _said(state)):
            yield state
    except CheckpointError as error:
        remedy = f"delete {str(state.folder)!r}, or choose another --out"
        raise InputError(f"the kept trainings do not fit: {error} Here: {remedy}.") from error
    else:
        for path in state.used:
            path.unlink(missing_ok=True)
    finally:
        with suppress(OSError):
            state.folder.rmdir()  # only if nothing is kept


def _said(state: FigureState) -> str | None:
    kept = any(path.suffix == ".npz" for path in state.folder.iterdir())
    if not kept or not promised()[1]:  # nothing is missing: they go
        return None
    return f"trainings are kept in {state.folder}: the same command takes them up"


def changes_of(state: FigureState) -> list[str]:
    """What has changed on the way of a figure's trainings, with the user's consent."""
    from ..training.checkpoint import accepted_changes

    return [f"{path.stem}, {change}" for path in state.used for change in accepted_changes(path)]


def figure_module(name: str) -> str:
    """Return the full name of a figure's module.

    Raises
    ------
    InputError
        If there is no such figure, or this version lacks it.
    """
    if name not in NAMES:
        bare = name.lower().removeprefix("fig").removeprefix("ure").strip(" -_.")
        hint = did_you_mean(bare, NAMES, cutoff=0.5)
        raise InputError(f"there is no figure {name[:40]!r} of the paper here: {hint}")
    if not (Path(__file__).parents[1] / "figures" / f"figure_{name}.py").is_file():
        raise InputError(f"figure {name!r} is not part of this version: choose another, or a newer version.")
    return f"smallinit.compare.figures.figure_{name}"


def parse_seeds(text: str) -> tuple[int, ...]:
    """Read "0-2" or "0,3,7" as seeds.

    Raises
    ------
    InputError
        If the text is anything else, or names a seed twice.
    """
    try:
        seeds = tuple(parse_tokens(text))
    except ValueError as error:
        raise InputError(f"`--seeds` {text[:40]!r} is no list of seeds: write it as 0-2 or 0,3,7.") from error
    if not seeds or len(set(seeds)) < len(seeds):
        raise InputError(f"`--seeds` {text[:40]!r} must name at least one seed, and none twice.")
    return seeds


def corpus_file(name: str, kind: str, path: Path) -> Path:
    """Return the path of a usable corpus.

    Raises
    ------
    InputError
        If the figure takes none, or the file is missing, no text or too short.
    """
    if name != "7":
        raise InputError(f"`--{kind}` is a corpus of figure 7: leave it out for figure {name}.")
    from ...theory.data.corpora.documents import Documents

    try:
        Documents.read(path)
    except (FileNotFoundError, ValueError) as error:
        raise InputError(f"`--{kind}`: {error}") from error
    return path


def statistics_table(result: FigureResult) -> str:
    """Set the claims of a figure, their values per seed and what became of them in columns."""
    rows = [
        [
            "reproduced" if s.reproduced else "NOT reproduced",
            " ".join(f"{value:.4g}" for value in s.values),
            s.claim,
            s.definition + (f" ({s.note})" if s.note else ""),
        ]
        for s in result.statistics
    ]
    return report.aligned(["outcome", "value per seed", "claim", "statistic"], rows)


def figure_writers(
    result: FigureResult, size: str, seeds: tuple[int, ...], changes: Sequence[str] = ()
) -> dict[str, Callable[[Path], Any]]:
    """Map each result file to the function that writes it."""
    import numpy as np

    from ...sim.trajectory.provenance import provenance

    record = {
        "name": result.name,
        "title": result.title,
        "caption": result.caption,
        "statistics": [statistic(s) for s in result.statistics],
        "settings": dict(result.settings),
        "provenance": provenance(figure=result.name, size=size, seeds=list(seeds)),
    }
    if changes:
        record["provenance"]["accepted_changes"] = list(changes)
    text = record_bytes(record)
    return {
        "figure.json": lambda path: path.write_bytes(text),
        "figure.png": lambda path: draw_figure(result, path, record),
        "data.npz": lambda path: write_npz(
            path, {name: np.asarray(value) for name, value in result.arrays.items()}
        ),
    }


def statistic(s: Any) -> dict[str, Any]:
    """Make a statistic JSON-able: a value of null is infinite or undefined, "never" for a time."""
    values = [float(v) if isfinite(v) else None for v in s.values]
    named = {key: getattr(s, key) for key in ("claim", "definition", "note")}
    return named | {"values": values, "reproduced": bool(s.reproduced)}


def draw_figure(result: FigureResult, path: Path, record: Mapping[str, Any]) -> None:
    """Draw all panels to a PNG that names its settings and provenance; equal results give equal files."""
    from matplotlib.figure import Figure

    from ..plots.saving import STYLE, WIDTH, drawing

    described = {key: record[key] for key in ("settings", "provenance")}
    with drawing("default", STYLE):
        canvas = Figure(figsize=(WIDTH, 0.7 * WIDTH), layout="constrained")
        result.draw(canvas)
        text = {
            "Title": f"smallinit figure {result.name}",
            "Description": json.dumps(described, sort_keys=True),
        }
        canvas.savefig(path, dpi=150, metadata={"Software": None, **text})
