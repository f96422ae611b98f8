"""One self-contained page of a directory of results: equations, figures, verdicts, numbers, provenance."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from ...theory.base.errors import InputError
from ...theory.printing import html as markup

TEMPLATE = Path(__file__).with_name("page.html")
TEXT_BYTES, IMAGE_BYTES = 2**26, 2**26  # what a page may embed of one file


@dataclass(frozen=True)
class Page:
    """A page, before it is set.

    Attributes
    ----------
    title, lead : str
        The headline, and a sentence on what this is, as plain text.
    sections : dict
        Heading -> HTML.
    """

    title: str
    lead: str
    sections: Mapping[str, str]

    def html(self) -> str:
        """The whole document; sections without content are left out."""
        from ... import __version__

        kept = {heading: body for heading, body in self.sections.items() if body}
        names = {heading: f"section-{i}" for i, heading in enumerate(kept, 1)}
        links = (f'<li><a href="#{n}">{markup.escape(h)}</a></li>' for h, n in names.items())
        parts = (
            f'<section id="{names[h]}"><h2>{markup.escape(h)}</h2>\n{body}</section>'
            for h, body in kept.items()
        )
        return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
            title=markup.escape(self.title),
            lead=markup.escape(self.lead),
            contents="".join(links),
            body="\n".join(parts),
            version=markup.escape(__version__),
        )


def verdicts(found: Sequence[tuple[bool | None, str]]) -> str:
    """Sentences with a mark: green if True, red if False, neither if None."""
    kinds = {True: "yes", False: "no", None: "open"}
    lines = (f'<li class="{kinds[good]}">{markup.escape(text)}</li>' for good, text in found)
    return f'<ul class="verdicts">{"".join(lines)}</ul>'


def read_text(path: Path) -> str:
    """Read a text file that a page embeds.

    Raises
    ------
    InputError
        If it cannot be read, or is too large.
    """
    return _read(path, TEXT_BYTES).decode("utf-8", errors="replace")


def read_png(path: Path) -> bytes:
    """Read a PNG that a page embeds.

    Raises
    ------
    InputError
        If it cannot be read, is too large, or is no PNG.
    """
    content = _read(path, IMAGE_BYTES)
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        raise InputError(f"{str(path)!r} is not a PNG image: remove it and run the report again.")
    return content


def _read(path: Path, limit: int) -> bytes:
    try:
        if path.stat().st_size > limit:
            raise InputError(f"{str(path)!r} is larger than {limit:,} bytes: no report embeds it.")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {str(path)!r}: {error.strerror}.") from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    InputError
        If it is none.
    """
    try:
        found = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{str(path)!r} is damaged ({str(error)[:80]}): make the results again.") from error
    if not isinstance(found, dict):
        raise InputError(f"{str(path)!r} holds no record of results: make them again.")
    return found


def page_of(folder: Path) -> Page:
    """Make the page of a directory of results, by what it holds.

    Raises
    ------
    InputError
        If no command wrote it, or a file in it is damaged.
    """
    kinds: dict[str, Callable[[Path], Page]] = {
        "summary.json": _run,
        "manifest.json": _sweep,
        "figure.json": _figure,
    }
    if not folder.is_dir():
        raise InputError(
            f"there is no directory {str(folder)!r}: name one that `overlay`, `sweep` or `figure` wrote."
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


def _run(folder: Path) -> Page:
    from .run_page import run_page

    return run_page(folder)


def _sweep(folder: Path) -> Page:
    from .sweep_page import sweep_page

    return sweep_page(folder)


def _figure(folder: Path) -> Page:
    from .figure_page import figure_page

    return figure_page(folder)
