"""What the sign of figure 7 depends on: a designed experiment on two corpora of one's own; tables of docs/figure7.md.

`python docs/measure_figure7.py --reasoning PATH --narrative PATH --state FOLDER` trains what is not in the folder yet:
one factor at a time from a base, the largest and the smallest of the paper's exponents, three seeds each; an hour and a
half on one idle core. Interrupted, the same command goes on. `--cells base,tied` trains these alone, `--cells ""` none.
Then docs/figure7.json, docs/figure7.png and the tables are written from all cells that the folder has whole.
"""

import argparse
import json
import time
from dataclasses import asdict, replace
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from _marked import fill

from smallinit.compare.figures.parts.curves import band
from smallinit.compare.figures.parts.text_bias import BiasWindow, bias, bias_at_equal_loss
from smallinit.compare.figures.parts.text_runs import CORPORA, generated
from smallinit.compare.figures.parts.text_training import TextTraining, mean_cosine, text_curves
from smallinit.compare.training.batches import Batches, loss_and_gradient
from smallinit.compare.training.networks import network
from smallinit.sim import AdamW, integrate
from smallinit.sim.forecast.escape import PART
from smallinit.theory import derive
from smallinit.theory.base.crossings import first_crossing
from smallinit.theory.base.disk.npz import write_npz
from smallinit.theory.data.corpora.documents import Documents
from smallinit.theory.data.interventions import subset

HERE = Path(__file__).parent
LARGE, SMALL = GAMMAS = (0.3, 0.8)  # weights
SEEDS = (0, 1, 2)
LOOKED_AT, MOST_LOOKED_FOR = 4, 256  # documents of each corpus that it is predicted from; steps
BASE = TextTraining(
    documents=100, held_out=25, vocabulary=500, n_ctx=80, d_model=64, d_head=32, d_mlp=128, epochs=80, saved=33,
    learning_rate=3e-4, batch_size=10,
)  # fmt: skip
# One factor at a time; epochs are what a cell's window asks for, or the time there is.
CELLS = {
    "base": BASE,
    "rate 1e-4": replace(BASE, learning_rate=1e-4, epochs=200),
    "rate 1e-3": replace(BASE, learning_rate=1e-3),
    "width 32": replace(BASE, d_model=32, d_head=16, d_mlp=64),
    "width 128": replace(BASE, d_model=128, d_head=64, d_mlp=256, epochs=60),
    "50 documents": replace(BASE, documents=50, epochs=160),
    "200 documents": replace(BASE, documents=200, epochs=50),
    "norm eps 1e-12": replace(BASE, norm_eps=1e-12),
    "no norm": replace(BASE, norm=None),
    "convention rows": replace(BASE, convention="rows"),
    "tied": replace(BASE, tied=True),
    "generated corpora": BASE,
    "tied and every word": replace(BASE, tied=True, vocabulary=100_000, epochs=40),
}


def data_of(name, corpora):
    """What a cell is trained on."""
    cell = CELLS[name]
    return cell.data(generated(cell.documents + cell.held_out) if name.startswith("generated") else corpora)


def train_pair(name, seed, corpora, state):
    """Train what is lacking of a cell's two trainings."""
    cell, data = CELLS[name], data_of(name, corpora)
    for gamma in GAMMAS:
        if (kept := kept_at(state, name, gamma, seed)).is_file():
            continue
        going, began = kept.with_suffix(".going.npz"), time.perf_counter()
        run = cell.train(data, gamma, seed, checkpoint=going, resume=True, accept_changes=True)
        seconds, steps = time.perf_counter() - began, np.asarray(run.steps)
        more = {"epoch": steps / cell.steps_an_epoch(data), "steps": steps, "seconds": np.array(seconds)}
        write_npz(kept, text_curves(run, data) | more)
        going.unlink(missing_ok=True)
        print(f"{name}, gamma {gamma}, seed {seed}: {seconds:.0f} s", flush=True)


def kept_at(state, name, gamma, seed):
    """Where the curves of a training are kept."""
    return state / f"{name.replace(' ', '-')}-{gamma}-{seed}.npz"


