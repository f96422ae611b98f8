"""One colour for a thing, on whatever figure it stands: groups of the data, weights, and series of other names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import cycle

from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb, to_rgba

GREY = "#777777"
WHITE, DARK = "#FFFFFF", 0.2  # the ink of panels whose ground has less light than that
# Okabe and Ito's palette, told apart under every common colour blindness.
BLACK, BLUE, SKY, GREEN = "#000000", "#0072B2", "#56B4E9", "#009E73"
ORANGE, VERMILION, PURPLE = "#E69F00", "#D55E00", "#CC79A7"

GROUP_COLOURS = {"memory": VERMILION, "reasoning-train": BLUE, "reasoning-test": GREEN}
# Weights stand beside groups, so none has a group's colour.
WEIGHT_COLOURS = {
    "W_E": BLACK,
    "W_pos": "#8C8C8C",
    "W_Q": SKY,
    "W_K": "#6A4C93",
    "W_V": "#8AA626",
    "W_O": "#00868B",
    "W_in": PURPLE,
    "W_out": ORANGE,
    "W_U": "#7A4B2A",
}
SERIES = (VERMILION, BLUE, GREEN, ORANGE, PURPLE, SKY, BLACK)
OTHERS = (SKY, PURPLE, ORANGE, BLACK, "#8AA626", "#6A4C93", "#7A4B2A", "#00868B")
OTHER_WEIGHTS = ("#B22234", "#3A6B35", "#4C72B0", "#9C755F", *OTHERS)
PALER = 0.38  # towards white, for every further block of a network


def group_colours(names: Iterable[str]) -> dict[str, str]:
    """Group of the data -> colour; the memory group that a held-out mask cut in two keeps its own."""
    names = list(names)
    known = {**GROUP_COLOURS, "memory-train": GROUP_COLOURS["memory"]}
    colours = _coloured(sorted(names), known, OTHERS)  # one figure's order is not another's
    return {name: colours[name] for name in names}


def weight_colours(names: Iterable[str]) -> dict[str, str]:
    """Weight -> colour: in every block of a deep network the same one, paler from block to block."""
    names = list(names)
    kinds = _coloured(dict.fromkeys(_kind(name) for name in names), WEIGHT_COLOURS, OTHER_WEIGHTS)
    return {name: _paler(kinds[_kind(name)], _block(name)) for name in names}


def series_colours(names: Iterable[str]) -> dict[str, str]:
    """Name of a curve -> colour, in the order of the names."""
    return _coloured(names, {}, SERIES)


def on_panel(ax: Axes, colours: Mapping[str, str]) -> dict[str, str]:
    """Name -> colour as it can be seen on a panel: what is black has the colour of its ink."""
    return {name: ink(ax) if colour == BLACK else colour for name, colour in colours.items()}


def ink(ax: Axes) -> str:
    """Black, or white on a panel with a dark ground."""
    red, green, blue, cover = to_rgba(ax.get_facecolor())  # what shines through is taken for white paper
    light = cover * (0.2126 * red + 0.7152 * green + 0.0722 * blue) + 1.0 - cover
    return WHITE if light < DARK else BLACK


def _coloured(names: Iterable[str], known: Mapping[str, str], others: Iterable[str]) -> dict[str, str]:
    names = list(names)
    taken = {known[name] for name in names if name in known}
    free = cycle([c for c in others if c not in taken] or list(others))
    return {name: known.get(name) or next(free) for name in names}


def _kind(name: str) -> str:
    """What a weight is in its block: ``W_Q`` of ``blocks.1.W_Q``."""
    return ".".join(part for part in name.split(".") if not part.isdigit() and part != "blocks")


def _block(name: str) -> int:
    return next((int(part) for part in name.split(".") if part.isdigit()), 0)


def _paler(colour: str, times: int) -> str:
    share = 1.0 - (1.0 - PALER) ** min(times, 3)
    red, green, blue = (c + share * (1.0 - c) for c in to_rgb(colour))
    return to_hex((red, green, blue)).upper()
