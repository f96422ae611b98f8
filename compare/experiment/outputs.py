"""What an experiment leaves behind: the record of what happened, and the files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...theory.base.records import record_bytes
from .layers import Loaded, to_toml

if TYPE_CHECKING:
    from ...sim.optimizers.step_equations import StepEquations
    from ...sim.trajectory.trajectory import Trajectory
    from ...theory.flows.flow import Flow
    from ..overlays.overlay import Overlay


def summary(
    loaded: Loaded,
    flows: Mapping[str, Flow],
    theory: Mapping[str, Trajectory],
    training: Trajectory | None = None,
    overlays: Mapping[str, Overlay] | None = None,
) -> dict[str, Any]:
    """Collect what happened as JSON-able values; times are flow times, losses weighted means."""
    from ...sim.trajectory.provenance import provenance

    experiment = loaded.experiment
    closures = {name: {"outcome": str(t.outcome), **_end(t)} for name, t in theory.items()}
    for name, flow in flows.items():
        orders = {w: None if not isfinite(o) else o for w, o in flow.residual_order.items()}
        closures[name] |= {"residual_order": orders, "conserved": conserved(as_moved(flow, theory.get(name)))}
    for name, result in (overlays or {}).items():
        closures[name]["overlay"] = result.summary() | {
            "horizon_at_tolerance": {
                "tolerance": experiment.output.tolerance,
                **{w: _number(result.horizon(experiment.output.tolerance, w)) for w in result.theory.weights},
            }
        }
    return {
        "experiment": experiment.model_dump(mode="json", exclude_none=True),
        "closures": closures,
        "training": None if training is None else {"outcome": str(training.outcome), **_end(training)},
        "provenance": provenance(config_hash=experiment.hash),
    }


def _end(trajectory: Trajectory) -> dict[str, Any]:
    from ..overlays.learning_times import learnt_at

    losses = [name for name in trajectory.observable_names if name.partition("/")[0] == "loss"]
    last = {name: _number(trajectory[name][-1]) for name in losses} if len(trajectory.t) else {}
    return {
        "seconds": trajectory.statistics.get("seconds"),
        "t": _number(trajectory.t[-1]) if len(trajectory.t) else None,
        "last": last,
        "learnt": {group: _number(t) for group, t in learnt_at(trajectory).items()},
    }


def _number(value: float) -> float | None:
    """Return a finite float; JSON has no other, None stands for never."""
    return float(value) if isfinite(value) else None


def as_moved(flow: Flow, theory: Trajectory | None) -> Flow | StepEquations:
    """The equations that a theory followed: the flow's, or those of the optimizer that moved it."""
    from ...sim.optimizers.specs import optimizer_of

    spec = None if theory is None else theory.provenance.get("optimizer")
    return flow if spec is None else flow.under(optimizer_of(spec))


def conserved(equations: Flow | StepEquations) -> list[str]:
    """What equations conserve, as text."""
    return [str(i) for i in getattr(equations, "invariants", getattr(equations, "conserved", ()))]


def equations_tex(flows: Mapping[str, Flow | StepEquations]) -> str:
    """Write the equations of all closures as one LaTeX document."""
    parts = [f"\\section*{{Closure {name}}}\n\\[\n{flow.latex()}\n\\]\n" for name, flow in flows.items()]
    head = "\\documentclass{article}\n\\usepackage{amsmath,amssymb}\n\\begin{document}\n"
    return head + "\n".join(parts) + "\\end{document}\n"


def writers(
    loaded: Loaded,
    flows: Mapping[str, Flow],
    theory: Mapping[str, Trajectory],
    training: Trajectory | None = None,
    overlays: Mapping[str, Overlay] | None = None,
) -> dict[str, Callable[[Path], Any]]:
    """Map each result file to the function that writes it; what can fail in computing is done here."""
    report = record_bytes(summary(loaded, flows, theory, training, overlays))
    files: dict[str, Callable[[Path], Any]] = {
        "experiment.toml": _text(to_toml(loaded.experiment)),
        "summary.json": lambda path: path.write_bytes(report),
        **{f"theory-{name}.nc": trajectory.save for name, trajectory in theory.items()},
    }
    if flows:
        files["equations.tex"] = _text(
            equations_tex({n: as_moved(f, theory.get(n)) for n, f in flows.items()})
        )
    if training is not None:
        files["training.nc"] = training.save
    if overlays:
        files["overlay.png"] = lambda path: _draw(overlays, path)
    return files


def _text(content: str) -> Callable[[Path], Any]:
    return lambda path: path.write_text(content, encoding="utf-8")


def most_drawn() -> int:
    """How many closures a picture of an overlay shows: lines of more could not be told apart."""
    from ..plots.drawn_runs import LINES

    return len(LINES)


def _draw(overlays: Mapping[str, Overlay], path: Path) -> None:
    from ..plots.overlay_figure import plot_overlays

    plot_overlays(list(overlays.values())[: most_drawn()], path)