def forecast(name, corpora, state):
    """Step of the first escape of small weights, by the softmax closure under AdamW's own steps."""
    if (kept := escape_at(state, name)).is_file():
        return
    cell, data = CELLS[name], data_of(name, corpora)
    some = np.zeros(len(data), dtype=bool)
    for kind in CORPORA:
        rows = np.flatnonzero(data.groups == f"{kind}-train")
        some[rows[np.arange(LOOKED_AT) * len(rows) // LOOKED_AT]] = True
    rule, start, seen = (
        AdamW(cell.learning_rate, weight_decay=0.0),
        cell.start(data, SMALL, 0),
        subset(data, some),
    )
    flow, steps, found = derive(cell.model(data), "softmax"), 16, np.inf
    while not np.isfinite(found) and steps <= MOST_LOOKED_FOR:
        path = integrate(flow, seen, start, steps=steps, optimizer=rule, save_at=steps)
        found, steps = first_crossing(path.steps, path["loss"], (1.0 - PART) * path["loss"][0]), 4 * steps
    kept.write_text(json.dumps({"first escape": float(found)}) + "\n")
    print(f"{name}: first escape predicted at step {found:.1f}", flush=True)


def escape_at(state, name):
    """Where the prediction of a cell is kept."""
    return state / f"{name.replace(' ', '-')}.escape.json"


def clocks(cell, data):
    """Steps in which AdamW can move a weight by its own size, by gamma; steps an epoch; the mean square of W_E."""
    sizes = {gamma: float(cell.start(data, gamma, 0)["W_E"].std()) for gamma in GAMMAS}
    found = {"clock": {str(gamma): size / cell.learning_rate for gamma, size in sizes.items()}}
    return found | {"steps an epoch": cell.steps_an_epoch(data), "mean square of W_E": sizes[SMALL] ** 2}


def first_step(cell, data, seed):
    """Mean cosines of the directions in which AdamW's first step moves words, small weights.

    Of each corpus's own words, and of the rarer and the more frequent half of those of the narrative corpus.
    """
    model, start = cell.model(data), cell.start(data, SMALL, seed)
    net = network(model, start, torch.float64)
    loss_and_gradient(net, Batches(model, data, torch.float64, None, 0).full())
    direction = np.sign(dict(net.named_parameters())["W_E"].grad.numpy())
    words = {name: data.token_groups[name] for name in CORPORA}
    ranked = words["narrative"][np.argsort(data.occurrences[words["narrative"]], kind="stable")]
    words |= {"rare": ranked[: len(ranked) // 2], "frequent": ranked[len(ranked) // 2 :]}
    return {name: mean_cosine(direction[some]) for name, some in words.items()}


def evaluate(name, state, corpora):
    """A cell's record and its curves by gamma (seed, n_t); None if no seed of it is whole."""
    whole = [s for s in SEEDS if all(kept_at(state, name, gamma, s).is_file() for gamma in GAMMAS)]
    if not whole:
        return None
    runs = {g: [dict(np.load(kept_at(state, name, g, seed))) for seed in whole] for g in GAMMAS}
    data, theory = data_of(name, corpora), escape_at(state, name)
    seeds = []
    for i, seed in enumerate(whole):
        first = {f"cosine {kind}, first step": x for kind, x in first_step(CELLS[name], data, seed).items()}
        seeds.append({"seed": seed} | of_seed({gamma: runs[gamma][i] for gamma in GAMMAS}) | first)
    said = clocks(CELLS[name], data) | (json.loads(theory.read_text()) if theory.is_file() else {})
    changed = {k: v for k, v in asdict(CELLS[name]).items() if v != asdict(BASE)[k]}
    curves = {g: {key: np.stack([run[key] for run in some]) for key in some[0]} for g, some in runs.items()}
    return {"cell": name, "changed": changed, "theory": said, "seeds": seeds}, curves


def of_seed(curves):
    """What a pair of trainings comes to; epochs, nats."""
    large, small = curves[LARGE], curves[SMALL]
    epoch, both = (
        small["epoch"],
        {k: np.stack([large[k], small[k]]) for k in ("loss/reasoning", "loss/narrative")},
    )
    window = BiasWindow.between(epoch, bias(small), bias(large))

    def at(values, when):
        return float(np.interp(when, epoch, values))

    total = sum(small[f"loss/{name}"] for name in CORPORA)
    found = asdict(window) | {
        "dL large": at(bias(large), window.middle),
        "dL small": at(bias(small), window.middle),
        "first escape": float(first_crossing(small["steps"], total, (1.0 - PART) * total[0])),
        "unseen narrative least at": float(epoch[small["held out/narrative"].argmin()]),
        "learnt by heart at closing": at(
            small["held out/narrative"] - small["loss/narrative"], window.closes
        ),
        "seconds": float(large["seconds"] + small["seconds"]),
    }
    for which in ("reasoning", "mean"):
        found[f"excess at equal {which} loss"] = float(np.diff(bias_at_equal_loss(both, which))[0])
    for name in CORPORA:
        found[f"cosine {name}"] = at(small[f"cosine/{name}"], window.middle)
        found[f"cosine {name}, large"] = at(large[f"cosine/{name}"], window.middle)
        found |= {
            f"{w} loss {name}": float(c[f"loss/{name}"][-1]) for w, c in (("large", large), ("small", small))
        }
    return found


HEAD = (
    "| cell | seeds | small weights overturned at | large ones at | window opens | closes "
    "| dL large : small at its middle | excess there | against base | at equal loss of reasoning "
    "| at equal mean loss | unseen stories best at | learnt by heart at closing |",
    "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
)


def table(records):
    """The experiment as Markdown, medians over seeds."""
    lines = list(HEAD)
    base = np.array([s["excess"] for s in records[0]["seeds"]])
    for record in records:
        seeds = {key: np.array([s[key] for s in record["seeds"]], dtype=float) for key in record["seeds"][0]}
        clock = {g: t / record["theory"]["steps an epoch"] for g, t in record["theory"]["clock"].items()}
        mid = {key: float(np.median(values)) for key, values in seeds.items()}
        last = "> " * bool(seeds["still_open"].any())
        cells = (
            record["cell"], str(len(record["seeds"])), f"{clock[str(SMALL)]:.1f}",
            f"{clock[str(LARGE)]:.0f}", spread(seeds["opens"], 1),
            last + spread(seeds["closes"], 0), f"{mid['dL large']:.2f} : {mid['dL small']:.2f}",
            spread(seeds["excess"], 2), effect(seeds["excess"], base) if record is not records[0] else "",
            *(spread(seeds[f"excess at equal {which} loss"], 2) for which in ("reasoning", "mean")),
            spread(seeds["unseen narrative least at"], 0), spread(seeds["learnt by heart at closing"], 1),
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(values, digits):
    """Median (least .. greatest)."""
    mid, low, high = (f"{f(values):.{digits}f}" for f in (np.median, np.min, np.max))
    return mid if low == high else f"{mid} ({low} .. {high})"


def effect(values, base):
    """Difference of means, and the same over the standard deviation of single seeds, pooled."""
    if len(values) < 2:
        return f"{values.mean() - base.mean():+.2f}"
    pooled = np.sqrt((np.var(values, ddof=1) + np.var(base, ddof=1)) / 2.0)
    return f"{values.mean() - base.mean():+.2f} ({(values.mean() - base.mean()) / pooled:+.1f} sd)"


def escapes(records):
    """First escapes of small weights, predicted and trained."""
    lines = [
        "| cell | W_E's mean square over the norm's eps | predicted, steps | trained | window opens, steps |"
    ]
    lines.append("|---|---|---|---|---|")
    for record in records:
        cell, said = CELLS[record["cell"]], record["theory"]
        ratio = "" if cell.norm is None else f"{said['mean square of W_E'] / cell.norm_eps:.2g}"
        trained = spread(np.array([s["first escape"] for s in record["seeds"]]), 1)
        opens = spread(np.array([s["opens"] for s in record["seeds"]]) * said["steps an epoch"], 0)
        predicted = f"{said['first escape']:.1f}" if "first escape" in said else ""
        lines.append(f"| {record['cell']} | {ratio} | {predicted} | {trained} | {opens} |")
    return "\n".join(lines)


def cosines(records):
    """Mean cosines of own words, small weights: at the first step, as the gradient at the start has it, and trained."""
    lines = [
        "| cell | reasoning words: first step | trained | narrative words: first step | rarer half | the other half "
        "| trained |",
        "|---|---|---|---|---|---|---|",
    ]
    columns = (
        "reasoning, first step", "reasoning", "narrative, first step", "rare, first step", "frequent, first step",
        "narrative",
    )  # fmt: skip
    for record in records:
        found = [np.array([s[f"cosine {column}"] for s in record["seeds"]]) for column in columns]
        lines.append(f"| {record['cell']} | {' | '.join(spread(values, 3) for values in found)} |")
    return "\n".join(lines)


def picture(found, path):
    """The bias over the epochs, a panel a cell."""
    columns = 5
    figure, panels = plt.subplots(
        -(-len(found) // columns), columns, figsize=(15.0, 2.7 * -(-len(found) // columns)), layout="constrained",
        squeeze=False,
    )  # fmt: skip
    for panel, (record, curves) in zip(panels.flat, found, strict=False):
        for gamma, colour in zip(GAMMAS, ("#D55E00", "#0072B2"), strict=True):
            epoch = curves[gamma]["epoch"][0]
            band(panel, epoch, bias(curves[gamma]), colour, f"gamma {gamma:g}")
        ends = [np.median([s[end] for s in record["seeds"]]) for end in ("opens", "closes")]
        if np.isfinite(ends).all():
            panel.axvspan(*ends, color="grey", alpha=0.15, lw=0)
        panel.set(title=record["cell"], xlim=(0.0, epoch[-1]))
    for panel in panels.flat[len(found) :]:
        panel.axis("off")
    for row in panels:
        row[0].set_ylabel("bias dL")
    for column in panels[:, : len(found)].T:
        [panel for panel in column if panel.axison][-1].set_xlabel("epoch")
    panels[0, 0].legend(fontsize=8)
    figure.savefig(path, dpi=110)


def write(files, state):
    """The record, the picture and the tables, from all cells that are whole."""
    texts = {name: file.texts for name, file in files.items()}
    found = [whole for name in CELLS if (whole := evaluate(name, state, texts)) is not None]
    if not found or found[0][0]["cell"] != "base":
        raise SystemExit("the base is not trained yet: name it in --cells.")
    records = [record for record, _ in found]
    corpora = {name: file.record() for name, file in files.items()}
    whole = {"corpora": corpora, "base": asdict(BASE), "gammas": GAMMAS, "seeds": SEEDS, "cells": records}
    (HERE / "figure7.json").write_text(json.dumps(whole, indent=1) + "\n")
    picture(found, HERE / "figure7.png")
    fill(HERE / "figure7.md", "measure_figure7.py", table(records))
    fill(HERE / "figure7.md", "measure_figure7.py escapes", escapes(records))
    fill(HERE / "figure7.md", "measure_figure7.py cosines", cosines(records))


def main():
    """Train, then write."""
    parser = argparse.ArgumentParser(description=__doc__)
    for option in (*(f"--{name}" for name in CORPORA), "--state"):
        parser.add_argument(option, type=Path, required=True)
    parser.add_argument("--cells", default=",".join(CELLS))
    asked = parser.parse_args()
    files = {name: Documents.read(getattr(asked, name)) for name in CORPORA}
    asked.state.mkdir(exist_ok=True)
    texts, names = (
        {kind: file.texts for kind, file in files.items()},
        list(filter(None, asked.cells.split(","))),
    )
    for seed in SEEDS:
        for name in names:
            train_pair(name, seed, texts, asked.state)
        for name in names:
            forecast(name, texts, asked.state)
    write(files, asked.state)


if __name__ == "__main__":
    main()
