"""The panels of the overlay figure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from ...theory.base.arrays import cosine_matrix
from .drawable import DrawableOverlay, DrawableParts
from .literal import literal

# Okabe and Ito's palette: told apart under every common colour blindness; one colour per quantity.
GROUP_COLOURS = {"memory": "#D55E00", "reasoning-train": "#0072B2", "reasoning-test": "#009E73"}
WEIGHT_COLOURS = {"W_E": "#000000", "W_in": "#CC79A7", "W_out": "#E69F00"}
OTHER_COLOURS = ("#56B4E9", "#CC79A7", "#E69F00", "#000000")
LINES = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (4, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v")
GREY = "#777777"
MOST_MARKERS = 30
MOST_TOKENS = 60
MOST_WEIGHTS, FEW_WEIGHTS = 8, 4
ROOM = 0.45  # of the height of the curves, for a legend below them
LARGEST_RANGE = 1e12
N_TIMES = 3


def losses(above: Axes, below: Axes, overlays: Sequence[DrawableOverlay]) -> None:
    """Losses by group with the memory plateau, their relative errors below."""
    training = overlays[0].training
    names = [name for name in training.observable_names if name.startswith("loss/")] or ["loss"]
    names = [name for name in names if all(name in o.relative_error for o in overlays)]
    colours = _colours((name.partition("/")[2] for name in names), GROUP_COLOURS)
    for j, name in enumerate(names):
        group = name.partition("/")[2]
        _quantity(
            above, below, overlays, name, name, colours[group], MARKERS[j % len(MARKERS)], group or "all"
        )
        if group.startswith("memory"):
            _plateau(above, label_entropy(training.data, group), colours[group])
    _limits(above, [training[name] for name in names], log_beyond=20.0)
    above.set_ylabel("loss (nats)")
    below.set_ylabel("relative error")
    _legend(above, "lower left")


def norms(above: Axes, below: Axes, overlays: Sequence[DrawableOverlay]) -> None:
    """Norms of the weights, of deep networks those that move most; relative errors of their displacements below."""
    training = overlays[0].training
    shown = moved_most(training.weights)
    colours = _colours(shown, WEIGHT_COLOURS)
    for j, name in enumerate(shown):
        _quantity(
            above, below, overlays, f"norm/{name}", name, colours[name], MARKERS[j % len(MARKERS)], name
        )
    _limits(above, [training[f"norm/{name}"] for name in shown], log_beyond=0.0)
    gone = [o for o in overlays if o.blow_up_time is not None and o.blow_up_time <= training.t[-1]]
    for row, overlay in enumerate(gone):
        text = f"{literal(overlay.theory.label)} blows up at $t$ = {overlay.blow_up_time:.4g}"
        _note(
            above,
            text,
            (overlay.blow_up_time or 0.0, 0.02 + 0.07 * row),
            ("data", "axes fraction"),
            GREY,
            left=True,
        )
    few = len(shown) < len(training.weights)
    above.set_ylabel(f"Frobenius norm, {len(shown)} of {len(training.weights)}" if few else "Frobenius norm")
    below.set_ylabel(r"rel. error of $\Delta W$")
    if len(shown) > FEW_WEIGHTS:  # a column of them would cover the curves
        _make_room(above)
    _legend(above, "lower right", columns=1 if len(shown) <= FEW_WEIGHTS else 3)


def moved_most(weights: Mapping[str, np.ndarray]) -> list[str]:
    """Names of the weights (n_t, rows, cols) that are farthest from their start at the end, in the network's order."""
    distance = {name: float(np.linalg.norm(w[-1] - w[0])) for name, w in weights.items()}
    most = sorted(distance, key=distance.__getitem__, reverse=True)[:MOST_WEIGHTS]
    return [name for name in weights if name in most]


