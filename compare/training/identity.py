"""What the bits of a result depend on besides what it is of: sources, versions, processor.

A sweep, a checkpoint and the state of a figure are resumed by what began them. What differs is listed and refused, or
accepted by the user and said in the provenance of all that is computed after.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ...sim.trajectory.provenance import cpu, versions

ROOT = Path(__file__).parents[2]
LAYERS = ("theory", "sim", "compare")
# What shows results, and runs neither in a point of a sweep nor in a step of a training. All other rooms count, whole:
# a module that a point does not reach today may be on its way tomorrow, and a sweep begun again costs less than one
# whose points are of two kinds.
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
    """Modules that results depend on, in a fixed order."""
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
    """Hash of the sources that results depend on (16 hex digits)."""
    return hash_of(sources(), ROOT)


def environment(torch: bool) -> dict[str, str]:
    """What decides bits: this package's sources, versions, and the processor, by which libraries choose their code.

    Parameters
    ----------
    torch : bool
        Whether torch takes part.
    """
    found = {name: version for name, version in versions().items() if torch or name != "torch"}
    found.pop("smallinit", None)  # its sources say more
    return {"code": code_hash(), **found, "cpu": cpu()}


def differences(then: Mapping[str, Any], now: Mapping[str, Any], names: Iterable[str] = ()) -> list[str]:
    """List what differs, "NAME was OLD and is NEW", of some names or of all; what is absent is None."""
    return [
        f"{name} was {then.get(name)!r} and is {now.get(name)!r}"
        for name in (names or sorted({*then, *now}))
        if then.get(name) != now.get(name)
    ]
