"""Cosines between embeddings as matrices, theory beside training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from ...theory.base.arrays import cosine_matrix
from ...theory.base.errors import FieldError
from ...theory.base.validate import brief, choice, real
from ...theory.data.dataset import Dataset
from ...theory.data.reading.clean_columns import clean_token_groups
from .drawable import DrawableOverlay, drawable
from .literal import literal
from .saving import axes_of

MOST_TOKENS = 60
SIDES = ("theory", "training")
Blocks = Mapping[str, npt.ArrayLike]


def plot_cosines(
    overlay: DrawableOverlay,
    t: float,
    side: Literal["theory", "training"] = "theory",
    tokens: Blocks | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the cosines between embeddings of tokens at one flow time.

    Parameters
    ----------
    overlay : Overlay
        Of a model with an embedding W_E.
    t : float
        Flow time; the nearest common one is taken, and named in the title.
    side : {"theory", "training"}
        Whose embedding.
    tokens : mapping, optional
        Name of a block -> tokens; by default the anchors of the data, else its groups of tokens.
    ax : Axes, optional
        Where to draw; pyplot's current axes if absent.

    Returns
    -------
    Axes
        With the image, from -1 to 1.

    Raises
    ------
    ValueError
        If `overlay` is none, there is no embedding, or there are no tokens to show.
    """
    drawable("overlay", overlay, DrawableOverlay)
    choice("side", side, SIDES)
    blocks = anchor_tokens(overlay)
    if tokens is not None and "W_E" in overlay.training.weights:
        blocks = named_tokens(tokens, overlay.training.weights["W_E"].shape[1])
    if not blocks or "W_E" not in overlay.training.weights:
        raise FieldError("tokens", "must name some blocks of tokens, and the model needs an embedding W_E.")
    i, ax = nearest_index(overlay, real("t", t)), axes_of(ax)
    _draw_matrix(ax, overlay.alignment.weights("W_E")[SIDES.index(side)][i], blocks, left=True)
    ax.set_title(f"{side}, $t$ = {overlay.t[i]:.4g}")
    return ax


def named_tokens(tokens: Any, d_vocab: int) -> Mapping[str, np.ndarray]:
    """Blocks of tokens that were asked for.

    Raises
    ------
    FieldError
        If they are no mapping, or a token is none of the vocabulary.
    """
    if not isinstance(tokens, Mapping):
        raise FieldError(
            "tokens", f'must map names to tokens, such as {{"digits": [1, 2]}}, got {brief(tokens)}.'
        )
    return clean_token_groups(tokens, d_vocab, "tokens")


def anchor_tokens(overlay: DrawableOverlay) -> Mapping[str, np.ndarray]:
    """Tokens for the cosine matrices, see `token_blocks`; none without an embedding."""
    data = overlay.training.data
    return {} if data is None or "W_E" not in overlay.training.weights else token_blocks(data)


def token_blocks(data: Dataset) -> Mapping[str, np.ndarray]:
    """Groups of tokens of a data set: anchors if there are any, else all; none if these are more than can be shown."""
    groups = {name: tokens for name, tokens in data.token_groups.items() if len(tokens)}
    chosen = {name: tokens for name, tokens in groups.items() if "anchor" in name} or groups
    return chosen if sum(map(len, chosen.values())) <= MOST_TOKENS else {}


def nearest_index(overlay: DrawableOverlay, t: float) -> int:
    """Index of the common flow time that is nearest."""
    return int(np.argmin(np.abs(overlay.t - t)))


def draw_pair(axes: Sequence[Axes], overlay: DrawableOverlay, i: int, first: bool) -> None:
    """Draw theory beside training at one common time; of a row, the first pair names its blocks on the left."""
    blocks = anchor_tokens(overlay)
    names = (overlay.theory.label.partition(",")[0], "training")  # what moved it stands in the legend
    for k, (ax, states, name) in enumerate(zip(axes, overlay.alignment.weights("W_E"), names, strict=True)):
        _draw_matrix(ax, states[i], blocks, left=first and k == 0)
        ax.set_title(literal(name), pad=2, fontsize="small")
    axes[1].annotate(
        f"$t$ = {overlay.t[i]:.4g}", (-0.03, 1), (0, 13), "axes fraction", "offset points", ha="center", va="bottom"
    )  # fmt: skip


def _draw_matrix(ax: Axes, embedding: np.ndarray, blocks: Blocks, left: bool) -> None:
    rows = np.concatenate([np.asarray(tokens) for tokens in blocks.values()])
    ax.imshow(cosine_matrix(embedding[rows]), vmin=-1, vmax=1, cmap="RdBu_r")
    sizes = np.array([len(np.asarray(tokens)) for tokens in blocks.values()])
    ends = np.cumsum(sizes)
    names = [literal(name.removesuffix("-anchors")) for name in blocks]
    for end in ends[:-1]:
        ax.axhline(end - 0.5, color="black", lw=0.6)
        ax.axvline(end - 0.5, color="black", lw=0.6)
    ax.set_xticks(ends - sizes / 2 - 0.5, names, fontsize="x-small")
    ax.set_yticks(ends - sizes / 2 - 0.5, names if left else [], fontsize="x-small", rotation=90, va="center")
    ax.tick_params(length=0, pad=2)
