"""What a section of a page is made of: plain data, each kind with a macro of templates/blocks.html."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from markupsafe import Markup

from ...theory.printing.html import equations, shown


@dataclass(frozen=True)
class PageBlock:
    """A piece of a section; `macro` is the name of the macro that sets it."""

    macro: ClassVar[str]


@dataclass(frozen=True)
class VerdictBlock(PageBlock):
    """Sentences with a mark: green if True, red if False, neither if None."""

    found: Sequence[tuple[bool | None, str]]
    macro = "verdicts"


@dataclass(frozen=True)
class TableBlock(PageBlock):
    """Rows of text under a header, in a box that scrolls on narrow screens."""

    header: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str = ""
    macro = "table"


@dataclass(frozen=True)
class PictureBlock(PageBlock):
    """A PNG with its alternative text and a caption; it stands in the page itself."""

    png: bytes
    alt: str
    caption: str
    macro = "picture"

    @property
    def data(self) -> str:
        """The bytes in base 64."""
        return b64encode(self.png).decode("ascii")


@dataclass(frozen=True)
class LinkBlock(PageBlock):
    """A paragraph that ends in a link to a file beside the page."""

    text: str
    file: str
    macro = "link"


@dataclass(frozen=True)
class CodeBlock(PageBlock):
    """Text to copy, in a box that scrolls."""

    text: str
    macro = "code"


@dataclass(frozen=True)
class NoteBlock(PageBlock):
    """A paragraph; a soft one stands back."""

    text: str
    soft: bool = False
    macro = "note"


@dataclass(frozen=True)
class EquationBlock(PageBlock):
    """The equations of a closure, from their LaTeX, with the powers of their errors and what they conserve."""

    closure: str
    latex: str
    powers: str = ""
    conserved: str = ""
    macro = "equations"

    @property
    def mathml(self) -> Markup:
        """The equations as markup, which `theory.printing.html` makes from nothing but what it allows."""
        return Markup(equations(self.latex))  # noqa: S704 -- escaped there, piece by piece


@dataclass(frozen=True)
class LetterBlock(PageBlock):
    """What the letters of equations mean."""

    macro = "letters"


@dataclass(frozen=True)
class ReproduceBlock(PageBlock):
    """A file to save, and the command that makes the same results from it."""

    what: str
    file: str
    content: str
    command: str
    promise: str
    macro = "reproduce"


def facts(values: Mapping[str, Any]) -> TableBlock:
    """Set name and value side by side, nested values by their path."""
    return TableBlock(("what", "value"), list(_flat(values)))


def _flat(values: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        name = f"{path}{key}"
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{name}.")
        else:
            yield name, shown(value)


def some(blocks: Iterable[PageBlock | None]) -> list[PageBlock]:
    """Keep the blocks that there are."""
    return [block for block in blocks if block is not None]
