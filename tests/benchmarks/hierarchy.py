"""Why a nonzero costs more in a larger vocabulary: the machine's memory, shown by what needs no gathering.

    python tests/benchmarks/hierarchy.py        # a minute or two, 2 GB; --rounds 15, --most 160000

The leading flow at d_model = d_mlp = 64, about 25 nonzeros a token, one thread. All sizes take turns in each round, the
least of the rounds counts. Beside a call and its two sparse products stand the same products with each nonzero moved
to a column beside the row's own (as many numbers, nothing to search for), and a plain copy of one array V x 64.
"""

import argparse
import time

import numpy as np
from _race import exponent, machine
from large_vocabulary import zipf_bigrams
from numba import njit
from threadpoolctl import threadpool_limits

from smallinit.sim.compile.compiler import compile_flow
from smallinit.sim.kernel.alignment import aligned
from smallinit.sim.kernel.calls import _dense
from smallinit.theory import EmbMLP, derive

WIDTH, LEAST = 64, 2_500
rows_dot = njit(error_model="numpy", fastmath={"contract"})(_dense.rows_dot.py_func)


def nearby(matrix):
    """Indices of as many columns a row, beginning at the row's own."""
    counts = np.diff(matrix.indptr)
    rows = np.repeat(np.arange(matrix.shape[0]), counts)
    return (rows + np.arange(matrix.nnz) - matrix.indptr[rows]) % matrix.shape[1]


def products(matrix, indices, x, out):
    """A sparse product as the kernel takes it."""
    pointers, columns = matrix.indptr.astype(np.int64), indices.astype(np.int64)
    return lambda: rows_dot(matrix.data, columns, pointers, x, False, out)


def measured(d_vocab):
    """Nonzeros, and what is timed, by name."""
    data = zipf_bigrams(d_vocab, 50 * d_vocab, 25 * d_vocab)
    model = EmbMLP(d_vocab, WIDTH, WIDTH)
    start = model.init(0.8, 0)
    problem = compile_flow(derive(model, "leading"), data, start)
    y, derivative = problem.pack(start), aligned(problem.n)
    pairs = data.signature_parts()[0].tocsr()
    x, out = aligned(2, *start["W_E"].shape)
    x[:] = start["W_E"]
    both = [pairs, pairs.T.tocsr()]
    gathered = [products(m, m.indices, x, out) for m in both]
    beside = [products(m, nearby(m), x, out) for m in both]
    return pairs.nnz, {
        "a call": [lambda: problem(0.0, y, derivative)],
        "sparse products": gathered,
        "columns nearby": beside,
        "copy": [lambda: np.copyto(out, x)],
    }


def seconds(calls):
    """Processor time of a few calls, each after one that brings its own arrays as near as they fit."""
    total = 0.0
    for call in calls:
        call()
        began = time.process_time()
        call()
        total += time.process_time() - began
    return total


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--most", type=int, default=160_000)
    given = parser.parse_args()
    sizes = [LEAST << k for k in range(20) if LEAST << k <= given.most]
    cases = {v: measured(v) for v in sizes}
    least = {v: dict.fromkeys(named, np.inf) for v, (_, named) in cases.items()}
    with threadpool_limits(1):
        for _ in range(given.rounds):
            for v, (_, named) in cases.items():
                for name, calls in named.items():
                    least[v][name] = min(least[v][name], seconds(calls))
    print(machine() + "\n")
    names = list(least[LEAST])
    print(
        f"| V | one array V x {WIDTH}, MB | {', ns a nonzero | '.join(names[:3])}, ns a nonzero | copy, GB/s |"
    )
    print("|---|---|---|---|---|---|")
    for v in sizes:
        nnz, found, size = cases[v][0], least[v], 8e-6 * v * WIDTH
        each = " | ".join(f"{1e9 * found[name] / nnz:.1f}" for name in names[:3])
        print(f"| {v:,} | {size:.1f} | {each} | {2e-3 * size / found['copy']:.0f} |")
    print("\nExponents of seconds in V (about 25 nonzeros a token):\n")
    print("| V | " + " | ".join(names) + " |\n|---" + "|---" * len(names) + "|")
    for part in (sizes[:3], sizes[1:5], sizes[-3:]):
        powers = (exponent(part, [least[v][name] for v in part]) for name in names)
        print(f"| {part[0]:,} to {part[-1]:,} | " + " | ".join(f"{p:.2f}" for p in powers) + " |")


if __name__ == "__main__":
    main()
