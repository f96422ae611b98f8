"""The command that puts the statements of the papers to the test."""

from __future__ import annotations

from json import dumps
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ...theory.base.errors import InputError
from ...theory.base.files import write_whole


def claims(*, json: Annotated[Path | None, Parameter(show_default=False)] = None) -> None:
    """Put the statements of the papers to the test, one by one.

    Parameters
    ----------
    json
        Also write the findings, with their numbers, to this file.
    """
    from ..literature.claims import claims as all_claims

    if json is not None and not json.absolute().parent.is_dir():
        raise InputError(f"`--json` {str(json)!r} lies in a folder that does not exist: create it first.")
    rows = []
    for claim in all_claims():
        rows.append(claim.row(claim.verify()))
        print("{number:15} {status:26} {statement}\n{0:43}{finding}".format("", **rows[-1]), flush=True)
    if json is not None:
        write_whole(json, dumps(rows, indent=2, allow_nan=True) + "\n")
