"""Measure every figure of what-to-expect.md: how far theory and training agree on the demo task.

``python docs/measure_horizons.py`` writes ``horizons.json`` beside this file and the tables between the
marker comments of ``what-to-expect.md``; ``--quick`` prints one gamma, one seed, and writes nothing.
"""

import json
import sys
from concurrent.futures import ProcessPoolExecutor
from math import ceil, inf, isfinite, log
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from smallinit.compare import overlay, train
from smallinit.sim import integrate
from smallinit.sim.trajectory.observables import losses
from smallinit.theory import CompositeTask, Dataset, EmbMLP, derive
from smallinit.theory.base.crossings import first_crossing

GAMMAS, SEEDS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0), (0, 1, 2)
GROUPS = ("memory", "reasoning-train", "reasoning-test")
RATES, MOST_STEPS, SAVED = (0.1, 0.16, 0.25), 2000, 400
PLATEAU = log(20)  # entropy of a uniform label on the 20 keys
PAGE = Path(__file__).with_name("what-to-expect.md")
ANCHORS = {"memory_anchors": range(1, 6), "reasoning_anchors": range(6, 11)}
DATA = CompositeTask(keys=range(11, 31), **ANCHORS, masked=((6, 8), (8, 6))).dataset()


def follow(closure, data, model, start, t):
    """Integrate one closure from `start`, saved at the flow times `t` (or up to its blow-up)."""
    return integrate(derive(model, closure), data, start, t1=t[-1], save_at=t, rtol=1e-8)


def pre_activation(run, t):
    """Return the median ``|pre-activation|`` over sequences and neurons of a run at flow time `t`."""
    i = min(np.searchsorted(run.t, t), len(run.t) - 1)
    return np.median(np.abs(run.data.counts @ run.weights["W_E"][i] @ run.weights["W_in"][i]))


def measure(gamma, seed, rates=RATES, blow_ups=5.0):
    """Return all figures of one start, section -> column -> float; times are flow times, losses in nats.

    Training runs to ``max(5 T*, 200)`` with the first learning rate of `rates` that needs at most 2000 steps;
    fewer than 5 `blow_ups` end it after that many T*.
    """
    data, model = DATA, EmbMLP(51, 100, 100)
    start = model.init(gamma, seed)
    blow_up = follow("leading", data, model, start, [0.0, 1e6]).outcome.t
    end = max(5 * blow_up, 200.0) if blow_ups == 5.0 else blow_ups * blow_up
    rate = next((r for r in rates if end / r <= MOST_STEPS), rates[-1])
    stride = max(1, round(end / rate / SAVED))
    saved = np.arange(ceil(round(end / rate / stride, 9)) + 1) * stride
    training = train(model, data, start, learning_rate=rate, steps=int(saved[-1]), save_at=saved)
    leading, softmax = (follow(name, data, model, start, training.t) for name in ("leading", "softmax"))
    return of_leading(overlay(leading, training), blow_up) | of_softmax(overlay(softmax, training), rate)


def of_leading(laid, blow_up):
    """Return horizons of W_E and its errors at fractions of the blow-up time."""
    horizon, parts = {tol: laid.horizon(tol / 100, "W_E") for tol in (5, 10)}, (0.1, 0.5, 0.7)
    error = np.interp(np.multiply(blow_up, parts), laid.t, laid.relative_error["W_E"])
    row = {"pre-activation": pre_activation(laid.training, 0.0), "T*": blow_up}
    row |= {f"at {part} T*, %": 100 * e for part, e in zip(parts, error, strict=True)}
    horizons = {f"{tol} %, in T*": t / blow_up for tol, t in horizon.items()}
    horizons |= {f"{tol} %, flow time": t for tol, t in horizon.items()}
    horizons["pre-activation at 5 %"] = pre_activation(laid.training, horizon[5])
    return {"leading: error of W_E": row, "leading: horizon of W_E": horizons}


