"""Optimizers: one frozen object that moves theory and training alike.

A step is ``W <- W - eta_s kappa_W (u_W + decay)`` with the rate eta_s = learning_rate x schedule(s), the direction u of
the optimizer and a rate kappa and a decay lambda for each weight. Update rules and units are torch's: a weight is
what torch calls a parameter group, whose learning rate is ``kappa_W learning_rate`` and multiplies its decay as well.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from ...theory.base.errors import FieldError
from ...theory.base.frozen_dict import FrozenDict
from ...theory.base.validate import brief, did_you_mean, flag, nonnegative, positive, real
from .schedule import Clock, Linear, Schedule, WarmupCosine, checked_schedule, described

SCHEDULES = {WarmupCosine: "warm-up and cosine", Linear: "linear"}  # words for legends


@dataclass(frozen=True)
class Optimizer(ABC):
    """What all optimizers have in common.

    Parameters
    ----------
    learning_rate : float
        Step size; flow time is the sum of the step sizes.
    schedule : WarmupCosine, Linear, callable or None
        Factor of the rate by step (from 0); None for a constant rate.
    weight_decay : float
        Decay of all weights; see each optimizer for where it enters.
    rates : mapping
        Weight name -> factor of its learning rate (1 where none is named).
    decays : mapping
        Weight name -> its own decay in place of `weight_decay`.

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    learning_rate: float
    schedule: Schedule | None = field(default=None, kw_only=True)
    weight_decay: float = field(default=0.0, kw_only=True)
    rates: Mapping[str, float] = field(default_factory=dict, kw_only=True)
    decays: Mapping[str, float] = field(default_factory=dict, kw_only=True)

    label: ClassVar[str] = ""
    elementwise: ClassVar[bool] = True
    moments: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        """Check the numbers."""
        if type(self) is Optimizer:
            raise FieldError(
                "optimizer", "is what all have in common: take GD, Momentum, AdamW, SignGD or Spectral."
            )
        object.__setattr__(self, "learning_rate", positive("learning_rate", self.learning_rate))
        object.__setattr__(self, "schedule", checked_schedule(self.schedule))
        object.__setattr__(self, "weight_decay", nonnegative("weight_decay", self.weight_decay))
        for name, check in (("rates", positive), ("decays", nonnegative)):
            given = getattr(self, name)
            if not isinstance(given, Mapping):
                raise FieldError(name, f"must map weight names to numbers, got {brief(given)}.")
            clean = {str(w): check(f"{name}[{w!r}]", value) for w, value in given.items()}
            object.__setattr__(self, name, FrozenDict(clean))

    def __hash__(self) -> int:
        """Hash of the settings."""
        return hash(str(self.spec()))

    def of_weights(self, names: Collection[str]) -> dict[str, tuple[float, float]]:
        """Weight name -> (factor of its rate, decay).

        Raises
        ------
        FieldError
            If a rate or decay is given for a weight that there is not.
        """
        for field_name in ("rates", "decays"):
            if strange := [w for w in getattr(self, field_name) if w not in names]:
                raise FieldError(
                    field_name, f"names the weight {strange[0]!r}: {did_you_mean(strange[0], names)}"
                )
        return {w: (self.rates.get(w, 1.0), self.decays.get(w, self.weight_decay)) for w in names}

    def clock(self, steps: int) -> Clock:
        """Rates and flow times of a run of this many steps."""
        return Clock.of(self.learning_rate, self.schedule, steps)

    def spec(self) -> dict[str, Any]:
        """Name and settings as JSON-able values."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        plain |= {"rates": dict(self.rates), "decays": dict(self.decays)}
        if self.schedule is not None:
            plain["schedule"] = described(self.schedule)
        if "betas" in plain:
            plain["betas"] = list(plain["betas"])
        return {"name": type(self).__name__, **plain}

    def __str__(self) -> str:
        """For legends: the rate, and all that this optimizer does not have by itself."""
        usual = next(f.default for f in fields(self) if f.name == "weight_decay")
        said = [self.label, f"learning rate {self.learning_rate:g}"]
        if self.schedule is not None:
            said.append(f"{SCHEDULES.get(type(self.schedule), 'own')} schedule")
        if self.weight_decay != usual:
            said.append(f"weight decay {self.weight_decay:g}")
        for name in ("rates", "decays"):
            if own := getattr(self, name):
                said.append(f"{name} of {' and '.join(own)}")
        return ", ".join(said)


@dataclass(frozen=True, eq=True)
class GD(Optimizer):
    """Gradient descent: u = g; `weight_decay` adds lambda W to the gradient, as in torch's SGD."""

    label = "GD"
    __hash__ = Optimizer.__hash__


