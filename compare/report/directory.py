"""Which page a directory of results gets, by what it holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...theory.base.errors import InputError
from ...theory.base.folders import recover
from .blocks import LinkBlock
from .figure_page import figure_page
from .page import Page
from .run_page import motion_of, run_page
from .sweep_page import sweep_page

if TYPE_CHECKING:
    from .embedding_motion import EmbeddingMotion


def page_of(folder: Path) -> Page:
    """Make the page of a directory of results, by what it holds.

    Raises
    ------
    InputError
        If no command wrote it, or a file in it is damaged.
    """
    kinds: dict[str, Callable[[Path], Page]] = {
        "summary.json": run_page,
        "manifest.json": sweep_page,
        "figure.json": figure_page,
    }
    if not folder.exists():
        recover(folder.absolute())  # an overwrite that was killed halfway, where the system has no exchange
    if not folder.is_dir():
        raise InputError(
            f"there is no directory {str(folder)!r}: name one that `overlay`, `simulate`, `train`, `sweep` "
            "or `figure` wrote."
        )
    for name, make in kinds.items():
        if (folder / name).is_file():
            try:
                return make(folder)
            except InputError:
                raise
            except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
                raise InputError(
                    f"{str(folder / name)!r} lacks what a report needs ({type(error).__name__}: {error}): "
                    "make the results again."
                ) from error
    raise InputError(
        f"{str(folder)!r} holds none of {', '.join(kinds)}: name a directory of a run, a sweep or a figure."
    )


def motion_in(folder: Path) -> EmbeddingMotion | None:
    """The motion of embeddings in a directory of results, None if there is none to show.

    Raises
    ------
    InputError
        If a file in it is damaged.
    """
    if not (folder / "summary.json").is_file() or not (folder / "training.nc").exists():
        return None
    return motion_of(folder)


def with_motion(page: Page, file: str) -> Page:
    """The page with a link, under its figure, to the page of its embeddings."""
    link = LinkBlock("The embeddings over flow time, theory beside training, with a slider:", file)
    sections = {
        name: [*blocks, link] if name == "The figure" else blocks for name, blocks in page.sections.items()
    }
    return replace(page, sections=sections)
