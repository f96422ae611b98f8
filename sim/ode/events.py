"""Events: zeros of functions of the weights along a trajectory, located on the dense output."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq


@dataclass(frozen=True)
class Event:
    """A zero of ``function(t, weights)`` to be located.

    A crossing is seen if the sign differs between the two ends of a step; two crossings within one step
    cancel.

    Attributes
    ----------
    function : callable
        ``(t, {name: array}) -> float``, continuous; t is flow time.
    terminal : bool
        Whether the integration ends at the first zero.
    direction : int
        1 sees only zeros from below, -1 only from above, 0 both.
    name : str
        Key of its times in ``Trajectory.events``; the function's own name by default.
    """

    function: Callable[[float, Mapping[str, np.ndarray]], float]
    terminal: bool = False
    direction: int = 0
    name: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be an event.

        Raises
        ------
        ValueError
            If the function cannot be called or the direction is none of -1, 0, 1.
        """
        if not callable(self.function):
            raise ValueError(f"`function` of an event must be callable, got {self.function!r}.")
        if self.direction not in (-1, 0, 1):
            raise ValueError(f"`direction` of an event must be -1, 0 or 1, got {self.direction!r}.")
        if not self.name:
            object.__setattr__(self, "name", getattr(self.function, "__name__", "event"))

    def crosses(self, before: float, after: float) -> bool:
        """Whether values at the ends of a step (before, after] enclose a zero of the right direction."""
        rising, falling = before < 0.0 <= after, before > 0.0 >= after
        return (rising and self.direction >= 0) or (falling and self.direction <= 0)


def as_events(events: Any) -> tuple[Event, ...]:
    """Return a tuple of `Event` from one callable or event, or from a sequence of them.

    Raises
    ------
    ValueError
        If two events have the same name.
    """
    items: tuple[Any, ...] = (events,) if isinstance(events, Event) or callable(events) else tuple(events)
    result = tuple(item if isinstance(item, Event) else Event(item) for item in items)
    names = [event.name for event in result]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(
                f"`events` must have different names, got {name!r} twice; pass Event(..., name=...)."
            )
    return result


class Watch:
    """Evaluates the events of one integration step by step."""

    def __init__(self, events: tuple[Event, ...], unpack: Callable[[np.ndarray], dict]) -> None:
        self.events = events
        self._unpack = unpack
        self._last: list[float] = []
        self._size = 0

    def value(self, event: Event, t: float, y: np.ndarray) -> float:
        """Value of the event's function.

        Raises
        ------
        ValueError
            If it is not one finite number.
        """
        value = np.asarray(event.function(t, self._unpack(y)), dtype=np.float64)
        if value.size != 1 or not math.isfinite(value.item()):
            raise ValueError(f"event `{event.name}` must return one finite number, got {value} at t = {t:g}.")
        return value.item()

    def start(self, t: float, y: np.ndarray) -> None:
        """Note the values at the start; a zero right there is no crossing."""
        self._size = y.size
        self._last = [self.value(event, t, y) for event in self.events]

    def zeros(
        self, t0: float, t1: float, y1: np.ndarray, dense: Callable[[np.ndarray, np.ndarray], None]
    ) -> list[tuple[float, Event, np.ndarray]]:
        """Locate the zeros in the step (t0, t1], in order of time, up to the first terminal one."""
        found = []
        for i, event in enumerate(self.events):
            before, after = self._last[i], self.value(event, t1, y1)
            self._last[i] = after
            if event.crosses(before, after):
                found.append(self._locate(event, t0, t1, before, after, dense))
        found.sort(key=lambda item: item[0])
        terminal = next((i for i, (_, event, _) in enumerate(found) if event.terminal), len(found) - 1)
        return found[: terminal + 1]

    def _locate(self, event, t0, t1, before, after, dense) -> tuple[float, Event, np.ndarray]:
        y = np.empty((1, self._size))
        ends = {t0: before, t1: after}

        def value(t: float) -> float:
            if t in ends:
                return ends[t]
            dense(np.array([t]), y)
            return self.value(event, t, y[0])

        t = (
            t1
            if after == 0.0
            else float(brentq(value, t0, t1, xtol=4e-16 * max(abs(t0), abs(t1)), rtol=8.9e-16))
        )
        dense(np.array([t]), y)
        return t, event, y[0]