def of_softmax(laid, rate):
    """Return horizons, errors and waypoints of the losses, and how their evaluation matters."""
    theory, training, t, short = laid.theory, laid.training, laid.t, laid.horizon(0.05, "W_E")
    through = losses(theory.model, theory.weights, theory.data, "exact")
    horizons = {"run to": t[-1], "learning rate": rate, "W_E": short}
    largest, last, half, below, evaluated = {}, {}, {}, {}, {}
    for group in GROUPS:
        name = f"loss/{group}"
        error, ours, theirs = laid.relative_error[name], theory[name], training[name]
        horizons[group] = laid.horizon(0.05, name)
        largest[f"{group}, %"] = 100 * error.max()
        last |= {f"{group}, theory": ours[-1], f"{group}, training": theirs[-1]}
        own, in_network = 100 * error[-1], 100 * abs(through[name][-1] / theirs[-1] - 1)
        evaluated |= {f"{group}, own": own, f"{group}, tanh": in_network}
        if group != "reasoning-test":
            middle = [first_crossing(t, y, (y[0] + y[-1]) / 2) for y in (ours, theirs)]
            half |= waypoint(group, *middle)
            below |= waypoint(group, *(first_crossing(t, y, PLATEAU - 0.1) for y in (ours, theirs)))
    below["memory within 0.1 of it"] = first_crossing(t, training["loss/memory"], PLATEAU + 0.1)
    horizons["pre-activation at that of W_E"] = pre_activation(training, short)
    horizons["pre-activation at the end"] = pre_activation(training, t[-1])
    rows = {"5 % horizons": horizons, "largest error of the losses": largest, "losses at the end": last}
    rows |= {"half of the drop": half, "0.1 below log 20": below, "losses at the end, errors in %": evaluated}
    return {f"softmax: {name}": row for name, row in rows.items()}


def waypoint(group, ours, theirs):
    """Return the columns for one flow time in theory and in training, and by how much theory is off."""
    off = 100 * (ours / theirs - 1) if isfinite(ours) and isfinite(theirs) else inf
    return {f"{group}, theory": ours, f"{group}, training": theirs, f"{group}, off by %": off}


def choices(gamma=0.8, seed=0):
    """Return what single choices do to the errors up to the blow-up time of `leading`."""
    data, (plain, gelu) = DATA, (EmbMLP(51, 100, 100, name) for name in ("tanh", "gelu"))
    few = Dataset(data.sequences, data.labels % 2, 51, weights=data.weights, held_out=data.held_out)
    cases = {f"GD, rate {rate:g}": (plain, data, {"learning_rate": rate}) for rate in (0.1, 1.0, 4.0)}
    cases["float32"] = plain, data, {"dtype": "float32"}
    cases["SGD, batches of 100"] = plain, data, {"optimizer": "sgd", "batch_size": 100}
    adamw = {"optimizer": "adamw", "learning_rate": 1e-3, "steps": 300}
    cases["AdamW, rate 0.001, 300 steps"] = plain, data, adamw
    cases["GELU"] = gelu, data, {}
    cases["two labels (parity)"] = plain, few, {}
    cases["two labels, rate 0.02"] = plain, few, {"learning_rate": 0.02}
    return {name: choice(*case, gamma, seed) for name, case in cases.items()}


def choice(model, data, options, gamma, seed):
    """Train to the blow-up time of `leading`; return its errors and the drift of an invariant."""
    start = model.init(gamma, seed)
    blow_up = follow("leading", data, model, start, [0.0, 1e6]).outcome.t
    options = {"learning_rate": 0.1} | options
    options = {"steps": ceil(blow_up / options["learning_rate"])} | options
    run = train(model, data, start, **options, save_at=np.arange(options["steps"] + 1))
    hard, soft = (overlay(follow(name, data, model, start, run.t), run) for name in ("leading", "softmax"))
    half = np.interp(0.5 * blow_up, hard.t, hard.relative_error["W_E"])
    row = {"T*": blow_up, "leading: W_E at 0.5 T*, %": 100 * half}
    row["softmax: W_E at T*, %"] = 100 * soft.relative_error["W_E"][-1]
    return row | {"drift of W_E-W_in, %": 100 * run["invariant/W_E-W_in"].max()}


