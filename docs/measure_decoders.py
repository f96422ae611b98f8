"""How far the closure `softmax` follows a decoder, and when each path through it escapes; tables of docs/decoder.md.

`python docs/measure_decoders.py fidelity`: 600 noisy sequences of nine tokens, widths 64, 32, 64, two layers of two
heads, gradient flow, with and without LayerNorm, four exponents, three seeds; ten minutes. `... escapes`: exponents of
the escape times, one path moving at a time; a minute. Writes docs/decoders.json.
"""

import json
import sys
from pathlib import Path

import numpy as np
from _marked import fill

from smallinit.sim import integrate, measure_escape
from smallinit.sim.forecast.escape import predict_escape
from smallinit.theory import CompositeTask, Dataset, Decoder, derive
from smallinit.theory.base.crossings import first_crossing

HERE = Path(__file__).parent
RECORD, PAGE = HERE / "decoders.json", HERE / "decoder.md"
GAMMAS, SEEDS, NORMS = (0.7, 0.8, 0.9, 1.0), (0, 1, 2), (None, "pre")
SPAN, OFF = (
    2.5,
    0.05,
)  # flow time looked at, over that of the escape; relative error of a loss that is too much
PATHS = {
    "direct: W_E, W_pos, W_U": ("W_E", "W_pos", "W_U"),
    "values: W_V, W_O": ("blocks.1.W_V", "blocks.1.W_O"),
    "hidden layer: W_in, W_out": ("blocks.0.W_in", "blocks.0.W_out"),
    "attention: W_Q, W_K": ("blocks.1.W_Q", "blocks.1.W_K"),
}
REGIMES = {
    "no norm": ({"norm": None}, "exact"),
    "norm, mean square far above eps": ({"norm_eps": 0.0}, "exact"),
    "norm, far below eps": ({"norm_eps": 1.0}, "linear"),
}
SCALES = np.geomspace(0.03, 0.003, 4)


def fidelity(norm: str | None, gamma: float, seed: int, data: Dataset) -> dict:
    """Largest relative error of a group's loss up to 1 and 1.2 escapes, and when it passes 5 %, in escapes."""
    model = Decoder(51, d_model=64, d_head=32, d_mlp=64, n_ctx=9, n_heads=2, norm=norm)
    start = model.init(gamma, seed)
    escape = predict_escape(model, data, start, when_only=True).t
    times = escape * np.linspace(0.0, SPAN, 51)
    runs = [
        integrate(derive(model, closure), data, start, times[-1], times, 1e-5, throw=False)
        for closure in ("softmax", "exact")
    ]
    last = min(len(run.t) for run in runs)
    theory, truth = (np.stack([run[f"loss/{g}"][:last] for g in data.group_names]) for run in runs)
    error = np.abs(theory / truth - 1.0).max(axis=0)
    ratio = times[:last] / escape
    off = float(first_crossing(ratio, -error, -OFF))
    left = min(runs[0].left_range.values(), default=np.inf) / escape
    return {
        "norm": norm, "gamma": gamma, "seed": seed, "escape": escape,
        "at 1": float(error[ratio <= 1.0].max()), "at 1.2": float(error[ratio <= 1.2].max()),
        "off": off if np.isfinite(off) else None, "left": left if np.isfinite(left) else None,
    }  # fmt: skip


def measure_fidelity() -> list[dict]:
    """All norms, exponents and seeds."""
    task = CompositeTask(
        range(11, 31), range(1, 6), range(6, 11), n_anchors=2, length=9, masked=((6, 8), (8, 6))
    )
    data, rows = task.sampled(600, seed=0), []
    for norm in NORMS:
        for gamma in GAMMAS:
            for seed in SEEDS:
                rows.append(fidelity(norm, gamma, seed, data))
                print(rows[-1], flush=True)
    return rows


def fidelity_table(rows: list[dict]) -> str:
    """Worst of the seeds."""
    lines = [
        "| norm | gamma | first escape, flow time | error up to it | up to 1.2 of it | 5 % off at | pre-activations or "
        "scores leave their range at |",
        "|---|---|---|---|---|---|---|",
    ]
    for norm in NORMS:
        for gamma in GAMMAS:
            mine = [r for r in rows if r["norm"] == norm and r["gamma"] == gamma]
            escapes = " to ".join(f"{f(r['escape'] for r in mine):.3g}" for f in (min, max))
            worst = [f"{100 * max(r[key] for r in mine):.2g} %" for key in ("at 1", "at 1.2")]
            ends = [_ends([r[key] for r in mine]) for key in ("off", "left")]
            cells = [norm or "none", f"{gamma:g}", escapes, *worst, *ends]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _ends(values: list[float | None]) -> str:
    found = [v for v in values if v is not None]
    return f"{min(found):.2g} escapes" if found else f"not up to {SPAN:g}"


def measure_escapes() -> list[dict]:
    """Exponents of all paths in all regimes."""
    rng, rows = np.random.default_rng(0), []
    for regime, (options, norm) in REGIMES.items():
        model = Decoder(12, d_model=8, d_head=4, d_mlp=8, n_ctx=4, n_heads=2, **options)
        data = Dataset(rng.integers(0, 12, (40, 4)), rng.integers(0, 12, 40), 12)
        constant = model.start_values
        direction = {
            w: np.full(shape, constant[w]) if w in constant else rng.normal(size=shape) / np.sqrt(shape[0])
            for w, shape in model.weights.items()
        }
        for path, moving in PATHS.items():
            found = measure_escape(model, data, direction, moving, SCALES, norm=norm)
            rows.append(
                {"regime": regime, "path": path, "predicted": found.predicted, "measured": found.measured}
            )
            print(rows[-1], flush=True)
    return rows


def escape_table(rows: list[dict]) -> str:
    """Predicted / measured."""
    lines = ["| path | " + " | ".join(REGIMES) + " |", "|---|" + "---|" * len(REGIMES)]
    for path in PATHS:
        mine = {r["regime"]: r for r in rows if r["path"] == path}
        cells = [f"{mine[r]['predicted']:g} / {round(mine[r]['measured'], 2) + 0.0:.2f}" for r in REGIMES]
        lines.append("| " + " | ".join([path, *cells]) + " |")
    return "\n".join(lines)


PARTS = {"fidelity": (measure_fidelity, fidelity_table), "escapes": (measure_escapes, escape_table)}

if __name__ == "__main__":
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    for name in sys.argv[1:] or PARTS:
        measure, table = PARTS[name]
        record[name] = measure()
        RECORD.write_text(json.dumps(record, indent=1) + "\n")
        fill(PAGE, f"measure_decoders.py {name}", table(record[name]))