def parts(ax: Axes, split: DrawableParts, name: str) -> None:
    """Sizes of the parts of a decomposition, what is left, and the whole distance, relative to training."""
    t, whole = split.t, split.distance(name) / np.where(split.scale[name] > 0, split.scale[name], np.inf)
    ax.plot(t, np.where(whole > 0, whole, np.nan), color=GREY, lw=2.4, alpha=0.5, label="theory to training")
    for part, colour in zip(split.parts, OTHER_COLOURS, strict=False):
        size = split.size(part, name)
        if size.any():
            ax.plot(t, np.where(size > 0, size, np.nan), color=colour, label=part)
    left = split.remainder(name) * whole
    ax.plot(t, np.where(left > 0, left, np.nan), color=GREY, ls=(0, (1, 1)), label="not explained")
    what = literal(name) if name.partition("/")[0] == "loss" else rf"$\Delta$ {literal(name)}"
    time = r"flow time $t$ = learning rate $\times$ step"
    ax.set(yscale="log", xlabel=time, ylabel=f"relative to {what} of training")


def finish(above: Axes, below: Axes, overlays: Sequence[DrawableOverlay], tolerance: float) -> None:
    """Draw what both columns share: tolerance, blow-ups, axes."""
    training = overlays[0].training
    end = float(training.t[-1])
    below.axhline(tolerance, color=GREY, lw=0.8, ls=(0, (2, 2)), zorder=1)
    _note(below, f"{tolerance:.0%}", (0, tolerance), ("axes fraction", "data"), GREY, left=True)
    for overlay in overlays:
        if (t := overlay.blow_up_time) is not None and t <= end:
            for ax in (above, below):
                ax.axvline(t, color=GREY, lw=0.6, zorder=0)
    below.set_yscale("log")
    below.set_ylim(*_decades(below, tolerance))
    below.yaxis.set_major_locator(LogLocator(numticks=5))
    below.yaxis.set_minor_formatter(NullFormatter())
    below.set_xlabel(_flow_time(training))
    above.tick_params(labelbottom=False)
    above.set_xlim(0.0 - 0.015 * end, 1.015 * end)
    _steps_on_top(above, training)


def style_legend(figure: Figure, overlays: Sequence[DrawableOverlay]) -> None:
    """Say once, above all panels, what lines and markers are."""
    handles = [
        Line2D([], [], color=GREY, ls=line, label=f"theory: {literal(overlay.theory.label)}")
        for overlay, line in zip(overlays, LINES, strict=False)
    ]
    marker = {"marker": "o", "ls": "", "mfc": "none", "mec": GREY, "ms": 3.5, "mew": 0.8}
    handles.append(Line2D([], [], label=f"training: {literal(overlays[0].training.label)}", **marker))
    figure.legend(
        handles=handles, loc="upper center", ncols=len(handles), handlelength=2.6, borderaxespad=0.2
    )


def letter(ax: Axes, name: str) -> None:
    """Name a panel."""
    ax.annotate(
        name,
        (0, 1),
        (-28, 14),
        "axes fraction",
        "offset points",
        ha="left",
        va="bottom",
        fontsize=9,
        weight="bold",
    )


def anchor_tokens(overlay: DrawableOverlay) -> dict[str, np.ndarray]:
    """Token groups for the cosine matrices: anchors if there are any, else all groups that fit."""
    data = overlay.training.data
    if data is None or "W_E" not in overlay.training.weights:
        return {}
    groups = {name: np.asarray(tokens) for name, tokens in data.token_groups.items() if len(tokens)}
    anchors = {name: tokens for name, tokens in groups.items() if "anchor" in name}
    chosen = anchors or groups
    return chosen if sum(map(len, chosen.values())) <= MOST_TOKENS else {}


