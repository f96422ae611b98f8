"""Axes of a sweep as a file writes them."""

from __future__ import annotations

from math import isfinite
from typing import Any

import numpy as np

from ...theory.base.errors import InputError

MOST_VALUES = 10**6
RANGE = {"start", "stop", "num", "log"}


def flat(axes: dict[str, Any]) -> dict[str, Any]:
    """Keys "section.key", whether they were quoted or TOML has nested them."""
    return {
        (f"{name}.{key}" if nest else name): value
        for name, part in axes.items()
        for nest in [isinstance(part, dict) and not set(part) <= RANGE]
        for key, value in (part.items() if nest else [("", part)])
    }


def values_of(name: str, value: Any, place: str) -> tuple[Any, ...]:
    """Values of one axis."""
    if name.count(".") != 1:
        raise InputError(f"the axis {name!r} must be named section.key, such as init.gamma ({place}).")
    if isinstance(value, str) and value.replace("-", "", 1).isdigit() and "-" in value[1:]:
        first, last = map(int, value.split("-"))
        if last - first >= MOST_VALUES:
            raise InputError(
                f"the axis {name!r} has {last - first + 1:,} values ({place}): at most {MOST_VALUES:,}."
            )
        value = list(range(first, last + 1))
    if isinstance(value, dict):
        value = _even(name, value, place)
    if not isinstance(value, list) or not value:
        raise InputError(
            f'the axis {name!r} must be a list, "0-99" or {{start, stop, num}}, got {value!r} ({place}).'
        )
    if len({repr(v) for v in value}) < len(value):
        raise InputError(f"the axis {name!r} has a value twice ({place}): every point must be another one.")
    return tuple(tuple(v) if isinstance(v, list) else v for v in value)


def _even(name: str, value: dict[str, Any], place: str) -> list[float]:
    ends = [value.get(key) for key in ("start", "stop")]
    numbers = [
        float(v) for v in ends if isinstance(v, int | float) and not isinstance(v, bool) and isfinite(v)
    ]
    num = value.get("num")
    if len(numbers) < 2 or not isinstance(num, int) or num < 1 or set(value) - RANGE:
        raise InputError(f"the axis {name!r} must have start, stop and a whole num, got {value!r} ({place}).")
    if value.get("log") and min(numbers) <= 0.0:
        raise InputError(f"the axis {name!r} runs over ratios: start and stop must be positive ({place}).")
    start, stop = numbers
    even = np.geomspace(start, stop, num) if value.get("log") else np.linspace(start, stop, num)
    return [float(f"{v:.15g}") for v in even]
