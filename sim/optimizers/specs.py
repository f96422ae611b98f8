"""The list of optimizers, and optimizers and schedules from what a record says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from ...theory.base.errors import FieldError
from ...theory.base.names import OPTIMIZERS
from ...theory.base.validate import brief
from .optimizer import GD, AdamW, Momentum, Optimizer, SignGD, Spectral
from .schedule import Linear, Schedule, WarmupCosine

KINDS: dict[str, type[Optimizer]] = {kind.__name__: kind for kind in (GD, Momentum, AdamW, SignGD, Spectral)}
# By the names of `train` and of experiments; "sgd" is GD on minibatches.
RULES = {
    name: {k.lower(): kind for k, kind in KINDS.items()}["gd" if name == "sgd" else name]
    for name in OPTIMIZERS
}
SCHEDULES = {kind.__name__: kind for kind in (WarmupCosine, Linear)}


def optimizer_of(spec: Mapping[str, Any]) -> Optimizer:
    """Make the optimizer whose `Optimizer.spec` this is; what else a record holds plays no part.

    Parameters
    ----------
    spec : mapping
        Name and settings.

    Returns
    -------
    Optimizer

    Raises
    ------
    FieldError
        If it names no optimizer of ours, lacks a setting or has a wrong one, or has a schedule that is a function,
        which no record holds.
    """
    name = spec.get("name") if isinstance(spec, Mapping) else spec
    if not isinstance(name, str) or name not in KINDS:
        raise FieldError(
            "optimizer", f"{brief(name)} is none of {', '.join(KINDS)}: give what `spec` returns."
        )
    given = {f.name: spec[f.name] for f in fields(KINDS[name]) if f.name in spec}
    return _made(KINDS[name], "optimizer", given | {"schedule": _schedule(spec.get("schedule"))})


def _schedule(spec: Any) -> Schedule | None:
    if spec is None:
        return None
    name = spec.get("name") if isinstance(spec, Mapping) else None
    if not isinstance(name, str) or name not in SCHEDULES:
        raise FieldError(
            "schedule",
            f"was the function {brief(spec)}, which a record cannot hold: use WarmupCosine, Linear or none.",
        )
    return _made(SCHEDULES[name], "schedule", {key: value for key, value in spec.items() if key != "name"})


def _made(kind: Any, field: str, given: Mapping[Any, Any]) -> Any:
    """Make an object of settings that a record holds, which must be all and no others."""
    known = {f.name: f.default is MISSING and f.default_factory is MISSING for f in fields(kind)}
    wrong = [f"has the unknown {key!r}" for key in given if key not in known]
    wrong += [f"lacks {key!r}" for key, needed in known.items() if needed and key not in given]
    if wrong:
        raise FieldError(field, f"is no record of {kind.__name__}, it {wrong[0]}: give what `spec` returns.")
    return kind(**given)
