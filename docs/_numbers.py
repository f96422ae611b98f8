"""Sphinx extension: numbers in tables are not broken at their signs."""

import re

NUMBERS = re.compile(r"(?=.*\d)(?:[\d\s.,:/()%+-]|e[+-]\d|\bto\b){1,24}")


def mark(app, doctree):
    """Give every short cell of numbers alone a class of its own; the site's style does the rest."""
    from docutils import nodes

    for entry in doctree.findall(nodes.entry):
        if NUMBERS.fullmatch(entry.astext().strip()):
            entry["classes"].append("numbers")


def setup(app):
    """Register with sphinx."""
    app.connect("doctree-read", mark)
    return {"parallel_read_safe": True}
