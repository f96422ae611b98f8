"""Does the spectrum of the signature matrix cause the order of learning? Interventions on the composite task.

Writes docs/modes.json, docs/modes.png and the tables in docs/modes.md. `python docs/measure_modes.py [seeds]`; a minute
a seed and data set. Emb-MLP with tanh, d_vocab = 51, d_model = d_mlp = 100, gamma = 0.8, 20 keys, 5 + 5 anchors;
softmax closure and full-batch GD (learning rate 1) to flow time 400.
"""

import json
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from _marked import fill

from smallinit.compare import train
from smallinit.compare.plots.marks.palette import BLACK, GROUP_COLOURS
from smallinit.sim import Trajectory, integrate, learning_times, mode_blow_ups
from smallinit.theory import CompositeTask, Dataset, EmbMLP, derive, shuffle_labels, signature_modes, subset
from smallinit.theory.data.frequencies import label_entropy

HERE = Path(__file__).parent
GROUPS = ("memory", "reasoning-train")
T1, RATE, N_MODES = 400.0, 1.0, 5


def data_sets() -> dict[str, Dataset]:
    """The task as it is, and with one thing changed at a time; every group keeps its share unless said."""
    data = CompositeTask(range(11, 31), range(1, 6), range(6, 11), masked=((6, 8), (8, 6))).dataset()
    memory, reasoning = (data.groups == group for group in GROUPS)
    draw, key = np.random.default_rng(0).random(len(data)), data.sequences[:, 0]
    shares = {f"memory has share {s}": {"memory": s, "reasoning-train": 1 - s} for s in (0.3, 0.7)}
    return {
        "as it is": data,
        "memory with 0.6 of its sequences": subset(data, ~memory | (draw < 0.6)),
        "memory with 0.3 of its sequences": subset(data, ~memory | (draw < 0.3)),
        "memory with 0.15 of its sequences": subset(data, ~memory | (draw < 0.15)),
        "reasoning with 10 keys": subset(data, ~reasoning | (key < 21)),
        "reasoning with 5 keys": subset(data, ~reasoning | (key < 16)),
        **{name: subset(data, np.ones(len(data), dtype=bool), share) for name, share in shares.items()},
        "reasoning labels shuffled": shuffle_labels(data, "reasoning-train"),
    }


def loss_times(path: Trajectory, data: Dataset, group: str) -> dict[str, float]:
    """Flow times at which a group's loss is 0.1 below the entropy of its labels, and at half of its own drop."""
    loss = path[f"loss/{group}"]
    marks = {"below entropy": label_entropy(data, group) - 0.1, "half drop": (loss[0] + loss.min()) / 2}
    found = {name: np.flatnonzero(loss < mark) for name, mark in marks.items()}
    return {name: float(path.t[at[0]]) if at.size else np.inf for name, at in found.items()}


def measure(name: str, data: Dataset, seed: int) -> list[dict]:
    """Strengths, overlaps and learning times of both groups' modes, in theory and in training."""
    model = EmbMLP(51, 100, 100)
    start = model.init(0.8, seed)
    run = train(model, data, start, learning_rate=RATE, steps=int(T1 / RATE), save_at=201)
    theory = integrate(derive(model, "softmax"), data, start, t1=T1, save_at=run.t, throw=False)
    first = signature_modes(data, centring="uniform", n_modes=2)
    rows = []
    for group in GROUPS:
        modes = signature_modes(data, group, n_modes=N_MODES)
        row = {"data": name, "seed": seed, "group": group, "strengths": modes.strengths.tolist()}
        row["overlap"] = modes.overlap(first, 2).tolist()
        row["alone"] = mode_blow_ups(modes, start, t1=20 * T1).tolist()
        for kind, path in (("theory", theory), ("training", run)):
            row[kind] = learning_times(path, modes).tolist()
            row |= {f"{kind} {what}": t for what, t in loss_times(path, data, group).items()}
        rows.append(row)
    return rows


def products(rows: list[dict], kind: str, modes: slice = slice(None)) -> np.ndarray:
    """Strength times learning time of modes that were learnt."""
    pairs = [p for r in rows for p in list(zip(r["strengths"], r[kind], strict=True))[modes]]
    return np.array([s * t for s, t in pairs if np.isfinite(t)])


def spread(values: np.ndarray) -> str:
    """Median (quartiles)."""
    low, middle, high = np.percentile(values, (25, 50, 75))
    return f"{middle:.2f} ({low:.2f} .. {high:.2f})"


