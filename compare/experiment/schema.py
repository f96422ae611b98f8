"""Experiments: one strict schema behind Python construction, TOML files and flags."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from pydantic import model_validator

from ...theory.base.errors import FieldError
from ...theory.base.names import METHODS, STEP_METHODS
from .model_spec import ModelSpec
from .sections import MAX_STEPS, Data, Init, Output, Section, Task, Theory, Training, alternatives
from .values import STEP_LIMIT


class Experiment(Section):
    """A whole experiment: data, network, start, theory, training."""

    task: Task | None = None
    data: Data | None = None
    model: ModelSpec = ModelSpec()
    init: Init = Init()
    theory: Theory = Theory()
    training: Training = Training()
    output: Output = Output()

    @model_validator(mode="before")
    @classmethod
    def _some_data(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("task") is None and values.get("data") is None:
            return values | {"task": Task(masked=((11, 13), (13, 11)))}
        return values

    @model_validator(mode="after")
    def _consistent(self) -> Experiment:
        if self.task is not None and self.data is not None:
            raise FieldError("task", "and `data` exclude each other; keep one of them")
        if (
            self.training.steps is None
            and not 0.5 <= self.theory.t1 / self.training.learning_rate <= STEP_LIMIT
        ):
            raise FieldError(
                "theory.t1",
                f"/ `training.learning_rate` must give between 1 and {STEP_LIMIT:,} steps, got "
                f"{self.theory.t1:g} / {self.training.learning_rate:g}; change one of them",
            )
        return self

    @model_validator(mode="after")
    def _one_clock(self) -> Experiment:
        """Refuse a method that is not of what moves the closures."""
        methods = STEP_METHODS if self.moved_by == "optimizer" else METHODS
        if self.theory.method not in (None, *methods):
            raise FieldError(
                "theory.method",
                f"{self.theory.method!r} is none for closures moved by the {self.moved_by}; use "
                f"{alternatives(methods)}, or set theory.moved_by",
            )
        if self.moved_by == "optimizer" and self.theory.atol is not None:
            raise FieldError("theory.atol", "means nothing to the steps of an optimizer; leave it out")
        asked = "max_steps" in self.theory.model_fields_set and self.theory.max_steps != MAX_STEPS
        if self.moved_by == "optimizer" and asked and self.theory.method != "flow":
            raise FieldError(
                "theory.max_steps", "means nothing to the steps of an optimizer but for method = 'flow'"
            )
        return self

    @property
    def moved_by(self) -> str:
        """What moves the closures: "flow", the limit of small steps of gradient descent, or "optimizer"."""
        if self.theory.moved_by is not None:
            return self.theory.moved_by
        training = self.training
        plain = training.optimizer in ("gd", "sgd") and not (
            training.weight_decay or training.rates or training.decays
        )
        return "flow" if plain else "optimizer"

    @property
    def counts_steps(self) -> bool:
        """Whether closures end with the steps of training, and t1 plays no part."""
        return self.moved_by == "optimizer" and self.training.steps is not None

    @property
    def steps(self) -> int:
        """Training steps: as given, or as many as reach t1."""
        return self.training.steps or max(1, round(self.theory.t1 / self.training.learning_rate))

    @property
    def hash(self) -> str:
        """Sha256 of the canonical form."""
        return sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


def fields() -> Iterator[tuple[str, str, Any]]:
    """Yield (section, key, pydantic field) of everything that can be set."""
    for section, part in SECTIONS.items():
        for key, field in part.model_fields.items():
            yield section, key, field


SECTIONS: dict[str, type[Section]] = {
    "task": Task,
    "data": Data,
    "model": ModelSpec,
    "init": Init,
    "theory": Theory,
    "training": Training,
    "output": Output,
}
