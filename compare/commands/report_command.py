"""The command that turns results into a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ...theory.base.disk.files import write_whole
from ...theory.base.disk.promised import withdraw
from ...theory.base.disk.sealed import html_with_seal
from ...theory.base.errors import InputError
from ...theory.base.waiting import waiting
from .destinations import output_file
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
        File to write, a .html; DIR/report.html if absent.
    gif
        Also write the embeddings over flow time as an animated GIF.
    overwrite
        Replace former pages.
    """
    from ..report.directory import motion_in, page_of, with_motion

    target = out if out is not None else folder / "report.html"
    moving = [target.with_name(f"{target.stem}-embeddings{end}") for end in (".html", ".gif")[: 1 + gif]]
    if folder.is_dir():  # else `page_of` says what is wrong
        output_file("--out", target, overwrite, (".html", ".htm"))
        for path in moving:
            output_file("--out", path, overwrite)
    with waiting("reading the results"):
        page, motion = page_of(folder), motion_in(folder)
    if gif and motion is None:
        raise InputError(f"{str(folder)!r} holds no training with an embedding: leave out --gif.")
    if motion is not None:
        page = with_motion(page, moving[0].name)
    else:
        withdraw(moving[0])
    with waiting("making the page"):
        write_whole(target, html_with_seal(page.html()))
    _wrote(target)
    if motion is None:
        return
    for path in moving:
        with waiting(f"making {path.name}"):
            motion.save(path)
        _wrote(path)


def _wrote(path: Path) -> None:
    """Name a file that is in place, before the next is made."""
    print(f"wrote {path} ({_size(path.stat().st_size)})", flush=True)


def _size(number: int) -> str:
    """Bytes in words."""
    return f"{number / 1e6:.1f} MB" if number >= 1e5 else f"{number / 1e3:.1f} kB"
