"""The page on which embeddings move: data as JSON in it, drawn by a short script of its own."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

import numpy as np

from ..plots.marks.palette import group_colours
from .page import template

if TYPE_CHECKING:
    from .embedding_motion import EmbeddingMotion

DIGITS = 4  # of coordinates, relative to the largest
# Anchors share a colour with their sequences.
ANCHORS = {"memory-anchors": "memory", "reasoning-anchors": "reasoning-train"}
LABELLED = 30  # tokens that are named without being pointed at


def page_of_motion(motion: EmbeddingMotion) -> str:
    """Set the page."""
    return template("embeddings.html").render(
        tokens=len(motion.names),
        share=f"{motion.share:.0%}",
        data=_data(motion),
        closures=list(motion.theories),
    )


def token_colours(groups: tuple[str, ...]) -> dict[str, str]:
    """Group of tokens -> colour; anchors have that of the sequences they make."""
    names = list(dict.fromkeys(groups))
    found = group_colours(ANCHORS.get(name, name) for name in names)
    return {name: found[ANCHORS.get(name, name)] for name in names}


def _data(motion: EmbeddingMotion) -> dict[str, Any]:
    """What the script draws: coordinates rounded, cosines as bytes from 0 (-1) over 127 (0) to 254 (1)."""
    size = float(np.abs(motion.training).max()) or 1.0
    sides = {"training": motion.training, **motion.theories}
    return {
        "t": [float(f"{t:.6g}") for t in motion.t],
        "names": list(motion.names),
        "groups": list(motion.groups),
        "colours": token_colours(motion.groups),
        "labelled": len(motion.names) <= LABELLED,
        "points": {name: [_frame(f / size) for f in frames] for name, frames in sides.items()},
        "cosines": {name: _bytes(values) for name, values in motion.cosines.items()},
    }


def _frame(points: np.ndarray) -> list[list[float]] | None:
    """Coordinates of one time; None after a theory has ended."""
    return np.clip(points, -99.0, 99.0).round(DIGITS).tolist() if np.isfinite(points).all() else None


def _bytes(cosines: np.ndarray) -> str:
    scaled = np.nan_to_num(127.0 * (cosines + 1.0), nan=255.0).round().astype(np.uint8)
    return b64encode(scaled.tobytes()).decode("ascii")
