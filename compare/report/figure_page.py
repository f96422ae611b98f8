"""The page of a figure of the paper: the drawing, and its claims decided by numbers."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...theory.printing.html import shown
from .blocks import CodeBlock, PictureBlock, TableBlock, VerdictBlock, facts
from .page import Page
from .sources import read_json, read_png


def figure_page(folder: Path) -> Page:
    """Make the page of a directory with figure.json and figure.png."""
    record = read_json(folder / "figure.json")
    claims = record["statistics"]
    kept = sum(bool(claim["reproduced"]) for claim in claims)
    title, caption = str(record["title"]), str(record["caption"])
    alt = f"{title}. {caption}"
    return Page(
        title=f"Figure {record['name']}: {title}",
        lead=f"{kept} of {len(claims)} claims reproduced.",
        sections={
            "The figure": [PictureBlock(read_png(folder / "figure.png"), alt, caption)],
            "Claims": [VerdictBlock([_verdict(claim) for claim in claims])],
            "Numbers": [_numbers(claims)],
            "Settings": [facts(record["settings"])],
            "Provenance": [facts(record.get("provenance") or {})],
            "Reproduce": [CodeBlock(_command(record, folder))],
        },
    )


def _verdict(claim: Mapping[str, Any]) -> tuple[bool, str]:
    good = bool(claim["reproduced"])
    note = claim.get("note") or ""
    note = f" {note[0].upper()}{note[1:].removesuffix('.')}." if note else ""
    return good, f"{'Reproduced' if good else 'Not reproduced'}: {claim['claim'].removesuffix('.')}.{note}"


def _command(record: Mapping[str, Any], folder: Path) -> str:
    """Return the command that makes the directory, with the size and the seeds that its provenance names."""
    made = record.get("provenance") or {}
    size = f" --size {made['size']}" if "size" in made else ""
    seeds = f" --seeds {','.join(map(str, made['seeds']))}" if "seeds" in made else ""
    corpora = record["settings"].get("corpora") or {}
    files = "".join(
        f" --{kind} {shlex.quote(corpus['file'])}"
        for kind, corpus in corpora.items()
        if isinstance(corpus, Mapping)
    )
    return f"smallinit figure {record['name']}{size}{seeds}{files} --out {folder.resolve().name}"


def _numbers(claims: list[Mapping[str, Any]]) -> TableBlock:
    rows = [(claim["claim"], claim["definition"], shown(claim["values"]), _word(claim)) for claim in claims]
    return TableBlock(("claim", "number and its bound", "value for every seed", "reproduced"), rows)


def _word(claim: Mapping[str, Any]) -> str:
    return "yes" if claim["reproduced"] else "no"
