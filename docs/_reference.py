"""Sphinx extension: the reference writes itself, a table for each subpackage and a page for each of its public names.

Pages are made from the lists of public names before anything is read, in a folder that is not kept.
"""

import inspect
import re
from importlib import import_module
from pathlib import Path

NAMES = re.compile(r"<!-- public names of (smallinit\.\w+) -->")
GENERATED = "generated"


def public_names(module: str) -> list[str]:
    """Names that a subpackage gives its users, sorted without regard to case; its own modules apart."""
    package = import_module(module)
    names = sorted(package.__all__, key=str.lower)
    return [name for name in names if not inspect.ismodule(getattr(package, name))]


def summary(thing: object) -> str:
    """First sentence of an object's docstring."""
    return " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split())


def kind(thing: object) -> str:
    """What autodoc calls it."""
    return "class" if inspect.isclass(thing) else "function" if callable(thing) else "data"


def table(module: str) -> str:
    """The public names of a subpackage, each with its first sentence, and their pages."""
    package, names = import_module(module), public_names(module)
    rows = [
        f"| [`{n}`]({GENERATED}/{module}.{n}.md) | {_cell(summary(getattr(package, n)))} |" for n in names
    ]
    pages = "\n".join(f"{GENERATED}/{module}.{name}" for name in names)
    return "\n".join(
        ["| name | what it is |", "|---|---|", *rows, "", "```{toctree}", ":hidden:", pages, "```"]
    )


def _cell(text: str) -> str:
    return re.sub(r"``?([^`]+)``?", r"`\1`", text).replace("|", r"\|").replace("<", r"\<")


def page(module: str, name: str) -> str:
    """Text of the page of one public name."""
    thing = getattr(import_module(module), name)
    members = "   :members:\n   :special-members: __getitem__\n" if inspect.isclass(thing) else ""
    directive = f".. currentmodule:: {module}\n\n.. auto{kind(thing)}:: {name}\n{members}"
    return f"# {name}\n\n```{{eval-rst}}\n{directive}```\n"


def write_pages(app):
    """Write all of them where they have changed, and remove those of names that are gone; `builder-inited`."""
    folder = Path(app.srcdir, "api", GENERATED)
    folder.mkdir(exist_ok=True)
    found = [NAMES.search(path.read_text()) for path in sorted(folder.parent.glob("*.md"))]
    wanted = {
        f"{match[1]}.{name}.md": page(match[1], name)
        for match in found
        if match
        for name in public_names(match[1])
    }
    for path in folder.glob("*.md"):
        if path.name not in wanted:
            path.unlink()
    for file, text in wanted.items():
        path = folder / file
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def read(app, docname, source):
    """Put the table in its place; `source-read`."""
    source[0] = NAMES.sub(lambda found: table(found[1]), source[0])


def setup(app):
    """Register with sphinx."""
    app.connect("builder-inited", write_pages)
    app.connect("source-read", read)
    return {"parallel_read_safe": True}
