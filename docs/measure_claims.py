"""Put all claims to the test and write docs/claims.md and docs/claims.json (a minute and a half)."""

import json
import re
from pathlib import Path
from typing import Any

from smallinit.compare import claims

HERE = Path(__file__).parent
HEAD = """# Claims

Each row of the table takes a statement from a paper and puts it to the test.

{summary}

`smallinit claims` runs the same tests on your machine. No outcome is stored, so every row is measured anew. To show
that a wrong claim would be caught, the package's own tests plant wrong ones of every kind
(`tests/compare/literature/test_claims.py`). A statement that is an equation gets one of the verdicts of
[check](check.md). This page is written by `python docs/measure_claims.py`.

| claim | statement | verdict | what was found |
|---|---|---|---|
"""
SOUND = ("holds", "leading order")
TAIL = """
## How each is verified

| claim | source | assumptions | method |
|---|---|---|---|
"""


def cell(text: str) -> str:
    """Text for a table's cell, in which Markdown finds nothing to set: products stay products."""
    return re.sub(r"[\\`*\[\]<>|$&]|(?<!\w)_|_(?!\w)", r"\\\g<0>", text)


def summary(rows: list[dict[str, Any]]) -> str:
    """How many statements stand, and which do not."""
    wrong = [row["number"] for row in rows if row["status"] not in SOUND]
    sound = f"Of {len(rows)} statements, {len(rows) - len(wrong)} hold, some of them as equations to leading order."
    return f"{sound} These {len(wrong)} do not: {'; '.join(wrong)}." if wrong else sound


def page(rows: list[dict[str, Any]]) -> str:
    """Write the page of the claims and what was found."""
    found = [
        f"| {r['number']} | {cell(r['statement'])} | **{r['status']}** | {cell(r['finding'])} |" for r in rows
    ]
    how = [
        f"| {r['number']} | {r['source']} | {cell(r['assumptions'])} | {cell(r['method'])} |" for r in rows
    ]
    return HEAD.format(summary=summary(rows)) + "\n".join(found) + "\n" + TAIL + "\n".join(how) + "\n"


def main() -> None:
    """Verify and write."""
    rows = [claim.row(claim.verify()) for claim in claims()]
    (HERE / "claims.md").write_text(page(rows))
    (HERE / "claims.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