@dataclass(frozen=True)
class Momentum(Optimizer):
    """Gradient descent with momentum, torch's SGD without dampening: v <- mu v + g; u = v, or g + mu v (nesterov).

    `weight_decay` adds lambda W to the gradient.
    """

    momentum: float = field(default=0.9, kw_only=True)
    nesterov: bool = field(default=False, kw_only=True)

    label = "momentum"
    moments = ("v",)
    __hash__ = Optimizer.__hash__

    def __post_init__(self) -> None:
        """Check the numbers."""
        super().__post_init__()
        object.__setattr__(self, "momentum", _below_one("momentum", self.momentum))
        object.__setattr__(self, "nesterov", flag("nesterov", self.nesterov))


@dataclass(frozen=True)
class AdamW(Optimizer):
    """AdamW with decoupled decay; Adam is `weight_decay` = 0. u = a / (sqrt b + eps) with bias-corrected moments."""

    betas: tuple[float, float] = field(default=(0.9, 0.999), kw_only=True)
    eps: float = field(default=1e-8, kw_only=True)
    weight_decay: float = field(default=0.01, kw_only=True)

    label = "AdamW"
    moments = ("a", "b")
    __hash__ = Optimizer.__hash__

    def __post_init__(self) -> None:
        """Check the numbers."""
        super().__post_init__()
        try:
            first, second = self.betas
        except (TypeError, ValueError):
            raise FieldError("betas", f"must be two numbers, got {brief(self.betas)}.") from None
        first, second = real("betas", first), real("betas", second)
        if not (0.0 <= first < 1.0 and 0.0 <= second < 1.0):
            raise FieldError("betas", f"must lie in [0, 1), got {first:g} and {second:g}.")
        object.__setattr__(self, "betas", (first, second))
        if real("eps", self.eps) <= 0.0:
            raise FieldError(
                "eps",
                f"must be positive, got {brief(self.eps)}: entries whose gradients are 0 would move by 0/0.",
            )
        object.__setattr__(self, "eps", float(self.eps))


@dataclass(frozen=True)
class SignGD(Optimizer):
    """Sign descent: u = g / (abs g + eps), 0 where g is 0; decay is decoupled."""

    eps: float = field(default=0.0, kw_only=True)

    label = "sign descent"
    __hash__ = Optimizer.__hash__

    def __post_init__(self) -> None:
        """Check the numbers."""
        super().__post_init__()
        object.__setattr__(self, "eps", nonnegative("eps", self.eps))


@dataclass(frozen=True)
class Spectral(Optimizer):
    """Spectral descent (Muon's step): u is the polar factor of v, with v <- mu v + g; decay is decoupled.

    Singular values s become s / sqrt(s^2 + (eps s_max)^2), so that directions in which nothing is learnt stay still.
    """

    momentum: float = field(default=0.0, kw_only=True)
    eps: float = field(default=1e-6, kw_only=True)

    label = "spectral descent"
    moments = ("v",)
    elementwise = False
    __hash__ = Optimizer.__hash__

    def __post_init__(self) -> None:
        """Check the numbers."""
        super().__post_init__()
        object.__setattr__(self, "momentum", _below_one("momentum", self.momentum))
        object.__setattr__(self, "eps", positive("eps", self.eps))


def _below_one(name: str, value: Any) -> float:
    number = real(name, value)
    if not 0.0 <= number < 1.0:
        raise FieldError(name, f"must lie in [0, 1), got {number:g}.")
    return number
