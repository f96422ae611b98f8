"""Rows of a table as the arguments of a data set: tokens and labels by number, or by name with the names kept."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import numpy as np

from ...base.errors import FieldError
from ...base.validate import brief, did_you_mean, integer
from .clean_columns import clean_vocabulary
from .table_rows import NO_ROWS, Row

SEQUENCE, LABEL, WEIGHT, GROUP, HELD_OUT = "sequence", "label", "weight", "group", "held_out"
OPTIONAL = (WEIGHT, GROUP, HELD_OUT)
LARGEST_TOKEN = 2**20  # beyond, numbers are names: a vocabulary has a row of weights for each
TRUE, FALSE = ("true", "yes", "1", "1.0"), ("false", "no", "0", "0.0", "")
TRUTH = dict.fromkeys(TRUE, True) | dict.fromkeys(FALSE, False)


@dataclass
class _Table:
    """The columns of a table while it is read; tokens are still as they were written.

    Attributes
    ----------
    label : str
        Name of the column of labels.
    positions : tuple of str
        Names of those of the tokens, the one column "sequence" or those asked for; of the first row until it is read.
    asked : bool
        Whether they were asked for.
    """

    label: str
    positions: tuple[str, ...]
    asked: bool
    sequences: list[Sequence[Any]] = field(default_factory=list)
    labels: list[Any] = field(default_factory=list)
    options: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in OPTIONAL})
    places: list[str] = field(default_factory=list)


def table_columns(
    rows: Iterable[Row],
    *,
    label: str = LABEL,
    group: str = GROUP,
    columns: Sequence[str] | None = None,
    d_vocab: int | None = None,
    vocabulary: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Turn rows into the arguments of `Dataset`.

    Where all tokens and labels are numbers they are taken as they are, and those that are no tokens, such as -1, are
    refused; else all are names, which get numbers in alphabetical order and are kept as the `vocabulary`.

    Parameters
    ----------
    rows : iterable of (str, mapping)
        Where each row stands, and its cells by column: the label; "weight", "group", "held_out" if there are any; and
        the tokens, in one column "sequence" (a list, or text parted by blanks) or in a column for each position.
    label : str
        Name of the column of labels.
    group : str
        Name of the column of groups.
    columns : sequence of str, optional
        Names of the columns of the positions; all that mean nothing else, in the order of the first row.
    d_vocab : int, optional
        Size of the vocabulary; the smallest one that holds all tokens and labels.
    vocabulary : sequence of str, optional
        Names in the order of their numbers, such as those of another data set; no others may occur then.

    Returns
    -------
    dict
        Arguments of `Dataset`.

    Raises
    ------
    ValueError
        For the first row that cannot be read, with its place, its column and what to do.
    """
    size = None if d_vocab is None else integer("d_vocab", d_vocab, 1)
    known = None if vocabulary is None else clean_vocabulary(vocabulary)
    positions = () if columns is None else _asked(columns, label)
    table = _Table(label, positions, columns is not None)
    for where, row in rows:
        _read(table, where, row if group == GROUP else _regrouped(where, row, group))
    if not table.labels:
        raise FieldError("table", f"{NO_ROWS}.")
    tokens, labels, names = _numbered(table, size, known)
    largest = 1 + max(int(tokens.max()), int(labels.max()))
    size = integer("d_vocab", d_vocab, largest) if d_vocab is not None else max(largest, len(names or ()))
    return {"sequences": tokens, "labels": labels, "d_vocab": size, "vocabulary": names, **_options(table)}


def _regrouped(where: str, row: Mapping[str, Any], group: str) -> dict[str, Any]:
    """A row with its column of groups under the name that it has by default."""
    if group not in row or GROUP in row:
        reason = (
            f"is no column of {where}" if group not in row else f"and {GROUP!r} are both columns of {where}"
        )
        remedy = did_you_mean(group, row, f"there are {', '.join(row)}") if group not in row else "rename one"
        raise FieldError("group", f"{group!r} {reason}: {remedy}")
    return {GROUP if name == group else name: value for name, value in row.items()}


def _asked(columns: Any, label: str) -> tuple[str, ...]:
    """The names of the positions that were asked for, as names of a frame may be numbers."""
    if isinstance(columns, str) or not (names := tuple(str(name) for name in columns)):
        raise FieldError("columns", f'must be names of columns, such as ["a", "b"], got {brief(columns)}.')
    if len(set(names)) < len(names) or label in names:
        raise FieldError(
            "columns", f"must be distinct, and without that of labels, {label!r}: got {brief(columns)}."
        )
    return names


def _options(table: _Table) -> dict[str, list[Any]]:
    """Weights, groups and what is held out, if there are any, as arguments of `Dataset`."""
    given = {name: values for name, values in table.options.items() if any(v is not None for v in values)}
    for name in (WEIGHT, GROUP):
        if name in given and None in given[name]:
            where = table.places[given[name].index(None)]
            raise ValueError(f"{where}: `{name}` is empty: give every row one, or none.")
    if HELD_OUT in given:
        given[HELD_OUT] = [bool(value) for value in given[HELD_OUT]]
    return {name if name == HELD_OUT else f"{name}s": values for name, values in given.items()}


