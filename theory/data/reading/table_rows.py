"""Rows of a table, each with the words for where it stands: of a CSV file, of a file of JSON lines, of a data frame."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..words import read_utf8_file

Row = tuple[str, Mapping[str, Any]]  # where it stands, and what it holds by column
SEPARATORS = (",", ";", "\t")
NO_ROWS = "has no rows: give it a line for each sequence"


def csv_rows(path: str | Path) -> Iterator[Row]:
    """Read a table whose first line names its columns, parted by commas, semicolons or tabs; cells are text.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no text in UTF-8, has no rows, a column has no name or another one's, or a line has more or fewer
        cells.
    """
    text = read_utf8_file(path)
    if not text.strip():
        raise ValueError(
            f"{path} is empty: give it a line that names the columns, and one for each sequence."
        )
    first, empty = text.splitlines()[0], True
    lines = io.StringIO(text, newline="")  # whatever ends them
    reader = csv.reader(lines, delimiter=max(SEPARATORS, key=first.count), strict=True)
    lines = _checked(reader, path)
    names = [name.strip() for name in next(lines, [])]
    if not names or not all(names) or len(set(names)) < len(names):
        raise ValueError(
            f"{path}, line 1: must name every column once, such as a,b,label; got {first.strip()[:60]!r}."
        )
    for cells in lines:
        if not any(cell.strip() for cell in cells):
            continue
        where = f"{path}, line {reader.line_num}"
        if len(cells) != len(names):
            found = f"{len(cells)} cell{'s' * (len(cells) != 1)}"
            raise ValueError(f"{where}: has {found} where line 1 names {len(names)}: give it as many.")
        yield where, dict(zip(names, (cell.strip() for cell in cells), strict=True))
        empty = False
    if empty:
        raise ValueError(f"{path} {NO_ROWS}.")


def _checked(reader: Any, path: str | Path) -> Iterator[list[str]]:
    """The lines of a reader, whose complaints get the place they are about."""
    try:
        yield from reader
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: is no CSV ({error}): mend its quotes.") from None


def jsonl_rows(path: str | Path) -> Iterator[Row]:
    """Read a JSON object a line.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no text in UTF-8 or has no rows, or a line is no JSON object.
    """
    empty = True
    for number, line in enumerate(read_utf8_file(path).split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{where}: is no JSON ({error}): write an object a line.") from None
        if not isinstance(row, dict):
            raise ValueError(
                f'{where}: must be an object such as {{"sequence": [3, 5], "label": 8}}, got {line.strip()[:40]!r}.'
            )
        yield where, row
        empty = False
    if empty:
        raise ValueError(f"{path} {NO_ROWS}.")


def frame_rows(frame: Any) -> Iterator[Row]:
    """Read a `pandas.DataFrame`, or any table with columns and `to_dict("records")`.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    if not hasattr(frame, "columns") or not hasattr(frame, "to_dict"):
        raise ValueError(f"`frame` must be a pandas.DataFrame, got {type(frame).__name__}: make one.")
    names = [str(name) for name in frame.columns]
    if twice := [name for i, name in enumerate(names) if name in names[:i]]:
        raise ValueError(f"`frame` must name every column once, got {twice[0]!r} twice: rename one.")
    for number, row in enumerate(frame.to_dict("records")):
        yield f"row {number} of the frame", {str(name): _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    """Numbers and arrays of numpy as those of Python, a missing value as None."""
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    return None if value != value else value
