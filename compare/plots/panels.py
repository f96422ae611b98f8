"""Panels over flow time: losses, norms of weights, relative errors; each draws into any axes and returns them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba

from ...sim.ode.outcome import Status
from ...sim.trajectory.trajectory import Trajectory
from ...theory.base.errors import FieldError
from ...theory.base.validate import did_you_mean, flag, one_or_more, positive
from ...theory.data.frequencies import label_entropy
from .drawable import DrawableOverlay
from .drawn_runs import LINES, Run, Runs, several
from .literal import literal
from .marks.axis_words import weight_words
from .marks.edge_labels import EdgeLabels
from .marks.evenly import evenly
from .marks.flow_axes import error_axis, flow_time_words, limits, steps_on_top
from .marks.palette import GREY, group_colours, on_panel, weight_colours
from .marks.placed_notes import put_note
from .saving import axes_of

MARKERS = ("o", "s", "^", "D", "v")
MOST_MARKERS = 30
MOST_WEIGHTS = 12


def plot_losses(*runs: Run | Sequence[Run], ax: Axes | None = None) -> Axes:
    """Draw losses by group over flow time, theories as lines and trainings as hollow markers.

    A dotted line is the entropy of the labels of a memory group: the loss of a network that has learnt their
    frequencies alone.

    Parameters
    ----------
    *runs : Trajectory or Overlay, or a list of them
        At most four theories and four trainings.
    ax : Axes, optional
        Where to draw; pyplot's current axes if absent.

    Returns
    -------
    Axes
        Losses in nats over flow time = learning rate x step.

    Raises
    ------
    ValueError
        If there is nothing to draw.
    """
    given, ax = Runs.of(runs), axes_of(ax)
    names = loss_names(given)
    groups = [name.partition("/")[2] for name in names]
    colours = on_panel(ax, group_colours(groups))
    for name, group in zip(names, groups, strict=True):
        _curves(ax, given, name, colours[group], MARKERS[names.index(name) % len(MARKERS)])
    _frame(ax, given, names, "loss (nats)", log_beyond=20.0)
    for group, height in _waiting(given.reference, groups).items():
        _plateau(ax, height, colours.get(group, GREY))
    _enter(ax, given)
    _label_ends(ax, given, {n: (literal(g) or "all", colours[g]) for n, g in zip(names, groups, strict=True)})
    return ax


def plot_norms(
    *runs: Run | Sequence[Run], weights: Sequence[str] | None = None, ax: Axes | None = None
) -> Axes:
    """Draw Frobenius norms of the weights over flow time; of deep networks the twelve weights that move most.

    Parameters
    ----------
    *runs : Trajectory or Overlay, or a list of them
        At most four theories and four trainings.
    weights : str or sequence of str, optional
        Which weights.
    ax : Axes, optional
        Where to draw; pyplot's current axes if absent.

    Returns
    -------
    Axes
        Norms over flow time = learning rate x step, each labelled at its end.

    Raises
    ------
    ValueError
        If there is nothing to draw, or no such weight.
    """
    given, ax = Runs.of(runs), axes_of(ax)
    known = given.reference.weights
    given_names = moved_most(known) if weights is None else one_or_more("weights", weights)
    shown = [_known(name, known) for name in given_names]
    colours = on_panel(ax, weight_colours(known))
    names = given.shared(f"norm/{name}" for name in shown)
    for j, name in enumerate(names):
        _curves(ax, given, name, colours[name[5:]], MARKERS[j % len(MARKERS)])
    few = len(names) < len(known)
    _frame(
        ax, given, names, f"Frobenius norm, {len(names)} of {len(known)}" if few else "Frobenius norm", 0.0
    )
    _name_blow_ups(ax, given)
    _enter(ax, given)
    _label_ends(ax, given, {name: (weight_words(name[5:]), colours[name[5:]]) for name in names})
    return ax


def plot_errors(
    overlays: DrawableOverlay | Sequence[DrawableOverlay],
    names: str | Sequence[str] | None = None,
    ax: Axes | None = None,
    tolerance: float = 0.05,
    labels: bool = True,
) -> Axes:
    """Draw relative errors of theories against their training over flow time, on a logarithmic scale.

    Parameters
    ----------
    overlays : Overlay or sequence of Overlay
        At most four.
    names : str or sequence of str, optional
        Keys of `Overlay.relative_error`: weights, whose errors are those of their displacements, or "loss/GROUP"; if
        absent the weights, of deep networks the twelve that move most.
    ax : Axes, optional
        Where to draw; pyplot's current axes if absent.
    tolerance : float
        Error that is marked.
    labels : bool
        Whether curves are named at their ends, the first theory's; needless below a panel of the same names.

    Returns
    -------
    Axes
        Errors over flow time = learning rate x step.

    Raises
    ------
    ValueError
        If there are too many, or an overlay has no such error.
    """
    some = several(overlays)
    given, ax = Runs.of(some), axes_of(ax)
    tolerance, labels = positive("tolerance", tolerance), flag("labels", labels)
    weights = given.reference.weights
    names = moved_most(weights) if names is None else one_or_more("names", names)
    groups = group_colours(n.partition("/")[2] for n in names if n not in weights)
    colours = on_panel(
        ax, weight_colours(weights) | {f"loss/{g}" if g else "loss": c for g, c in groups.items()}
    )
    drawn = []
    for name in names:
        for overlay, line in zip(some, LINES, strict=False):
            if name not in overlay.relative_error:
                raise FieldError(
                    "names", f"{name!r} has no relative error: {did_you_mean(name, overlay.relative_error)}"
                )
            error = overlay.relative_error[name]
            drawn.append(np.where(error > 0, error, np.nan))  # no logarithm of the start's exact zero
            ax.plot(overlay.t, drawn[-1], ls=line, color=colours.get(name, GREY), lw=1.0, zorder=3)
    ax.axhline(tolerance, color=GREY, lw=0.8, ls=(0, (2, 2)), zorder=1)
    _enter(ax, Runs(given.theories, ()))
    ends = [(tolerance, f"{tolerance:.3g}" if tolerance < 0.01 else f"{tolerance:.0%}", GREY)]
    for name in names if labels else ():
        known = some[0].relative_error[name]
        words = weight_words(name) if name in weights else literal(name.partition("/")[2]) or "all"
        ends += [(float(end), words, colours.get(name, GREY)) for end in known[np.isfinite(known)][-1:]]
    EdgeLabels(ax, ends)
    error_axis(ax, drawn, tolerance)
    ax.set_ylabel(r"rel. error of $\Delta W$" if names and names[0] in weights else "relative error")
    _time_axis(ax, given)
    return ax


def loss_names(runs: Runs) -> list[str]:
    """Losses of the groups that all runs have, the loss of everything where there are none."""
    groups = [n for n in runs.reference.observable_names if n.startswith("loss/")]
    found = runs.shared(groups) or runs.shared(["loss"])
    if not found:
        raise FieldError("runs", "have no losses: load them with load_trajectory(path, model=..., data=...).")
    return found


def moved_most(weights: Mapping[str, np.ndarray]) -> list[str]:
    """Names of the weights (n_t, rows, cols) that are farthest from their start at the end, in the network's order."""
    distance = {name: float(np.linalg.norm(w[-1] - w[0])) for name, w in weights.items()}
    most = sorted(distance, key=distance.__getitem__, reverse=True)[:MOST_WEIGHTS]
    return [name for name in weights if name in most]


