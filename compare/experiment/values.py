"""Values as a file or a flag writes them: tokens, closures and names, read to plain Python and written back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

from ...theory.base.frozen_dict import FrozenDict
from ...theory.base.names import (
    ACTIVATIONS,
    BAD_ACTIVATIONS,
    CLOSURE_PARTS,
    CLOSURES,
    CONVENTIONS,
    DEVICES,
    DTYPES,
    KEEPS,
    LOSSES,
    METHODS,
    MODELS,
    MOVED_BY,
    NORM_KINDS,
    NORMS,
    OPTIMIZERS,
    POSITIONS,
    PREDICT,
    SCHEDULES,
    STEP_METHODS,
    known_elsewhere,
)
from ...theory.base.validate import brief, did_you_mean
from .own_model import OWN

_PART = rf"({'|'.join(CLOSURE_PARTS)})=(exact|\d\d?)"
# A cut of the loss, or what is kept of each part, joined by "+" since commas part closures in a flag.
CLOSURE = rf"({'|'.join(CLOSURES)}|order=[1-9]\d?|{_PART}(,{_PART})*)(,norm=linear)?|norm=linear"
TOKEN_LIMIT = 2**20  # also keeps a mistyped range from filling the memory
STEP_LIMIT = 10**8
POSITION_NAMES = (*POSITIONS, "none")


def parse_tokens(value: Any) -> Any:
    """Read ``"21-40"``, ``"1-5, 8"``, one token or a list of tokens.

    A list always means its members: two numbers are two tokens, never a range.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return (value,)
    return _tokens(value) if isinstance(value, str) else value


@lru_cache(maxsize=8)  # the points of a sweep say the same again and again
def _tokens(value: str) -> tuple[int, ...]:
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


@lru_cache(maxsize=8)
def format_tokens(tokens: tuple[int, ...]) -> str:
    """Write tokens as ranges, such that `parse_tokens` gives them back in the same order."""
    breaks = [i for i, (a, b) in enumerate(pairwise(tokens), 1) if b != a + 1]
    edges = [0, *breaks, len(tokens)]
    runs = ((tokens[a], tokens[b - 1]) for a, b in pairwise(edges) if b > a)
    return ",".join(f"{first}-{last}" if last > first else str(first) for first, last in runs)


def parse_factors(value: Any) -> Any:
    """Read ``"W_E=0.5, W_U=2"``, or a table of names and numbers."""
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in value.split(",")]
    try:
        return {name.strip(): float(number) for name, _, number in pairs}
    except ValueError:
        raise ValueError(
            f'must give weights their numbers as in "W_E=0.5,W_U=2", got {value[:40]!r}'
        ) from None


def parse_fields(value: Any) -> Any:
    """Read ``"d_gate=5, kind=soft"``, or a table: integers, numbers, true and false, and texts."""
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in value.split(",")]
    if any(not (name.strip() and equals) for name, equals, _ in pairs):
        raise ValueError(f'must give fields their values as in "d_gate=5,kind=soft", got {value[:40]!r}')
    names = [name.strip() for name, _, _ in pairs]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"must give a field one value, got {twice!r} twice")
    return {name: _plain_value(text.strip()) for name, (_, _, text) in zip(names, pairs, strict=True)}


def _plain_value(text: str) -> Any:
    for reader in (int, float):
        try:
            return reader(text)
        except ValueError:
            continue
    return text == "true" if text in ("true", "false") else text


