"""Theory moved by optimizers beside training, on the demo's task: prints tables, writes docs/optimizers.json.

`python docs/measure_optimizers.py` (about ten minutes; ``--quick``: one seed, nothing written).
"""

import json
import sys
from pathlib import Path

import numpy as np

from smallinit.compare import train
from smallinit.sim import GD, AdamW, Momentum, WarmupCosine, integrate
from smallinit.theory import CompositeTask, EmbMLP, derive
from smallinit.theory.base.crossings import first_crossing

HERE = Path(__file__).parent
TASK = CompositeTask(range(11, 31), range(1, 6), range(6, 11), masked=((6, 8), (8, 6)))
DATA, MODEL = TASK.dataset(), EmbMLP(51, 100, 100, "tanh")
GROUPS = ("memory", "reasoning-train", "reasoning-test")
LEVEL = 2.5  # nats: reasoning's crossing time is when its training loss falls below
STEPS, SAVES = 600, np.arange(0, 601, 10)
EXACTLY = {
    "AdamW, warm-up and cosine, decay, rates": AdamW(
        1e-3,
        weight_decay=0.1,
        schedule=WarmupCosine(60, STEPS, 0.1),
        rates={"W_E": 0.5},
        decays={"W_E": 0.0},
    ),
    "momentum 0.9": Momentum(0.05),
    "Nesterov momentum 0.9, decay 0.01": Momentum(0.05, nesterov=True, weight_decay=0.01),
}
FEWER = {
    "AdamW 1e-3, 600 steps": (AdamW(1e-3, weight_decay=0.0), 600),
    "AdamW 1e-3, warm-up and cosine, decay 0.1": (
        AdamW(1e-3, weight_decay=0.1, schedule=WarmupCosine(60, 600, 0.1)),
        600,
    ),
    "AdamW 1e-4, 6000 steps": (AdamW(1e-4, weight_decay=0.0), 6000),
    "GD 0.1, 2000 steps": (GD(0.1), 2000),
}


def worst_weight(theory, run):
    """Largest relative difference of a weight at the end."""
    return max(
        np.abs(theory.weights[k][-1] - run.weights[k][-1]).max() / np.abs(run.weights[k][-1]).max()
        for k in run.weights
    )


def worst_loss(theory, run, rows=slice(None)):
    """Largest relative difference of a group's loss."""
    return max(np.abs(theory[f"loss/{g}"][rows] / run[f"loss/{g}"][rows] - 1).max() for g in GROUPS)


def displacement(theory, run):
    """Largest relative difference of a weight's whole displacement."""
    return max(
        np.linalg.norm(theory.weights[k][-1] - run.weights[k][-1])
        / np.linalg.norm(run.weights[k][-1] - run.weights[k][0])
        for k in run.weights
    )


def exactly(seeds):
    """`steps` on the exact flow against torch's own optimizers."""
    flow = derive(MODEL, "exact")
    for name, optimizer in EXACTLY.items():
        gaps, speeds = [], []
        for seed in seeds:
            start = MODEL.init(0.8, seed)
            theory = integrate(
                flow, DATA, start, steps=STEPS, optimizer=optimizer, method="steps", save_at=[0, STEPS]
            )
            run = train(MODEL, DATA, start, optimizer=optimizer, steps=STEPS, save_at=[0, STEPS])
            gaps.append(worst_weight(theory, run))
            speeds.append(run.statistics["seconds"] / theory.statistics["seconds"])
        yield {
            "optimizer": name,
            "largest difference": max(gaps),
            "training / theory": float(np.median(speeds)),
        }


def fewer(seeds):
    """Blocks against steps: evaluations and what they cost in accuracy."""
    flow = derive(MODEL, "exact")
    for name, (optimizer, steps) in FEWER.items():
        rows, saves = [], np.linspace(0, steps, 21).astype(int)
        for seed in seeds:
            start = MODEL.init(0.8, seed)
            every = integrate(
                flow, DATA, start, steps=steps, optimizer=optimizer, method="steps", save_at=saves
            )
            blocks = integrate(flow, DATA, start, steps=steps, optimizer=optimizer, save_at=saves)
            calls = blocks.statistics["rhs_calls"] / steps
            rows.append((calls, worst_loss(blocks, every), displacement(blocks, every)))
        calls, loss, moved = np.max(rows, axis=0)
        yield {"run": name, "evaluations a step": calls, "losses": loss, "displacement": moved}


def closures(seeds):
    """The softmax closure under AdamW beside training, over gamma."""
    optimizer, flow = AdamW(1e-3, weight_decay=0.0), derive(MODEL, "softmax")
    for gamma in (0.3, 0.5, 0.8):
        rows, orders = [], []
        for seed in seeds:
            start = MODEL.init(gamma, seed)
            run = train(MODEL, DATA, start, optimizer=optimizer, steps=STEPS, save_at=SAVES)
            theory = integrate(
                flow, DATA, start, steps=STEPS, optimizer=optimizer, method="steps", save_at=SAVES
            )
            times = [
                [float(first_crossing(SAVES, t[f"loss/{g}"], LEVEL)) for g in ("reasoning-train", "memory")]
                for t in (theory, run)
            ]
            early = [worst_loss(theory, run, end >= SAVES) for end in (50, 100, 200)]
            rows.append((*early, abs(times[0][0] / times[1][0] - 1)))
            orders.append((times[0][0] < times[0][1]) == (times[1][0] < times[1][1]))
        worst = np.max(rows, axis=0)
        keys = ("to step 50", "to step 100", "to step 200", "reasoning's crossing")
        yield {
            "gamma": gamma,
            **dict(zip(keys, worst, strict=True)),
            "order right": f"{sum(orders)} of {len(orders)}",
        }


def shown(value):
    """Numbers with few digits; errors in per cent."""
    if isinstance(value, str):
        return value
    return f"{value:.1e}" if 0 < abs(value) < 1e-8 else f"{value:.3g}"


def table(rows):
    """Markdown."""
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([shown(r[k]) for k in head] for r in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main():
    """Measure, print and keep."""
    quick = "--quick" in sys.argv
    seeds = (0,) if quick else (0, 1, 2)
    found = {f.__name__: list(f(seeds)) for f in (exactly, fewer, closures)}
    for rows in found.values():
        print(table(rows), end="\n\n")
    if not quick:
        (HERE / "optimizers.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
