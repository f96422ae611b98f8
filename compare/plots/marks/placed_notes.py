"""Notes within a panel, put where they cover least of what is drawn there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

SAMPLES = 400  # points along a curve, between those that were computed


def put_note(ax: Axes, text: str, places: Sequence[tuple[float, float, bool]], colour: str) -> Annotation:
    """Write a note at the first of these places at which it covers no curve, else where it covers least.

    Parameters
    ----------
    ax : Axes
        The panel, whose curves and limits are there already.
    text, colour : str
        What to write.
    places : sequence of (float, float, bool)
        In data units along, as a fraction of the panel up, and whether the text stands to the right of the point.
    """
    note = ax.annotate(text, (0, 0), (0, 0), ("data", "axes fraction"), "offset points", va="bottom", color=colour,
                       fontsize="small")  # fmt: skip
    covered = [_covered(ax, _moved(note, place)) for place in places]
    return _moved(note, places[int(np.argmin(covered))])


def _moved(note: Annotation, place: tuple[float, float, bool]) -> Annotation:
    x, y, right = place
    note.xy = (x, y)
    note.set_horizontalalignment("left" if right else "right")
    note.set_position((2 if right else -2, 1))
    return note


def _covered(ax: Axes, note: Annotation) -> float:
    """How many curves lie under a note; one that covers another note, or leaves the panel, is the worst."""
    box, panel = note.get_window_extent(), ax.get_window_extent()
    if box.x0 < panel.x0 or box.x1 > panel.x1 or box.y0 < panel.y0 or box.y1 > panel.y1:
        return np.inf
    found = 0.0
    for line in ax.get_lines():
        if line.get_transform() != ax.transData:  # of an edge, drawn across the panel
            continue
        points = ax.transData.transform(np.column_stack(line.get_data()))
        if line.get_linestyle() != "None":
            points = _between(points)
        found += float(_inside(points, box.padded(1)).any())
    others = [text for text in ax.texts if text is not note and text.get_visible()]
    return found + sum(1e6 * box.overlaps(text.get_window_extent()) for text in others)


def _between(points: np.ndarray) -> np.ndarray:
    """Points (m, 2) along a curve, evenly spaced in display units across."""
    points = points[np.isfinite(points).all(axis=1)]
    if len(points) < 2:
        return points
    where = np.linspace(0, len(points) - 1, SAMPLES)
    return np.column_stack([np.interp(where, np.arange(len(points)), axis) for axis in points.T])


def _inside(points: np.ndarray, box: Bbox) -> np.ndarray:
    return np.all((points > box.min) & (points < box.max), axis=1)
