"""Axes of models or optimizers: a key that only some of them take is for these, and plays no part at the others."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

from ..experiment.layers import ALTERNATIVES

if TYPE_CHECKING:
    from .plan import SweepPoint

SELECTORS = tuple(f"{section}.{selector}" for section, (selector, *_) in ALTERNATIVES.items())


def lost_keys(axes: Mapping[str, Sequence[Any]], values: Mapping[str, Any]) -> set[str]:
    """Keys "section.key" that others on an axis of models or optimizers take and those of a point do not.

    What none on the axis takes is not among them: the schema refuses it.

    Parameters
    ----------
    axes : dict
        "section.key" -> values.
    values : dict
        Those of the point.
    """
    lost = set()
    for section, (selector, known, _) in ALTERNATIVES.items():
        axis = f"{section}.{selector}"
        names = [name for name in axes.get(axis, ()) if isinstance(name, str)]
        own = set(known.get(str(values.get(axis)), ()))
        lost |= {f"{section}.{key}" for name in names for key in known.get(name, ()) if key not in own}
    return lost


def without(layer: Mapping[str, Any], lost: Set[str]) -> dict[str, Any]:
    """A copy of a layer without some of its keys."""
    copied = json.loads(json.dumps(layer))
    for name in lost:
        section, key = name.split(".")
        if isinstance(copied.get(section), dict):
            copied[section].pop(key, None)
    return copied


def together(points: Iterable[SweepPoint]) -> dict[str, Any]:
    """The experiment of the first of some points, with the keys of the others' models and optimizers."""
    firsts: dict[tuple[Any, ...], SweepPoint] = {}
    for point in points:
        firsts.setdefault(tuple(point.values.get(name) for name in SELECTORS), point)
    first, *others = [point.config for point in firsts.values()]
    config = json.loads(json.dumps(first))
    for other in others:
        for section in ALTERNATIVES:
            for key, value in other[section].items():
                if config[section].get(key) is None:
                    config[section][key] = value
    return config