def plain(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping as a file has it; older pydantic reads signatures of serialisers, which `dict` has none of."""
    return dict(mapping)


def check_model(name: str) -> str:
    """Refuse what is neither a model of the package nor a class in a file."""
    if OWN.fullmatch(name):
        return name
    if name.endswith(".py") or ".py:" in name:
        raise ValueError(
            f"must name a file and a class in it, as in 'my_model.py:MyModel', got {brief(name)}"
        )
    if name not in MODELS:
        others = f"choose one of {', '.join(MODELS)}, or a class of your own as in 'my_model.py:MyModel'"
        raise ValueError(f"{brief(name)} is unknown; {did_you_mean(name, MODELS, others)}")
    return name


def parse_closures(value: Any) -> Any:
    """Read one name, names joined by commas, or a list of names; parts of one closure are joined by "+" in text."""
    if not isinstance(value, str):
        return value
    return tuple(name.strip().replace("+", ",") for name in value.split(","))


def check_closures(names: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse unknown and repeated closures."""
    for i, name in enumerate(names):
        if name not in CLOSURES and not re.fullmatch(CLOSURE, name, re.ASCII):
            hint = did_you_mean(name, (*CLOSURES, "order=9")).rstrip(".")
            raise ValueError(f"has an unknown closure {name[:40]!r}; {hint}")
        if name in names[:i]:
            raise ValueError(f"names {name!r} twice")
    return names


def check_activation(name: str) -> str:
    """Refuse unknown activations; those that the theory does not hold for are refused with the model."""
    return name if name in BAD_ACTIVATIONS else _known(name, ACTIVATIONS)


def check_method(name: str) -> str:
    """Refuse unknown methods; for one of another package, say which of ours does the same."""
    if ours := known_elsewhere(name):
        raise ValueError(f"{brief(name)} is unknown; {ours}")
    return _known(name, (*METHODS, *STEP_METHODS))


def check_positions(value: Any) -> Any:
    """Refuse what is neither a flag nor the name of a kind of positions."""
    if not isinstance(value, bool | str):
        raise ValueError(f"must be true, false or one of {', '.join(POSITION_NAMES)}, got {brief(value)}")
    return value if isinstance(value, bool) else _known(value, POSITION_NAMES)


def _known(name: str, known: tuple[str, ...]) -> str:
    if name not in known:
        raise ValueError(f"{brief(name)} is unknown; {did_you_mean(name, known).rstrip('.')}")
    return name


def _one_of(known: tuple[str, ...]) -> AfterValidator:
    """Make the validator of a list of names: pydantic's own does not say which one was meant."""
    return AfterValidator(lambda name: _known(name, known))


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
Places = Annotated[Any, AfterValidator(check_positions)]
Norm = Annotated[str, _one_of((*NORMS, "none"))]
NormKind = Annotated[str, _one_of(NORM_KINDS)]
Predict = Annotated[str, _one_of(PREDICT)]
Activation = Annotated[str, AfterValidator(check_activation)]
Size = Annotated[int, Field(ge=1, le=2**20)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Positive = Annotated[float, Field(gt=0)]
Tolerance = Annotated[float, Field(gt=0, lt=1)]
Factors = Annotated[
    dict[str, Annotated[float, Field(ge=0, strict=False)]],
    BeforeValidator(parse_factors),
    AfterValidator(FrozenDict),
    PlainSerializer(plain),
]
Probability = Annotated[float, Field(ge=0, lt=1)]
Betas = Annotated[tuple[Probability, Probability], Field(strict=False)]
Steps = Annotated[int, Field(ge=1, le=STEP_LIMIT)]
File = Annotated[str, Field(min_length=1)]
ModelName = Annotated[str, AfterValidator(check_model)]
OwnFields = Annotated[
    dict[str, bool | int | float | str],
    BeforeValidator(parse_fields),
    AfterValidator(FrozenDict),
    PlainSerializer(plain),
]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Loss = Annotated[str, _one_of(LOSSES)]
Method = Annotated[str, AfterValidator(check_method)]
MovedBy = Annotated[str, _one_of(MOVED_BY)]
Optimizer = Annotated[str, _one_of(tuple(OPTIMIZERS))]
Schedule = Annotated[str, _one_of(SCHEDULES)]
Dtype = Annotated[str, _one_of(DTYPES)]
Device = Annotated[str, _one_of(DEVICES)]
Keep = Annotated[str, _one_of(KEEPS)]
Convention = Annotated[str, _one_of(CONVENTIONS)]
