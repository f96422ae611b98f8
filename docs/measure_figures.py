"""Compute every figure of the paper that is there, and write the table of its claims to figures.md.

``python docs/measure_figures.py`` runs ``smallinit figure NAME --size small`` for each, with seeds that no size, rate
or bound was chosen on, writes ``figures/NAME.png`` and ``figures/NAME.json`` beside this file and the tables between
the marker comments of ``figures.md``; names as arguments run these alone and keep the others' files, ``none`` writes
the tables alone. Figure 7 takes ``--reasoning PATH --narrative PATH`` in place of its generated corpora, with which its
recorded run was made. ``3b --size paper --seeds 20 --run FOLDER`` records a run at the paper's size beside the small
one: the command's ``--out`` is FOLDER, where an interrupted run is taken up and a finished one is not repeated.
"""

import argparse
import json
import re
import time
from importlib import import_module
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory

import torch
from _marked import fill

from smallinit.cli import run
from smallinit.compare.commands.figure_command import NAMES, figure_module
from smallinit.theory.base.errors import InputError

HERE = Path(__file__).parent
PAGE, FOLDER = HERE / "figures.md", HERE / "figures"
SEEDS = {"7": "6-8"}  # figure 7 was run with 0 to 5 before
OTHERS = "20-22"  # the others with 0 to 14
NO_ATTENTION = "attention: without it reasoning only creeps below its label law"
# Figures, words of a claim, and what it depends on, as far as these runs and the trial runs before them show.
DEPENDS = (
    (("3a", "6"), ("softmax", "when the first"), NO_ATTENTION),
    (("3a",), ("closure",), "gamma: at 0.3 it is off from the start"),
    (("3a",), ("predicts",), "gamma: at 0.3 it is off from the start"),
    (
        ("3a",),
        ("0.3", "together"),
        "the size of the task: in an earlier setting memory took 1.0, 1.8, 2.0 times as long with 20, 30, 40 keys",
    ),
    (("3a",), ("0.3",), "gamma: learnt at 0.8, not at 0.5 either"),
    (
        ("3a",),
        ("0.8",),
        "gamma: at 0.5 memory follows reasoning closely and held-out reasoning is lost again",
    ),
    (("3a",), (), "gamma"),
    (("3b",), ("0.3", "theory"), "gamma: pre-activations are beyond the linear range of tanh from the start"),
    (("3b",), ("closure",), "gamma; the error grows with the size of the task"),
    (
        ("3b",),
        ("before memory",),
        "what first means: it holds at a quarter of the loss, not at half of each group's own drop",
    ),
    (("3b",), (), "gamma"),
    (("4", "5"), ("exact law",), "the random start of the embedding, which the law has not"),
    (("4", "5"), ("ansatz, which",), "nothing: it is built on the numbers"),
    (("4", "5"), ("ansatz",), "its width, set by hand: 12 against the law's variance"),
    (("4", "5"), ("closure",), "the moment: pre-activations outgrow what a closure keeps of tanh"),
    (("4", "5"), ("memory anchors",), "label laws: memory anchors share one"),
    (("4", "5"), ("explain",), "small weights: the flow writes the laws into the embedding first"),
    (("4", "5"), (), "the size of the task: with 10 keys and narrow layers the order is not there"),
    (("6",), ("causal average",), "LayerNorm: scores of normalised streams do not shrink with the embedding"),
    (("6",), ("dominant",), "LayerNorm: with it W_V grows along several directions"),
    (("6",), ("aligned",), "LayerNorm: the cosine is smaller with it"),
    (
        ("6",),
        ("nearly orthogonal",),
        "what is meant: the mean drives are at right angles on the way, W_V's direction is not then",
    ),
    (("6",), ("early in training",), "LayerNorm: the distance is ten times as large with it"),
    (("6",), ("under the same AdamW",), "gamma, as in 3A"),
    (("6",), ("group",), "gamma, as in 3A"),
    (("6",), ("predicts where",), "label laws alone: alike with and without LayerNorm"),
    (("6",), ("right angle",), "label laws alone: alike with and without LayerNorm"),
    (("6",), (), "label laws: two kinds of anchors deviate from their common mean in opposite directions"),
    (("7",), (), "corpora, starting scales and how long is trained: see figure 7"),
    (("8",), ("much faster",), "how many labels there are to know, and the seed"),
    (("8",), ("single labels",), "steps: a sixth of them leaves four labels of five unknown"),
    (("8",), ("order",), "the minibatches, where groups come within a few steps of one another"),
    (("8",), ("when the first",), "how losses bend: slowly, into their label laws"),
    (("8",), (), "small weights: label laws are learnt first"),
)


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


