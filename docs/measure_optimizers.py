"""Theory moved by optimizers beside training, on the demo's task: docs/optimizers.json, tables of the page.

`OMP_NUM_THREADS=1 python docs/measure_optimizers.py` (half an hour; `exactly`, `fewer`, `limits`, `orders`, `closures`
or `certified` for some parts; ``--quick``: one seed, nothing written).
"""

import json
import sys
from pathlib import Path

import numpy as np
from _marked import fill

from smallinit.compare import train
from smallinit.sim import GD, AdamW, Momentum, SignGD, Spectral, WarmupCosine, certificate, integrate
from smallinit.theory import CompositeTask, EmbMLP, derive
from smallinit.theory.base.crossings import first_crossing

HERE = Path(__file__).parent
ERRORS = (  # relative ones, by the head of their column
    *("losses", "displacement", "without a discrete start", "to step 50", "to step 100", "to step 200"),
    "reasoning's crossing",
)
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


def adam(betas, eps):
    """AdamW of a rate."""
    return lambda rate: AdamW(rate, betas=betas, eps=eps, weight_decay=0.0)


FLOWS = {
    "AdamW 1e-3, 600 steps": (AdamW(1e-3, weight_decay=0.0), 600),
    "AdamW 1e-3, warm-up and cosine, decay 0.1": (
        AdamW(1e-3, weight_decay=0.1, schedule=WarmupCosine(60, 600, 0.1)),
        600,
    ),
    "momentum 0.9, 0.05, 600 steps": (Momentum(0.05), 600),
    "GD 0.5, 600 steps": (GD(0.5), 600),
    "smooth sign descent 1e-4, eps 1e-4, 300 steps": (SignGD(1e-4, eps=1e-4), 300),
    "spectral descent 1e-3, 300 steps": (Spectral(1e-3), 300),
}
ORDERS = (
    ("GD", GD, 0.5, 100.0),
    ("momentum 0.9", Momentum, 0.05, 10.0),
    ("smooth sign descent, eps 1e-4", lambda rate: SignGD(rate, eps=1e-4), 2e-4, 0.02),
    ("spectral descent", Spectral, 1e-3, 0.2),
    ("AdamW without memory, eps 1e-2", adam((0.0, 0.0), 1e-2), 1e-3, 0.05),
    ("AdamW without memory, eps 1e-3", adam((0.0, 0.0), 1e-3), 1e-3, 0.05),
    ("AdamW, betas 0.8, 0.95, eps 1e-3", adam((0.8, 0.95), 1e-3), 2.5e-4, 0.05),
    ("AdamW, betas 0.8, 0.95, eps 1e-4", adam((0.8, 0.95), 1e-4), 2.5e-4, 0.05),
    ("AdamW, eps 1e-3", adam((0.9, 0.999), 1e-3), 1e-3, 0.05),
    ("AdamW", adam((0.9, 0.999), 1e-8), 1e-3, 0.05),
)
CERTIFIED = {
    "AdamW 1e-3": (AdamW(1e-3, weight_decay=0.0), 600),
    "AdamW 1e-3, warm-up and cosine, decay 0.1": (
        AdamW(1e-3, weight_decay=0.1, schedule=WarmupCosine(60, 600)),
        600,
    ),
    "momentum 0.9, 0.02": (Momentum(0.02), 600),
    "GD 0.1": (GD(0.1), 2000),
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


def limits(seeds):
    """The flow of an optimizer against its steps: evaluations, and what the limit of small rates costs in accuracy."""
    flow = derive(MODEL, "exact")
    for name, (optimizer, steps) in FLOWS.items():
        rows = []
        for seed in seeds:
            options = {"steps": steps, "optimizer": optimizer, "save_at": 21}
            start = MODEL.init(0.8, seed)
            every = integrate(flow, DATA, start, method="steps", **options)
            found = [
                integrate(flow, DATA, start, method="flow", discrete_start=discrete, **options)
                for discrete in (20, 0)
            ]
            rows.append((found[0].statistics["rhs_calls"] / steps, *(worst_loss(f, every) for f in found)))
        calls, loss, bare = np.max(rows, axis=0)
        yield {"run": name, "evaluations a step": calls, "losses": loss, "without a discrete start": bare}


def orders(seeds):
    """Error of the flow at a fixed product of rate and steps, over the rate: the power with which it falls."""
    flow = derive(MODEL, "exact")
    for name, rule, rate, total in ORDERS:
        slopes = []
        for seed in seeds[:2]:
            start, gaps, rates = MODEL.init(0.8, seed), [], rate * np.array([1.0, 0.5, 0.25])
            for slower in rates:
                steps = round(total / slower)
                options = {"steps": steps, "optimizer": rule(slower), "save_at": [0, steps]}
                every = integrate(flow, DATA, start, method="steps", **options)
                found = integrate(flow, DATA, start, method="flow", discrete_start=0, rtol=1e-6, **options)
                gaps.append(displacement(found, every))
            slopes.append(np.polyfit(np.log(rates), np.log(gaps), 1)[0])
        yield {"optimizer": name, "smallest power": min(slopes), "largest power": max(slopes)}


def closures(seeds):
    """The softmax closure under AdamW beside training, over gamma."""
    optimizer = AdamW(1e-3, weight_decay=0.0)
    for name, gamma in (("softmax", 0.3), ("softmax", 0.5), ("softmax", 0.8), ("activation=5", 0.8)):
        flow = derive(MODEL, name)
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
            "closure": name,
            "gamma": gamma,
            **dict(zip(keys, worst, strict=True)),
            "order right": f"{sum(orders)} of {len(orders)}",
        }


