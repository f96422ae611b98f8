"""The command that turns results into a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ...theory.base.disk.destination import file_destination
from ...theory.base.disk.files import write_whole
from ...theory.base.disk.sealed import html_with_seal
from ...theory.base.errors import InputError
from .flags import Overwrite


def report(
    folder: Annotated[Path, Parameter(name="DIR")],
    /,
    *,
    out: Path | None = None,
    overwrite: Overwrite = False,
) -> None:
    """Turn a directory of results into one self-contained HTML page.

    Parameters
    ----------
    folder
        What overlay, simulate, train, sweep or figure wrote.
    out
        File to write; DIR/report.html if absent.
    overwrite
        Replace a former page.
    """
    from ..report.directory import page_of

    target = out if out is not None else folder / "report.html"
    if folder.is_dir():  # else `page_of` says what is wrong
        parent = file_destination(target).parent
        if target.exists() and not overwrite:
            raise InputError(f"{str(target)!r} exists: add --overwrite or name another file with --out.")
        if not parent.is_dir():
            raise InputError(
                f"`--out` {str(target)!r} lies in a folder that does not exist: create it first."
            )
    content = html_with_seal(page_of(folder).html())
    write_whole(target, content)
    print(f"wrote {target} ({len(content) / 1e6:.1f} MB)")