def table(rows: list[dict]) -> str:
    """One line a data set: first strengths, learning times of the first mode and of the loss, medians over seeds."""
    lines = [
        "| data | group | sigma_1 | half of mode 1: theory | training | loss 0.1 below entropy: theory | training |"
    ]
    lines.append("|---|---|---|---|---|---|---|")
    for name, group in dict.fromkeys((r["data"], r["group"]) for r in rows):
        mine = [r for r in rows if (r["data"], r["group"]) == (name, group)]
        times = [np.median([r[k][0] for r in mine]) for k in ("theory", "training")]
        times += [np.median([r[f"{k} below entropy"] for r in mine]) for k in ("theory", "training")]
        cells = [f"{t:.0f}" if np.isfinite(t) else "never" for t in times]
        lines.append(f"| {name} | {group} | {mine[0]['strengths'][0]:.4f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def findings(rows: list[dict]) -> str:
    """The numbers that decide."""
    by_group = {g: [r for r in rows if r["group"] == g] for g in GROUPS}
    shuffled = [r for r in by_group["reasoning-train"] if "shuffled" in r["data"]]
    reasoning = [r for r in by_group["reasoning-train"] if "shuffled" not in r["data"]]
    lines = ["| modes (all data sets and seeds) | strength x half time: theory | training |", "|---|---|---|"]
    for what, mine in (("memory", by_group["memory"]), ("reasoning", reasoning), ("shuffled", shuffled)):
        lines.append(
            f"| {what} | {spread(products(mine, 'theory'))} | {spread(products(mine, 'training'))} |"
        )
    for kind in ("theory", "training"):
        lines += ["", *sentences(rows, kind)]
    return "\n".join(lines)


def sentences(rows: list[dict], kind: str) -> list[str]:
    """Order predicted by the strengths alone, and what the overlap explains."""
    right, runs = 0, [(a, b) for a, b in zip(rows[::2], rows[1::2], strict=True)]
    for memory, reasoning in runs:
        stronger = memory["strengths"][0] > reasoning["strengths"][0]
        right += stronger == (memory[kind][0] < reasoning[kind][0])
    columns = ("strengths", kind, "overlap", "alone")
    modes = np.array([m for r in rows for m in zip(*(r[c] for c in columns), strict=True)])
    strength, time, overlap, alone = modes[np.isfinite(modes).all(axis=1)].T
    slower = np.corrcoef(np.log(strength * time), overlap)[0, 1]
    by_start, by_strength = (np.corrcoef(np.log(time), np.log(x))[0, 1] for x in (alone, 1 / strength))
    return [
        f"In {kind}, the stronger first mode was learnt first in {right} of {len(runs)} runs. Over {time.size} modes "
        f"learnt, the log of the half time correlates with that of 1 / strength at {by_strength:.2f}, with that of "
        f"the blow-up time of the mode alone from the very start at {by_start:.2f} (half time over blow-up time: "
        f"{spread(time / alone)}); what strength leaves unexplained, log(strength x half time), correlates with the "
        f"overlap of the mode's label vector with the data's first two modes at {slower:.2f}."
    ]


def draw(rows: list[dict], path: Path) -> None:
    """Half time against strength, for both groups, theory and training."""
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 4.2), sharey=True, layout="constrained")
    looks = {
        "memory": ("o", GROUP_COLOURS["memory"]),
        "reasoning-train": ("^", GROUP_COLOURS["reasoning-train"]),
        "shuffled": ("s", BLACK),
    }
    for axis, kind in zip(axes, ("theory", "training"), strict=True):
        for group, (marker, colour) in looks.items():
            mine = [
                r
                for r in rows
                if (group == "shuffled") == ("shuffled" in r["data"] and r["group"] != "memory")
            ]
            mine = [r for r in mine if group in ("shuffled", r["group"])]
            points = np.array([p for r in mine for p in zip(r["strengths"], r[kind], strict=True)])
            label = {"shuffled": "reasoning, labels shuffled"}.get(group, group.removesuffix("-train"))
            axis.plot(
                *points[np.isfinite(points[:, 1])].T,
                marker,
                color=colour,
                alpha=0.55,
                ms=5,
                label=label,
                mew=0,
            )
        constant = np.median(products([r for r in rows if r["group"] == "memory"], kind))
        s = np.geomspace(0.004, 0.08, 50)
        axis.plot(s, constant / s, "k--", lw=1, label=f"t = {constant:.2f} / strength (memory's median)")
        axis.set(xscale="log", yscale="log", xlabel="strength of the mode", ylim=(20, 500))
        axis.set_xticks([0.005, 0.01, 0.02, 0.05], ["0.005", "0.01", "0.02", "0.05"])
        axis.set_yticks([20, 50, 100, 200, 400], ["20", "50", "100", "200", "400"])
        axis.minorticks_off()
        axis.set_title({"theory": "softmax closure", "training": "training (GD)"}[kind])
        axis.legend(fontsize=8, loc="lower left")
    axes[0].set_ylabel("flow time at which half the mode is learnt")
    figure.savefig(path, dpi=150)


def rewrite(rows: list[dict]) -> None:
    """Put tables and findings between their marks."""
    fill(HERE / "modes.md", "measure_modes.py", f"{table(rows)}\n\n{findings(rows)}")


def main() -> None:
    """Measure and write."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    rows = []
    for name, data in data_sets().items():
        for seed in range(seeds):
            rows += measure(name, data, seed)
            print(name, seed, flush=True)
    (HERE / "modes.json").write_text(json.dumps(rows, indent=1) + "\n")
    draw(rows, HERE / "modes.png")
    rewrite(rows)


if __name__ == "__main__":
    main()
