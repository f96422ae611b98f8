"""The panels of figure 6."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...plots.marks.palette import BLACK, BLUE, GREY, GROUP_COLOURS, SKY, VERMILION
from .anchors import GROUPS, KINDS
from .curves import band
from .first_layer import BARE, WITH, Arrays, at_early, crossing
from .laid_over import theory_lines

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRIVES = {"": BLUE, BARE: VERMILION}
DOTS = (0, (1, 1))
COLOURS = {"reasoning-anchors": GROUP_COLOURS["reasoning-train"], "memory-anchors": GROUP_COLOURS["memory"]}


def draw_first_layer(figure: Figure, arrays: Arrays) -> None:
    """Draw all panels."""
    figure.set_size_inches(10.5, 5.4)
    axes: Any = figure.subplots(2, 3)
    steps = arrays["step"]
    _attention(axes[0, 0], arrays["attention"][:, 0].mean(axis=0))
    _spectrum(axes[1, 0], arrays)
    (gaps, turn), (losses, angles) = axes[:, 1], axes[:, 2]
    for name, colour in (("largest gap", SKY), ("mean gap", BLACK)):
        band(gaps, steps, arrays[name], colour, name.partition(" ")[0])
    gaps.set(ylabel=r"distance $|A_{ij} - 1/i|$", yscale="log", xlabel="training step")
    gaps.legend(loc="lower right")
    for group in GROUPS:
        band(losses, steps, arrays[f"loss/{group}"], GROUP_COLOURS[group], group)
    theory_lines(losses, arrays, GROUPS)
    bottom = 0.6 * min(arrays[f"loss/{group}"].min() for group in GROUPS)  # room for the legend
    losses.set(xlabel="training step", ylabel="loss (nats)", ylim=(bottom, None))
    losses.legend(loc="lower left")
    _turn(turn, arrays)
    _angles(angles, arrays)
    reached = arrays["early"][arrays["early"] >= 0]
    if reached.size:
        for ax, top in ((gaps, 1.0), (losses, 1.0), (turn, 0.69)):
            when = np.median(steps[reached])
            ax.axvline(when, ymax=top, color=GREY, lw=0.7, ls=(0, (3, 2)), zorder=0)


def _turn(ax: Any, arrays: Arrays) -> None:
    """Cosines of anchors with W_V's direction over steps; without LayerNorm dotted."""
    steps = arrays["step"]
    for kind in KINDS:
        short = kind.replace("-anchors", "")
        band(ax, steps, arrays[f"training/{kind}"].mean(axis=2), COLOURS[kind], f"{short} anchors")
        bare = np.median(arrays[f"{BARE}training/{kind}"].mean(axis=2), axis=0)
        ax.plot(steps, bare, color=COLOURS[kind], ls=DOTS)
        law = np.median(arrays[f"laws/mean/{kind}"].mean(axis=1))
        ax.axhline(law, color=COLOURS[kind], lw=0.8, ls="-.")
    ax.plot([], [], color=GREY, ls=DOTS, label="no LayerNorm")
    ax.plot([], [], color=GREY, lw=0.8, ls="-.", label="label laws")
    ax.axhline(0.0, color=GREY, lw=0.6, zorder=0)
    ax.set(
        xlabel="training step", ylabel="cosine with $W_V$", ylim=(-1.05, 1.9), yticks=np.linspace(-1, 1, 5)
    )
    ax.legend(loc="upper right", ncols=2, fontsize=6)


def _angles(ax: Any, arrays: Arrays) -> None:
    """Cosine of the mean drives against the divergence, a line a seed, up to the early step."""
    for kind, colour in DRIVES.items():
        where = crossing(arrays, kind)[0]
        for i, early in enumerate(arrays[f"{kind}early"]):
            part = slice(None, early + 1 if early >= 0 else None)
            x, y = (arrays[f"{kind}{name}"][i, part] for name in ("divergence", "drive"))
            ax.plot(
                x,
                y,
                "o",
                ms=2.5,
                mfc="none",
                mec=colour,
                mew=0.7,
                label=None if i else f"training, {WITH[kind]}",
            )
            x, y = (arrays[f"{kind}{name}/theory"][i, part] for name in ("divergence", "drive"))
            ax.plot(x, y, color=colour, ls=(0, (4, 1.5)), lw=0.9, label=None if i else "softmax closure")
            if np.isfinite(where[i]):
                ax.axvline(where[i], color=colour, lw=0.5, ls=(0, (3, 2)), zorder=0)
    ax.axhline(0.0, color=GREY, lw=0.6, zorder=0)
    ax.set(
        xlabel="KL(labels || mean output), nats",
        ylabel="cosine of mean drives",
        xscale="log",
        ylim=(-1.0, 1.0),
    )
    ax.set_xticks([0.3, 0.1, 0.03], ["0.3", "0.1", "0.03"])
    ax.minorticks_off()
    ax.invert_xaxis()
    ax.legend(loc="upper right", fontsize=6)


def _spectrum(ax: Any, arrays: Arrays) -> None:
    """Singular values of W_V at the start and at the early moment, median over seeds."""
    moments = [("step 0", GREY, arrays["singular values"][:, 0])]
    for kind, colour in DRIVES.items():
        if (arrays[f"{kind}early"] >= 0).any():
            moments.append((f"early, {WITH[kind]}", colour, at_early(arrays, "singular values", kind)))
    for label, colour, some in moments:
        index = np.arange(1, some.shape[1] + 1)
        ax.plot(index, np.nanmedian(some, axis=0), "o", mfc="none", ms=3.5, mec=colour, label=label)
    ax.set(xlabel="index", ylabel=r"singular values of $W_V$", ylim=(0, None))
    ax.legend(loc="upper right")


def _attention(ax: Any, attention: np.ndarray) -> None:
    """First attention at the start, rows by the query: lines per query over the average as marks."""
    n = len(attention)
    for row in range(n):
        ax.plot(np.arange(1, row + 2), np.full(row + 1, 1 / (row + 1)), color=GREY, lw=0.8)
        ax.plot(np.arange(1, row + 2), attention[row, : row + 1], "o", ms=3, mfc="none", mec=BLUE, mew=0.8)
    ax.plot([], [], color=GREY, lw=0.8, label="average $1/i$")
    ax.plot([], [], "o", ms=3, mfc="none", mec=BLUE, mew=0.8, label="attention at step 0")
    ax.set(xlabel="position $j$ looked at", ylabel="$A_{ij}$, queries $i$ = 1 .. " + str(n), ylim=(0, 1.08))
    ax.legend(loc="upper right")
