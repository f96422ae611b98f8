"""Put all claims to the test and write docs/claims.md and docs/claims.json (a minute and a half)."""

import json
import re
from pathlib import Path
from typing import Any

from smallinit.compare import claims

HERE = Path(__file__).parent
HEAD = """# Claims

Statements of the papers, put to the test. Written by `python docs/measure_claims.py`; `smallinit claims` prints them.
Nothing about an outcome is stored: every row is measured anew, and the tests plant wrong claims of every kind
(`tests/compare/literature/test_claims.py`). Equations have the verdicts of [check](check.md).

| claim | statement | verdict | what was found |
|---|---|---|---|
"""
TAIL = """
## How each is verified

| claim | source | assumptions | method |
|---|---|---|---|
"""


def cell(text: str) -> str:
    """Text for a table's cell, in which Markdown finds nothing to set: products stay products."""
    return re.sub(r"[\\`*\[\]<>|$&]|(?<!\w)_|_(?!\w)", r"\\\g<0>", text)


def page(rows: list[dict[str, Any]]) -> str:
    """Write the page of the claims and what was found."""
    found = [
        f"| {r['number']} | {cell(r['statement'])} | **{r['status']}** | {cell(r['finding'])} |" for r in rows
    ]
    how = [
        f"| {r['number']} | {r['source']} | {cell(r['assumptions'])} | {cell(r['method'])} |" for r in rows
    ]
    return HEAD + "\n".join(found) + "\n" + TAIL + "\n".join(how) + "\n"


def main() -> None:
    """Verify and write."""
    rows = [claim.row(claim.verify()) for claim in claims()]
    (HERE / "claims.md").write_text(page(rows))
    (HERE / "claims.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
