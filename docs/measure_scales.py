"""Predicted first escapes beside trained ones, on the demo's task: prints a table, writes docs/scales.json.

`python docs/measure_scales.py` (about five minutes; ``--quick``: one seed, nothing written).
"""

import json
import sys
from pathlib import Path

import numpy as np
from _marked import fill

from smallinit.compare import train
from smallinit.sim import GD, AdamW, Momentum, WarmupCosine, scales
from smallinit.theory import CompositeTask, EmbMLP
from smallinit.theory.base.crossings import first_crossing

HERE = Path(__file__).parent
TASK = CompositeTask(range(11, 31), range(1, 6), range(6, 11), masked=((6, 8), (8, 6)))
DATA, MODEL = TASK.dataset(), EmbMLP(51, 100, 100, "tanh")
PART = 0.05  # of the loss at the start
OPTIMIZERS = {
    "GD 0.1": GD(0.1),
    "AdamW 1e-3": AdamW(1e-3, weight_decay=0.0),
    "AdamW 1e-4": AdamW(1e-4, weight_decay=0.0),
    "AdamW 1e-3, warm-up and cosine, decay 0.1": AdamW(
        1e-3, weight_decay=0.1, schedule=WarmupCosine(60, 600)
    ),
    "momentum 0.9, 0.01": Momentum(0.01),
    "GD 0.1, decay 0.005": GD(0.1, weight_decay=0.005),
}
GAMMAS = (0.5, 0.8, 1.0)

HEAD = (
    "| optimizer | gamma | predicted steps | trained | predicted / trained | group first |",
    "|---|---|---|---|---|---|",
)


def one(optimizer, gamma, seed):
    """Predicted and trained escape of one start."""
    start = MODEL.init(gamma, seed)
    found = scales(MODEL, start, DATA, optimizer)
    if not np.isfinite(found.first_escape_steps):
        return {"predicted": None, "trained": None, "seconds": found.seconds}
    steps = int(1.6 * found.first_escape_steps) + 20
    saves = np.unique(np.linspace(0, steps, 201).astype(int))
    run = train(MODEL, DATA, start, optimizer=optimizer, steps=steps, save_at=saves, keep="observables")
    trained = float(first_crossing(run.steps, run["loss"], (1.0 - PART) * run["loss"][0]))
    at = np.searchsorted(run.steps, min(trained, steps))
    fallen = {g: 1.0 - run[f"loss/{g}"][at] / run[f"loss/{g}"][0] for g in DATA.group_names}
    first = {kind: max(part, key=part.get) for kind, part in (("said", found.escape.fallen), ("was", fallen))}
    return {
        "predicted": found.first_escape_steps,
        "trained": trained,
        "first right": bool(first["said"] == first["was"]),
        "seconds": found.seconds,
        "training seconds": run.statistics["seconds"] * trained / steps,
        "verdict": found.verdict,
    }


def measure(seeds):
    """A row for each optimizer and gamma."""
    for name, optimizer in OPTIMIZERS.items():
        for gamma in GAMMAS:
            runs = [one(optimizer, gamma, seed) for seed in seeds]
            known = [r for r in runs if r["predicted"] is not None]
            factors = [r["predicted"] / r["trained"] for r in known]
            yield {
                "optimizer": name,
                "gamma": gamma,
                "runs": runs,
                "predicted / trained": [min(factors), max(factors)] if known else None,
                "first group right": f"{sum(r['first right'] for r in known)} of {len(known)}",
            }


def line(row):
    """One row of the table on the page."""
    steps = [
        "/".join("never" if r[key] is None else f"{r[key]:.0f}" for r in row["runs"])
        for key in ("predicted", "trained")
    ]
    factors = row["predicted / trained"]
    shown = "-" if factors is None else f"{factors[0]:.3f} .. {factors[1]:.3f}"
    return f"| {row['optimizer']} | {row['gamma']} | {steps[0]} | {steps[1]} | {shown} | {row['first group right']} |"


def main():
    """Measure, print and keep."""
    quick, rows = "--quick" in sys.argv, []
    print("\n".join(HEAD))
    for row in measure((0,) if quick else (0, 1, 2)):
        rows.append(row)
        print(line(row), flush=True)
    if not quick:
        (HERE / "scales.json").write_text(json.dumps(rows, indent=1) + "\n")
        fill(HERE / "scales.md", "measure_scales.py", "\n".join([*HEAD, *map(line, rows)]))


if __name__ == "__main__":
    main()
