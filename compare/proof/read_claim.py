"""What somebody claims, read from text or from expressions, in the symbols of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sympy as sp

from ...theory.algebra.nodes import Matrix, free_symbols, matrix_symbols
from ...theory.algebra.rebuild import canonical
from ...theory.base.errors import FieldError
from ...theory.language.claimed_motion import parse, unfit_to_move
from ...theory.language.vocabulary import Vocabulary
from ...theory.models.model import Model
from ...theory.printing.text import text
from .motion import Motion


def read_claim(claim: Any, model: Model, words: Vocabulary) -> tuple[str, Motion, Matrix]:
    """The claim as text, what it says the motion of, and that motion, both in raw data symbols.

    Raises
    ------
    ClaimError
        If a text cannot be read; it points at the character.
    ValueError
        If a mapping is malformed.
    """
    weights = {w.name: w for w in model.weight_symbols}
    if isinstance(claim, str):
        read = parse(claim, words.names, targets=weights, functions=words.functions)
        motion = Motion(model, read.target, _in_raw_data(read.moving, weights, words))
        return claim.strip(), motion, words.define(read.expression)
    if not isinstance(claim, Mapping) or len(claim) != 1 or not _moves(next(iter(claim)), weights):
        raise FieldError(
            "claim",
            f"must be text such as 'dW_E = ...' or one of {', '.join(weights)}, or a matrix of them, -> expression, "
            f"got {claim!r}.",
        )
    ((key, side),) = claim.items()
    name, moving = _moving(key, weights, words)
    if getattr(side, "shape", None) != moving.shape:
        raise FieldError(
            "claim", f"for {name} must be a matrix expression of shape {moving.shape}, got {side!r}."
        )
    _check_symbols(name, side, words)
    written = f"d{name} = {text(canonical(side))}"
    return written, Motion(model, name, _in_raw_data(moving, weights, words)), words.define(side)


def _moves(key: Any, weights: Mapping[str, sp.MatrixSymbol]) -> bool:
    return isinstance(key, sp.MatrixExpr) or key in weights


def _moving(
    key: str | Matrix, weights: Mapping[str, sp.MatrixSymbol], words: Vocabulary
) -> tuple[str, Matrix]:
    """What moves, by its name and as an expression."""
    if isinstance(key, str) or key in weights.values():
        return str(key), weights[str(key)]
    name = f"({text(canonical(key))})"
    _check_symbols(name, key, words)
    return name, canonical(key)


def _in_raw_data(moving: Matrix, weights: Mapping[str, sp.MatrixSymbol], words: Vocabulary) -> Matrix:
    """What moves without the names of statistics, some of which vanish in it, as M*1 does."""
    raw = words.define(moving)
    if reason := unfit_to_move(raw, weights.values()):
        raise FieldError("claim", f"moves what {reason}")
    return raw


def _check_symbols(name: str, expr: Matrix, words: Vocabulary) -> None:
    """Refuse symbols that are none of the model's, and numbers that are none."""
    scalars = {s for s in free_symbols(expr) if isinstance(s, sp.Symbol)}
    strange = [str(s) for s in scalars if words.names.get(s.name) != s]
    strange += [str(v) for v in (sp.I, sp.oo, -sp.oo, sp.zoo, sp.nan) if expr.has(v)]
    if strange:
        raise ValueError(
            f"`claim` for {name} holds the scalar {sorted(strange)[0]}: use real numbers and the model's dimensions."
        )
    unknown = {s for s in matrix_symbols(expr) if words.names.get(s.name) != s}
    if unknown:
        raise FieldError("claim", f"uses the unknown symbol {unknown.pop()}: use {', '.join(words.names)}.")
