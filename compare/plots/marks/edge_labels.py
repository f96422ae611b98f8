"""Labels at the right edge of a panel, each at the height where its curve ends; none lies on another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist, allow_rasterization
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import Bbox, IdentityTransform

from ..saving import figure_of

GAP, LEADER = 2.0, 9.0  # points: between the edge and a leader, and the leader's own width
LINE = 1.05  # heights of the tallest label, from one to the next
SMALLEST = 3.0  # points: below, crowded labels would not be read


class EdgeLabels(Artist):
    """Names of curves beside their ends, placed whenever the figure is drawn, after limits and layout are known.

    Parameters
    ----------
    ax : Axes
        The panel.
    entries : sequence of (float, str, str)
        Height in data units, text and colour of every label.
    fontsize : float, optional
        Points, by default that of legends; smaller where so many labels would not fit beside the panel.
    """

    def __init__(
        self, ax: Axes, entries: Sequence[tuple[float, str, Any]], fontsize: float | None = None
    ) -> None:
        from matplotlib import rcParams

        super().__init__()
        self.entries = list(entries)
        size = fontsize if fontsize is not None else Text(fontsize=rcParams["legend.fontsize"]).get_fontsize()
        self._panel, self._size, self._page = ax, float(size), figure_of([ax])
        # Settings of now, as with every other text of the panel: whoever draws the figure later may have others.
        self._font, self._usetex = FontProperties(size=self._size), bool(rcParams["text.usetex"])
        self.set_clip_on(False)
        self.set_zorder(5)
        ax.add_artist(self)
        self.set_clip_path(None)

    def texts(self, renderer: Any = None) -> list[Text]:
        """The labels as they lie, in the order of the entries; display units."""
        if not self.entries:
            return []
        unit = self._page.dpi / 72.0  # pixels in a point
        box = self._panel.get_window_extent(renderer)
        wanted = self._heights(box)
        made = [self._text(text, colour) for _, text, colour in self.entries]
        step = LINE * max(text.get_window_extent(renderer).height for text in made)
        room = box.height / max(len(made) - 1, 1)
        if step > room:
            for text in made:
                text.set_fontsize(max(self._size * room / step, SMALLEST))
            step = room
        for text, y in zip(made, spread(wanted, step, box.y0, box.y1), strict=True):
            text.set_position((box.x1 + (GAP + LEADER + 1.0) * unit, y))
        return made

    def get_window_extent(self, renderer: Any = None) -> Bbox:
        """The box around all labels; layouts leave room for it."""
        found = [text.get_window_extent(renderer) for text in self.texts(renderer)]
        return Bbox.union(found) if found else Bbox.null()

    def get_tightbbox(self, renderer: Any = None) -> Bbox:
        """The same box: nothing of it is clipped."""
        return self.get_window_extent(renderer)

    @allow_rasterization
    def draw(self, renderer: Any) -> None:
        """Draw every label and, where it had to give way, a thin line from the end of its curve."""
        if not self.get_visible():
            return
        unit = self._page.dpi / 72.0
        box = self._panel.get_window_extent(renderer)
        ends = (box.x1 + GAP * unit, box.x1 + (GAP + LEADER) * unit)
        for text, height in zip(self.texts(renderer), self._heights(box), strict=True):
            line = Line2D(ends, (height, text.get_position()[1]), color=text.get_color(), lw=0.6)
            for artist in (line, text):
                artist.set_transform(IdentityTransform())
                artist.set_figure(self._page)
                artist.draw(renderer)

    def _heights(self, box: Bbox) -> np.ndarray:
        """Where the curves end, in display units; what ends outside the panel is taken to its edge."""
        heights = np.array([float(y) for y, _, _ in self.entries])
        if self._panel.get_yscale() == "log":
            heights = np.where(heights > 0.0, heights, self._panel.get_ylim()[0])
        shown = self._panel.transData.transform(
            np.column_stack([np.full(len(heights), self._panel.get_xlim()[0]), heights])
        )[:, 1]
        return np.clip(np.nan_to_num(shown, nan=box.y0), box.y0, box.y1)

    def _text(self, text: str, colour: Any) -> Text:
        made = Text(0.0, 0.0, text, color=colour, va="center_baseline", ha="left", usetex=self._usetex,
                    fontproperties=self._font.copy())  # fmt: skip
        made.set_transform(IdentityTransform())
        made.set_figure(self._page)
        return made


def spread(wanted: np.ndarray, step: float, low: float, high: float) -> np.ndarray:
    """Heights nearest to the wanted ones (m,), in least squares, of which no two are nearer than `step`.

    They stay between `low` and `high` as far as there is room.
    """
    order = np.argsort(wanted, kind="stable")
    ladder = step * np.arange(len(wanted))
    blocks: list[tuple[float, int]] = []  # mean and size: neighbours that would cross move as one
    for value in wanted[order] - ladder:
        blocks.append((float(value), 1))
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            (b, n), (a, m) = blocks.pop(), blocks.pop()
            blocks.append(((a * m + b * n) / (m + n), m + n))
    level = np.concatenate([np.full(n, mean) for mean, n in blocks])
    top = max(high - (ladder[-1] if len(ladder) else 0.0), low)
    placed = np.empty(len(wanted))
    placed[order] = np.clip(level, low, top) + ladder
    return placed
