"""The settings of one training run, checked where they enter."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from hashlib import sha256
from typing import Any

import numpy as np

from ...sim.device.devices import chosen_device
from ...sim.integration.save_steps import MOST_STEPS, save_steps
from ...sim.optimizers.minibatches import checked_batch_size
from ...sim.optimizers.optimizer import AdamW, Optimizer
from ...sim.optimizers.schedule import Clock
from ...sim.optimizers.specs import RULES
from ...sim.trajectory.provenance import fingerprint
from ...theory.base.errors import FieldError
from ...theory.base.names import DTYPES, KEEPS, OPTIMIZERS
from ...theory.base.validate import brief, choice, integer, is_integer, positive

DEFAULT_BATCH = 100  # the paper's batch size (A3 of arXiv 2502.04375)


@dataclass(frozen=True, eq=False)
class TrainingSettings:
    """What `train` was asked for, cleaned.

    `rule` moves the weights; `optimizer` is the name that it was asked for by. `save_at` is an increasing array of
    steps, `listed` whether they were asked for one by one; `batch_size` is None for the full batch.

    Raises
    ------
    ValueError
        From `of`: one sentence naming the field, its value and the remedy.
    """

    optimizer: str
    rule: Optimizer
    clock: Clock
    steps: int
    save_at: np.ndarray
    listed: bool
    batch_size: int | None
    seed: int
    dtype: str
    clip: float | None
    device: str
    keep: str

    @classmethod
    def of(
        cls,
        *,
        optimizer: str | Optimizer,
        steps: int,
        save_at: Any,
        batch_size: int | None,
        rows: int,
        seed: int,
        dtype: str,
        clip: float | None,
        device: str,
        keep: str,
        **of_rule: Any,
    ) -> TrainingSettings:
        """Check every setting and resolve the defaults; `of_rule` are those that an Optimizer brings along.

        The data have so many `rows`, distinct training sequences.
        """
        rule = rule_of(optimizer, of_rule)
        name = rule.label if isinstance(optimizer, Optimizer) else optimizer
        count = integer("steps", steps, 0, MOST_STEPS)
        return cls(
            optimizer=name,
            rule=rule,
            clock=rule.clock(count),
            steps=count,
            save_at=save_steps(save_at, count),
            listed=save_at is not None and not is_integer(save_at),
            batch_size=batch_size_of(name, batch_size, rows),
            seed=integer("seed", seed, 0),
            dtype=choice("dtype", dtype, DTYPES),
            clip=None if clip is None else positive("clip", clip),
            device=chosen_device(device),
            keep=choice("keep", keep, KEEPS),
        )

    @property
    def learning_rate(self) -> float:
        """Step size."""
        return self.rule.learning_rate

    def times(self, steps: np.ndarray) -> np.ndarray:
        """Flow times of steps: the sum of the step sizes before each."""
        return self.clock.times[steps]

    def going_on_from(self, saved_steps: list[int], step: int, t: float) -> TrainingSettings:
        """Settings of a run that goes on from a checkpoint: what was saved stands, the rest follows `save_at`.

        Raises
        ------
        FieldError
            If the schedule up to `step` is another, or the steps to save are listed and those up to there are others.
        """
        if not np.isclose(t, self.clock.times[step], rtol=1e-12, atol=0.0):
            raise FieldError(
                "schedule",
                f"takes {self.clock.times[step]:g} of flow time to step {step}, the checkpoint's took {t:g}: give the "
                "same function of the step.",
            )
        if not self.listed:  # so many steps, evenly spaced: of a longer run, they are others
            return replace(
                self,
                save_at=np.array(
                    [*saved_steps, *self.save_at[self.save_at > step - (step not in saved_steps)]]
                ),
            )
        if saved_steps != [s for s in self.save_at.tolist() if s < step + (step in saved_steps)]:
            raise FieldError(
                "save_at",
                f"differs from what the checkpoint saved up to step {step} ({len(saved_steps)} steps): give the same "
                "steps up to there.",
            )
        return self

    def identity(self, model: Any, data: Any, start: dict[str, np.ndarray]) -> dict[str, Any]:
        """Return what a checkpoint must share with the run that resumes it, as JSON-able values.

        `steps` and `save_at` are left out: a run may be prolonged, as long as it saved the same steps so far.
        """
        left_out = ("steps", "save_at", "listed", "rule", "clock")
        config = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in left_out}
        # By whatever name it was asked for: "sgd" is "gd" with a batch size.
        config |= self.rule.spec() | {"optimizer": type(self.rule).__name__.lower()}
        del config["name"]
        config |= {f"model.{key}": value for key, value in model.spec().items()}
        return config | {"data": data.fingerprint, "start": fingerprint(start)}


def config_hash(config: dict[str, Any]) -> str:
    """Sha256 of a JSON-able dict in its canonical form."""
    return sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def batch_size_of(optimizer: str, batch_size: int | None, rows: int) -> int | None:
    """Sequences per minibatch, None for all of them; "sgd" takes 100, or all `rows` if there are fewer.

    Raises
    ------
    FieldError
        If the optimizer takes none, or there are not that many rows.
    """
    if batch_size is None:
        return min(DEFAULT_BATCH, rows) if optimizer == "sgd" else None
    if optimizer == "gd":
        raise FieldError(
            "batch_size", f"is {brief(batch_size)} but 'gd' takes the full batch: use 'sgd' or leave it None."
        )
    return checked_batch_size(batch_size, rows)


PLAIN = {
    "learning_rate": 0.1,
    "weight_decay": 0.0,
    "schedule": None,
    "betas": (0.9, 0.999),
}  # what `train` leaves open


def rule_of(optimizer: Any, given: Mapping[str, Any]) -> Optimizer:
    """The optimizer as an object; one that is given brings its own rate, schedule and decay."""
    if isinstance(optimizer, Optimizer):
        for name, value in given.items():
            if value is not None:
                raise FieldError(
                    name,
                    f"is {brief(value)} beside {type(optimizer).__name__}(...), which has its own: leave it out.",
                )
        return optimizer
    settings = PLAIN | {name: value for name, value in given.items() if value is not None}
    kind = RULES[choice("optimizer", optimizer, OPTIMIZERS)]
    if kind is not AdamW:
        AdamW(1.0, betas=settings["betas"])  # checked, though it plays no part
        del settings["betas"]
    return kind(settings.pop("learning_rate"), **settings)
