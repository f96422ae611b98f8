"""What survives of a small start in a decoder: optimizer, norm and decay, predicted beside trained; docs/survival.md.

`OMP_NUM_THREADS=1 python docs/measure_survival.py` trains every cell and predicts it from the same weights (an hour on
one core; what docs/survival.json has already is not done again, so it may be interrupted); `... windows` when weights
should decay, `... write` only writes page and picture from what there is.
"""

import json
import math
import sys
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from _marked import fill

from smallinit.compare import train
from smallinit.sim import GD, AdamW, Trajectory, integrate
from smallinit.sim.forecast.starts.start_scales import matched_exponent
from smallinit.theory import CompositeTask, Decoder, derive
from smallinit.theory.base.crossings import first_crossing

HERE = Path(__file__).parent
RECORD, PAGE = HERE / "survival.json", HERE / "survival.md"
TASK = CompositeTask(range(11, 23), range(1, 6), range(6, 11), masked=((6, 8), (8, 6)))
DATA = TASK.dataset()
WIDTH, THEIRS = 32, 400  # d_model here, and in the experiments of the paper's group
GAMMAS, SEEDS = (0.5, 0.65, 0.8), (0, 1, 2)
NORMS = {
    "no norm": {"norm": None},
    "LayerNorm, eps 1e-5": {"norm_eps": 1e-5},
    "LayerNorm, eps 1e-12": {"norm_eps": 1e-12},
}
NORMED = list(NORMS)[1:]
LARGEST = 20.0  # nats; beyond, a closure has left its range and diverged under the rate of training
TINY = 1.2  # so small that the variance of weights lies below an eps of 1e-5
STEPS = {"GD": 2000, "AdamW": 400}
FADED = 1.0  # with decay, weights that have no gradient lose this power of e over a run
RULES: dict[str, Callable[[float], GD | AdamW]] = {
    "GD": lambda decay: GD(0.15, weight_decay=decay / (0.15 * STEPS["GD"])),
    "AdamW": lambda decay: AdamW(1e-3, weight_decay=decay / (1e-3 * STEPS["AdamW"])),
}
LEVEL = 2.0  # nats: a group is learnt when its loss has fallen below; labels alone leave 2.5
Row = dict[str, float | int | str | None]


