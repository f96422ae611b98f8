"""Experiments: one strict schema behind Python construction, TOML files and flags."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from hashlib import sha256
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    model_validator,
)

# Mirrors of `theory.activations.NAMED` and `theory.closure.NAMES`, held equal by a test: reading a file must
# not load sympy.
ACTIVATIONS = ("tanh", "sin", "arctan", "softsign", "gelu", "silu", "identity", "square")
REFUSED_ACTIVATIONS = ("relu", "leaky_relu", "sigmoid")
CLOSURES = ("drive", "leading", "softmax", "exact")
# A cut of the loss, or what is kept of each part, joined by "+" since commas part closures in a flag.
CLOSURE = r"order=[1-9]\d?|(softmax|activation|attention)=(exact|\d\d?)(,(softmax|activation|attention)=(exact|\d\d?))*"
TOKEN_LIMIT = 2**20  # also keeps a mistyped range from filling the memory
STEP_LIMIT = 10**8


def parse_tokens(value: Any) -> Any:
    """Read ``"21-40"``, ``"1-5, 8"``, one token or a list of tokens.

    A list always means its members: two numbers are two tokens, never a range.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return (value,)
    if not isinstance(value, str):
        return value
    spans = [_span(part) for part in value.split(",")]
    if sum(len(span) for span in spans) > TOKEN_LIMIT:
        raise ValueError(f"must hold at most {TOKEN_LIMIT:,} tokens, got {sum(map(len, spans)):,}")
    return tuple(token for span in spans for token in span)


def _span(part: str) -> range:
    match = re.fullmatch(r"\s*(\d{1,7})\s*(?:-\s*(\d{1,7})\s*)?", part, re.ASCII)
    if match is None:
        raise ValueError(
            f'must be a range such as "21-40", some joined by commas, or a list of tokens, got {part[:40]!r}'
        )
    first, last = int(match[1]), int(match[2] or match[1])
    if last < first:
        raise ValueError(f"must count upwards, got {part[:40]!r}; swap the ends")
    return range(first, last + 1)


def format_tokens(tokens: tuple[int, ...]) -> str:
    """Write tokens as ranges, such that `parse_tokens` gives them back in the same order."""
    breaks = [i for i, (a, b) in enumerate(pairwise(tokens), 1) if b != a + 1]
    edges = [0, *breaks, len(tokens)]
    runs = [tokens[a:b] for a, b in pairwise(edges)]
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def parse_closures(value: Any) -> Any:
    """Read one name, names joined by commas, or a list of names; parts of one closure are joined by "+" in text."""
    if not isinstance(value, str):
        return value
    return tuple(name.strip().replace("+", ",") for name in value.split(","))


