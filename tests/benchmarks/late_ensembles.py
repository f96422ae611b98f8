"""Ensembles of small flows to late times, by themselves and by methods asked for by name.

    python tests/benchmarks/late_ensembles.py        # two minutes

Times are the least of processor time over rounds in which all take turns, on one thread. Errors are the largest of any
member, relative to its state, against the same at rtol 1e-10.
"""

import time

import numpy as np

from smallinit.sim import Status, integrate_ensemble
from smallinit.theory import Dataset, EmbMLP, derive

SIZES, CLOSURES = ((3, 2, 2), (8, 6, 6)), ("softmax", "exact", "leading")
MEMBERS = {2.0: 200, 1e2: 64, 1e4: 8}  # of an ensemble to a flow time
METHODS = (None, "taylor", "dop853", "rkc")
MOST_STEPS = 20_000  # of methods asked for by name


def start(sizes, closure, members):
    """Flow, data and starts of an ensemble."""
    model, rng = EmbMLP(*sizes), np.random.default_rng(0)
    tokens, labels = rng.integers(0, sizes[0], (4 * sizes[0], 2)), rng.integers(0, sizes[0], 4 * sizes[0])
    drawn = [model.init(0.8, seed) for seed in range(members)]
    starts = {name: np.stack([weights[name] for weights in drawn]) for name in model.weights}
    return derive(model, closure), Dataset(tokens, labels, sizes[0]), starts


def final(ensemble):
    """End states, one row a member."""
    return np.concatenate([w[:, -1].reshape(len(ensemble), -1) for w in ensemble.weights.values()], axis=1)


def timed(case, t1, method, **options):
    """An ensemble, and the processor time it took."""
    began = time.process_time()
    found = integrate_ensemble(*case, t1=t1, method=method, threads=1, **options)
    return found, time.process_time() - began


def note(ensemble, reference):
    """Largest error, or how those members ended that did not reach their end."""
    ends = {o.status for o in ensemble.outcomes} - {Status.REACHED_END}
    if ends:
        return ", ".join(sorted(end.name.lower().replace("_", " ") for end in ends))
    return f"{np.max(np.abs(final(ensemble) - reference)) / np.abs(reference).max():.0e}"


def row(sizes, closure, t1):
    """One line of the table."""
    members = MEMBERS[t1]
    case, least, cells = start(sizes, closure, members), dict.fromkeys(METHODS, np.inf), []
    reference, found = final(timed(case, t1, None, rtol=1e-10)[0]), {}
    for _ in range(3 if t1 < 1e3 else 1):
        for method in METHODS:
            found[method], seconds = timed(case, t1, method, **({"max_steps": MOST_STEPS} if method else {}))
            least[method] = min(least[method], seconds)
    for method in METHODS:
        rate = members / least[method]
        cells.append(f"{rate:,.{0 if rate > 10 else 1}f} ({note(found[method], reference)})")
    calls = found[None].statistics["rhs_calls"].mean()
    changed = np.mean(["," in words for words in found[None].statistics["methods"]])
    return f"| {closure} {'x'.join(map(str, sizes))} | {t1:g} | {' | '.join(cells)} | {calls:,.0f} | {changed:.0%} |"


def main():
    """Print the table."""
    print("One thread; members a second of processor time (largest error, or end)\n")
    print("| flow | t1 | by itself | taylor | dop853 | rkc | calls, by itself | members that change |")
    print("|---|---|---|---|---|---|---|---|")
    for sizes in SIZES:
        for closure in CLOSURES:
            for t1 in MEMBERS:
                print(row(sizes, closure, t1), flush=True)


if __name__ == "__main__":
    main()
