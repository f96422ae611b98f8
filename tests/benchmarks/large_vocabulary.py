"""A vocabulary of real size: V = 50,257, d_model = 768, 10^7 nonzeros; and V = 5,000 whole against reduced.

`python tests/benchmarks/large_vocabulary.py small` (one minute, 2 GB), `large` (ten minutes, 10 GB) or `steps` (three
minutes, 9 GB). The data are weighted bigrams of a Zipf-like law with hidden word classes, seeded.
"""

import resource
import sys
import time

import numpy as np

from smallinit.sim import integrate, reduce
from smallinit.sim.compile.compiler import compile_flow
from smallinit.sim.kernel.alignment import aligned
from smallinit.theory import Dataset, EmbMLP, derive

BATCH = 10_000_000


def zipf_bigrams(d_vocab: int, tokens: int, most: int, seed: int = 0) -> Dataset:
    """Counts of `tokens` bigrams; of the distinct ones, the `most` frequent."""
    rng = np.random.default_rng(seed)
    law = np.cumsum(1.0 / np.arange(1, d_vocab + 1))
    classes = rng.permutation(d_vocab) // 7 * 7
    codes, counts = np.zeros(0, np.int64), np.zeros(0)
    for first in range(0, tokens, BATCH):
        n = min(BATCH, tokens - first)
        token, free = (np.searchsorted(law, rng.uniform(0.0, law[-1], n)) for _ in range(2))
        bound = (classes[token] + rng.integers(0, 7, n)) % d_vocab
        new, number = np.unique(
            token * d_vocab + np.where(rng.random(n) < 0.5, bound, free), return_counts=True
        )
        codes, where = np.unique(np.concatenate([codes, new]), return_inverse=True)
        counts = np.bincount(where, weights=np.concatenate([counts, number]))
    kept = np.sort(np.argpartition(-counts, most)[:most]) if codes.size > most else np.arange(codes.size)
    token, label = np.divmod(codes[kept], d_vocab)
    return Dataset(token[:, None], label, d_vocab, weights=counts[kept])


class Clock:
    """Seconds since the last line, printed with memory."""

    def __init__(self) -> None:
        self.last = time.perf_counter()

    def __call__(self, what: str) -> float:
        seconds, self.last = time.perf_counter() - self.last, time.perf_counter()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{seconds:8.2f} s  peak {peak:5.2f} GiB  {what}", flush=True)
        return seconds


def median(f, repeats: int = 3) -> float:
    """Median seconds of a call."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        f()
        times.append(time.perf_counter() - began)
    return float(np.median(times))


def right_hand_side(model: EmbMLP, data: Dataset, clock: Clock) -> None:
    """One right-hand side against the two sparse products it needs."""
    start = model.init(0.8, 0)
    problem = compile_flow(derive(model, "leading"), data, start)
    clock("compile the whole flow")
    y, out = problem.pack(start), aligned(problem.n)
    whole = median(lambda: problem(0.0, y, out))
    pairs = data.signature_parts()[0]
    left, right = start["W_E"], np.ascontiguousarray(start["W_out"].T)
    across = pairs.T.tocsr()
    bare = median(lambda: (pairs @ right, across @ left))
    clock(
        f"right-hand side {whole:.2f} s; its two sparse products by scipy {bare:.2f} s; ratio {whole / bare:.2f}"
    )


def one_step(model: EmbMLP, data: Dataset, clock: Clock) -> None:
    """One step of Euler's method (gradient descent) and of Tsit5 on the whole flow."""
    start, flow = model.init(0.8, 0), derive(model, "leading")
    size = sum(w.size for w in start.values())
    for method in ("euler", "tsit5"):
        end = integrate(flow, data, start, t1=0.1, save_at=[0.1], fixed_step=0.1, method=method).outcome
        clock(f"one step of {method} on all {size:,} unknowns: {end}")


def reduced(model: EmbMLP, data: Dataset, modes: int, clock: Clock):
    """Decomposition, blow-up time, trajectory to 0.9 of it, and its bound."""
    flow, start = derive(model, "leading"), model.init(0.8, 0)
    small = reduce(flow, data, modes=modes)
    clock(f"decomposition: {small!r}")
    end = integrate(small, data, start, t1=1e6, save_at=2, throw=False).outcome.t
    clock(f"blow-up time {end:.2f}")
    inside = integrate(small, data, start, t1=0.9 * end, save_at=101)
    seconds = clock(f"trajectory to 0.9 of it: {inside.statistics['rhs_calls']} calls")
    bound = small.error_bound(inside)
    clock(
        "bound of what truncation does, relative to the displacement: " + shown(bound, inside, start, small)
    )
    return small, inside, bound, seconds


def shown(bound, inside, start, small) -> str:
    """Bounds at the end over how far the weight has moved inside."""
    first = small.project(start)
    return ", ".join(
        f"{w} {bound[w][-1] / np.linalg.norm(inside.weights[w][-1] - first[w]):.2g}" for w in bound
    )


def small_size(clock: Clock) -> None:
    """The whole trajectory beside the reduced one."""
    data = zipf_bigrams(5000, 1_000_000, 10_000_000)
    clock(f"data: {data!r}")
    model = EmbMLP(5000, 256, 256)
    small, inside, bound, seconds = reduced(model, data, 64, clock)
    start = model.init(0.8, 0)
    end = float(inside.t[-1])
    whole = integrate(derive(model, "leading"), data, start, t1=end, save_at=[end])
    slow = clock("whole trajectory")
    lifted = small.lift(inside, at=[-1])
    for w in start:
        error = np.linalg.norm(lifted.weights[w] - whole.weights[w])
        print(f"{w}: true error {error:.3g}, bound {bound[w][-1]:.3g}")
    print(f"reduced is {slow / seconds:.0f} times faster, decomposition apart")


def large_size(clock: Clock) -> None:
    """One right-hand side, and the reduced trajectory, at V = 50,257."""
    data = zipf_bigrams(50_257, 100_000_000, 10_000_000)
    clock(f"data: {data!r}")
    model = EmbMLP(50_257, 768, 768)
    reduced(model, data, 256, clock)
    right_hand_side(model, data, clock)
    one_step(model, data, clock)


def steps_alone(clock: Clock) -> None:
    """The steps at V = 50,257, in a process that has done nothing else: their peaks."""
    data = zipf_bigrams(50_257, 100_000_000, 10_000_000)
    clock(f"data: {data!r}")
    one_step(EmbMLP(50_257, 768, 768), data, clock)


if __name__ == "__main__":
    {"small": small_size, "large": large_size, "steps": steps_alone}[
        sys.argv[1] if len(sys.argv) > 1 else "small"
    ](Clock())
