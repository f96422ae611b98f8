"""The panels of figure 8, and the moment at which one of them is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ....theory.base.crossings import first_crossing, first_reached
from ...plots.marks.palette import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILION
from .curves import band
from .laid_over import theory_handles, theory_lines
from .memory_task import FIRST, N_RANGES, WIDTH, range_laws

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Arrays = dict[str, np.ndarray]
WITHIN = 0.9  # probability within the range from which on a group's range counts as learnt
KNOWN = 0.3  # accuracy from which on labels count as learnt: more than label laws give, the narrowest has five labels
RANGES = tuple(f"memory {i + 1}" for i in range(N_RANGES))
COLOURS = (BLUE, GREEN, ORANGE, VERMILION)
WINDOW_COLOURS = {"uniform": VERMILION, "window": PURPLE}


def learnt(arrays: Arrays) -> np.ndarray:
    """Saved points at which all ranges are first learnt (n_seeds,); -1 if never."""
    return first_reached(stacked(arrays, "inside").min(axis=0) > WITHIN)


def stacked(arrays: Arrays, name: str) -> np.ndarray:
    """Curves of the four groups (groups, n_seeds, n_t, ...)."""
    ends = RANGES if name == "loss" else range(1, N_RANGES + 1)
    return np.array([arrays[f"{name}/{end}"] for end in ends])


def draw_memory(figure: Figure, arrays: Arrays, early_points: int) -> None:
    """Draw all panels; theory is laid over the first `early_points` saved steps."""
    figure.set_size_inches(10.5, 5.4)
    axes: Any = figure.subplots(2, 3)
    losses, early, inside, accuracy, outputs, windows = axes.ravel()
    steps, points = arrays["step"], learnt(arrays)
    for j, colour in enumerate(COLOURS, start=1):
        label = f"{FIRST} .. {FIRST - 1 + WIDTH * j}"
        for ax, name in (
            (losses, f"loss/{RANGES[j - 1]}"),
            (early, f"loss/{RANGES[j - 1]}"),
            (inside, f"inside/{j}"),
            (accuracy, f"accuracy/{j}"),
        ):
            band(ax, steps, arrays[name], colour, label)
        for ax in (losses, early):
            ax.axhline(np.log(WIDTH * j), color=colour, lw=0.8, ls=(0, (1, 1.5)), zorder=0)
    theory_lines(early, arrays, RANGES)
    losses.set(ylabel="loss (nats)")
    early.set(ylabel="loss (nats), early", xlim=(0, steps[early_points - 1]), ylim=(2.5, None))
    early.legend(*theory_handles(early), loc="upper right", fontsize=6)
    inside.legend(title="labels", loc="lower right")
    inside.set(ylabel="probability within the range", ylim=(0, 1.03))
    accuracy.set(ylabel="accuracy", ylim=(-0.03, 1.03))
    for ax in (losses, early, inside, accuracy):
        ax.set_xlabel("training step")
        if (points >= 0).any():
            ax.axvline(np.median(steps[points[points >= 0]]), color=GREY, lw=0.7, ls=(0, (3, 2)), zorder=0)
    _outputs(outputs, arrays, points)
    _windows(windows, arrays)


def _outputs(ax: Any, arrays: Arrays, points: np.ndarray) -> None:
    """Mean outputs over label laws when the ranges are learnt, median over the seeds that come to it."""
    reached = np.flatnonzero(points >= 0)
    for output, law, colour in zip(
        stacked(arrays, "output"), range_laws(arrays["output/1"].shape[2]), COLOURS, strict=True
    ):
        tokens = np.arange(FIRST - 10, min(FIRST + WIDTH * N_RANGES + 10, len(law)))
        if reached.size:
            middle = np.median(output[reached, points[reached]], axis=0)
            ax.plot(tokens, middle[tokens], "o", ms=2, mfc="none", mec=colour, mew=0.6)
        ax.step(tokens, law[tokens], color=colour, lw=0.9, where="mid")
    ax.plot([], [], color=GREY, lw=0.9, label="label law (theory)")
    ax.plot([], [], "o", ms=2, mfc="none", mec=GREY, mew=0.6, label="training")
    ax.set(xlabel="label", ylabel="mean output at the dashed line", ylim=(None, 1.3 * ax.get_ylim()[1]))
    ax.legend(loc="upper right")


def _windows(ax: Any, arrays: Arrays) -> None:
    for kind, colour in WINDOW_COLOURS.items():
        steps = arrays["step/window"]
        band(ax, steps, arrays[f"loss/{kind}"], colour, f"{kind} labels")
        ax.axhline(arrays[f"entropy/{kind}"].mean(), color=colour, lw=0.8, ls=(0, (1, 1.5)), zorder=0)
        known = np.median(first_crossing(steps, arrays[f"accuracy/{kind}"], KNOWN, rising=True))
        if np.isfinite(known):
            ax.axvline(known, color=colour, lw=0.7, ls=(0, (3, 2)), zorder=0)
    ax.set(xlabel="training step", ylabel="memory loss (nats)", ylim=(0, None))
    ax.legend(loc="lower left")