def finish(above: Axes, below: Axes, overlays: Sequence[DrawableOverlay]) -> None:
    """Join a panel and that of its errors below: one axis of flow time, with the training's steps on top."""
    training = overlays[0].training
    for ax in (above, below):
        _time_axis(ax, Runs.of(overlays))
    above.tick_params(labelbottom=False)
    above.set_xlabel("")
    steps_on_top(above, training)


def letter(ax: Axes, name: str) -> None:
    """Name a panel."""
    ax.annotate(
        name, (0, 1), (-28, 14), "axes fraction", "offset points", ha="left", va="bottom", fontsize="large",
        weight="bold",
    )  # fmt: skip


def blow_up_time(run: Trajectory) -> float | None:
    """Flow time at which a theory blows up, None if it does not."""
    return run.outcome.t if run.outcome.status is Status.BLOW_UP else None


def _enter(ax: Axes, runs: Runs) -> None:
    """Let `ax.legend()` say what lines and markers are; the colours are named at the edge."""
    for line in runs.legend_lines():
        ax.add_line(line)


def _known(name: str, weights: Mapping[str, Any]) -> str:
    if name not in weights:
        raise FieldError("weights", f"has no {name!r} among them: {did_you_mean(name, weights)}")
    return name


def _curves(ax: Axes, runs: Runs, name: str, colour: str, marker: str) -> None:
    for run, line in zip(runs.theories, LINES, strict=False):
        ax.plot(run.t, run[name], ls=line, color=colour, zorder=3)
    hollow = {"marker": marker, "mfc": "none", "mec": to_rgba(colour, 0.8), "ms": 3.2, "mew": 0.7}
    for run, line in zip(runs.trainings, LINES, strict=False):
        few = evenly(len(run.t), MOST_MARKERS)
        if runs.theories:
            ax.plot(run.t[few], run[name][few], ls="", zorder=2.5, **hollow)
        else:
            ax.plot(run.t, run[name], ls=line, color=colour, zorder=2.5)
    for run in runs.all:
        if not run.outcome.success and len(run.t):
            ax.plot(run.t[-1], run[name][-1], "x", color=colour, ms=5, zorder=4)


