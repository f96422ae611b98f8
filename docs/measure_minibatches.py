"""Theory of minibatches beside training on them, on the demo's task: docs/minibatches.json, tables of the page.

`python docs/measure_minibatches.py` (half an hour; `losses`, `rates` or `spread` for one part;
``--quick``: one seed, few runs, nothing written).
"""

import json
import sys
from pathlib import Path

import numpy as np
from _marked import fill

from smallinit.compare import train
from smallinit.sim import GD, AdamW, fluctuations, integrate, integrate_ensemble
from smallinit.theory import CompositeTask, EmbMLP, derive

HERE = Path(__file__).parent
TASK = CompositeTask(range(11, 31), range(1, 6), range(6, 11), masked=((6, 8), (8, 6)))
DATA, MODEL = TASK.dataset(), EmbMLP(51, 100, 100, "tanh")
GROUPS = ("memory", "reasoning-train", "reasoning-test")
BATCH, STEPS, SAVES = 100, 600, np.arange(0, 601, 20)
ADAM, RUNS = AdamW(1e-3, weight_decay=0.0), 5
RATES, DRAWS = {1e-3: 600, 5e-4: 1200, 2.5e-4: 2400}, 12  # rate -> steps, at one flow time; runs of each
CASES = {
    "exact, single steps": ("exact", "steps", BATCH),
    "exact, blocks": ("exact", "multirate", BATCH),
    "softmax": ("softmax", "steps", BATCH),
    "exact, full batch": ("exact", "steps", None),
}
SPREAD_RUNS, AT_ONCE = 200, 20  # runs, and how many of them memory holds beside one another
DESCENT, SPREAD_STEPS, SPREAD_SAVES = GD(0.1), 600, np.arange(0, 601, 100)


def mean_losses(gamma, seed):
    """Loss of each group at the saved steps, the mean over runs that differ in their batches."""
    start = MODEL.init(gamma, seed)
    runs = [
        train(MODEL, DATA, start, optimizer=ADAM, steps=STEPS, save_at=SAVES, batch_size=BATCH, seed=k)
        for k in range(RUNS)
    ]
    return {g: np.mean([run[f"loss/{g}"] for run in runs], axis=0) for g in GROUPS}


def losses_under_adam(seeds):
    """Largest errors of the theory's losses, in per cent, to step 300 and to the end, over the seeds."""
    table = {}
    for gamma in (0.8, 0.5):
        found = {name: [] for name in CASES}
        for seed in seeds:
            trained = mean_losses(gamma, seed)
            for name, (closure, method, size) in CASES.items():
                theory = integrate(
                    derive(MODEL, closure),
                    DATA,
                    MODEL.init(gamma, seed),
                    steps=STEPS,
                    optimizer=ADAM,
                    method=method,
                    save_at=SAVES,
                    batch_size=size,
                )
                errors = [np.abs(theory[f"loss/{g}"] / trained[g] - 1.0) for g in GROUPS]
                found[name].append(
                    {
                        g: [100 * float(e[SAVES <= 300].max()), 100 * float(e.max())]
                        for g, e in zip(GROUPS, errors, strict=True)
                    }
                )
        table[str(gamma)] = found
        for name, rows in found.items():
            worst = {g: np.max([row[g] for row in rows], axis=0).round(1).tolist() for g in GROUPS}
            print(f"gamma {gamma}, {name}: largest error in % to step 300 and {STEPS}: {worst}", flush=True)
    return table


def over_rates(count):
    """Error of the mean path's losses at the end, exact flow, at a fixed product of rate and steps: in per cent.

    Runs are the exact flow in single steps on the batches of a seed, which is what training computes.
    """
    rows, start, exact = [], MODEL.init(0.8, 0), derive(MODEL, "exact")
    for rate, steps in RATES.items():
        options = {"steps": steps, "optimizer": AdamW(rate, weight_decay=0.0), "batch_size": BATCH}
        options |= {"save_at": [0, steps], "method": "steps"}
        path = integrate(exact, DATA, start, **options)
        starts = {name: np.stack([w] * count) for name, w in start.items()}
        names = [f"loss/{g}" for g in GROUPS]
        runs = integrate_ensemble(
            exact, DATA, starts, seed=range(count), observables=names, keep_weights=False, **options
        )
        row = {"rate": rate, "steps": steps}
        for g, name in zip(GROUPS, names, strict=True):
            ends = runs[name][:, -1]
            gap, error = path[name][-1] / ends.mean() - 1.0, ends.std(ddof=1) / np.sqrt(count) / ends.mean()
            row[g] = [100 * float(gap), 100 * float(error)]
        rows.append(row)
        print(row, flush=True)
    return rows


