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
from .table_rows import NO_ROWS, Row

SEQUENCE, LABEL, WEIGHT, GROUP, HELD_OUT = "sequence", "label", "weight", "group", "held_out"
OPTIONAL = (WEIGHT, GROUP, HELD_OUT)
LARGEST_TOKEN = 2**20  # beyond, numbers are names: a vocabulary has a row of weights for each
TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False, "": False}


@dataclass
class _Table:
    """The columns of a table while it is read; tokens are still as they were written."""

    sequences: list[Sequence[Any]] = field(default_factory=list)
    labels: list[Any] = field(default_factory=list)
    options: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in OPTIONAL})
    places: list[str] = field(default_factory=list)


def table_columns(
    rows: Iterable[Row],
    *,
    label: str = LABEL,
    columns: Sequence[str] | None = None,
    d_vocab: int | None = None,
    vocabulary: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Turn rows into the arguments of `Dataset`.

    Where all tokens and labels are numbers they are taken as they are; else all are names, which get numbers in
    alphabetical order and are kept as the `vocabulary`.

    Parameters
    ----------
    rows : iterable of (str, mapping)
        Where each row stands, and its cells by column: the label; "weight", "group", "held_out" if there are any; and
        the tokens, in one column "sequence" (a list, or text parted by blanks) or in a column for each position.
    label : str
        Name of the column of labels.
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
    table = _Table()
    for where, row in rows:
        _read(table, where, row, label, columns)
    if not table.labels:
        raise FieldError("table", f"{NO_ROWS}.")
    tokens, labels, names = _numbered(table, d_vocab, vocabulary)
    largest = 1 + max(int(tokens.max()), int(labels.max()))
    size = integer("d_vocab", d_vocab, largest) if d_vocab is not None else max(largest, len(names or ()))
    optional = {
        f"{n}s" if n != HELD_OUT else n: v for n, v in table.options.items() if any(x is not None for x in v)
    }
    if HELD_OUT in optional:
        optional[HELD_OUT] = [bool(value) for value in optional[HELD_OUT]]
    return {"sequences": tokens, "labels": labels, "d_vocab": size, "vocabulary": names, **optional}


def _read(
    table: _Table, where: str, row: Mapping[str, Any], label: str, columns: Sequence[str] | None
) -> None:
    if label not in row:
        raise ValueError(f"{where}: has no column `{label}`, {_remedy(label, row)}")
    sequence = _sequence(where, row, label, columns)
    if table.sequences and len(sequence) != (n := len(table.sequences[0])):
        raise ValueError(
            f"{where}: `{SEQUENCE}` has {len(sequence)} tokens where {table.places[0].rpartition(', ')[2]} "
            f"has {n}: give all the same number."
        )
    table.sequences.append(sequence)
    table.labels.append(_token(where, label, row[label]))
    for name in OPTIONAL:
        table.options[name].append(_option(where, name, row.get(name)))
        if name in row and name != HELD_OUT and table.options[name][-1] is None:
            raise ValueError(f"{where}: `{name}` is empty: give every row one, or none.")
    table.places.append(where)


def _remedy(label: str, row: Mapping[str, Any]) -> str:
    hint = did_you_mean(label, row, f"there are {', '.join(row)}")
    return f"{hint.rstrip('?.')}: name the column of labels {label!r}, or say which it is with label=..."


def _sequence(where: str, row: Mapping[str, Any], label: str, columns: Sequence[str] | None) -> list[Any]:
    """The tokens of a row, as they were written."""
    if columns is None and SEQUENCE in row:
        if extra := [name for name in row if name not in (SEQUENCE, label, *OPTIONAL)]:
            raise ValueError(f"{where}: unknown column `{extra[0]}` beside `{SEQUENCE}`: leave it out.")
        value = row[SEQUENCE]
        cells = value.split() if isinstance(value, str) else value
        if not isinstance(cells, list | tuple) or not cells:
            raise ValueError(
                f"{where}: `{SEQUENCE}` must be tokens parted by blanks or a list, got {brief(value)}."
            )
        return [_token(where, SEQUENCE, cell) for cell in cells]
    names = columns if columns is not None else [n for n in row if n not in (label, *OPTIONAL)]
    if not names:
        raise ValueError(f"{where}: has no tokens: give a column `{SEQUENCE}`, or one for each position.")
    if missing := [name for name in names if name not in row]:
        raise ValueError(f"{where}: has no column `{missing[0]}`: there are {', '.join(row)}.")
    return [_token(where, name, row[name]) for name in names]


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
        except (TypeError, ValueError):
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
    names = sorted({str(cell) for _, cell in cells}) if vocabulary is None else list(vocabulary)
    number = {name: i for i, name in enumerate(names)}
    for where, cell in cells:
        if str(cell) not in number:
            raise ValueError(
                f"{where}: the token {str(cell)!r} is not in the vocabulary: {did_you_mean(cell, names)}"
            )
    sequences = [[number[str(cell)] for cell in row] for row in table.sequences]
    return np.array(sequences), np.array([number[str(cell)] for cell in table.labels]), tuple(names)
