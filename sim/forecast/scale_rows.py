"""The rows of a table of scales: weights, what flows through them, and small numbers beside what they are added to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf, isnan, nan, sqrt

import numpy as np

from ..optimizers.optimizer import AdamW, SignGD
from .signals import largest_norm_eps
from .start_scales import StartScales, exponent, rms

GPT2_WIDTH = 768  # to which exponents are translated
ADDED = "eps of the optimizer"
HEADERS = {
    "weight": ("weight", "std", "std x sqrt(width)", f"gamma at width {GPT2_WIDTH}", "spectral norm"),
    "signal": ("at the start", "rms", "largest"),
    "floor": ("added", "size", "to", "ratio"),
}


@dataclass(frozen=True)
class ScaleRow:
    """One line of a table of scales.

    Attributes
    ----------
    kind : {"weight", "signal", "floor"}
        A weight; values in a forward pass; what is added to something that it should be small against.
    block, name : str
        Where, and what.
    size : float
        Standard deviation of a weight's entries; rms of a signal; the number that is added.
    gain : float
        Of a weight: std x sqrt(width), what the layer does to a vector, or the norm of the vector that it looks up.
    largest : float
        Spectral norm of a weight; largest absolute value of a signal.
    against : float
        What a number is added to.
    gamma : float
        Of a weight: the exponent that gives its gain at the width of GPT-2.
    """

    kind: str
    block: str
    name: str
    size: float
    gain: float = nan
    largest: float = nan
    against: float = nan
    gamma: float = nan

    @property
    def ratio(self) -> float:
        """Size over what it is added to."""
        return self.size / self.against if self.against else inf

    @property
    def cells(self) -> tuple[str, ...]:
        """Texts of the columns of its kind."""
        numbers = {
            "weight": (self.size, self.gain, self.gamma, self.largest),
            "signal": (self.size, self.largest),
            "floor": (self.size, self.against, self.ratio),
        }[self.kind]
        place = self.name if self.name.startswith(self.block) else f"{self.block}: {self.name}"
        return (self.name if self.kind == "weight" else place, *(_shown(x) for x in numbers))


def rows_of(start: StartScales) -> Iterator[ScaleRow]:
    """Rows of all tables: weights, signals, then what is added."""
    model, o = start.model, start.optimizer
    for name, w in start.weights.items():
        std = float(np.std(w))
        if std == 0.0 and min(w.shape) == 1:  # gains, shifts and biases
            continue
        gain = std * sqrt(model.width(name))
        yield ScaleRow(
            "weight", model.block(name), name, std, gain, _spectral(w), gamma=exponent(gain, GPT2_WIDTH)
        )
    for (block, kind), values in start.signals.items():
        if kind != "variance":
            yield ScaleRow(
                "signal", block, kind, rms(values), largest=float(np.max(np.abs(values), initial=0.0))
            )
    for (block, kind), values in start.signals.items():
        if kind == "variance":
            eps = largest_norm_eps(model)
            yield ScaleRow("floor", block, "eps of the norm", eps, against=float(np.mean(values)))
    if isinstance(o, AdamW | SignGD):
        for name, g in start.gradient.items():
            yield ScaleRow("floor", name, ADDED, o.eps, against=rms(g))
    if "W_pos" in start.weights and "W_E" in start.weights:
        place, token = (rms(start.weights[name]) for name in ("W_pos", "W_E"))
        yield ScaleRow("floor", "W_pos", "positions, to tokens", place, against=token)


def _spectral(w: np.ndarray) -> float:
    """Largest singular value, from the smaller Gram matrix: embeddings are tall."""
    gram = w @ w.T if w.shape[0] < w.shape[1] else w.T @ w
    return sqrt(max(float(np.linalg.eigvalsh(gram)[-1]), 0.0))


def _shown(x: float) -> str:
    return "-" if isnan(x) else f"{x:.3g}"
