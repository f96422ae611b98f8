"""What survives of gamma under AdamW: predicted beside trained, on the demo's task, over gamma and three seeds.

Writes docs/adam.json, docs/adam.png and the table in docs/optimizers.md. `python docs/measure_adam.py`; five minutes.
"""

import json
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from _marked import fill

from smallinit.compare import train
from smallinit.sim import AdamW, Trajectory, integrate
from smallinit.theory import CompositeTask, EmbMLP, derive
from smallinit.theory.base.crossings import first_crossing

HERE = Path(__file__).parent
TASK = CompositeTask(range(11, 31), range(1, 6), range(6, 11), masked=((6, 8), (8, 6)))
DATA, MODEL = TASK.dataset(), EmbMLP(51, 100, 100, "tanh")
ADAM, STEPS, SAVES = AdamW(1e-3, weight_decay=0.0), 600, np.arange(0, 601, 5)
GAMMAS, SEEDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0), (0, 1, 2)
LEVEL = 2.5  # nats; a group is learnt when its loss has fallen below
GROUPS = {"reasoning": "loss/reasoning-train", "memory": "loss/memory", "held out": "loss/reasoning-test"}


def reading(path: Trajectory) -> dict[str, float]:
    """When reasoning and memory are learnt, in steps, and the loss of held-out reasoning in the end."""
    found = {
        name: float(first_crossing(SAVES, path[key], LEVEL))
        for name, key in GROUPS.items()
        if name != "held out"
    }
    return found | {"held out": float(path[GROUPS["held out"]][-1])}


def measured(gamma: float, seed: int) -> dict:
    """One start, trained and predicted by two closures in the optimizer's own steps."""
    start = MODEL.init(gamma, seed)
    how = {"optimizer": ADAM, "steps": STEPS, "save_at": SAVES}
    paths = {"training": train(MODEL, DATA, start, **how)}
    for closure in ("softmax", "exact"):
        paths[closure] = integrate(derive(MODEL, closure), DATA, start, throw=False, **how)
    whole = {name: path for name, path in paths.items() if len(path.t) == len(SAVES)}
    return {"gamma": gamma, "seed": seed, **{name: reading(path) for name, path in whole.items()}}


def of(rows: list[dict], gamma: float, path: str, key: str) -> np.ndarray:
    """One number of all seeds at a gamma; "gap" is memory after reasoning."""
    kept = [row[path] for row in rows if row["gamma"] == gamma and path in row]
    return np.array([r["memory"] - r["reasoning"] if key == "gap" else r[key] for r in kept])


def table(rows: list[dict]) -> str:
    """Means over the seeds, predicted by the softmax closure | trained."""
    lines = [
        "| gamma | reasoning learnt at step | memory learnt at step | gap | held-out loss at step 600 |",
        "|---|---|---|---|---|",
    ]
    for gamma in GAMMAS:
        cells = [f"{gamma:g}"]
        for key, form in (("reasoning", ".0f"), ("memory", ".0f"), ("gap", ".0f"), ("held out", ".2f")):
            cells.append(
                " / ".join(
                    _mean(of(rows, gamma, path, key), form) for path in ("softmax", "exact", "training")
                )
            )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _mean(values: np.ndarray, form: str) -> str:
    return f"{values.mean():{form}}" if len(values) and np.isfinite(values).all() else f"over {STEPS}"


def draw(rows: list[dict]) -> None:
    """Gap between reasoning and memory, and the loss of held-out reasoning, over gamma."""
    figure, axes = plt.subplots(1, 2, figsize=(8.0, 3.2), layout="constrained")
    styles = {
        "training": ("o", "C0", "training"),
        "exact": ("x", "C1", "exact, in steps"),
        "softmax": ("s", "C2", "softmax, in steps"),
    }
    for axis, key in zip(axes, ("gap", "held out"), strict=True):
        for path, (marker, colour, label) in styles.items():
            points = [(g, v) for g in GAMMAS for v in of(rows, g, path, key) if np.isfinite(v)]
            axis.plot(*zip(*points, strict=True), marker, color=colour, fillstyle="none", label=label)
        axis.set_xlabel("gamma")
    axes[0].set_ylabel("memory learnt after reasoning (steps)")
    axes[1].set_ylabel("held-out loss at step 600 (nats)")
    axes[0].legend()
    figure.savefig(HERE / "adam.png", dpi=150)


def main() -> None:
    """Measure, draw, write."""
    rows = [measured(gamma, seed) for gamma in GAMMAS for seed in SEEDS]
    (HERE / "adam.json").write_text(json.dumps(rows, indent=1) + "\n")
    draw(rows)
    fill(HERE / "optimizers.md", "measure_adam.py", table(rows))
    print(table(rows))


if __name__ == "__main__":
    main()
