"""Learning rates that change over the steps, and the flow time that goes by."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, is_dataclass
from functools import cached_property
from hashlib import sha256
from math import cos, pi
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.base.errors import FieldError
from ...theory.base.validate import brief, integer, is_real, real

if TYPE_CHECKING:
    from scipy.interpolate import PchipInterpolator


@dataclass(frozen=True)
class WarmupCosine:
    """Linear warm-up to the learning rate, then half a cosine down to a part of it, where it stays.

    Parameters
    ----------
    warmup : int
        Steps of the warm-up; 0 for none.
    total : int
        Step at which the cosine ends; a run may stop before or after it.
    final : float
        Last rate over the largest, in (0, 1].

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    warmup: int
    total: int
    final: float = 0.1

    def __post_init__(self) -> None:
        """Check the numbers."""
        object.__setattr__(self, "warmup", integer("warmup", self.warmup, 0))
        object.__setattr__(self, "total", integer("total", self.total, self.warmup + 1))
        object.__setattr__(self, "final", _last_rate(self.final))

    def factor(self, step: int) -> float:
        """Rate of optimizer step number `step` (from 0) over the largest rate."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        part = min((step - self.warmup) / (self.total - self.warmup), 1.0)
        return self.final + (1.0 - self.final) * 0.5 * (1.0 + cos(pi * part))


@dataclass(frozen=True)
class Linear:
    """From the learning rate straight down to a part of it, where it stays.

    Parameters
    ----------
    total : int
        Step at which the last rate is reached.
    final : float
        Last rate over the first, in (0, 1].

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    total: int
    final: float = 0.1

    def __post_init__(self) -> None:
        """Check the numbers."""
        object.__setattr__(self, "total", integer("total", self.total, 1))
        object.__setattr__(self, "final", _last_rate(self.final))

    def factor(self, step: int) -> float:
        """Rate of optimizer step number `step` (from 0) over the first."""
        return 1.0 + (self.final - 1.0) * min(step / self.total, 1.0)


def _last_rate(final: Any) -> float:
    if not 0.0 < (clean := real("final", final)) <= 1.0:
        raise FieldError("final", f"must lie in (0, 1], got {clean}.")
    return clean


Schedule = WarmupCosine | Linear | Callable[[int], float]


def checked_schedule(schedule: Any) -> Any:
    """Return a schedule, or None for a constant rate; anything else is refused."""
    if schedule is None or hasattr(schedule, "factor") or callable(schedule):
        return schedule
    raise FieldError(
        "schedule",
        f"must be a WarmupCosine, a Linear, a function of the step or None, got {brief(schedule)}.",
    )


PLAIN: tuple[Any, ...] = (bool, int, float, complex, str, bytes)


def _words(thing: Any, above: tuple[int, ...] = ()) -> Any:
    """What a function computes, as far as it can be read off it: the same in every process.

    Of a function its code, defaults, and what it holds and looks up; of a method, a partial or any other object what a
    pickle would keep. `above` are the objects that hold this one: functions may hold themselves.
    """
    if thing is None:
        return None
    for kind in PLAIN:
        if isinstance(thing, kind):
            return kind(thing)  # numpy's, which are of these too, are shown as its settings say
    if id(thing) in above:
        return "itself"

    def inner(part: Any) -> Any:
        return _words(part, (*above, id(thing)))

    if isinstance(thing, dict):
        return {str(key): inner(value) for key, value in thing.items()}
    if isinstance(thing, list | tuple | set | frozenset):
        found = [inner(part) for part in thing]
        return found if isinstance(thing, list | tuple) else sorted(map(repr, found))
    if isinstance(thing, CodeType):
        return thing.co_code.hex(), inner(thing.co_consts), thing.co_names
    if isinstance(thing, FunctionType):
        return _function_words(thing, inner)
    if isinstance(thing, type | ModuleType | BuiltinFunctionType):
        return getattr(thing, "__module__", ""), getattr(thing, "__qualname__", thing.__name__)
    call = type(thing).__call__ if callable(thing) else None
    try:
        return inner(thing.__reduce_ex__(4)), inner(call) if isinstance(call, FunctionType) else ""
    except (TypeError, AttributeError, ValueError):
        return type(thing).__qualname__, id(thing)  # nothing can be read: never taken for another one


def _function_words(function: FunctionType, inner: Callable[[Any], Any]) -> Any:
    """Code, defaults, held values and looked-up names of a function."""
    held = [inner(cell.cell_contents) for cell in function.__closure__ or ()]
    looked_up = {
        n: inner(v) for n in _names(function.__code__) if (v := function.__globals__.get(n)) is not None
    }
    return inner(function.__code__), inner((function.__defaults__, function.__kwdefaults__)), held, looked_up


