"""Compute every figure of the paper that is there, and write the table of its claims to figures.md.

``python docs/measure_figures.py`` runs ``smallinit figure NAME --size small`` for each, with seeds that no size, rate
or bound was chosen on, writes ``figures/NAME.png`` and ``figures/NAME.json`` beside this file and the tables between
the two marker comments of ``figures.md``; names as arguments run these alone and keep the others' files.
"""

import json
import sys
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
SEEDS = {"7": "6-8"}  # figure 7 was run with 0 to 5 before
OTHERS = "20-22"  # the others with 0 to 14


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


def compute(name):
    """Run the command and keep its picture and its record."""
    with TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        began = time.perf_counter()
        code = run(["figure", name, "--seeds", SEEDS.get(name, OTHERS), "--out", str(out)])
        if code:
            raise SystemExit(code)
        record = json.loads((out / "figure.json").read_text()) | {"seconds": time.perf_counter() - began}
        (FOLDER / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n")
        copyfile(out / "figure.png", FOLDER / f"{name}.png")


def section(name):
    """Return a figure's heading, picture and table of claims as Markdown."""
    record = json.loads((FOLDER / f"{name}.json").read_text())
    seeds = record["provenance"]["seeds"]
    lines = [
        f"## Figure {name.upper()}: {record['title']}", "", f"![{record['title']}](figures/{name}.png)", "",
        record["caption"], "",
        f"Seeds {', '.join(map(str, seeds))}; one value per seed. {record['seconds'] / 60:.1f} minutes on "
        f"{record['provenance']['cpu_count']} cores.",
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


def main(names):
    """Compute the named figures, or all, then write the page's tables from all records."""
    FOLDER.mkdir(exist_ok=True)
    for name in names or present():
        compute(name)
    sections = "\n".join(section(name) for name in NAMES if (FOLDER / f"{name}.json").is_file())
    fill(PAGE, "measure_figures.py", sections)


if __name__ == "__main__":
    main(sys.argv[1:])
