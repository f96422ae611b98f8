"""Axes of panels over flow time: limits, ticks that can be read, and the training's steps on top."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import AutoLocator, LogLocator, NullFormatter

from ....sim.trajectory.trajectory import Trajectory
from .axis_words import FLOW_TIME, SUMMED_TIME

LARGEST_RANGE = 1e12  # of a logarithmic axis, from its lower end
DECADES_BELOW = 4  # of the tolerance, that a panel of errors shows at most
FEW = 0.1  # share of the errors, the smallest, that it may leave out
APART = 0.09  # of a panel's width, that counts of steps keep from each other


def limits(ax: Axes, values: Sequence[np.ndarray], log_beyond: float) -> None:
    """Make room for curves; logarithmic if it was before, or if the largest is so many times the smallest or more."""
    asked = ax.get_yscale() == "log"
    seen = np.concatenate([v[np.isfinite(v)] for v in values]) if values else np.empty(0)
    seen = seen[seen > 0.0] if asked else seen
    low, high = (seen.min(), seen.max()) if len(seen) else (float(asked), 1.0)
    high = min(high, LARGEST_RANGE * low) if low > 0 else high  # a diverging run
    if low > 0 and (asked or high / low > log_beyond):
        ax.set_yscale("log")
        room = max((high / low) ** 0.07, 1.01)
        ax.set_ylim(low / room, high * room)
        plain_ticks(ax)
    else:
        room = 0.06 * (high - low or 1.0)
        ax.set_ylim(low - room, high + room)


def plain_ticks(ax: Axes) -> None:
    """Plain numbers at the heights of a logarithmic panel that is too short for powers of ten alone."""
    low, high = ax.get_ylim()
    if high / low < 200:
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 4, 6, 8) if high / low < 15 else (1, 2, 5)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter(NullFormatter())


def error_axis(ax: Axes, errors: Sequence[np.ndarray], tolerance: float) -> None:
    """Make a logarithmic axis from where most of the errors lie, not far below the tolerance, to the largest or 10."""
    seen = np.concatenate([e[np.isfinite(e)] for e in errors] or [np.empty(0)])
    least, most = (np.quantile(seen, FEW), seen.max()) if len(seen) else (tolerance, tolerance)
    high = np.ceil(np.log10(max(most, 3 * tolerance)))
    low = np.floor(np.log10(max(min(least, tolerance / 3), tolerance * 10.0**-DECADES_BELOW)))
    ax.set_yscale("log")
    ax.set_ylim(10.0**low, 10.0 ** min(high, 1))
    ax.yaxis.set_major_locator(LogLocator(numticks=5))
    ax.yaxis.set_minor_formatter(NullFormatter())


def flow_time_words(run: Trajectory) -> str:
    """Label of the axis: what flow time is the sum of, if the rate changes."""
    steps, t = run.steps, np.asarray(run.t)
    if steps is None or len(steps) < 3 or np.allclose(t, t[-1] * np.asarray(steps) / steps[-1], rtol=1e-9):
        return FLOW_TIME
    return SUMMED_TIME


def steps_on_top(ax: Axes, training: Trajectory) -> None:
    """Count the training's steps along the upper edge, if it has some."""
    if training.steps is None or len(training.steps) < 2:
        return
    # By the saved steps, whatever the schedule: of one rate this is a straight line.
    t, steps = np.asarray(training.t), np.asarray(training.steps, dtype=float)
    pair: tuple[Callable[[Any], np.ndarray], Callable[[Any], np.ndarray]] = (
        lambda x: _through(x, t, steps),
        lambda x: _through(x, steps, t),
    )
    top = ax.secondary_xaxis("top", functions=pair)
    top.set_xlabel("training step")
    top.xaxis.set_major_locator(_Apart(lambda counts: _along(ax, pair[1](counts))))


def _along(ax: Axes, t: np.ndarray) -> np.ndarray:
    """Where flow times stand, as a fraction of the panel's width."""
    places = ax.get_xaxis_transform().transform(np.column_stack([t, np.zeros(len(t))]))
    return (places[:, 0] - ax.bbox.x0) / ax.bbox.width


class _Apart(AutoLocator):
    """Round counts, without those that a falling learning rate crowds together."""

    def __init__(self, along: Callable[[np.ndarray], np.ndarray]) -> None:
        super().__init__()
        self._along = along

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        """Return the ticks, from the first on each that is far enough from the one before."""
        ticks = np.asarray(super().tick_values(vmin, vmax), dtype=float)
        kept: list[int] = []
        with np.errstate(all="ignore"):  # a logarithmic panel has no place for a time of 0
            places = self._along(ticks)
        for k, place in enumerate(places):
            if np.isfinite(place) and (not kept or place - places[kept[-1]] >= APART):
                kept.append(k)
        return ticks[kept].tolist()


def _through(x: Any, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """Rising values between points, and straight on beyond the first and the last."""
    x = np.asarray(x, dtype=float)
    first, last = (ys[1] - ys[0]) / (xs[1] - xs[0]), (ys[-1] - ys[-2]) / (xs[-1] - xs[-2])
    within = np.interp(x, xs, ys)
    return within + first * np.minimum(x - xs[0], 0.0) + last * np.maximum(x - xs[-1], 0.0)