def _read(table: _Table, where: str, row: Mapping[str, Any]) -> None:
    label = table.label
    if label not in row:
        hint = did_you_mean(label, row, f"there are {', '.join(row)}").rstrip("?.")
        raise FieldError(
            "label", f"{label!r} is no column of {where}: {hint}; give the name of the one with the labels."
        )
    sequence = _sequence(table, where, row)
    if table.sequences and len(sequence) != (n := len(table.sequences[0])):
        found = f"{len(sequence)} token{'s' * (len(sequence) != 1)}"
        raise ValueError(
            f"{where}: `{SEQUENCE}` has {found} where {table.places[0].rpartition(', ')[2]} "
            f"has {n}: give all the same number."
        )
    table.sequences.append(sequence)
    table.labels.append(_token(where, label, row[label]))
    for name in OPTIONAL:
        table.options[name].append(_option(where, name, row.get(name)))
    table.places.append(where)


def _sequence(table: _Table, where: str, row: Mapping[str, Any]) -> list[Any]:
    """The tokens of a row, as they were written; columns mean in every row what they mean in the first."""
    others = [name for name in row if name not in (table.label, *OPTIONAL)]
    if not table.positions:
        table.positions = (SEQUENCE,) if SEQUENCE in row else tuple(others)
    if not (names := table.positions):
        raise ValueError(f"{where}: has no tokens: give a column `{SEQUENCE}`, or one for each position.")
    if missing := [name for name in names if name not in row]:
        raise ValueError(f"{where}: has no column `{missing[0]}`: there are {', '.join(row)}.")
    if not table.asked and (extra := [name for name in others if name not in names]):
        raise ValueError(f"{where}: unknown column `{extra[0]}` beside `{names[0]}`: leave it out.")
    if table.asked or names != (SEQUENCE,):
        return [_token(where, name, row[name]) for name in names]
    value = row[SEQUENCE]
    cells = value.split() if isinstance(value, str) else value
    if not isinstance(cells, list | tuple) or not cells:
        raise ValueError(
            f"{where}: `{SEQUENCE}` must be tokens parted by blanks or a list, got {brief(value)}."
        )
    return [_token(where, SEQUENCE, cell) for cell in cells]


def _token(where: str, column: str, value: Any) -> int | str:
    """A token: a whole number where it can be read as one, else a name."""
    if isinstance(value, str):
        if not (text := value.strip()):
            raise ValueError(f"{where}: `{column}` is empty: give a token, a number or a name.")
        return int(text) if re.fullmatch(r"0|[1-9]\d{0,17}", text, re.ASCII) else text
    if isinstance(value, float) and value.is_integer():  # a frame whose column has a gap holds no integers
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(
            f"{where}: `{column}` must be a token, a number from 0 on or a name, got {brief(value)}."
        )
    return value


def _option(where: str, name: str, value: Any) -> Any:
    """A weight, the name of a group or whether a row is held out; None if the cell is empty."""
    if value is None or (value == "" and name != HELD_OUT):
        return None
    if name == WEIGHT:
        try:
            weight = float(value)
        except (TypeError, ValueError, OverflowError):
            weight = 0.0
        if not (isfinite(weight) and weight > 0.0) or isinstance(value, bool):
            raise ValueError(f"{where}: `{WEIGHT}` must be a positive number, got {brief(value)}.")
        return weight
    if name == GROUP:
        return str(value)
    if (found := TRUTH.get(str(value).strip().lower())) is None:
        raise ValueError(f"{where}: `{HELD_OUT}` must be true or false, got {brief(value)}.")
    return found


def _numbered(
    table: _Table, d_vocab: int | None, vocabulary: Sequence[str] | None
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...] | None]:
    """Tokens (n, n_ctx) and labels (n,) by number, and the names of the numbers if they have names."""
    cells: list[tuple[str, Any]] = []
    for where, row, last in zip(table.places, table.sequences, table.labels, strict=True):
        cells += [(where, cell) for cell in (*row, last)]
    if vocabulary is None and all(isinstance(cell, int) for _, cell in cells):
        most = LARGEST_TOKEN if d_vocab is None else d_vocab
        if wrong := next(((where, cell) for where, cell in cells if cell >= most), None):
            raise ValueError(
                f"{wrong[0]}: the token {wrong[1]} is beyond the vocabulary of {most:,}: count from 0."
            )
        return np.array(table.sequences), np.array(table.labels), None
    if vocabulary is None:
        _check_names(cells)
    names = sorted({str(cell) for _, cell in cells}) if vocabulary is None else list(vocabulary)
    number = {name: i for i, name in enumerate(names)}
    for where, cell in cells:
        if str(cell) not in number:
            raise ValueError(
                f"{where}: the token {str(cell)!r} is not in the vocabulary: {did_you_mean(cell, names)}"
            )
    sequences = [[number[str(cell)] for cell in row] for row in table.sequences]
    return np.array(sequences), np.array([number[str(cell)] for cell in table.labels]), tuple(names)


def _check_names(cells: Iterable[tuple[str, Any]]) -> None:
    """Refuse a table of numbers in which some are no tokens: as names they would give all others other numbers."""
    texts = [(where, cell) for where, cell in cells if isinstance(cell, str)]
    if all(_is_number(cell) for _, cell in texts):
        raise ValueError(
            f"{texts[0][0]}: must have whole numbers from 0 on where all tokens are numbers, got {texts[0][1]!r}: "
            "change it, or give names."
        )


def _is_number(text: str) -> bool:
    """Whether a text that is no token is a number; with zeros before it, it is a name such as 007."""
    if re.fullmatch(r"0\d{1,17}", text, re.ASCII):
        return False
    try:
        float(text)
    except ValueError:
        return False
    return True
