"""Which sources the points of a sweep depend on: a sweep is resumed by the code that began it, or refused."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
LAYERS = ("theory", "sim", "compare")
# What shows results and never runs in a point. All other rooms count, whole: a module that a point does not reach today
# may be on its way tomorrow, and a sweep begun again costs less than one whose points are of two kinds.
PRESENTATION = (
    "compare/commands",
    "compare/figures",
    "compare/literature",
    "compare/plots",
    "compare/report",
    "theory/language",
    "theory/printing/html.py",
)


def sources(root: Path = ROOT) -> list[Path]:
    """Modules that the points of a sweep depend on, in a fixed order."""
    shown = tuple(root / name for name in PRESENTATION)
    found = (path for layer in LAYERS for path in (root / layer).rglob("*.py"))
    return sorted(path for path in found if not any(path.is_relative_to(room) for room in shown))


def hash_of(paths: list[Path], root: Path) -> str:
    """Hash of files with their places under a root (16 hex digits)."""
    digest = hashlib.sha256()
    for path in paths:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


@cache
def code_hash() -> str:
    """Hash of the sources that the points of a sweep depend on (16 hex digits)."""
    return hash_of(sources(), ROOT)