def model(norm: str) -> Decoder:
    """Two layers of two heads."""
    return Decoder(DATA.d_vocab, WIDTH, WIDTH // 2, WIDTH, 3, n_heads=2, **NORMS[norm])


def reading(path: Trajectory, saves: np.ndarray) -> Row:
    """When reasoning and memory are learnt, as shares of the run; held-out reasoning's loss, the least and the last."""
    losses = {name: path[f"loss/{name}"] for name in ("reasoning-train", "memory", "reasoning-test")}
    when = {
        name: float(first_crossing(saves[: len(loss)], loss, LEVEL)) / saves[-1]
        for name, loss in losses.items()
    }
    found = {name: at if math.isfinite(at) else None for name, at in when.items()}
    return found | {
        "held out": float(losses["reasoning-test"][-1]),
        "least held out": float(losses["reasoning-test"].min()),
    }


def cell(rule: str, norm: str, decay: float, gamma: float, seed: int) -> Row:
    """One start, trained, and predicted by the softmax closure moved by the same optimizer."""
    network, steps = model(norm), STEPS[rule]
    start = network.init(matched_exponent(gamma, THEIRS, WIDTH), seed, convention="d_model")
    saves = np.unique(np.linspace(0, steps, 101).astype(int))
    how = {"optimizer": RULES[rule](decay), "steps": steps, "save_at": saves, "throw": False}
    trained = train(network, DATA, start, **how)
    predicted = integrate(derive(network, "softmax"), DATA, start, method="steps", **how)
    return {
        "optimizer": rule, "norm": norm, "decay": decay, "gamma": gamma, "seed": seed,
        "trained": reading(trained, saves), "predicted": reading(predicted, saves),
    }  # fmt: skip


def cells() -> Iterator[tuple]:
    """All of them: the first seed, then the others, the quicker optimizer first."""
    yield from ((rule, *rest) for rule in RULES for rest in grid(SEEDS[:1]))
    yield from (("AdamW", *rest) for rest in grid(SEEDS[1:]))
    yield from (("AdamW", norm, 0.0, TINY, seed) for seed, norm in product(SEEDS, NORMED))
    yield from (("GD", *rest) for rest in grid(SEEDS[1:]))


def grid(seeds: tuple[int, ...]) -> Iterator[tuple]:
    """Norm, decay, gamma, seed."""
    for seed, gamma, norm, decay in product(seeds, reversed(GAMMAS), NORMS, (0.0, FADED)):
        yield norm, decay, gamma, seed


def key(row: Row) -> tuple:
    """What a cell is known by."""
    return tuple(row[name] for name in ("optimizer", "norm", "decay", "gamma", "seed"))


WINDOWS = {
    "never": (False, False),
    "before reasoning is learnt": (True, False),
    "after it is": (False, True),
    "always": (True, True),
}


def windows(seed: int) -> Iterator[Row]:
    """Gradient descent from usual weights, with decay before reasoning is learnt, after it, always or never."""
    network, rule, steps = model("LayerNorm, eps 1e-5"), RULES["GD"], STEPS["GD"]
    start, saves = network.init(0.5, seed, convention="d_model"), np.arange(0, steps + 1, 10)
    plain = train(network, DATA, start, optimizer=rule(0.0), steps=steps, save_at=saves, throw=False)
    onset = int(saves[np.argmax(plain["loss/reasoning-train"] < LEVEL)])
    for when, decays in WINDOWS.items():
        path, weights = plain, start
        for decay, n in zip(decays, (onset, steps - onset), strict=True) if any(decays) else ():
            optimizer = rule(FADED * decay)
            path = train(network, DATA, weights, optimizer=optimizer, steps=n, save_at=[0, n], throw=False)
            weights = {name: values[-1] for name, values in path.weights.items()}
        groups = ("memory", "reasoning-train", "reasoning-test")
        yield {"when": when, "seed": seed, "onset": onset} | {g: float(path[f"loss/{g}"][-1]) for g in groups}


def gap(found: Row) -> tuple[float, bool]:
    """Memory after reasoning, as a share of the run, and whether it is a lower bound: memory was not learnt."""
    reasoning, memory = found["reasoning-train"], found["memory"]
    if reasoning is None:
        return (math.nan, False)
    return (1.0 - reasoning, True) if memory is None else (memory - reasoning, False)


def told(rows: list[Row], path: str) -> tuple[str, str, str]:
    """Medians: when reasoning is learnt and the gap, in per cent of the run; held-out loss at the end, in nats."""
    gaps = [gap(row[path]) for row in rows]
    when = np.median(
        [math.inf if row[path]["reasoning-train"] is None else row[path]["reasoning-train"] for row in rows]
    )
    apart, held = np.median([share for share, _ in gaps]), np.median([row[path]["held out"] for row in rows])
    return (
        f"{100 * when:.0f}" if math.isfinite(when) else "never",
        "" if math.isnan(apart) else f"{'over ' * any(least for _, least in gaps)}{100 * apart:.0f}",
        f"{held:.2f}" if held < LARGEST else "diverges",
    )


def table(rows: list[Row]) -> str:
    """Trained / predicted for the largest and the smallest weights."""
    ends = (GAMMAS[0], GAMMAS[-1])
    heads = [f"{what}, gamma {g:g}" for what in ("reasoning learnt", "gap", "held-out loss") for g in ends]
    lines = [
        "| optimizer | norm | decay | seeds | " + " | ".join(heads) + " |",
        "|---" * (4 + len(heads)) + "|",
    ]
    for rule, norm, decay in product(RULES, NORMS, (0.0, FADED)):
        mine = [r for r in rows if key(r)[:3] == (rule, norm, decay)]
        both = [
            [told([r for r in mine if r["gamma"] == g], p) for p in ("trained", "predicted")] for g in ends
        ]
        cells = [" / ".join(part[k] for part in pair) for k in range(3) for pair in both]
        seeds = "/".join(str(sum(r["gamma"] == g for r in mine)) for g in ends)
        lines.append("| " + " | ".join([rule, norm, "yes" if decay else "no", seeds, *cells]) + " |")
    return "\n".join(lines)


def closeness(rows: list[Row]) -> str:
    """How near the closure is to the step at which reasoning is learnt, and to that at which memory is."""
    lines = [
        "| norm | reasoning: median error | largest | memory: learnt by training | of these, by the closure |",
        "|---" * 5 + "|",
    ]
    for norm in NORMS:
        mine = [r for r in rows if r["norm"] == norm and r["optimizer"] == "AdamW"]
        errors = [
            abs(r["predicted"]["reasoning-train"] / r["trained"]["reasoning-train"] - 1.0) for r in mine
        ]
        learnt = [r for r in mine if r["trained"]["memory"] is not None]
        also = sum(r["predicted"]["memory"] is not None for r in learnt)
        off = f"{100 * np.median(errors):.0f} % | {100 * max(errors):.0f} %"
        lines.append(f"| {norm} | {off} | {len(learnt)} of {len(mine)} | {also} |")
    return "\n".join(lines)


def claims_table(rows: list[Row], decayed: list[Row]) -> str:
    """What later papers say of small starts, and what these runs do."""
    found = {
        "an eps of 1e-5 in the norm hides what a small start gives, 1e-12 does not (2606.17945)": eps_hides(
            rows
        ),
        "Adam erases the memory of the start (2605.29152)": adam_forgets(rows),
        "what is learnt is decided by whether weights decay in a window at the onset (2605.04396)": decides(
            decayed
        ),
    }
    return "\n".join(
        ["| claim | here |", "|---|---|", *(f"| {claim} | {here} |" for claim, here in found.items())]
    )


def eps_hides(rows: list[Row]) -> str:
    """Held-out loss under AdamW with either eps."""
    parts = []
    for gamma in (GAMMAS[-1], TINY):
        mine = [[r for r in rows if key(r)[:4] == ("AdamW", norm, 0.0, gamma)] for norm in NORMED]
        parts.append(f"{' / '.join(told(each, 'trained')[2] for each in mine)} at gamma {gamma:g}")
    return f"held-out loss with eps 1e-5 / 1e-12 under AdamW: {', '.join(parts)}"


def adam_forgets(rows: list[Row]) -> str:
    """How much later reasoning is learnt from small weights than from usual ones, by optimizer and norm."""

    def time(rule: str, norm: str, gamma: float) -> float:
        mine = [r["trained"]["reasoning-train"] for r in rows if key(r)[:4] == (rule, norm, 0.0, gamma)]
        return float(np.median([math.inf if at is None else at for at in mine]))

    ends = (GAMMAS[-1], GAMMAS[0])
    parts = []
    for norm in NORMS:
        late = [time(rule, norm, ends[0]) / time(rule, norm, ends[1]) for rule in RULES]
        parts.append(f"{' / '.join(f'{ratio:.1f}' for ratio in late)} ({norm})")
    return (
        f"steps to reasoning at gamma {ends[0]:g} over those at {ends[1]:g}, GD / AdamW: {', '.join(parts)}"
    )


def decides(decayed: list[Row]) -> str:
    """Held-out loss by when weights decay."""
    ends = {when: np.median([r["reasoning-test"] for r in decayed if r["when"] == when]) for when in WINDOWS}
    parts = ", ".join(f"{loss:.2f} {when}" for when, loss in ends.items())
    return f"held-out loss at the end under GD from gamma {GAMMAS[0]:g}, by when weights decay: {parts}"


def draw(rows: list[Row]) -> None:
    """When reasoning is learnt, gap, held-out loss over gamma; a column for each norm; lines predicted."""
    figure, axes = plt.subplots(
        3, len(NORMS), figsize=(9.0, 7.0), sharex=True, sharey="row", layout="constrained"
    )
    styles = [
        (rule, decay, f"C{i}", "os"[bool(decay)]) for i, rule in enumerate(RULES) for decay in (0.0, FADED)
    ]
    for column, norm in zip(axes.T, NORMS, strict=True):
        for rule, decay, colour, marker in styles:
            mine = [r for r in rows if key(r)[:3] == (rule, norm, decay) and r["gamma"] in GAMMAS]
            _curves(column, mine, colour, marker, f"{rule}, {'decay' if decay else 'no decay'}")
        column[0].set_title(norm, fontsize=10)
        column[-1].set_xlabel("$\\gamma$")
        column[-1].set_xticks(GAMMAS)
    axes[0, 0].set_ylabel("reasoning learnt\n(% of the run)")
    axes[1, 0].set_ylabel("memory learnt after it\n(% of the run)")
    axes[2, 0].set_ylabel("held-out reasoning,\nloss at the end (nats)")
    axes[2, 0].set_ylim(0.0, 7.5)
    marks, names = axes[0, 0].get_legend_handles_labels()
    marks += [plt.Line2D([], [], color="grey", lw=1.2), plt.Line2D([], [], color="grey", marker="^", ls="")]
    names += ["predicted (dashed: decay)", "at least: memory not learnt in the run"]
    figure.legend(marks, names, loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(HERE / "survival.png", dpi=150)


def _curves(column: np.ndarray, rows: list[Row], colour: str, marker: str, label: str) -> None:
    dash, fill = ("-", "full") if marker == "o" else ("--", "none")
    reads = (
        lambda found: (
            math.nan if found["reasoning-train"] is None else 100 * found["reasoning-train"],
            False,
        ),
        lambda found: (100 * gap(found)[0], gap(found)[1]),
        lambda found: (found["held out"] if found["held out"] < LARGEST else math.nan, False),
    )
    for axis, read in zip(column, reads, strict=True):
        for path in ("predicted", "trained"):
            at = [[read(r[path]) for r in rows if r["gamma"] == g] for g in GAMMAS]
            middle = [float(np.median([value for value, _ in each])) for each in at]
            if path == "predicted":
                axis.plot(GAMMAS, middle, dash, color=colour, lw=1.2)
                continue
            axis.plot([], [], marker, color=colour, fillstyle=fill, label=label)
            for gamma, value, each in zip(GAMMAS, middle, at, strict=True):
                shape = "^" if any(least for _, least in each) else marker
                axis.plot(gamma, value, shape, color=colour, fillstyle=fill)


def record() -> dict[str, list[Row]]:
    """What has been measured."""
    return json.loads(RECORD.read_text()) if RECORD.exists() else {"cells": [], "windows": []}


def keep(known: dict[str, list[Row]], part: str, row: Row) -> None:
    """Add a row and write all."""
    known[part].append(row)
    RECORD.with_suffix(".part").write_text(json.dumps(known, indent=1) + "\n")
    RECORD.with_suffix(".part").replace(RECORD)
    print(row, flush=True)


def main() -> None:
    """Measure what is missing, draw, write."""
    known, what = record(), set(sys.argv[1:]) or {"cells", "windows"}
    have = {key(row) for row in known["cells"]}
    for each in cells() if "cells" in what else ():
        if each not in have:
            keep(known, "cells", cell(*each))
    done = {row["seed"] for row in known["windows"]}
    for row in (row for seed in SEEDS if "windows" in what and seed not in done for row in windows(seed)):
        keep(known, "windows", row)
    draw(known["cells"])
    fill(PAGE, "measure_survival.py cells", table(known["cells"]))
    fill(PAGE, "measure_survival.py closeness", closeness(known["cells"]))
    fill(PAGE, "measure_survival.py claims", claims_table(known["cells"], known["windows"]))


if __name__ == "__main__":
    main()
