"""Conventions of initialisation: the standard deviation of a weight from its place in the network and an exponent.

All draw from normal distributions around zero; they differ in what a standard deviation is a power of. In each, 0.5 is
the usual scale and a larger exponent means smaller weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

GPT2 = 0.02  # standard deviation of all weights of GPT-2


@dataclass(frozen=True)
class Place:
    """Where in a network a weight stands.

    Attributes
    ----------
    role : {"embed", "inner", "residual", "unembed"}
        Reads one-hot tokens or positions; reads the stream; adds to the residual stream; gives the logits.
    rows : int
        Its number of rows: the dimension that it reads.
    d_model : int
        Width of the stream.
    n_residual : int
        How many weights of the network add to its residual stream: two a layer of a transformer.
    """

    role: str
    rows: int
    d_model: int
    n_residual: int


def by_rows(place: Place, gamma: float) -> float:
    """rows^-gamma (A2 of arXiv 2502.04375): embeddings go by the vocabulary, positions by the length."""
    return float(place.rows) ** -gamma


def by_d_model(place: Place, gamma: float) -> float:
    """d_model^-gamma, over sqrt(n_residual) for what adds to the residual stream: the code of the paper's group."""
    return _residual(place, float(place.d_model) ** -gamma)


def gpt2(place: Place, gamma: float) -> float:
    """0.02 at the ends and in what adds to the residual stream, there over sqrt(n_residual); d_model^-gamma inside."""
    return float(place.d_model) ** -gamma if place.role == "inner" else _residual(place, GPT2)


def mup(place: Place, gamma: float) -> float:
    """Maximal update parametrisation (table 3 of arXiv 2203.03466), times width^(1/2 - gamma): itself at gamma 0.5."""
    if place.role == "embed":
        return float(place.d_model) ** (0.5 - gamma)
    usual = float(place.rows) ** -gamma
    return usual / sqrt(place.rows) if place.role == "unembed" else usual


def _residual(place: Place, deviation: float) -> float:
    return deviation / sqrt(place.n_residual) if place.role == "residual" else deviation


DEVIATIONS: dict[str, Callable[[Place, float], float]] = {
    "rows": by_rows,
    "d_model": by_d_model,
    "gpt2": gpt2,
    "mup": mup,
}
