"""Axes of a sweep as a file writes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...theory.base.errors import FieldError, InputError
from ...theory.base.validate import brief, is_integer, real

MOST_VALUES = 10**6
RANGE = {"start", "stop", "num", "log"}
_RANGE = re.compile(r"([0-9]{1,18})-([0-9]{1,18})")


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
    if isinstance(value, str) and (ends := _RANGE.fullmatch(value)):
        value = _count(name, value, int(ends[1]), int(ends[2]), place)
    if isinstance(value, dict):
        value = _even(name, value, place)
    if not isinstance(value, list) or not value:
        raise InputError(
            f'the axis {name!r} must be a list, "0-99" or {{start, stop, num}}, got {brief(value)} ({place}).'
        )
    _check_number(name, len(value), place)
    if len({_key(v) for v in value}) < len(value):
        raise InputError(f"the axis {name!r} has a value twice ({place}): every point must be another one.")
    return tuple(tuple(v) if isinstance(v, list) else v for v in value)


def _count(name: str, text: str, first: int, last: int, place: str) -> list[int]:
    """Whole numbers in a row."""
    if last < first:
        raise InputError(f"the axis {name!r} must count upwards, got {text!r} ({place}): swap the ends.")
    _check_number(name, last - first + 1, place)
    return list(range(first, last + 1))


def _check_number(name: str, number: int, place: str) -> None:
    if number > MOST_VALUES:
        count = f"{number:,}" if number <= 10**18 else "endlessly many"
        raise InputError(f"the axis {name!r} has {count} values ({place}): at most {MOST_VALUES:,}.")


def _key(value: Any) -> Any:
    """What makes two values the same point: 1 and 1.0 do, 1 and true do not."""
    if isinstance(value, list):
        return ("list", *map(_key, value))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    return type(value), brief(value) if isinstance(value, dict) else value


def _even(name: str, value: dict[str, Any], place: str) -> list[float]:
    """Numbers at equal distances, or in equal ratios."""
    ends: list[Any] = [value.get(key) for key in ("start", "stop")]
    num: Any = value.get("num")
    log = value.get("log", False)
    for end in ends:
        try:
            real("", end)
        except FieldError:
            raise InputError(
                f"the axis {name!r} must have finite numbers as start and stop, got {brief(end)} ({place})."
            ) from None
    if not is_integer(num) or num < 1:
        raise InputError(
            f"the axis {name!r} must have a whole num of at least 1, got {brief(num)} ({place})."
        )
    if not isinstance(log, bool):
        raise InputError(f"the axis {name!r} must have log = true or false, got {brief(log)} ({place}).")
    if unknown := sorted(set(value) - RANGE):
        raise InputError(
            f"the axis {name!r} must have start, stop, num and log alone, got {unknown[0]!r} ({place})."
        )
    _check_number(name, num, place)
    start, stop = map(float, ends)
    if log and min(start, stop) <= 0.0:
        raise InputError(f"the axis {name!r} runs over ratios: start and stop must be positive ({place}).")
    with np.errstate(all="ignore"):
        even = np.geomspace(start, stop, num) if log else np.linspace(start, stop, num)
    if not np.isfinite(even).all():
        raise InputError(f"the axis {name!r} is too wide for numbers ({place}): choose nearer ends.")
    return [float(f"{v:.15g}") for v in even]


def zipped(value: Any, axes: Mapping[str, tuple[Any, ...]], place: str) -> tuple[tuple[str, ...], ...]:
    """Read which axes move together."""
    groups = value if isinstance(value, list) and all(isinstance(g, list) for g in value) else [value]
    if not all(isinstance(g, list) and all(isinstance(name, str) for name in g) for g in groups):
        raise InputError(f"`zip` must be a list of axes, or some such lists, got {brief(value)} ({place}).")
    for group in groups:
        for name in group:
            if name not in axes or sum(name in g for g in groups) > 1:
                raise InputError(f"`zip` names {name!r}, which must be an axis, once ({place}).")
        if len({len(axes[name]) for name in group}) > 1:
            sizes = ", ".join(f"{name} {len(axes[name])}" for name in group)
            raise InputError(f"axes in one `zip` must have as many values, got {sizes} ({place}).")
    return tuple(tuple(group) for group in groups if group)
