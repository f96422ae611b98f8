"""Optimizers and schedules from what a record says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ...theory.base.errors import FieldError
from .optimizer import GD, AdamW, Momentum, Optimizer, SignGD, Spectral
from .schedule import Linear, Schedule, WarmupCosine

KINDS: dict[str, type[Optimizer]] = {kind.__name__: kind for kind in (GD, Momentum, AdamW, SignGD, Spectral)}
SCHEDULES = {kind.__name__: kind for kind in (WarmupCosine, Linear)}


def optimizer_of(spec: Mapping[str, Any]) -> Optimizer:
    """Make the optimizer whose `Optimizer.spec` this is; what else a record holds plays no part.

    Raises
    ------
    FieldError
        If it names no optimizer of ours, or a schedule that is a function, which no record holds.
    """
    if spec.get("name") not in KINDS:
        raise FieldError("optimizer", f"{spec.get('name')!r} is none of {', '.join(KINDS)}.")
    kind = KINDS[spec["name"]]
    given: dict[str, Any] = {f.name: spec[f.name] for f in fields(kind) if f.name in spec}
    given["schedule"] = _schedule(spec.get("schedule"))
    return kind(**given)


def _schedule(spec: Any) -> Schedule | None:
    if spec is None:
        return None
    if not isinstance(spec, Mapping) or spec.get("name") not in SCHEDULES:
        raise FieldError(
            "schedule",
            f"was the function {spec!r}, which a record cannot hold: use WarmupCosine, Linear or none.",
        )
    return SCHEDULES[spec["name"]](**{key: value for key, value in spec.items() if key != "name"})
