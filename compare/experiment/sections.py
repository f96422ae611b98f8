"""The sections of an experiment: what can be said of each part of it, and what does not go together within one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ...theory.base.errors import FieldError
from ...theory.base.names import (
    CLOSURES,
    CONVENTIONS,
    DEVICES,
    DTYPES,
    KEEPS,
    METHODS,
    OPTIMIZERS,
    STEP_METHODS,
)
from .values import (
    STEP_LIMIT,
    Betas,
    Closures,
    Convention,
    Device,
    Dtype,
    Factors,
    File,
    Keep,
    Masked,
    Method,
    MovedBy,
    Optimizer,
    Positions,
    Positive,
    Probability,
    Schedule,
    Seed,
    Steps,
    Tokens,
    Tolerance,
)

MAX_STEPS = 100_000


def alternatives(names: Sequence[str]) -> str:
    """Join names as a sentence does: a, b or c."""
    return " or ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


class Section(BaseModel):
    """Base of all sections: exact types, no unknown keys, no nan, immutable."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class Task(Section):
    """The composite anchor task; see `smallinit.theory.CompositeTask`."""

    keys: Tokens = Field(default=tuple(range(21, 121)), description='Key tokens: "21-40", "1-5,8" or a list.')
    memory_anchors: Tokens = Field(
        default=tuple(range(1, 11)), description="Anchors whose labels are memorised."
    )
    reasoning_anchors: Tokens = Field(
        default=tuple(range(11, 21)), description="Anchors that add to the key."
    )
    n_anchors: int = Field(default=2, ge=1, le=64, description="Consecutive anchors per sequence.")
    length: int = Field(default=3, ge=2, le=4096, description="Tokens per sequence.")
    masked: Masked = Field(default=(), description="Held-out reasoning tuples: [[11, 13], [13, 11]].")
    positions: Positions | None = Field(
        default=None, description="Weights of the key's positions; uniform if absent."
    )
    seed: Seed = Field(default=0, description="Seed of the memory labels and of sampling.")
    n_samples: int | None = Field(
        default=None, ge=1, le=10**8, description="Draw this many sequences instead of enumerating all."
    )


class Data(Section):
    """The user's own sequences, in place of a task."""

    file: File = Field(
        description="A table (.csv, .tsv, .jsonl), a text (.txt), or an .npz with sequences, labels (weights, groups, "
        "held_out)."
    )
    label: str | None = Field(default=None, description="Column of the labels of a table; label if absent.")
    group: str | None = Field(default=None, description="Column of the groups of a table; group if absent.")
    n_ctx: int | None = Field(default=None, ge=1, le=4096, description="Words in a window of a text.")
    vocab_size: int | None = Field(
        default=None, ge=2, le=2**20, description="Words of a text that are tokens; all if absent."
    )
    held_out: float | None = Field(
        default=None, ge=0, lt=1, description="Part at the end of a text that is held out; none if absent."
    )
    max_sequences: int | None = Field(
        default=None, ge=1, description="Most windows of a text, evenly spaced over it; all if absent."
    )

    @property
    def options(self) -> dict[str, Any]:
        """What is said of how the file is read."""
        return self.model_dump(exclude={"file"}, exclude_none=True)


class Init(Section):
    """The initial weights."""

    gamma: float = Field(
        default=0.8, ge=0, le=100, description="Exponent of standard deviations, rows^-gamma by default."
    )
    seed: Seed = Field(default=0, description="Seed of the initial weights.")
    convention: Convention = Field(
        default="rows", description=f"What standard deviations are powers of: {alternatives(CONVENTIONS)}."
    )
    file: File | None = Field(default=None, description="An .npz with the weights, in place of a draw.")


class Theory(Section):
    """The closures and their integration; times are flow times (learning rate x step)."""

    closures: Closures = Field(
        default=("leading", "softmax"),
        description=f"Any of {', '.join(CLOSURES)}, order=k, activation=j+attention=m, each also +norm=linear; "
        "repeatable.",
    )
    moved_by: MovedBy | None = Field(
        default=None,
        description='"flow": gradient flow; "optimizer": the steps of [training]\'s optimizer. If absent, flow for gd '
        "and sgd alone, else optimizer.",
    )
    t1: Positive = Field(default=200.0, description="End, in flow time.")
    rtol: Tolerance | None = Field(
        default=None,
        description="Relative tolerance; 1e-6 for a flow, and what the method takes for steps, if absent.",
    )
    atol: Positive | None = Field(
        default=None, description="Absolute tolerance; from the weights' scale if absent."
    )
    method: Method | None = Field(
        default=None,
        description=f"{alternatives(METHODS)}; for steps {alternatives(STEP_METHODS)}; chosen if absent.",
    )
    points: int = Field(
        default=101, ge=2, le=100_000, description="Times kept, of theory and training alike."
    )
    max_steps: int = Field(
        default=MAX_STEPS, ge=1, le=STEP_LIMIT, description="Most steps of the integrator."
    )
    device: Device = Field(
        default="cpu", description=f"{alternatives(DEVICES)}, which takes a GPU if there is one; for flows."
    )
    dtype: Dtype = Field(
        default="float64", description=f"{alternatives(DTYPES)}, for flows with large products such as exact."
    )


