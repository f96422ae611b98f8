"""Two stages, predicted and trained: values condense, then keys and queries grow and lose rank.

Writes docs/stages.json, docs/stages.png and the table in docs/stages.md. `python docs/measure_stages.py [seeds]`; two
minutes a seed. Weights have entries N(0, eps^2); training is full-batch GD.
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
from smallinit.compare.plots.marks.palette import weight_colours
from smallinit.sim import Trajectory, alignment, integrate, onset, predict_stages
from smallinit.theory import CompositeTask, Dataset, Model, OneLayerTransformer, ScalarClassifier, derive

HERE = Path(__file__).parent
RATE, BEYOND = 0.1, 1.35  # learning rate; flow time of a run, in units of the predicted onset
SCALES = (0.1, 0.03, 0.01)
SHOWN = (0.01, 0)  # scale and seed of the figure


def set_ups() -> dict[str, tuple[Model, Dataset]]:
    """A classifier on random labels, which its averaged attention cannot fit; a transformer on the anchor task."""
    rng = np.random.default_rng(0)
    random = Dataset(rng.integers(0, 20, (120, 6)), rng.integers(0, 2, 120), 20)
    task = CompositeTask(range(11, 21), range(1, 4), range(4, 7), masked=((4, 6),), length=5)
    return {
        "ScalarClassifier": (ScalarClassifier(20, 24, 16, 32), random),
        "OneLayerTransformer": (OneLayerTransformer(33, 33, 8, 16, 5, unembed=False), task.sampled(200)),
    }


def start(model: Model, eps: float, seed: int) -> dict[str, np.ndarray]:
    """Entries N(0, eps^2)."""
    rng = np.random.default_rng(seed)
    return {name: eps * rng.normal(size=shape) for name, shape in model.weights.items()}


def run(model: Model, data: Dataset, eps: float, seed: int) -> tuple[dict, Trajectory, Trajectory]:
    """Onsets, predicted and measured, with both trajectories."""
    weights = start(model, eps, seed)
    stages = predict_stages(model, data, weights)
    closure = derive(model, "attention=1")
    end = BEYOND * stages.onset
    while (
        not onset(theory := integrate(closure, data, weights, t1=end, save_at=1001, throw=False))
        < end / BEYOND
    ):
        end *= BEYOND  # until the onset has shown, with room behind it
    trained = train(model, data, weights, learning_rate=RATE, steps=int(end / RATE), save_at=401, throw=False)
    row = {"model": model.name, "eps": eps, "seed": seed, "T*": stages.blow_up, "separated": stages.onset}
    row |= {"theory": onset(theory), "training": onset(trained)}
    row |= {
        f"condensed, {kind}": float(alignment(path).max())
        for kind, path in (("theory", theory), ("training", trained))
    }
    return row, theory, trained


def table(rows: list[dict]) -> str:
    """Medians over seeds, and the largest deviation from training."""
    lines = [
        "| model | eps | seeds | T* | onset: stages apart | closure attention=1 | training | largest error of the two "
        "| largest v-share of W_V: theory | training |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, eps in dict.fromkeys((r["model"], r["eps"]) for r in rows):
        mine = [r for r in rows if (r["model"], r["eps"]) == (name, eps)]
        found = {k: np.array([r[k] for r in mine]) for k in mine[0] if k not in ("model", "eps", "seed")}
        errors = [np.abs(found[k] / found["training"] - 1.0).max() for k in ("separated", "theory")]
        cells = [f"{np.median(found[k]):.1f}" for k in ("T*", "separated", "theory", "training")]
        cells += [f"{100 * errors[0]:.1f} %, {100 * errors[1]:.1f} %"]
        cells += [f"{np.median(found[f'condensed, {k}']):.2f}" for k in ("theory", "training")]
        lines.append(f"| {name} | {eps:g} | {len(mine)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(shown: dict[str, tuple[dict, Trajectory, Trajectory]], path: Path) -> None:
    """A row a model: condensation of the values, growth of keys and queries, effective ranks."""
    figure, axes = plt.subplots(len(shown), 3, figsize=(12, 3.5 * len(shown)), layout="constrained")
    colours = weight_colours(("W_V", "W_Q", "W_K"))
    for line, (name, (row, theory, trained)) in zip(axes, shown.items(), strict=True):
        curves = [
            ("share of W_V along v", {"W_V": alignment}),
            ("norm, relative to the start", {w: growth(w) for w in ("W_Q", "W_K")}),
            ("effective rank", {w: rank(w) for w in ("W_V", "W_Q", "W_K")}),
        ]
        for axis, (what, parts) in zip(line, curves, strict=True):
            for weight, value in parts.items():
                look = {"color": colours[weight]}
                axis.plot(theory.t, value(theory), label=f"{weight}, theory", **look)
                axis.plot(
                    trained.t[::8], value(trained)[::8], "o", ms=3.5, label=f"{weight}, training", **look
                )
            axis.axvline(row["T*"], color="grey", ls=":", label="T*: end of stage 1")
            axis.axvline(
                row["separated"], color="black", ls="--", lw=1, label="onset of stage 2, stages apart"
            )
            axis.set(xlabel="flow time", ylabel=what)
        line[0].set_title(f"{name}, eps = {row['eps']:g}")
        line[1].set_yscale("log")
    handles, labels = axes[0, 2].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=9)
    figure.savefig(path, dpi=130)


def growth(weight: str):
    """Norm of a weight relative to its start."""
    return lambda path: path[f"norm/{weight}"] / path[f"norm/{weight}"][0]


def rank(weight: str):
    """Effective rank of a weight."""
    return lambda path: path[f"effective_rank/{weight}"]


def rewrite(rows: list[dict]) -> None:
    """Put the table between its marks."""
    fill(HERE / "stages.md", "measure_stages.py", table(rows))


def main() -> None:
    """Measure and write."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    rows, shown = [], {}
    for name, (model, data) in set_ups().items():
        for eps in SCALES:
            for seed in range(seeds):
                row, theory, trained = run(model, data, eps, seed)
                rows.append(row)
                if (eps, seed) == SHOWN:
                    shown[name] = (row, theory, trained)
                print({k: v if isinstance(v, str) else round(v, 4) for k, v in row.items()}, flush=True)
    (HERE / "stages.json").write_text(json.dumps(rows, indent=1) + "\n")
    draw(shown, HERE / "stages.png")
    rewrite(rows)


if __name__ == "__main__":
    main()
