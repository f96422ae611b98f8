"""Events: zeros of functions of the weights along a trajectory, and changes of conditions, located on the dense output.

A function sees a copy of the weights that nobody can write to: what it does cannot change the trajectory, and what it
keeps stays as it was at its time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...theory.base.errors import FieldError
from ...theory.base.frozen import sealed
from ...theory.base.validate import brief, is_integer, name_of


@dataclass(frozen=True)
class Event:
    """A zero of ``function(t, weights)`` to be located, or the time at which a condition changes.

    A crossing is seen if the sign, or the truth, differs between the two ends of a step; two crossings within one step
    cancel.

    Attributes
    ----------
    function : callable
        ``(t, {name: array}) -> float``, continuous, or ``-> bool``: the first time at which that is otherwise is found
        by bisection, to the resolution of flow time. t is flow time; the arrays are copies, to be read only.
    terminal : bool
        Whether the integration ends at the first zero.
    direction : int
        1 sees only zeros from below, or a condition that comes true, -1 only the other way, 0 both.
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
            raise FieldError("function", f"of an event must be callable, got {brief(self.function)}.")
        if not isinstance(self.terminal, bool | np.bool_):
            raise FieldError("terminal", f"of an event must be True or False, got {brief(self.terminal)}.")
        if not is_integer(self.direction) or self.direction not in (-1, 0, 1):
            raise FieldError("direction", f"of an event must be -1, 0 or 1, got {brief(self.direction)}.")
        if isinstance(self.name, str) and not self.name:
            object.__setattr__(self, "name", str(getattr(self.function, "__name__", "event")))
        name_of("name", self.name)

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
    if not isinstance(events, Event | Iterable) and not callable(events):
        raise FieldError("events", f"must be functions of t and the weights, got {brief(events)}.")
    items: tuple[Any, ...] = (events,) if isinstance(events, Event) or callable(events) else tuple(events)
    result = tuple(item if isinstance(item, Event) else Event(item) for item in items)
    names = [event.name for event in result]
    for name in names:
        if names.count(name) > 1:
            raise FieldError(
                "events", f"must have different names, got {name!r} twice; pass Event(..., name=...)."
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
        """Value of the event's function; of a condition 1 where it holds, else -1.

        Raises
        ------
        ValueError
            If it is neither one finite real number nor a boolean.
        """
        weights = self._unpack(sealed(np.array(y)))
        try:
            found = event.function(t, weights)
        except Exception as error:
            shapes = ", ".join(f"{name!r}: an array {w.shape}" for name, w in weights.items())
            error.add_note(f"event `{event.name}` is called with t and the weights by name, {{{shapes}}}.")
            raise
        value = np.asarray(found)
        if value.size == 1 and value.dtype.kind == "b":
            return 1.0 if value.item() else -1.0
        if value.size != 1 or value.dtype.kind not in "iuf" or not math.isfinite(value.item()):
            raise ValueError(
                f"event `{event.name}` must return one finite number, or True or False, got {brief(found)} at "
                f"t = {t:g}."
            )
        return float(value.item())

    def start(self, t: float, y: np.ndarray) -> None:
        """Note the values at the start; a zero right there is no crossing."""
        self._size = y.size
        self._last = [self.value(event, t, y) for event in self.events]

    def zeros(
        self, t0: float, t1: float, y1: np.ndarray, dense: Callable[[np.ndarray, np.ndarray], None]
    ) -> list[tuple[float, Event, np.ndarray]]:
        """Locate the zeros in the step (t0, t1], in order of time, up to that of the first terminal one."""
        found = []
        for i, event in enumerate(self.events):
            before, after = self._last[i], self.value(event, t1, y1)
            self._last[i] = after
            if event.crosses(before, after):
                found.append(self._locate(event, t0, t1, before, after, dense))
        found.sort(key=lambda item: item[0])
        end = next((t for t, event, _ in found if event.terminal), math.inf)
        return [zero for zero in found if zero[0] <= end]

    def _locate(self, event, t0, t1, before, after, dense) -> tuple[float, Event, np.ndarray]:
        y = np.empty((1, self._size))
        ends = {t0: before, t1: after}

        def value(t: float) -> float:
            if t in ends:
                return ends[t]
            dense(np.array([t]), y)
            return self.value(event, t, y[0])

        if after == 0.0:
            t = t1
        elif {before, after} == {-1.0, 1.0}:  # a condition, or as good as one: where it is first otherwise
            t = _switch(value, t0, t1, after)
        else:
            from scipy.optimize import brentq  # which takes a while to load, and few runs have events

            t = float(brentq(value, t0, t1, xtol=4e-16 * max(abs(t0), abs(t1)), rtol=8.9e-16, maxiter=1000))
        dense(np.array([t]), y)
        return t, event, y[0]


def _switch(value: Callable[[float], float], low: float, high: float, after: float) -> float:
    """Bisect down to the first number at which a condition is as it is `after`."""
    while low < (middle := 0.5 * (low + high)) < high:
        low, high = (low, middle) if (value(middle) > 0.0) == (after > 0.0) else (middle, high)
    return high
