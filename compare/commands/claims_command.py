"""The command that puts the statements of the papers to the test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from json import dumps
from pathlib import Path
from textwrap import wrap
from typing import Annotated, Any

from cyclopts import Parameter

from ...theory.base.disk.files import write_whole
from ...theory.base.waiting import waiting
from .destinations import output_file
from .flags import Overwrite
from .terminal import load_torch

HEADER = ("claim", "verdict", "statement, and what was found")
WIDTHS = (14, 13, 69)  # with two blanks between columns, 100 in all


def claims(
    *, json: Annotated[Path | None, Parameter(show_default=False)] = None, overwrite: Overwrite = False
) -> None:
    """Put the statements of the papers to the test, one by one.

    Parameters
    ----------
    json
        Also write the findings, with their numbers, to this file.
    overwrite
        Replace a former file.
    """
    from ..literature.claims import claims as all_claims

    if json is not None:
        output_file("--json", json, overwrite)
    print("\n".join([*_lines(HEADER), "  ".join("-" * width for width in WIDTHS)]), flush=True)
    rows, every = [], all_claims()
    load_torch()
    with waiting("testing", len(every), "claims") as wait:
        wait.tell(0)
        for claim in every:
            wait.say(f"testing {claim.number}")
            rows.append(claim.row(claim.verify()))
            wait.tell(len(rows))
            wait.hide()
            print(laid_out(rows[-1]) + "\n", flush=True)
        wait.say("testing")
    counted = Counter(row["status"] for row in rows).most_common()
    print(f"{len(rows)} statements: {', '.join(f'{count} {status}' for status, count in counted)}.")
    if json is not None:
        write_whole(json, dumps(rows, indent=2, allow_nan=True) + "\n")
        print(f"wrote {json}")


def laid_out(row: Mapping[str, Any]) -> str:
    """Set a claim in columns: its statement, and below it what was found."""
    statement = list(_lines((row["number"], row["status"], row["statement"])))
    found = _lines(("", "", row["finding"]), first="-> ", then="   ")
    return "\n".join([*statement, *found])


def _lines(cells: tuple[str, str, str], first: str = "", then: str = "") -> Iterator[str]:
    """Lines of cells that are wrapped in their columns; the last one's begin as told."""
    *short, text = cells
    columns = [wrap(cell, width) for cell, width in zip(short, WIDTHS[:2], strict=True)]
    columns.append(
        wrap(text, WIDTHS[2], initial_indent=first, subsequent_indent=then, break_on_hyphens=False)
    )
    for parts in zip_longest(*columns, fillvalue=""):
        yield "  ".join(map(str.ljust, parts, WIDTHS)).rstrip()