def certified(seeds):
    """How long the softmax closure is certified to hold under an optimizer, beside how long it does: W_E within 5 %."""
    flow, whole = derive(MODEL, "softmax"), derive(MODEL, "exact")
    for gamma in (0.5, 0.8, 1.0):
        for name, (optimizer, steps) in CERTIFIED.items():
            says, true, calls = [], [], []
            for seed in seeds:
                start, options = MODEL.init(gamma, seed), {"steps": steps, "optimizer": optimizer}
                found = certificate(flow, DATA, start, **options)
                options |= {"method": "steps", "save_at": np.arange(steps + 1), "throw": False}
                ours, wanted = (integrate(f, DATA, start, **options).weights["W_E"] for f in (flow, whole))
                n = min(len(ours), len(wanted))
                gone, moved = ours[1:n] - wanted[1:n], wanted[1:n] - wanted[0]
                beyond = np.linalg.norm(gone, axis=(1, 2)) > 0.05 * np.linalg.norm(moved, axis=(1, 2))
                says.append(min(found.horizon_steps, steps))
                true.append(int(np.argmax(beyond)) if beyond.any() else steps)
                calls.append(found.evaluations / steps)
            yield {
                "gamma": str(gamma),
                "optimizer": name,
                "certified steps": ", ".join(map(str, says)),
                "true steps": ", ".join(map(str, true)),
                "exact gradients a step": float(np.mean(calls)),
            }


def shown(key, value):
    """Numbers with few digits; errors in per cent."""
    if isinstance(value, str):
        return value
    if key in ERRORS:
        return f"{100 * value:.0f} %" if value > 1 else f"{100 * value:.2g} %"
    return f"{value:.1e}" if 0 < abs(value) < 1e-8 else f"{value:.3g}"


def table(rows):
    """Markdown."""
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([shown(k, r[k]) for k in head] for r in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main():
    """Measure, print and keep."""
    quick = "--quick" in sys.argv
    seeds = (0,) if quick else (0, 1, 2)
    parts = {f.__name__: f for f in (exactly, fewer, limits, orders, closures, certified)}
    file = HERE / "optimizers.json"
    for part in [name for name in parts if name in sys.argv] or list(parts):
        rows = list(parts[part](seeds))
        print(table(rows), end="\n\n", flush=True)
        if not quick:
            known = json.loads(file.read_text()) if file.exists() else {}
            file.write_text(json.dumps(known | {part: rows}, indent=1) + "\n")
            fill(HERE / "optimizers.md", f"measure_optimizers.py {part}", table(rows))


if __name__ == "__main__":
    main()