def _names(code: CodeType) -> list[str]:
    """Names that a code and the functions within it look up."""
    within = [name for part in code.co_consts if isinstance(part, CodeType) for name in _names(part)]
    return sorted({*code.co_names, *within})


def described(schedule: Schedule) -> dict[str, Any]:
    """Name and settings of a schedule as JSON-able values; of a function its name and a digest of its code."""
    if is_dataclass(schedule):
        return {"name": type(schedule).__name__, **asdict(schedule)}
    digest = sha256(repr(_words(schedule)).encode()).hexdigest()
    return {"function": getattr(schedule, "__qualname__", type(schedule).__name__), "code": digest}


def warn_of_end(learning_rate: float, schedule: Schedule | None, steps: int, stacklevel: int = 5) -> None:
    """Say what happens when a run goes on after the end of its schedule."""
    if isinstance(schedule, WarmupCosine | Linear) and schedule.total < steps:
        rate = learning_rate * schedule.final
        warnings.warn(
            f"`schedule` ends at step {schedule.total} of {steps}: the rate stays at {rate:g} from there.",
            stacklevel=stacklevel,
        )


def factors(schedule: Schedule | None, steps: int) -> np.ndarray:
    """Rates of steps 0 .. `steps` - 1 over the learning rate (steps,).

    Raises
    ------
    FieldError
        If a function of the step gives anything but a positive number: flow time would stand still.
    """
    if schedule is None:
        return np.ones(steps)
    rate: Callable[[int], float] = getattr(schedule, "factor", schedule)  # pyright: ignore[reportAssignmentType]
    found = np.array([_factor(rate, step, steps) for step in range(steps)])
    if (bad := ~(np.isfinite(found) & (found > 0.0))).any():
        step = int(np.argmax(bad))
        raise FieldError("schedule", f"must give positive numbers, got {found[step]:g} at step {step}.")
    return found


def _factor(rate: Callable[[int], float], step: int, steps: int) -> float:
    """What a function gives for a step; whatever goes wrong in it is said with the step."""
    try:
        found = rate(step)
    except Exception as error:  # the user's function may raise anything, a table's end for instance
        reason = f"{type(error).__name__}: {error}"
    else:
        if is_real(found):
            return float(found)
        reason = f"it gives {brief(found)}"
    raise FieldError(
        "schedule", f"must give a number for each of the {steps} steps, not so at step {step} ({reason})."
    )


@dataclass(frozen=True, eq=False)
class Clock:
    """Flow time of every step: the sum of the rates of the steps before it.

    Attributes
    ----------
    rates : ndarray, shape (steps,)
        Learning rate of each step.
    times : ndarray, shape (steps + 1,)
        Flow time before each step, and after the last.
    """

    rates: np.ndarray
    times: np.ndarray

    @classmethod
    def of(cls, learning_rate: float, schedule: Schedule | None, steps: int) -> Clock:
        """Tabulate the rates of a run."""
        with np.errstate(over="ignore"):
            rates = learning_rate * factors(schedule, steps)
        with np.errstate(over="ignore"):
            even = learning_rate * np.arange(steps + 1)  # to the last bit the same for training and theory
            times = even if schedule is None else np.concatenate([[0.0], np.cumsum(rates)])
        if not np.isfinite(times[-1]):
            raise FieldError(
                "learning_rate",
                f"is {learning_rate:g}, with which {steps} steps take no finite flow time: lower it.",
            )
        if np.any(np.diff(times) <= 0.0):
            raise FieldError(
                "schedule",
                f"gives steps too small to be added to the flow time of {times[-1]:g}: raise its last values.",
            )
        return cls(rates, times)

    def time(self, steps: Any) -> np.ndarray:
        """Flow time of steps, whole or in between."""
        return np.interp(steps, np.arange(len(self.times)), self.times)

    @cached_property
    def _curve(self) -> PchipInterpolator:
        """Flow time as a smooth function of the step, through all of the table; it rises as the table does."""
        from scipy.interpolate import (
            PchipInterpolator,
        )  # a tenth of the time that the command line takes to start

        return PchipInterpolator(np.arange(len(self.times)), self.times)

    def smooth_time(self, steps: Any) -> np.ndarray:
        """Flow time of steps by the rates of `parabolas`; at whole steps that of the table, to the bit."""
        steps = np.asarray(steps, dtype=np.float64)
        if len(self.times) == 1:
            return self.time(steps)
        return np.where(steps == np.rint(steps), self.time(steps), self._curve(steps))

    def parabolas(self) -> np.ndarray:
        """Rate within each step, c0 + x (c1 + x c2) at a part x of it: its integral is the step's rate (steps, 3)."""
        cubic, square, linear, _ = self._curve.c
        return np.stack([linear, 2.0 * square, 3.0 * cubic], axis=-1)
