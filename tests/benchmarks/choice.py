"""The automatic choice of a method against each method named: right-hand sides and processor time.

    python tests/benchmarks/choice.py        # three minutes

Flows that stay stiff, that become slow altogether, and that are never stiff. Calls of Taylor series are coefficients,
and a step of BDF has more to do besides its calls than others: times are compared with all methods, calls with those of
tsit5, dop853 and rkc. Times are the least of rounds in turns, on one thread. A method named gets four times the steps
that the automatic choice took.
"""

import time

import numpy as np

from smallinit.sim import Status, integrate
from smallinit.theory import Dataset, EmbMLP, OneLayerTransformer, derive

METHODS = ("tsit5", "dop853", "rkc", "taylor", "bdf")
MODELS = {"MLP": EmbMLP(6, 4, 4), "attention": OneLayerTransformer(6, 4, 3, 4, 2, unembed=True)}
RUNS = ((1e3, 1e-6), (1e4, 1e-8), (1e5, 1e-6))  # ends and tolerances
ROUNDS = 2


def dataset(labels, d_vocab):
    """Pairs of tokens, of which the last one decides the label, or nothing does."""
    rng = np.random.default_rng(3)
    tokens = rng.integers(0, d_vocab, (2 * d_vocab, 2))
    decided = rng.permutation(d_vocab)[tokens[:, -1]]
    return Dataset(tokens, decided if labels == "decided" else rng.integers(0, d_vocab, len(tokens)), d_vocab)


def timed(case, **options):
    """A trajectory, and the processor time it took."""
    began = time.process_time()
    found = integrate(*case, save_at=1, throw=False, **options)
    return found, time.process_time() - began


def measured(case, t1, rtol):
    """Calls and least time of the automatic choice and of the methods named that came as far."""
    known = {"t1": t1, "rtol": rtol}
    first = timed(case, **known)[0]
    steps = 4 * (first.statistics["accepted"] + first.statistics["rejected"])
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


def row(name, closure, labels, gamma, t1, rtol):
    """One line of the table, and its two ratios."""
    model = MODELS[name]
    case = derive(model, closure), dataset(labels, model.d_vocab), model.init(gamma, 1)
    calls, least, methods = measured(case, t1, rtol)
    alike = {m: n for m, n in calls.items() if m in ("tsit5", "dop853", "rkc")}
    fewest, fastest = min(alike, key=alike.get), min((m for m in least if m), key=least.get)
    ratios = calls[None] / calls[fewest], least[None] / least[fastest]
    used = " ".join(one.split(" from ")[0] for one in methods.split(", "))
    used = used if used.count(" ") < 3 else f"{' '.join(used.split()[:3])} .. {used.split()[-1]}"
    cells = (f"{name} {closure}, {labels}, {gamma:g}", f"{t1:g}", f"{rtol:g}", used, f"{calls[None]:,}")
    cells += (f"{calls[fewest]:,} ({fewest})", f"{ratios[0]:.2f}", f"{1e3 * least[None]:.1f}")
    return "| " + " | ".join(
        (*cells, f"{1e3 * least[fastest]:.1f} ({fastest})", f"{ratios[1]:.2f}")
    ) + " |", ratios


def main():
    """Print the table."""
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
    for name in MODELS:
        for closure in ("exact", "softmax", "leading"):
            for labels in ("random", "decided"):
                for gamma in (0.5, 1.5) if closure != "leading" else (0.5,):
                    for t1, rtol in RUNS if closure != "leading" else RUNS[:1]:
                        line, found = row(name, closure, labels, gamma, t1, rtol)
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