def summary(runs):
    """Return section -> column -> [median, least, greatest] over the seeds, None for "never"."""
    ordered = {s: {c: sorted(run[s][c] for run in runs) for c in runs[0][s]} for s in runs[0]}
    picked = {s: {c: (v[len(v) // 2], v[0], v[-1]) for c, v in row.items()} for s, row in ordered.items()}
    return {s: {c: [*map(digits, v)] for c, v in row.items()} for s, row in picked.items()}


def digits(value):
    """Return five digits of a value, None if it is infinite."""
    return float(f"{value:.5g}") if isfinite(value) else None


def cell(values):
    """Return a median and, if they differ in print, the range."""
    shown = [f"{v:#.3g}".rstrip(".") if v is not None else "never" for v in values]
    return shown[0] if shown[1] == shown[2] else f"{shown[0]} ({shown[1]} .. {shown[2]})"


def table(title, rows):
    """Return a Markdown table of row name -> column -> values."""
    columns = next(iter(rows.values()))
    lines = [f"**{title}**", "", f"| {' | '.join(['', *columns])} |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {' | '.join([name, *map(cell, row.values())])} |" for name, row in rows.items()]
    return "\n".join([*lines, ""])


# Column of the short table -> section and column of the record.
GLANCE = {
    "pre-activations at the start": ("leading: error of W_E", "pre-activation"),
    "blow-up T* of `leading`": ("leading: error of W_E", "T*"),
    "`leading`: error of W_E at T*/2, %": ("leading: error of W_E", "at 0.5 T*, %"),
    "`leading`: 5 % horizon, in T*": ("leading: horizon of W_E", "5 %, in T*"),
    "`softmax`: 5 % horizon of W_E": ("softmax: 5 % horizons", "W_E"),
    "`softmax` loss error: memory, %": ("softmax: largest error of the losses", "memory, %"),
    "reasoning-train, %": ("softmax: largest error of the losses", "reasoning-train, %"),
    "reasoning-test, %": ("softmax: largest error of the losses", "reasoning-test, %"),
}


def glance(record):
    """Return the table that the page begins with: medians over the seeds by gamma."""
    lines = [f"| {' | '.join(['gamma', *GLANCE])} |", "|---" * (len(GLANCE) + 1) + "|"]
    for gamma in next(iter(record.values())):
        medians = (cell([record[section][gamma][column][0]] * 3) for section, column in GLANCE.values())
        lines.append(f"| {' | '.join([gamma, *medians])} |")
    return "\n".join(lines)


def collect(pool):
    """Return section -> row name -> column -> [median, least, greatest] of everything measured."""
    started = {g: [pool.submit(measure, g, s) for s in SEEDS] for g in GAMMAS}
    rates = {"0.1": started[0.8][0], "0.05": pool.submit(measure, 0.8, 0, (0.05,))}
    others = pool.submit(choices)
    by_gamma = {str(g): summary([job.result() for job in jobs]) for g, jobs in started.items()}
    record = {section: {g: row[section] for g, row in by_gamma.items()} for section in by_gamma["0.8"]}
    wanted = "at 0.5 T*, %", "5 %, in T*", "W_E", "reasoning-train, %"
    for rate, job in rates.items():
        columns = {c: v for row in summary([job.result()]).values() for c, v in row.items()}
        rates[rate] = {column: columns[column] for column in wanted}
    record["learning rate (gamma 0.8, seed 0, to flow time 200)"] = rates
    one = {name: summary([{name: row}])[name] for name, row in others.result().items()}
    return record | {"one choice changed (gamma 0.8, seed 0, to T*)": one}


def main(quick):
    """Measure, then print the tables of one run (`quick`) or write the record and the page's tables."""
    if quick:
        rows = summary([measure(0.8, 0, (0.4,), 0.75)])
        return print("\n".join(table(section, {"0.8": row}) for section, row in rows.items()))
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        record = collect(pool)
    PAGE.with_name("horizons.json").write_text(json.dumps(record) + "\n")
    from _marked import fill  # here: a test runs this file from elsewhere

    fill(PAGE, "measure_horizons.py glance", glance(record))
    fill(PAGE, "measure_horizons.py", "\n".join(table(section, rows) for section, rows in record.items()))


if __name__ == "__main__":
    main("--quick" in sys.argv[1:])
