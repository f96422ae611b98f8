"""Sphinx extension: inner links that lead nowhere, pictures and downloads included, are warnings."""

import re
from html import unescape
from pathlib import Path
from urllib.parse import unquote

TARGET = re.compile(r'(?:href|src)="([^"#?]*)(?:\?[^"#]*)?(?:#([^"]*))?"')
OUTSIDE = re.compile(r"[a-z][a-z+.-]*:|//", re.I)


def broken(page: Path, anchors: dict[Path, set[str]]) -> list[str]:
    """Targets of a page that are no file, or no anchor of one; `anchors` keeps what has been read."""
    found = []
    for target, anchor in TARGET.findall(page.read_text(encoding="utf-8")):
        if OUTSIDE.match(target):
            continue
        file = (page.parent / unquote(unescape(target))).resolve() if target else page
        file = file / "index.html" if file.is_dir() else file
        if not file.is_file() or (
            anchor and file.suffix == ".html" and unescape(unquote(anchor)) not in _anchors(file, anchors)
        ):
            found.append(f"{target}#{anchor}" if anchor else target)
    return found


def _anchors(file: Path, known: dict[Path, set[str]]) -> set[str]:
    if file not in known:
        known[file] = {
            unescape(name) for name in re.findall(r'\bid="([^"]*)"', file.read_text(encoding="utf-8"))
        }
    return known[file]


def look(app, error):
    """Warn of every one; `build-finished`, after the files that other extensions write then."""
    if error or app.builder.format != "html":
        return
    from sphinx.util import logging

    anchors: dict[Path, set[str]] = {}
    for name in sorted(app.env.found_docs):
        page = Path(app.outdir, f"{name}.html")
        for target in sorted(set(broken(page, anchors))):
            logging.getLogger(__name__).warning("%s: the link %s leads nowhere", page.name, target)


def setup(app):
    """Register with sphinx."""
    app.connect("build-finished", look, priority=900)
    return {"parallel_read_safe": True}