def _frame(ax: Axes, runs: Runs, names: Sequence[str], what: str, log_beyond: float) -> None:
    """Limits from the data that one reads: a theory on its way to a blow-up would flatten everything else."""
    ended = [run for run in runs.theories if run.outcome.success] or runs.theories
    limits(ax, [run[name] for run in runs.trainings or ended for name in names], log_beyond)
    ax.set_ylabel(what)
    _time_axis(ax, runs)


def _time_axis(ax: Axes, runs: Runs) -> None:
    reference = runs.reference
    end = float(max(run.t[-1] for run in (runs.trainings or runs.theories) if len(run.t)))
    if ax.get_xscale() == "log":
        begin = min((t for run in runs.all for t in run.t[1:2]), default=end)  # the start has no place there
        if 0.0 < begin < end:
            ax.set_xlim(begin, end)
    elif end > 0.0:
        ax.set_xlim(-0.015 * end, 1.015 * end)
    ax.set_xlabel(flow_time_words(reference))
    for run in runs.theories:
        if (t := blow_up_time(run)) is not None and t <= end:
            ax.axvline(t, color=GREY, lw=0.6, zorder=0)


def _name_blow_ups(ax: Axes, runs: Runs) -> None:
    end = ax.get_xlim()[1]
    for run in runs.theories:
        if (t := blow_up_time(run)) is not None and t <= end:
            text = f"{literal(run.label)} blows up at $t$ = {t:.4g}"
            put_note(
                ax,
                text,
                [(t, y, left) for y in (0.02, 0.92, 0.12, 0.82, 0.5) for left in (True, False)],
                GREY,
            )


def _label_ends(ax: Axes, runs: Runs, labels: Mapping[str, tuple[str, str]]) -> None:
    """Name every curve where the run that is read off ends within the panel."""
    run = runs.reference
    entries = []
    for name, (text, colour) in labels.items():
        known = run[name][np.isfinite(run[name])]
        entries.append((float(known[-1]) if len(known) else 0.0, text, colour))
    EdgeLabels(ax, entries)


def _waiting(run: Trajectory, groups: Sequence[str]) -> dict[str, float]:
    """Label entropy of the groups that wait there: those named memory, or else the one whose loss ends highest.

    One that all groups share is nobody's: its name is "".
    """
    model, data = run.model, run.data
    if data is None or (model is not None and (model.loss != "cross_entropy" or model.per_position)):
        return {}
    known = [g for g in groups if g in data.group_names]
    memory = [g for g in known if g.startswith("memory")]
    waiting = memory or sorted(known, key=lambda g: run[f"loss/{g}"][-1])[-1:]
    heights = {g: label_entropy(data, g) for g in known}
    if len(known) > 1 and np.ptp(list(heights.values())) < 1e-9 * max(heights.values()):
        return {"": heights[known[0]]}
    return {g: heights[g] for g in waiting}


def _plateau(ax: Axes, height: float, colour: str) -> None:
    bottom, top = ax.get_ylim()
    if not bottom <= height <= top:  # no loss has come near it
        return
    ax.axhline(height, color=colour, lw=0.6, ls=(0, (1, 2)), zorder=1)
    low, high = ax.get_xlim()
    at = ax.transAxes.inverted().transform(ax.transData.transform((low, height)))[1]
    starts = [low + part * (high - low) for part in (0.0, 0.05, 0.1, 0.2, 0.4)]
    places = [(x, y, x < high) for y in (at, at - 0.085) for x in (high, *starts)]
    put_note(ax, f"label entropy {height:.2f}", places, colour)
