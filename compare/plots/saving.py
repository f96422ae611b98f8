"""How every figure looks, and how it is written: whole or not at all, equal figures as equal files."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.style import context

from ...theory.base.disk.destination import file_destination
from ...theory.base.disk.files import whole_file
from ...theory.base.errors import FieldError
from ...theory.base.validate import integer, kind_of, path_of

STYLE: dict[str, Any] = {
    "font.size": 7.5,
    "axes.labelsize": 7.5,
    "axes.titlesize": 7.5,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.2,
    **{f"{axis}tick.{kind}.width": 0.6 for axis in "xy" for kind in ("major", "minor")},
    **{f"{axis}tick.major.size": 2.5 for axis in "xy"},
    **{f"{axis}tick.minor.size": 1.5 for axis in "xy"},
    "svg.hashsalt": "smallinit",
    "pdf.fonttype": 42,
}
WIDTH = 7.2  # inches, of a two-column page
# Where each format keeps its record, and what it must leave out for equal figures to be equal files.
METADATA: dict[str, tuple[str, dict[str, Any]]] = {
    ".png": ("Description", {"Software": None}),
    ".pdf": ("Subject", {"CreationDate": None}),
    ".svg": ("Description", {"Date": None}),
}


class ShownFigure(Figure):
    """A figure of ours, in our style, that pyplot does not keep; a notebook shows it all the same."""

    def _repr_png_(self) -> bytes:
        """The picture, for notebooks."""
        return png_of(self)


def png_of(figure: Figure) -> bytes:
    """Return a figure of ours as a PNG for a screen."""
    buffer = io.BytesIO()
    with drawing("default", STYLE):
        figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def axes_of(ax: Axes | None) -> Axes:
    """Return the axes to draw on: those given, else pyplot's current ones.

    Raises
    ------
    FieldError
        If it is anything else.
    """
    if ax is None:
        from matplotlib import pyplot

        return pyplot.gca()
    return kind_of("ax", ax, Axes, "give one of `pyplot.subplots()`")


def given_axes(axes: Any, *counts: int) -> list[Axes]:
    """Return the axes to draw on as a list, in reading order.

    Raises
    ------
    FieldError
        If they are not axes, or not one of these counts.
    """
    found = [axes] if isinstance(axes, Axes) else list(np.ravel(np.asarray(axes, dtype=object)))
    wanted = " or ".join(map(str, counts))
    if len(found) not in counts or not all(isinstance(ax, Axes) for ax in found):
        raise FieldError(
            "axes", f"must be {wanted} axes here, got {len(found)}: make them with `pyplot.subplots`."
        )
    return found


def figure_of(axes: Sequence[Axes]) -> Figure:
    """Return the whole figure that axes lie on, perhaps in subfigures."""
    on = cast("Figure", axes[0].figure)  # `get_figure(root=True)` is new in matplotlib 3.10
    return cast("Figure", on.figure)


def figure_path(path: str | Path) -> Path:
    """Return where a figure can be written.

    Raises
    ------
    ValueError
        If it does not end in .png, .pdf or .svg, its folder is missing, or its name is too long.
    """
    path = path_of("path", path)
    if path.suffix.lower() not in METADATA:
        raise FieldError("path", f"{str(path)!r} must end in one of {', '.join(METADATA)}.")
    if not file_destination(path).parent.is_dir():
        raise FieldError("path", f"{str(path)!r} lies in a folder that does not exist: create it first.")
    return path


_DRAWING = RLock()  # matplotlib's settings are the process's: two threads would put back each other's


@contextmanager
def drawing(*styles: Any) -> Iterator[None]:
    """Draw with these settings of matplotlib, one thread at a time; the former ones are put back."""
    with _DRAWING, context(list(styles)):
        yield


def figure_on(
    axes: Any, counts: Sequence[int], draw: Callable[[list[Axes]], None], whole: Callable[[], Figure],
    path: str | Path | None = None, dpi: int = 200, **metadata: Any,
) -> Figure:  # fmt: skip
    """Draw panels on given axes, of which there are one of these counts; without any, a figure of ours in our style.

    Raises
    ------
    FieldError
        If they are not axes, or not so many; if the figure cannot be written to the path.
    """
    target, dpi = None if path is None else figure_path(path), integer("dpi", dpi, 10)
    if axes is None:
        with drawing("default", STYLE):
            figure = whole()
    else:
        panels = given_axes(axes, *counts)
        draw(panels)
        figure = figure_of(panels)
    if target is not None:
        save_figure(figure, target, dpi, metadata)
    return figure


def save_figure(figure: Figure, path: Path, dpi: int, metadata: dict[str, Any]) -> None:
    """Write a figure whole or not at all; equal figures are equal files, in each of the formats.

    One of ours is drawn with our settings, whatever the caller's are: ticks and texts are made when it is drawn.
    """
    metadata = metadata | METADATA[path.suffix.lower()][1]
    own = isinstance(figure, ShownFigure)
    styles = ("default", STYLE) if own else ({key: STYLE[key] for key in ("svg.hashsalt", "pdf.fonttype")},)
    with whole_file(path) as temporary, drawing(*styles):
        figure.savefig(temporary, format=path.suffix[1:].lower(), dpi=dpi, metadata=metadata)
