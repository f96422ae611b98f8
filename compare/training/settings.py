"""The settings of one training run, checked where they enter."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

import numpy as np

from ...sim.integration.integrate import fingerprint
from ...theory.base.errors import FieldError
from ...theory.base.names import DEVICES, DTYPES, KEEPS, OPTIMIZERS
from ...theory.base.validate import choice, integer, is_integer, nonnegative, positive, real
from .warmup import WarmupCosine

DEFAULT_BATCH = 100  # the paper's batch size (theory A3)


@dataclass(frozen=True)
class TrainingSettings:
    """What `train` was asked for, cleaned.

    `save_at` is an increasing array of steps; `batch_size` is None for the full batch.

    Raises
    ------
    ValueError
        From `of`: one sentence naming the field, its value and the remedy.
    """

    optimizer: str
    learning_rate: float
    steps: int
    save_at: np.ndarray
    batch_size: int | None
    seed: int
    dtype: str
    weight_decay: float
    schedule: WarmupCosine | None
    clip: float | None
    betas: tuple[float, float]
    device: str
    keep: str

    @classmethod
    def of(
        cls,
        *,
        optimizer: str,
        learning_rate: float,
        steps: int,
        save_at: Any,
        batch_size: int | None,
        seed: int,
        dtype: str,
        weight_decay: float,
        schedule: WarmupCosine | None,
        clip: float | None,
        betas: Any,
        device: str,
        keep: str,
    ) -> TrainingSettings:
        """Check every setting and resolve the defaults."""
        optimizer = choice("optimizer", optimizer, OPTIMIZERS)
        rate = positive("learning_rate", learning_rate)
        count = integer("steps", steps, 0)
        return cls(
            optimizer=optimizer,
            learning_rate=rate,
            steps=count,
            save_at=save_steps(save_at, count),
            batch_size=_batch_size(optimizer, batch_size),
            seed=integer("seed", seed, 0),
            dtype=choice("dtype", dtype, DTYPES),
            weight_decay=nonnegative("weight_decay", weight_decay),
            schedule=_schedule(schedule),
            clip=None if clip is None else positive("clip", clip),
            betas=_betas(betas),
            device=_device(device),
            keep=choice("keep", keep, KEEPS),
        )

    @property
    def adamw(self) -> bool:
        """Whether the optimizer keeps moments."""
        return self.optimizer == "adamw"

    def times(self, steps: np.ndarray) -> np.ndarray:
        """Flow times of steps: the sum of the step sizes before each."""
        return self.learning_rate * (steps if self.schedule is None else self.schedule.elapsed(steps))

    def identity(self, model: Any, data: Any, start: dict[str, np.ndarray]) -> dict[str, Any]:
        """Return what a checkpoint must share with the run that resumes it, as JSON-able values.

        `steps` and `save_at` are left out: a run may be prolonged, as long as it saved the same steps so far.
        """
        config = {k: v for k, v in asdict(self).items() if k not in ("steps", "save_at")}
        config["betas"] = list(self.betas)  # as JSON gives it back
        config |= {f"model.{key}": value for key, value in model.spec().items()}
        return config | {"data": data.fingerprint, "start": fingerprint(start)}


def config_hash(config: dict[str, Any]) -> str:
    """Sha256 of a JSON-able dict in its canonical form."""
    return sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def save_steps(save_at: Any, steps: int) -> np.ndarray:
    """Resolve `save_at` to increasing steps within 0 .. `steps`.

    None gives step 0 and about 100 evenly spaced steps; a count k > 1 gives k even ones from 0 to `steps`, a
    count of 1 the last; an array gives just its steps. These are the rules of `integrate`, so that equal
    counts share times.
    """
    if save_at is None:
        return np.unique(np.rint(np.linspace(0, steps, 101)).astype(np.int64))
    if is_integer(save_at):
        count = integer("save_at", save_at, 1)
        return np.unique(np.rint(np.linspace(0, steps, count) if count > 1 else [steps]).astype(np.int64))
    return _listed_steps(save_at, steps)


def _listed_steps(save_at: Any, steps: int) -> np.ndarray:
    form = "must be None, a count, or an increasing list of steps"
    try:
        wanted = np.asarray(save_at, dtype=np.float64)
    except (TypeError, ValueError):
        raise FieldError("save_at", f"{form}, got {save_at!r}.") from None
    if wanted.ndim != 1 or wanted.size == 0:
        raise FieldError("save_at", f"{form}, got an array of shape {wanted.shape}.")
    whole = np.isfinite(wanted) & (wanted == np.floor(wanted))
    if not whole.all():
        raise FieldError(
            "save_at", f"{form}, got {wanted[~whole][0]}: divide flow times by the learning rate and round."
        )
    outside = (wanted < 0) | (wanted > steps)
    if outside.any():
        raise FieldError("save_at", f"must lie in [0, steps] = [0, {steps}], got {int(wanted[outside][0])}.")
    if (np.diff(wanted) <= 0).any():
        raise FieldError("save_at", f"{form}, got repeated or unordered steps: apply `numpy.unique` first.")
    return wanted.astype(np.int64)


def _batch_size(optimizer: str, batch_size: int | None) -> int | None:
    if batch_size is None:
        return DEFAULT_BATCH if optimizer == "sgd" else None
    if optimizer == "gd":
        raise FieldError(
            "batch_size", f"is {batch_size!r} but 'gd' takes the full batch: use 'sgd' or leave it None."
        )
    return integer("batch_size", batch_size, 1)


def _schedule(schedule: Any) -> WarmupCosine | None:
    if schedule is not None and not isinstance(schedule, WarmupCosine):
        raise FieldError("schedule", f"must be a WarmupCosine or None, got {schedule!r}.")
    return schedule


def _betas(betas: Any) -> tuple[float, float]:
    try:
        first, second = (real("betas", beta) for beta in betas)
    except TypeError:
        raise FieldError("betas", f"must be two numbers, got {betas!r}.") from None
    if not (0.0 <= first < 1.0 and 0.0 <= second < 1.0):
        raise FieldError("betas", f"must lie in [0, 1), got {first:g} and {second:g}.")
    return first, second


def _device(device: Any) -> str:
    import torch

    choice("device", device, DEVICES)
    if device == "cuda" and not torch.cuda.is_available():
        raise FieldError("device", 'is "cuda" but torch finds no such device: use "cpu" or "auto".')
    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
