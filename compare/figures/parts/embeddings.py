"""Embeddings of one run over time, at an early and at the last moment, in training and under the softmax closure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ....sim.integration.integrate import integrate
from ....theory.base.arrays import cosine_matrix, off_diagonal
from ....theory.base.crossings import first_reached
from ....theory.flows.flow import derive
from ...plots.marks.palette import BLUE, VERMILION
from ...training.train import train
from ..result import listed
from .anchors import (
    cosine_bar,
    distances,
    escape,
    rank_correlation,
    show_cosines,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ....theory.data.dataset import Dataset
    from ....theory.models.model import Model

LATE = "late"
SAVED = 61
SIDES = {"training": "training", "theory": "softmax closure"}
WITHIN = 0.1  # of a cosine: how near theory must come
# Spearman correlation of distance and cosine below which tokens lie in the order of their numbers.
ORDERED = -0.9
RANK = "Spearman correlation of the distance of two reasoning anchors with their cosine"


def said(parts: Mapping[str, float]) -> str:
    """Say when the moments are."""
    when = "; ".join(f"{name}: when {part:.0%} of it is gone" for name, part in parts.items())
    return (
        f"moments are the saved times next to those of the loss of reasoning-train. {when}; {LATE}: the end"
    )


@dataclass(frozen=True, eq=False)
class Embeddings:
    """W_E of one seed at the saved times.

    Attributes
    ----------
    t : ndarray, shape (n_t,)
        Flow times.
    loss : ndarray, shape (n_t,)
        Trained loss of reasoning-train.
    parts : mapping
        Moment -> part of the starting loss that is gone by then. "late" is the end.
    training, theory : ndarray, shape (n_t, d_vocab, d_model)
        Trained, and under the softmax closure from the same start.
    left : float
        Flow time at which the closure's pre-activations left the range where its activation is good.
    higher : ndarray, shape (n_t, d_vocab, d_model), optional
        Under a closure that keeps more of the activation, up to the moments before the end; nan where it has blown up.
    """

    t: np.ndarray
    loss: np.ndarray
    parts: Mapping[str, float]
    training: np.ndarray
    theory: np.ndarray
    left: float = np.inf
    higher: np.ndarray | None = None

    def place(self, moment: str) -> int | None:
        """Return which saved time a moment is, before the last unless it is "late"; None if there is none."""
        if moment == LATE:
            return len(self.t) - 1
        time = escape(self.t, self.loss, self.parts[moment])
        return min(int(np.argmin(np.abs(self.t - time))), len(self.t) - 2) if np.isfinite(time) else None

    def time(self, moment: str) -> float:
        """Flow time of a moment; nan if there is none."""
        return float("nan") if (k := self.place(moment)) is None else float(self.t[k])

    def at(self, side: str, moment: str) -> np.ndarray:
        """Embeddings (d_vocab, d_model) of "training" or "theory" at a moment; nan if there is none."""
        values, k = getattr(self, side), self.place(moment)
        return np.full(values.shape[1:], np.nan) if k is None else values[k]

    def cosines(self, side: str, moment: str, tokens: np.ndarray, moved: bool = False) -> np.ndarray:
        """Cosines (m, m) between the embeddings of some tokens, or if `moved` between what training added to them."""
        rows = self.at(side, moment)
        return _cosines((rows - self.training[0] if moved else rows)[tokens])

    def order(self, moment: str, tokens: np.ndarray, moved: bool = False) -> float:
        """Rank correlation of the distance of two tokens in number with the cosine of their trained embeddings."""
        return _order(self.cosines("training", moment, tokens, moved))

    def off(self, moment: str, tokens: np.ndarray, theory: str = "theory") -> float:
        """Largest difference of a cosine between a closure, "theory" or "higher", and training."""
        pair = (self.cosines(side, moment, tokens) for side in ("training", theory))
        return float(np.abs(np.subtract(*pair)).max())

    def orders(self, side: str, tokens: np.ndarray, moved: bool = False) -> np.ndarray:
        """`order` at all saved times (n_t,); what has not moved yet has none."""
        start = self.training[0] if moved else 0.0
        return np.array([_order(_cosines((rows - start)[tokens])) for rows in getattr(self, side)])

    def horizon(self, tokens: np.ndarray) -> float:
        """Last saved flow time until which every cosine of the closure is within `WITHIN` of training's."""
        pairs = zip(self.theory, self.training, strict=True)
        off = [np.abs(_cosines(a[tokens]) - _cosines(b[tokens])).max() for a, b in pairs]
        beyond = first_reached(np.array(off) >= WITHIN)
        return float(self.t[max(beyond - 1, 0) if beyond >= 0 else -1])


def _cosines(rows: np.ndarray) -> np.ndarray:
    known = np.isfinite(rows).all() and rows.any(axis=1).all()
    return cosine_matrix(rows) if known else np.full((len(rows), len(rows)), np.nan)


