"""Put all claims to the test and write docs/claims.md and docs/claims.json (a minute and a half)."""

import json
from pathlib import Path

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
    """Text for a table's cell."""
    return text.replace("|", "\\|")


def main() -> None:
    """Verify and write."""
    rows = [claim.row(claim.verify()) for claim in claims()]
    found = [
        f"| {r['number']} | {cell(r['statement'])} | **{r['status']}** | {cell(r['finding'])} |" for r in rows
    ]
    how = [
        f"| {r['number']} | {r['source']} | {cell(r['assumptions'])} | {cell(r['method'])} |" for r in rows
    ]
    (HERE / "claims.md").write_text(HEAD + "\n".join(found) + "\n" + TAIL + "\n".join(how) + "\n")
    (HERE / "claims.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
