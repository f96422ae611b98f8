"""A page before it is set, and how it becomes one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jinja2

from ...theory.base.package.version import package_version
from .blocks import PageBlock

TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True)
class Page:
    """A page, before it is set.

    Attributes
    ----------
    title, lead : str
        The headline, and a sentence on what this is, as plain text.
    sections : dict
        Heading -> blocks.
    """

    title: str
    lead: str
    sections: Mapping[str, Sequence[PageBlock]]

    def html(self) -> str:
        """The whole document; sections without content are left out."""
        kept = {heading: blocks for heading, blocks in self.sections.items() if blocks}
        return template("page.html").render(page=self, sections=kept, version=package_version())


@cache
def template(name: str) -> jinja2.Template:
    """A layout: everything that goes into it is escaped, and a name that it lacks is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    return environment.get_template(name)