def check_closures(names: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse unknown and repeated closures."""
    for i, name in enumerate(names):
        if name not in CLOSURES and not re.fullmatch(CLOSURE, name, re.ASCII):
            raise ValueError(f"has an unknown closure {name[:40]!r}{_hint(name, (*CLOSURES, 'order=9'))}")
        if name in names[:i]:
            raise ValueError(f"names {name!r} twice")
    return names


def check_activation(name: str) -> str:
    """Refuse unknown activations, and those the theory does not hold for with the reason."""
    if name in REFUSED_ACTIVATIONS:
        raise ValueError(
            f"{name!r} breaks Assumption 1 (s twice differentiable, s(0) = 0, s'(0) = 1); "
            "use a smooth activation such as 'tanh' or 'gelu'"
        )
    if name not in ACTIVATIONS:
        raise ValueError(f"{name[:40]!r} is unknown{_hint(name, ACTIVATIONS)}")
    return name


def _hint(word: str, known: tuple[str, ...]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(word, known, 1)
    return f"; did you mean {near[0]!r}?" if near else f"; choose from {', '.join(known)}"


# TOML has arrays, Python's tuples are immutable: the container may be either, its members stay strict.
Members = Field(min_length=1, max_length=TOKEN_LIMIT, strict=False)
Token = Annotated[int, Field(ge=0, lt=TOKEN_LIMIT)]
Tokens = Annotated[
    tuple[Token, ...], Members, BeforeValidator(parse_tokens), PlainSerializer(format_tokens, return_type=str)
]
Masked = Annotated[
    tuple[Annotated[tuple[Token, ...], Members], ...], Field(strict=False, max_length=TOKEN_LIMIT)
]
Positions = Annotated[tuple[Annotated[float, Field(ge=0)], ...], Members]
Closures = Annotated[
    tuple[str, ...],
    Field(min_length=1, max_length=100, strict=False),
    BeforeValidator(parse_closures),
    AfterValidator(check_closures),
]
Activation = Annotated[str, AfterValidator(check_activation)]
Size = Annotated[int, Field(ge=1, le=2**20)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Positive = Annotated[float, Field(gt=0)]
Tolerance = Annotated[float, Field(gt=0, lt=1)]


class Section(BaseModel):
    """Base of all sections: exact types, no unknown keys, no nan, immutable."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class Task(Section):
    """The composite anchor task; see `smallinit.theory.CompositeTask`."""

    keys: Tokens = Field(tuple(range(21, 121)), description='Key tokens: "21-40", "1-5,8" or a list.')
    memory_anchors: Tokens = Field(tuple(range(1, 11)), description="Anchors whose labels are memorised.")
    reasoning_anchors: Tokens = Field(tuple(range(11, 21)), description="Anchors that add to the key.")
    n_anchors: int = Field(2, ge=1, le=64, description="Consecutive anchors per sequence.")
    length: int = Field(3, ge=2, le=4096, description="Tokens per sequence.")
    masked: Masked = Field((), description="Held-out reasoning tuples: [[11, 13], [13, 11]].")
    positions: Positions | None = Field(
        None, description="Weights of the key's positions; uniform if absent."
    )
    seed: Seed = Field(0, description="Seed of the memory labels and of sampling.")
    n_samples: int | None = Field(
        None, ge=1, le=10**8, description="Draw this many sequences instead of enumerating all."
    )


class Data(Section):
    """The user's own sequences, in place of a task."""

    file: str = Field(min_length=1, description="An .npz with sequences, labels (weights, groups, held_out).")


class ModelSpec(Section):
    """The network; keys that a model does not have are ignored."""

    name: Literal[
        "EmbMLP", "EmbedUnembed", "TwoTokenMLP", "OneLayerTransformer", "ScalarClassifier", "AttentionOnly"
    ] = Field("EmbMLP", description="Class of the model.")
    d_model: Size = Field(200, description="Embedding width.")
    d_mlp: Size = Field(400, description="Hidden width.")
    d_head: Size = Field(64, description="Width of keys, queries and values.")
    n_layers: int = Field(1, ge=1, le=16, description="Attention layers (AttentionOnly).")
    unembed: bool = Field(True, description="Read logits through W_U (OneLayerTransformer).")
    positions: bool = Field(False, description="Add a learned positional embedding (OneLayerTransformer).")
    activation: Activation = Field("tanh", description=f"One of {', '.join(ACTIVATIONS)}.")
    loss: Literal["cross_entropy", "exponential", "logistic", "mse"] | None = Field(
        None, description="cross_entropy, exponential, logistic or mse; the model's own if absent."
    )
    d_vocab: Size | None = Field(None, description="Vocabulary size; as large as the data need if absent.")


class Init(Section):
    """The initial weights."""

    gamma: float = Field(0.8, ge=0, le=100, description="Entries have standard deviation rows^-gamma.")
    seed: Seed = Field(0, description="Seed of the initial weights.")
    file: str | None = Field(None, min_length=1, description="An .npz with the weights, in place of a draw.")


class Theory(Section):
    """The closures and their integration; times are flow times (learning rate x step)."""

    closures: Closures = Field(
        ("leading", "softmax"),
        description=f"Any of {', '.join(CLOSURES)}, order=k, activation=j+attention=m; repeatable.",
    )
    t1: Positive = Field(200.0, description="End, in flow time.")
    rtol: Tolerance = Field(1e-6, description="Relative tolerance.")
    atol: Positive | None = Field(None, description="Absolute tolerance; from the weights' scale if absent.")
    method: Literal["tsit5", "dop853", "rkc", "euler", "taylor"] | None = Field(
        None, description="tsit5, dop853, rkc, euler or taylor; chosen as the run goes on if absent."
    )
    points: int = Field(101, ge=2, le=100_000, description="Times kept, of theory and training alike.")
    max_steps: int = Field(100_000, ge=1, le=STEP_LIMIT, description="Most steps of the integrator.")


class Training(Section):
    """The training run."""

    optimizer: Literal["gd", "sgd", "adamw"] = Field("gd", description="gd, sgd or adamw.")
    learning_rate: Positive = Field(0.1, description="Flow time per step.")
    steps: int | None = Field(None, ge=1, le=STEP_LIMIT, description="Steps; t1 / learning_rate if absent.")
    batch_size: int | None = Field(None, ge=1, le=STEP_LIMIT, description="Sequences per step; not for gd.")
    weight_decay: float = Field(0.0, ge=0, description="Decay rate per unit of flow time.")
    seed: Seed = Field(0, description="Seed of the minibatches.")
    dtype: Literal["float64", "float32"] = Field("float64", description="float64 or float32.")

    @model_validator(mode="after")
    def _batches(self) -> Training:
        if self.optimizer == "gd" and self.batch_size is not None:
            raise ValueError(
                "`batch_size` does not go with the full-batch optimizer 'gd'; use 'sgd' or leave it out"
            )
        return self


class Output(Section):
    """What the report shows."""

    tolerance: Tolerance = Field(0.05, description="Relative error that ends a horizon.")


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
            raise ValueError("`task` and `data` exclude each other; keep one of them")
        if (
            self.training.steps is None
            and not 0.5 <= self.theory.t1 / self.training.learning_rate <= STEP_LIMIT
        ):
            raise ValueError(
                f"`theory.t1` / `training.learning_rate` must give between 1 and {STEP_LIMIT:,} steps, got "
                f"{self.theory.t1:g} / {self.training.learning_rate:g}; change one of them"
            )
        return self

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