def _order(cosines: np.ndarray) -> float:
    if np.isnan(cosines).any():
        return float("nan")
    return rank_correlation(distances(len(cosines)), off_diagonal(cosines))


def embeddings(
    model: Model, data: Dataset, start: Mapping[str, np.ndarray], rate: float, end: float,
    parts: Mapping[str, float], higher: str = "", **state: Any,
) -> Embeddings:  # fmt: skip
    """Train with full-batch GD to flow time `end` and integrate the softmax closure to the same times.

    A `higher` closure, if named, is integrated up to the moments before the end.

    Cosines are wanted to a few hundredths: single precision and a tolerance of 1e-3 leave errors far below. `state`
    is what `resumable` gives.
    """
    steps = round(end / rate)
    saved = min(SAVED, steps + 1)
    run = train(model, data, start, learning_rate=rate, steps=steps, save_at=saved, dtype="float32", **state)
    theory = integrate(derive(model, "softmax"), data, start, t1=end, save_at=run.t, rtol=1e-3)
    left = theory.left_range.get("pre-activations", float("inf"))
    loss = run["loss/reasoning-train"]
    kept = np.full_like(theory.weights["W_E"], np.nan)
    one = Embeddings(run.t, loss, parts, run.weights["W_E"], np.array(theory.weights["W_E"]), left, kept)
    last = max((k for moment in parts if (k := one.place(moment)) is not None), default=0)
    if higher and last:
        flow, times = derive(model, higher), run.t[: last + 1]
        more = integrate(flow, data, start, t1=times[-1], save_at=times, rtol=1e-3, throw=False)
        kept[: len(more)] = more.weights["W_E"]
    return one


def at_moments(runs: Sequence[Embeddings], side: str, moments: Iterable[str]) -> np.ndarray:
    """Embeddings of one side at some moments (n_seeds, moments, d_vocab, d_model)."""
    wanted = tuple(moments)
    return np.array([[one.at(side, moment) for moment in wanted] for one in runs])


def kept_arrays(runs: Sequence[Embeddings]) -> dict[str, np.ndarray]:
    """What a figure keeps of its runs: "W_E/SIDE" at all moments, and their flow times "t" (n_seeds, moments)."""
    moments = (*runs[0].parts, LATE)
    times = np.array([[one.time(moment) for moment in moments] for one in runs])
    return {f"W_E/{side}": at_moments(runs, side, moments) for side in SIDES} | {"t": times}


def never(runs: Sequence[Embeddings], moment: str) -> str:
    """Return a note on the runs without a moment, or nothing."""
    n = sum(one.place(moment) is None for one in runs)
    return f"{n} of {len(runs)} runs did not come to that moment: nothing is measured there" if n else ""


def noted(runs: Sequence[Embeddings], moment: str, text: str) -> str:
    """Return a note on values at a moment, and on the runs that have none."""
    return "; ".join(filter(None, (never(runs, moment), text)))


def held(runs: Sequence[Embeddings], tokens: np.ndarray) -> str:
    """Say until when the closure's cosines hold, and what it leaves out by then."""
    return (
        f"all cosines are within {WITHIN:g} until flow times {listed([one.horizon(tokens) for one in runs])}; "
        f"pre-activations leave the range where tanh is linear at {listed([one.left for one in runs])}"
    )


def show_moments(figure: Figure, one: Embeddings, tokens: np.ndarray, split: int) -> None:
    """Draw the cosines of tokens at all moments, trained and predicted, in a row."""
    panels = [(side, moment) for moment in (*one.parts, LATE) for side in SIDES]
    axes: list[Any] = list(figure.subplots(1, len(panels)))
    for ax, (side, moment) in zip(axes, panels, strict=True):
        title = f"{moment}, $t$ = {one.time(moment):.0f}\n{SIDES[side]}"
        show_cosines(ax, one.cosines(side, moment, tokens), title, split)
    cosine_bar(figure, axes)


def show_order(ax: Axes, tokens: np.ndarray, one: Embeddings) -> None:
    """Draw how the order of tokens comes about: embedding, displacement, closure; lines at the moments."""
    curves: Mapping[str, Any] = {
        "embedding": ("training", False, "o", BLUE),
        "its displacement": ("training", True, "s", VERMILION),
        "softmax closure": ("theory", False, "-", BLUE),
    }
    for name, (side, moved, style, colour) in curves.items():
        every = slice(None, None, 1 if style == "-" else 3)
        ax.plot(
            one.t[every], one.orders(side, tokens, moved)[every], style, color=colour, mfc="none", ms=3.5,
            label=name,
        )  # fmt: skip
    ax.axhline(ORDERED, color="black", lw=0.6, ls=":")
    for moment in one.parts:
        if np.isfinite(time := one.time(moment)):
            ax.axvline(time, color="#999999", lw=0.8)
    ax.set(
        xlabel="flow time", ylabel="rank correlation", title="order of reasoning anchors", ylim=(-1.05, 0.35)
    )
    ax.legend(fontsize=6)
