"""Horizons of Def. 2 (one-layer transformer, no unembedding) on the noisy task.

Writes docs/transformer.json and the table in docs/what-to-expect.md.

L = 9, 20 keys, 5 + 5 anchors, 600 sampled sequences, d_model = 51, d_head = d_mlp = 32, tanh; full-batch GD, learning
rate 1, to flow time 300. `python docs/measure_transformer.py [seeds] [gamma ...]` (half a minute a run).
"""

import json
import sys
from pathlib import Path

import numpy as np

from smallinit.compare import overlay, train
from smallinit.sim import integrate
from smallinit.theory import CompositeTask, OneLayerTransformer, derive

HERE = Path(__file__).parent
GAMMAS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
COLUMNS = (
    "leading horizon", "leading end", "softmax horizon", "softmax left range", "softmax loss error",
    "loss/memory", "loss/reasoning-train", "loss/reasoning-test",
)  # fmt: skip
MARKS = ("<!-- transformer -->", "<!-- end of transformer -->")
T1, RATE, TOLERANCE = 300.0, 1.0, 0.05


def measure(gamma: float, seed: int) -> dict:
    """Horizons of both closures, and their largest loss errors up to the end."""
    task = CompositeTask(range(11, 31), range(1, 6), range(6, 11), masked=((6, 8), (8, 6)), length=9)
    data, model = task.sampled(600), OneLayerTransformer(51, 51, 32, 32, 9, unembed=False)
    start = model.init(gamma, seed)
    steps = int(T1 / RATE)
    run = train(model, data, start, learning_rate=RATE, steps=steps, save_at=61)
    row = {"gamma": gamma, "seed": seed} | {
        name: run[name][-1] for name in ("loss/memory", "loss/reasoning-train", "loss/reasoning-test")
    }
    for closure in ("leading", "softmax"):
        path = integrate(derive(model, closure), data, start, t1=T1, save_at=run.t, throw=False)
        laid = overlay(path, run)
        losses = [laid.relative_error[name] for name in laid.relative_error if name.startswith("loss/")]
        row |= {
            f"{closure} horizon": min(laid.horizon(TOLERANCE, "W_E"), 1e9),
            f"{closure} end": path.outcome.t,
            f"{closure} loss error": float(max(np.max(e) for e in losses)),
            f"{closure} left range": min(1e9, *path.left_range.values()),
        }
    return {k: v if isinstance(v, int) else float(v) for k, v in row.items()}


def table(rows: list[dict]) -> str:
    """Medians over seeds, with the range where it shows."""
    lines = [f"| gamma | seeds | {' | '.join(COLUMNS)} |", f"|---|---{'|---' * len(COLUMNS)}|"]
    for gamma in sorted({row["gamma"] for row in rows}):
        mine = [row for row in rows if row["gamma"] == gamma]
        cells = (spread([row[name] for row in mine]) for name in COLUMNS)
        lines.append(f"| {gamma:g} | {len(mine)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    """Median (least .. greatest)."""
    return f"{np.median(values):.3g} ({min(values):.3g} .. {max(values):.3g})"


def rewrite(rows: list[dict]) -> None:
    """Put the table between its marks."""
    page = HERE / "what-to-expect.md"
    head, _, rest = page.read_text().partition(MARKS[0])
    page.write_text(f"{head}{MARKS[0]}\n{table(rows)}\n{MARKS[1]}{rest.partition(MARKS[1])[2]}")


def main() -> None:
    """Measure and write."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    gammas = [float(g) for g in sys.argv[2:]] or GAMMAS
    rows = []
    for gamma in gammas:
        for seed in range(seeds):
            rows.append(measure(gamma, seed))
            print(rows[-1], flush=True)
            (HERE / "transformer.json").write_text(json.dumps(rows, indent=1) + "\n")
            rewrite(rows)


if __name__ == "__main__":
    main()
