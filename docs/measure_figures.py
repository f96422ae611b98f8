"""Compute every figure of the paper that is there, and write the table of its claims to figures.md.

``python docs/measure_figures.py`` runs ``smallinit figure NAME --size small`` for each, with seeds that no size, rate
or bound was chosen on, writes ``figures/NAME.png`` and ``figures/NAME.json`` beside this file and the tables between
the two marker comments of ``figures.md``; names as arguments run these alone and keep the others' files. Figure 7 takes
``--reasoning PATH --narrative PATH`` in place of its generated corpora, with which its recorded run was made.
"""

import argparse
import json
import time
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory

from _marked import fill

from smallinit.cli import run
from smallinit.compare.commands.figure_command import NAMES, figure_module
from smallinit.theory.base.errors import InputError

HERE = Path(__file__).parent
PAGE, FOLDER = HERE / "figures.md", HERE / "figures"
SEEDS = {"3b": "10-14"}  # figure 3b was run with 0 to 9 before, the others with 0 to 5
OTHERS = "6-8"


def present():
    """Return the names of the figures whose modules are there."""
    found = []
    for name in NAMES:
        try:
            figure_module(name)
        except InputError:
            continue
        found.append(name)
    return found


def compute(name, options):
    """Run the command and keep its picture and its record."""
    with TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        began = time.perf_counter()
        code = run(["figure", name, "--seeds", SEEDS.get(name, OTHERS), "--out", str(out), *options])
        if code:
            raise SystemExit(code)
        record = json.loads((out / "figure.json").read_text()) | {"seconds": time.perf_counter() - began}
        (FOLDER / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n")
        copyfile(out / "figure.png", FOLDER / f"{name}.png")


def corpora(record):
    """Return which files a figure was computed from, if any."""
    given = record["settings"].get("corpora", {})
    files = {kind: corpus for kind, corpus in given.items() if isinstance(corpus, dict)}
    said = [
        f"{kind}: {file['file']}, {file['documents']} documents, SHA-256 {file['sha256'][:12]}.."
        for kind, file in files.items()
    ]
    return f" {'; '.join(said)}." if said else ""


def section(name):
    """Return a figure's heading, picture and table of claims as Markdown."""
    record = json.loads((FOLDER / f"{name}.json").read_text())
    seeds = record["provenance"]["seeds"]
    lines = [
        f"## Figure {name.upper()}: {record['title']}", "", f"![{record['title']}](figures/{name}.png)", "",
        record["caption"], "",
        f"Seeds {', '.join(map(str, seeds))}; one value per seed. {record['seconds'] / 60:.1f} minutes on "
        f"{record['provenance']['cpu_count']} cores.{corpora(record)}",
        "",
        "| claim | statistic | values | |", "|---|---|---|---|",
    ]  # fmt: skip
    for s in record["statistics"]:
        values = ", ".join("never" if v is None else f"{v:.3g}" for v in s["values"])
        note = f" *{s['note']}*" if s["note"] else ""
        outcome = "reproduced" if s["reproduced"] else "**not reproduced**"
        cells = (s["claim"] + note, s["definition"], values, outcome)
        lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    return "\n".join([*lines, ""])


def main():
    """Compute the named figures, or all, then write the page's tables from all records."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=present())
    for corpus in ("--reasoning", "--narrative"):
        parser.add_argument(corpus)
    asked = parser.parse_args()
    given = {"--reasoning": asked.reasoning, "--narrative": asked.narrative}
    files = [word for option, path in given.items() if path for word in (option, path)]
    FOLDER.mkdir(exist_ok=True)
    for name in asked.names:
        compute(name, files if name == "7" else [])
    sections = "\n".join(section(name) for name in NAMES if (FOLDER / f"{name}.json").is_file())
    fill(PAGE, "measure_figures.py", sections)


if __name__ == "__main__":
    main()
