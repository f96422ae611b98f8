"""The automatic choice of a method against each method named: right-hand sides and processor time.

    python tests/benchmarks/choice.py               # five minutes
    python tests/benchmarks/choice.py --drawn 60    # of flows drawn at random, seven minutes

Flows that stay stiff, that become slow altogether, and that are never stiff; and larger ones to late times. Calls of
Taylor series are coefficients, and a step of BDF has more to do besides its calls than others: times are compared with
all methods, calls with those of tsit5, dop853 and rkc. Times are the least of rounds in turns, on one thread. A method
named gets four times the steps of rkc or of the automatic choice, whichever took more.
"""

import argparse
import time
from itertools import product

import numpy as np

from smallinit.sim import Status, integrate
from smallinit.theory import AttentionOnly, Dataset, EmbMLP, OneLayerTransformer, derive

METHODS = ("tsit5", "dop853", "rkc", "taylor", "bdf")
MODELS = {"MLP": EmbMLP(6, 4, 4), "attention": OneLayerTransformer(6, 4, 3, 4, 2, unembed=True)}
RUNS = ((1e3, 1e-6), (1e4, 1e-8), (1e5, 1e-6))  # ends and tolerances
LONG, LARGER = (("attention", "random"), ("attention", "noisy"), ("MLP", "random")), (4, 10, 16)
ROUNDS = 2


def dataset(labels, d_vocab, seed=3, n_ctx=2):
    """Sequences of tokens, of which the last one decides the label, in most rows ("noisy") or all, or nothing does."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, d_vocab, (2 * d_vocab, n_ctx))
    decided = rng.permutation(d_vocab)[tokens[:, -1]]
    drawn = rng.integers(0, d_vocab, len(tokens))
    if labels == "noisy":
        decided = np.where(rng.random(len(tokens)) < 0.3, drawn, decided)
    return Dataset(tokens, drawn if labels == "random" else decided, d_vocab)


def table():
    """Rows of the page: name, flow, data, start, end and tolerance."""
    for name, model in MODELS.items():
        for closure in ("exact", "softmax", "leading"):
            leading = closure == "leading"
            data = [(labels, dataset(labels, 6)) for labels in ("random", "decided")]
            for (labels, rows), gamma in product(data, (0.5,) if leading else (0.5, 1.5)):
                for t1, rtol in RUNS[:1] if leading else RUNS:
                    title, start = f"{name} {closure}, {labels}, {gamma:g}", model.init(gamma, 1)
                    yield title, derive(model, closure), rows, start, t1, rtol
    for d_vocab, (name, labels), closure in product(LARGER, LONG, ("exact", "softmax")):
        model = EmbMLP(d_vocab, 8, 8)
        if name == "attention":
            model = OneLayerTransformer(d_vocab, 6, 4, 6, 2, unembed=True)
        title, start = f"{name} {closure}, {labels}, 0.7, V = {d_vocab}", model.init(0.7, 2)
        for t1 in (1e3, 1e5):
            yield title, derive(model, closure), dataset(labels, d_vocab, 5), start, t1, 1e-6


def drawn(number, seed):
    """As many flows, data, starts, ends and tolerances at random, most of them stiff for long."""
    rng = np.random.default_rng(seed)
    for i in range(number):
        d_vocab, n_ctx = int(rng.integers(4, 24)), int(rng.integers(2, 4))
        d, d_mlp = rng.integers(3, 12, 2).tolist()
        activation = str(rng.choice(["tanh", "gelu", "sin"]))
        closure, labels = str(rng.choice(["exact", "softmax"])), str(rng.choice(["random", "noisy"]))
        name, model = (
            ("attention", OneLayerTransformer(d_vocab, d, 3, d_mlp, n_ctx, activation, unembed=True)),
            ("MLP", EmbMLP(d_vocab, d, d_mlp, activation)),
            ("attention alone", AttentionOnly(d_vocab, n_ctx)),
        )[i % 3]
        gamma, rtol = float(rng.choice([0.3, 0.5, 1.0, 1.5])), float(rng.choice([1e-4, 1e-6, 1e-8]))
        flow = derive(model, closure if name != "attention alone" else "exact")
        data, start = dataset(labels, d_vocab, i, n_ctx), model.init(gamma, i)
        t1 = float(10.0 ** rng.uniform(3.0, 5.0))
        yield f"{name} {flow.closure}, {labels}, {gamma:g}, V = {d_vocab}", flow, data, start, t1, rtol


def timed(case, **options):
    """A trajectory, and the processor time it took."""
    began = time.process_time()
    found = integrate(*case, save_at=1, throw=False, **options)
    return found, time.process_time() - began


def measured(case, t1, rtol):
    """Calls and least time of the automatic choice and of the methods named that came as far."""
    known = {"t1": t1, "rtol": rtol}
    first, by_rkc = timed(case, **known)[0], timed(case, **known, method="rkc")[0]
    steps = 4 * max(one.statistics["accepted"] + one.statistics["rejected"] for one in (first, by_rkc))
    calls, least, out = {}, {}, set()
    for _ in range(ROUNDS):
        for method in (None, *METHODS):
            if method in out:
                continue
            found, seconds = timed(
                case, **known, **({"method": method, "max_steps": steps} if method else {})
            )
            if found.outcome.status is Status.MAX_STEPS:
                out.add(method)
                continue
            calls[method] = int(found.statistics["rhs_calls"])
            least[method] = min(seconds, least.get(method, np.inf))
    return calls, least, first.statistics["methods"]


def row(title, flow, data, start, t1, rtol):
    """One line of the table, and its two ratios."""
    case = flow, data, start
    calls, least, methods = measured(case, t1, rtol)
    alike = {m: n for m, n in calls.items() if m in ("tsit5", "dop853", "rkc")}
    fewest, fastest = min(alike, key=alike.get), min((m for m in least if m), key=least.get)
    ratios = calls[None] / calls[fewest], least[None] / least[fastest]
    used = " ".join(one.split(" from ")[0] for one in methods.split(", "))
    used = used if used.count(" ") < 3 else f"{' '.join(used.split()[:3])} .. {used.split()[-1]}"
    cells = (title, f"{t1:.6g}", f"{rtol:g}", used, f"{calls[None]:,}")
    cells += (f"{calls[fewest]:,} ({fewest})", f"{ratios[0]:.2f}", f"{1e3 * least[None]:.1f}")
    return "| " + " | ".join(
        (*cells, f"{1e3 * least[fastest]:.1f} ({fastest})", f"{ratios[1]:.2f}")
    ) + " |", ratios


def main():
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--drawn", type=int, metavar="N", help="that many flows at random in place of the page's"
    )
    parser.add_argument("--seed", type=int, default=0, help="which of them")
    options = parser.parse_args()
    heads = (
        "flow, labels, gamma",
        "t1",
        "rtol",
        "by itself",
        "calls",
        "fewest of one named",
        "over it",
        "ms",
    )
    print("| " + " | ".join((*heads, "fastest named", "over it")) + " |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    ratios = []
    for case in drawn(options.drawn, options.seed) if options.drawn else table():
        line, found = row(*case)
        ratios.append(found)
        print(line, flush=True)
    mean, most = np.exp(np.mean(np.log(ratios), axis=0)), np.max(ratios, axis=0)
    print(
        f"\nOver the fewest calls: {mean[0]:.2f} in the mean, {most[0]:.2f} at most; over the least time:",
        end=" ",
    )
    print(f"{mean[1]:.2f} and {most[1]:.2f}.")


if __name__ == "__main__":
    main()