class Training(Section):
    """The training run."""

    optimizer: Optimizer = Field(default="gd", description=f"{alternatives(list(OPTIMIZERS))}.")
    learning_rate: Positive = Field(
        default=0.1, description="Flow time per step; the largest under a schedule."
    )
    steps: Steps | None = Field(default=None, description="Steps; t1 / learning_rate if absent.")
    batch_size: Steps | None = Field(default=None, description="Sequences per step; not for gd.")
    weight_decay: float = Field(default=0.0, ge=0, description="Decay rate per unit of flow time.")
    betas: Betas | None = Field(
        default=None, description="Decay of adamw's moments per step; [0.9, 0.999] if absent."
    )
    eps: Positive | None = Field(
        default=None,
        description="What adamw, signgd and spectral add to what they divide by; their own if absent.",
    )
    momentum: Probability | None = Field(
        default=None, description="Of momentum and spectral; 0.9 and 0 if absent."
    )
    nesterov: bool | None = Field(default=None, description="Whether momentum looks ahead; not if absent.")
    rates: Factors | None = Field(
        default=None, description='Weights with factors of the learning rate: "W_E=0.5,W_U=2".'
    )
    decays: Factors | None = Field(
        default=None, description='Weights with decays in place of weight_decay: "W_E=0".'
    )
    schedule: Schedule | None = Field(
        default=None,
        description="cosine: warm-up, then half a cosine; linear: straight down; a constant learning rate if absent.",
    )
    warmup: int | None = Field(
        default=None, ge=0, le=STEP_LIMIT, description="Steps of the warm-up; 0 if absent."
    )
    schedule_end: Steps | None = Field(
        default=None, description="Step at which the schedule ends; the last if absent."
    )
    final: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Learning rate after the schedule over the largest; 0.1 if absent.",
    )
    clip: Positive | None = Field(
        default=None, description="Largest norm of the whole gradient; none if absent."
    )
    seed: Seed = Field(default=0, description="Seed of the minibatches.")
    dtype: Dtype = Field(default="float64", description=f"{alternatives(DTYPES)}.")
    device: Device = Field(
        default="cpu", description=f"{alternatives(DEVICES)}, which takes a GPU if there is one."
    )
    keep: Keep = Field(
        default="weights", description=f"What is kept of every saved step: {alternatives(KEEPS)}."
    )
    measure_on: File | None = Field(
        default=None, description="An .npz like that of [data], to measure the observables that are kept on."
    )
    checkpoint: File | None = Field(
        default=None, description="An .npz to keep the state in, and to go on from."
    )
    checkpoint_every: Steps | None = Field(
        default=None, description="Steps between states; a minute if absent."
    )

    @model_validator(mode="after")
    def _together(self) -> Training:
        """Refuse keys that mean nothing beside the others."""
        set_keys = {key for key in type(self).model_fields if getattr(self, key) is not None}
        if self.optimizer == "gd" and "batch_size" in set_keys:
            raise FieldError(
                "batch_size", "does not go with the full-batch optimizer 'gd'; use 'sgd' or leave it out"
            )
        for key in dict.fromkeys(key for keys in OPTIMIZERS.values() for key in keys):
            owners = [name for name, keys in OPTIMIZERS.items() if key in keys]
            if key in set_keys and self.optimizer not in owners:
                raise FieldError(
                    key,
                    f"goes with {alternatives(owners)} and the optimizer is {self.optimizer!r}; leave it out",
                )
        if self.keep != "observables" and "measure_on" in set_keys:
            raise FieldError("measure_on", "needs keep = 'observables'; weights say all losses themselves")
        if "checkpoint" not in set_keys and "checkpoint_every" in set_keys:
            raise FieldError("checkpoint_every", "needs `checkpoint`, the file to keep the state in; set it")
        self._check_schedule(set_keys)
        return self

    def _check_schedule(self, set_keys: set[str]) -> None:
        if self.schedule is None:
            for key in ("warmup", "schedule_end", "final"):
                if key in set_keys:
                    raise FieldError(key, "belongs to a schedule; set schedule = 'cosine' or leave it out")
            return
        if self.schedule == "linear" and "warmup" in set_keys:
            raise FieldError("warmup", "belongs to the cosine and the schedule is 'linear'; leave it out")
        if self.steps is None:
            raise FieldError("steps", "is missing; with a schedule it does not follow from t1, so set it")
        if (self.warmup or 0) >= (end := self.schedule_end or self.steps):
            raise FieldError("warmup", f"must end before the schedule does at step {end}, got {self.warmup}")


class Output(Section):
    """What the report shows."""

    tolerance: Tolerance = Field(default=0.05, description="Relative error that ends a horizon.")