def compute(name, options, key, out):
    """Run the command, unless it has been run there, and keep its picture and its record."""
    taken = {}
    if not (out / "figure.json").is_file():
        began, worked = time.perf_counter(), time.process_time()
        code = run(["figure", name, "--out", str(out), *options])
        if code:
            raise SystemExit(code)
        taken = {"seconds": time.perf_counter() - began, "processor_seconds": time.process_time() - worked}
        if torch.cuda.is_available() and "paper" in options:  # these train with device="auto"
            taken["device"] = torch.cuda.get_device_name()
    record = json.loads((out / "figure.json").read_text()) | taken
    (FOLDER / f"{key}.json").write_text(json.dumps(record, indent=2) + "\n")
    copyfile(out / "figure.png", FOLDER / f"{key}.png")


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
        f"## Figure {title(name)}: {record['title']}", "", f"![{record['title']}](figures/{name}.png)", "",
        record["caption"], "",
        f"Seeds {', '.join(map(str, seeds))}; one value per seed. {_time(record)}.{corpora(record)}",
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


def title(key):
    """Name of a recorded figure as the page has it."""
    name, _, size = key.partition("-")
    return name.upper() + f" at the {size}'s size" * bool(size)


def _time(record):
    """Say how long a figure took; the wall clock of a busy machine says less than the processor's."""
    cores = record["provenance"]["cpu_count"]
    if "processor_seconds" in record:
        beside = f", beside a GPU ({record['device']})" if "device" in record else ""
        return f"{record['processor_seconds'] / 60:.1f} minutes of one core, of {cores}{beside}"
    return f"{record['seconds'] / 60:.1f} minutes on {cores} cores" if "seconds" in record else "Run in parts"


def met(value, definition):
    """Whether one seed's value meets the bounds that a definition ends with; null is infinite or undefined."""
    bounds = re.findall(r"([<>]) (-?[\d.e-]+)", definition.rpartition("reproduced if")[2])
    number = float("inf") if value is None else value
    return all(number > float(b) if sign == ">" else number < float(b) for sign, b in bounds)


def all_claims(names):
    """Return one table of every claim of the recorded figures, seed by seed, and what it depends on."""
    lines = ["| figure | claim | by seed | depends on |", "|---|---|---|---|"]
    for name in names:
        record = json.loads((FOLDER / f"{name}.json").read_text())
        for s in record["statistics"]:
            by_seed = " ".join("yes" if met(v, s["definition"]) else "no" for v in s["values"])
            if not s["reproduced"] and "no" not in by_seed:
                by_seed = " ".join(
                    ["?"] * len(s["values"])
                )  # undefined values, which a record cannot tell from infinite
            cells = (
                title(name),
                s["claim"].rstrip("."),
                by_seed,
                depends(name.partition("-")[0], s["claim"]),
            )
            lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    return "\n".join(lines)


def depends(name, claim):
    """What a claim depends on: the first entry of `DEPENDS` whose words all stand in it."""
    for figure, words, text in DEPENDS:
        if name in figure and all(word in claim for word in words):
            return text
    return ""


def matched():
    """Return a table of what the small sizes of the full decoder's figures share with the paper's, from the regimes."""
    lines = [
        "| figure | size | width | exponent at gamma 0.8 | std x sqrt(width) at 0.8 | rate x steps / std at 0.8 | "
        "keys, anchors of a kind, length | pairs |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, label, table in (("3a", "3A", "REGIMES"), ("6", "6", "REGIMES"), ("8", "8, ranges", "RANGE_REGIMES"),
                               ("8", "8, windows", "REGIMES")):  # fmt: skip
        for size, r in getattr(import_module(figure_module(name)), table).items():
            std = r.d_model ** -r.exponent(0.8)
            task = r.task(0)
            counts = (
                f"{len(task.keys)}, {len(task.memory_anchors)} / {len(task.reasoning_anchors)}, {r.length}"
            )
            lines.append(
                f"| {label} | {size} | {r.d_model} | {r.exponent(0.8):.3f} | {std * r.d_model**0.5:.3f} | "
                f"{r.learning_rate * r.steps / std:.0f} | {counts} | {r.pairs:,} |"
            )
    return "\n".join(lines)


def main():
    """Compute the named figures, or all, then write the page's tables from all records."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=present())
    for corpus in ("--reasoning", "--narrative"):
        parser.add_argument(corpus)
    parser.add_argument("--size", default="small", choices=("small", "paper"))
    parser.add_argument("--seeds")
    parser.add_argument("--run", type=Path)
    asked = parser.parse_args()
    if asked.run and len(asked.names) != 1:
        parser.error("--run is the folder of one figure: name it alone.")
    given = {"--reasoning": asked.reasoning, "--narrative": asked.narrative}
    files = [word for option, path in given.items() if path for word in (option, path)]
    FOLDER.mkdir(exist_ok=True)
    for name in [] if asked.names == ["none"] else asked.names:
        options = ["--size", asked.size, "--seeds", asked.seeds or SEEDS.get(name, OTHERS)]
        with TemporaryDirectory() as folder:
            key = name if asked.size == "small" else f"{name}-{asked.size}"
            compute(name, options + files * (name == "7"), key, asked.run or Path(folder) / "out")
    keys = [key for name in NAMES for key in (name, f"{name}-paper")]
    recorded = [key for key in keys if (FOLDER / f"{key}.json").is_file()]
    fill(PAGE, "measure_figures.py", "\n".join(section(name) for name in recorded))
    fill(PAGE, "measure_figures.py claims", all_claims(recorded))
    fill(PAGE, "measure_figures.py matched", matched())


if __name__ == "__main__":
    main()
