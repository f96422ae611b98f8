"""What the sign of figure 7 depends on: a designed experiment on two corpora of one's own; tables of docs/figure7.md.

`python docs/measure_figure7.py --reasoning PATH --narrative PATH --state FOLDER` trains what is not in the folder yet,
one factor at a time from a base, the largest and the smallest of the paper's exponents, three seeds each: about an hour
on one core. Interrupted, the same command goes on. `--cells base,tied` trains these cells alone, `--table` none: the
page, its picture and docs/figure7.json are written from what the folder holds.
"""

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from smallinit.compare.figures.parts.text_training import TextTraining, text_curves
from smallinit.theory.base.disk.npz import write_npz
from smallinit.theory.data.corpora.documents import Documents

HERE = Path(__file__).parent
GAMMAS, SEEDS = (0.3, 0.8), (0, 1, 2)
BASE = TextTraining(
    documents=100, held_out=25, vocabulary=500, n_ctx=80, d_model=64, d_head=32, d_mlp=128, epochs=80, saved=33,
    learning_rate=3e-4, batch_size=10,
)  # fmt: skip
# One factor at a time; a cell that is slower or faster is followed for as long as its window asks for.
CELLS = {
    "base": BASE,
    "tied": replace(BASE, tied=True),
    "rate 1e-3": replace(BASE, learning_rate=1e-3),
    "no norm": replace(BASE, norm=None),
    "50 documents": replace(BASE, documents=50, epochs=160),
    "norm eps 1e-12": replace(BASE, norm_eps=1e-12),
    "rows": replace(BASE, convention="rows"),
    "200 documents": replace(BASE, documents=200, epochs=50),
    "rate 1e-4": replace(BASE, learning_rate=1e-4, epochs=200),
    "width 32": replace(BASE, d_model=32, d_head=16, d_mlp=64),
    "tied, every word": replace(BASE, tied=True, vocabulary=100_000, epochs=40),
    "width 128": replace(BASE, d_model=128, d_head=64, d_mlp=256, epochs=60),
}


def run_cell(name, gamma, seed, corpora, state):
    """Train one cell, or take its curves from the state folder."""
    kept = state / f"{name.replace(' ', '-')}-{gamma}-{seed}.npz"
    if kept.is_file():
        return
    cell = CELLS[name]
    data = cell.data(corpora)
    going, began = kept.with_suffix(".going.npz"), time.perf_counter()
    run = cell.train(data, gamma, seed, checkpoint=going, resume=True, accept_changes=True)
    seconds = time.perf_counter() - began
    curves = text_curves(run, data)
    epoch = np.asarray(run.steps) / cell.steps_an_epoch(data)
    write_npz(kept, curves | {"epoch": epoch, "steps": np.asarray(run.steps), "seconds": np.array(seconds)})
    going.unlink(missing_ok=True)
    print(f"{name}, gamma {gamma}, seed {seed}: {seconds:.0f} s", flush=True)


def main():
    """Train, then write."""
    parser = argparse.ArgumentParser(description=__doc__)
    for option in ("--reasoning", "--narrative", "--state"):
        parser.add_argument(option, type=Path, required=True)
    parser.add_argument("--cells", default=",".join(CELLS))
    asked = parser.parse_args()
    corpora = {name: Documents.read(getattr(asked, name)).texts for name in ("reasoning", "narrative")}
    asked.state.mkdir(exist_ok=True)
    for name in asked.cells.split(","):
        for seed in SEEDS:
            for gamma in GAMMAS:
                run_cell(name, gamma, seed, corpora, asked.state)


if __name__ == "__main__":
    sys.exit(main())
