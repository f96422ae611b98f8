"""The same motion as an animated GIF."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from ..plots.literal import literal
from ..plots.saving import STYLE, ShownFigure, drawing
from .embedding_page import LABELLED, token_colours

if TYPE_CHECKING:
    from PIL import Image

    from .embedding_motion import EmbeddingMotion

MOST_FRAMES, MILLISECONDS, DPI, ROOM = 40, 120, 110, 1.15


def animation(motion: EmbeddingMotion) -> bytes:
    """Draw theory (the first) beside training at up to forty flow times; equal motions give equal files."""
    few = np.unique(np.linspace(0, len(motion.t) - 1, MOST_FRAMES).round().astype(int))
    frames = [_frame(motion, i) for i in few]
    buffer = io.BytesIO()
    waits = [MILLISECONDS] * (len(frames) - 1) + [12 * MILLISECONDS]
    frames[0].save(buffer, format="GIF", save_all=True, append_images=frames[1:], duration=waits, loop=0)
    return buffer.getvalue()


def _frame(motion: EmbeddingMotion, i: int) -> Image.Image:
    from PIL import Image

    sides = {**dict(list(motion.theories.items())[:1]), "training": motion.training}
    colours = token_colours(motion.groups)
    size = ROOM * float(np.abs(motion.training).max() or 1.0)
    with drawing("default", STYLE):
        figure = ShownFigure(figsize=(3.4 * len(sides), 3.6), dpi=DPI, layout="constrained")
        for ax, (name, points) in zip(
            figure.subplots(1, len(sides), squeeze=False)[0], sides.items(), strict=True
        ):
            for (x, y), token, group in zip(points[i], motion.names, motion.groups, strict=True):
                ax.plot(x, y, "o", color=colours[group], ms=5, clip_on=True)
                if len(motion.names) <= LABELLED and abs(x) < size and abs(y) < size:
                    ax.annotate(literal(token), (x, y), (3, 2), textcoords="offset points", fontsize="small")
            ended = "" if np.isfinite(points[i]).all() else " (has ended)"
            ax.set(xlim=(-size, size), ylim=(-size, size), aspect="equal", title=f"{literal(name)}{ended}")
            ax.tick_params(labelbottom=False, labelleft=False, length=0)
        handles = [
            figure.axes[0].plot([], [], "o", color=c, ms=5, label=literal(g))[0] for g, c in colours.items()
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
        figure.suptitle(rf"$t$ = {motion.t[i]:.4g}", fontsize="large")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=DPI)
    return Image.open(buffer).convert("RGB").quantize(64)