def cosine_row(
    figure: Figure,
    grid: GridSpec,
    overlays: Sequence[DrawableOverlay],
    tokens: Mapping[str, np.ndarray],
    times: Sequence[float] | None,
) -> None:
    """Cosines between embeddings at three times, theory beside training, under one colour bar."""
    overlay = max(overlays, key=lambda o: o.t[-1])
    wanted = times if times is not None else [part * overlay.t[-1] for part in (0.25, 0.5, 1.0)]
    theory, training = overlay.alignment.weights("W_E")
    rows = np.concatenate(list(tokens.values()))
    axes: list[Axes] = []
    for column, time in enumerate(wanted):
        i = int(np.argmin(np.abs(overlay.t - time)))
        pair = grid[0, column].subgridspec(1, 2, wspace=0.06)
        name = overlay.theory.label.partition(",")[0]  # what moved it stands in the legend
        for side, (states, label) in enumerate(((theory, name), (training, "training"))):
            ax = figure.add_subplot(pair[0, side])
            ax.imshow(cosine_matrix(states[i, rows]), vmin=-1, vmax=1, cmap="RdBu_r")
            ax.set_title(literal(label), pad=2, fontsize=6.5)
            _block_ticks(ax, tokens, left=not axes)
            axes.append(ax)
        axes[-1].annotate(
            f"$t$ = {overlay.t[i]:.4g}",
            (-0.03, 1),
            (0, 13),
            "axes fraction",
            "offset points",
            ha="center",
            va="bottom",
        )
    letter(axes[0], "c")
    box = axes[-1].get_position()
    bar = figure.colorbar(
        axes[-1].images[0], cax=figure.add_axes((0.93, box.y0, 0.012, box.height)), ticks=(-1, 0, 1)
    )
    bar.set_label("cosine", labelpad=1)


def label_entropy(data: Any, group: str) -> float:
    """Entropy (nats) of a group's labels: the loss of a network that has learnt only their frequencies."""
    rows = np.asarray(data.groups) == group
    law = np.bincount(data.labels[rows], weights=data.weights[rows])
    law = law[law > 0] / law.sum()
    return float(-(law * np.log(law)).sum())


def _quantity(
    above: Axes,
    below: Axes,
    overlays: Sequence[DrawableOverlay],
    name: str,
    error: str,
    colour: str,
    marker: str,
    label: str,
) -> None:
    training = overlays[0].training
    few = np.unique(np.linspace(0, len(training.t) - 1, MOST_MARKERS).round().astype(int))
    hollow = {"ls": "", "marker": marker, "mfc": "none", "mec": to_rgba(colour, 0.8), "ms": 3.2, "mew": 0.7}
    for overlay, line in zip(overlays, LINES, strict=False):
        theory = overlay.theory
        above.plot(theory.t, theory[name], ls=line, color=colour, zorder=3)
        residual = overlay.relative_error[error]
        seen = np.where(residual > 0, residual, np.nan)  # no logarithm of the start's exact zero
        below.plot(overlay.t, seen, ls=line, color=colour, lw=1.0, zorder=3)
        if not theory.outcome.success:
            above.plot(theory.t[-1], theory[name][-1], "x", color=colour, ms=5, zorder=4)
    above.plot(training.t[few], training[name][few], zorder=2.5, label=literal(label), **hollow)
    if not training.outcome.success:
        above.plot(training.t[-1], training[name][-1], "x", color=colour, ms=5, zorder=4)


def _colours(names: Iterable[str], known: Mapping[str, str]) -> dict[str, str]:
    free = cycle(OTHER_COLOURS)
    return {name: known.get(name) or next(free) for name in names}


def _plateau(ax: Axes, height: float, colour: str) -> None:
    ax.axhline(height, color=colour, lw=0.6, ls=(0, (1, 2)), zorder=1)
    _note(ax, f"label entropy {height:.2f}", (1, height), ("axes fraction", "data"), colour)


def _note(
    ax: Axes, text: str, xy: tuple[float, float], coords: tuple[str, str], colour: str, left: bool = False
) -> None:
    place = {"ha": "left" if left else "right", "va": "bottom", "color": colour, "fontsize": 6}
    ax.annotate(text, xy, (2 if left else -2, 1), coords, "offset points", **place)


def _make_room(ax: Axes) -> None:
    """Lower the bottom of a panel, so that a legend stands below the curves."""
    low, high = ax.get_ylim()
    logarithmic = ax.get_yscale() == "log"
    ax.set_ylim(bottom=low * (low / high) ** ROOM if logarithmic else low - ROOM * (high - low))


