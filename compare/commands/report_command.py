"""The command that turns results into a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ...theory.base.disk.destination import file_destination
from ...theory.base.disk.files import write_whole
from ...theory.base.disk.sealed import html_with_seal
from ...theory.base.errors import InputError
from ...theory.base.waiting import waiting
from .flags import Overwrite


def report(
    folder: Annotated[Path, Parameter(name="DIR")],
    /,
    *,
    out: Path | None = None,
    gif: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    overwrite: Overwrite = False,
) -> None:
    """Turn a directory of results into one self-contained HTML page.

    Of a run with a training, a second page beside it shows its embeddings over flow time, theory beside training.

    Parameters
    ----------
    folder
        What overlay, simulate, train, sweep or figure wrote.
    out
        File to write; DIR/report.html if absent.
    gif
        Also write the embeddings over flow time as an animated GIF.
    overwrite
        Replace former pages.
    """
    from ..report.directory import motion_in, page_of, with_motion

    target = out if out is not None else folder / "report.html"
    moving = [target.with_name(f"{target.stem}-embeddings{end}") for end in (".html", ".gif")[: 1 + gif]]
    if folder.is_dir():  # else `page_of` says what is wrong
        parent = file_destination(target).parent
        if there := [path for path in (target, *moving) if path.exists() and not overwrite]:
            raise InputError(f"{str(there[0])!r} exists: add --overwrite or name another file with --out.")
        if not parent.is_dir():
            raise InputError(
                f"`--out` {str(target)!r} lies in a folder that does not exist: create it first."
            )
    with waiting("making the page"):
        page, motion = page_of(folder), motion_in(folder)
        if gif and motion is None:
            raise InputError(f"{str(folder)!r} holds no training with an embedding: leave out --gif.")
        if motion is not None:
            page = with_motion(page, moving[0].name)
        write_whole(target, content := html_with_seal(page.html()))
        written = [] if motion is None else [motion.save(path) for path in moving]
    print(f"wrote {target} ({_size(len(content))})")
    for path in written:
        print(f"wrote {path} ({_size(path.stat().st_size)})")


def _size(number: int) -> str:
    """Bytes in words."""
    return f"{number / 1e6:.1f} MB" if number >= 1e5 else f"{number / 1e3:.1f} kB"