def rates_table(rows):
    """Error of the mean path and standard error of what it is held against, over the rate."""
    lines = ["| rate | steps | memory | reasoning, training | reasoning, held out |", "|---|---|---|---|---|"]
    for row in rows:
        cells = " | ".join(f"{row[g][0]:.1f} +- {row[g][1]:.1f}" for g in GROUPS)
        lines.append(f"| {row['rate']:g} | {row['steps']} | {cells} |")
    return "\n".join(lines)


def losses_table(found):
    """Largest errors over the seeds, to step 300 and to the end."""
    lines = [
        "| gamma | theory | memory | reasoning, training | reasoning, held out |",
        "|---|---|---|---|---|",
    ]
    for gamma, cases in found.items():
        for name, rows in cases.items():
            worst = [np.max([row[g] for row in rows], axis=0) for g in GROUPS]
            lines.append(f"| {gamma} | {name} | " + " | ".join(f"{a:.1f}, {b:.1f}" for a, b in worst) + " |")
    return "\n".join(lines)


def spread_table(found):
    """Predicted over measured variance of each weight, over the steps."""
    lines = [
        "| weight | " + " | ".join(f"step {s}" for s in SPREAD_SAVES[1:]) + " |",
        "|---|" + "---|" * len(SPREAD_SAVES[1:]),
    ]
    lines += [
        f"| {w} | " + " | ".join(f"{r:.2f}" for r in ratios) + " |" for w, ratios in found["ratios"].items()
    ]
    return "\n".join(lines)


def spread_of_weights(count):
    """Total variance of each weight under gradient descent, predicted over measured, at the saved steps."""
    start = MODEL.init(0.8, 0)
    options = {"optimizer": DESCENT, "steps": SPREAD_STEPS, "batch_size": BATCH, "save_at": SPREAD_SAVES}
    theory = fluctuations(derive(MODEL, "exact"), DATA, start, **options)
    found = {w: [] for w in start}
    for first in range(0, count, AT_ONCE):
        seeds = range(first, min(first + AT_ONCE, count))
        starts = {w: np.stack([v] * len(seeds)) for w, v in start.items()}
        runs = integrate_ensemble(derive(MODEL, "exact"), DATA, starts, seed=seeds, **options)
        for w in start:
            found[w].append(runs.weights[w])
    ratios = {}
    for w in start:
        measured = np.concatenate(found[w]).var(axis=0, ddof=1).sum(axis=(1, 2))
        ratios[w] = (theory.variance(w).sum(axis=(1, 2))[1:] / measured[1:]).tolist()
        print(
            f"variance of {w}, predicted / {count} runs, from step 100 on: {np.round(ratios[w], 3)}",
            flush=True,
        )
    return {"runs": count, "ratios": ratios}


def main():
    quick = "--quick" in sys.argv
    parts = {
        "losses": lambda: losses_under_adam((0,) if quick else (0, 1, 2)),
        "rates": lambda: over_rates(4 if quick else DRAWS),
        "spread": lambda: spread_of_weights(8 if quick else SPREAD_RUNS),
    }
    asked = [name for name in parts if name in sys.argv] or list(parts)
    file = HERE / "minibatches.json"
    for name in asked:
        found = parts[name]()
        if not quick:
            known = json.loads(file.read_text()) if file.exists() else {}
            file.write_text(json.dumps(known | {name: found}, indent=1) + "\n")
            written = {"losses": losses_table, "rates": rates_table, "spread": spread_table}[name](found)
            fill(HERE / "optimizers.md", f"measure_minibatches.py {name}", written)


if __name__ == "__main__":
    main()