def _legend(ax: Axes, corner: Literal["lower left", "lower right"], columns: int = 1) -> None:
    box: dict[str, Any] = {"frameon": True, "framealpha": 1.0, "edgecolor": "none", "borderpad": 0.2}
    ax.legend(loc=corner, ncols=columns, handlelength=1.2, labelspacing=0.3, **box)


def _limits(ax: Axes, values: Sequence[np.ndarray], log_beyond: float) -> None:
    # From the training alone: a theory on its way to a blow-up would flatten everything else.
    seen = np.concatenate([v[np.isfinite(v)] for v in values])
    low, high = (seen.min(), seen.max()) if len(seen) else (0.0, 1.0)
    high = min(high, LARGEST_RANGE * low) if low > 0 else high  # a diverging run
    if low > 0 and high / low > log_beyond:
        ax.set_yscale("log")
        room = (high / low) ** 0.07
        ax.set_ylim(low / room, high * room)
        if high / low < 100:  # too short for powers of ten alone
            ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 4, 6, 8) if high / low < 10 else (1, 2, 5)))
            ax.yaxis.set_major_formatter("{x:g}")
            ax.yaxis.set_minor_formatter(NullFormatter())
    else:
        room = 0.06 * (high - low or 1.0)
        ax.set_ylim(low - room, high + room)


def _decades(ax: Axes, tolerance: float) -> tuple[float, float]:
    curves = [np.asarray(line.get_ydata(), dtype=float) for line in ax.get_lines()]
    highest = max((float(y[np.isfinite(y)].max()) for y in curves if np.isfinite(y).any()), default=tolerance)
    high = np.ceil(np.log10(max(highest, 3 * tolerance)))
    return 10.0 ** np.floor(np.log10(tolerance / 100)), 10.0 ** min(high, 1)


def _flow_time(training: Any) -> str:
    """Label of the axis: what flow time is the sum of, if the rate changes."""
    steps, t = training.steps, np.asarray(training.t)
    if steps is None or len(steps) < 3 or np.allclose(t, t[-1] * np.asarray(steps) / steps[-1], rtol=1e-9):
        return r"flow time $t$ = learning rate $\times$ step"
    return r"flow time $t$ = sum of the learning rates"


def _steps_on_top(ax: Axes, training: Any) -> None:
    if training.steps is None or len(training.steps) < 2:
        return
    # By the saved steps, whatever the schedule: of one rate this is a straight line.
    t, steps = np.asarray(training.t), np.asarray(training.steps, dtype=float)
    top = ax.secondary_xaxis(
        "top", functions=(lambda x: _through(x, t, steps), lambda x: _through(x, steps, t))
    )
    top.set_xlabel("training step")


def _through(x: Any, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """Rising values between points, and straight on beyond the first and the last."""
    x = np.asarray(x, dtype=float)
    first, last = (ys[1] - ys[0]) / (xs[1] - xs[0]), (ys[-1] - ys[-2]) / (xs[-1] - xs[-2])
    within = np.interp(x, xs, ys)
    return within + first * np.minimum(x - xs[0], 0.0) + last * np.maximum(x - xs[-1], 0.0)


def _block_ticks(ax: Axes, tokens: Mapping[str, np.ndarray], left: bool) -> None:
    ends = np.cumsum([len(group) for group in tokens.values()])
    centres = ends - np.array([len(group) for group in tokens.values()]) / 2 - 0.5
    names = [literal(name.removesuffix("-anchors")) for name in tokens]
    for end in ends[:-1]:
        ax.axhline(end - 0.5, color="black", lw=0.6)
        ax.axvline(end - 0.5, color="black", lw=0.6)
    ax.set_xticks(centres, names, fontsize=5.5)
    ax.set_yticks(centres, names if left else [], fontsize=5.5, rotation=90, va="center")
    ax.tick_params(length=0, pad=2)
