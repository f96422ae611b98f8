"""Where one right-hand side spends its time: each operation of the kernel's table, run alone, summed by kind.

`python tests/benchmarks/profile_flow.py CLOSURE [decoder|emb-mlp|paper] [--norm pre] [--predict all] [--top 12]`;
`paper` is the network and the 19,800 sequences of the preset of that name. Threads as the environment says
(OPENBLAS_NUM_THREADS=1 for one). Times are those of the processor; products of dense arrays with Gflop/s.
"""

import argparse
import time
from collections import defaultdict

import numpy as np

from smallinit.sim.compile.compiler import compile_flow
from smallinit.sim.kernel import operations
from smallinit.sim.kernel.calls._operands import OPERAND
from smallinit.sim.kernel.threads.blas_threads import blas_threads
from smallinit.sim.kernel.threads.team import teamed
from smallinit.sim.kernel.work import operations_of as table_operations
from smallinit.theory import CompositeTask, Dataset, Decoder, EmbMLP, derive

NAMES = {
    code: name
    for name, code in vars(operations).items()
    if isinstance(code, int) and name not in ("Y", "FLOATS", "WORK", "OUT", "OWN", "LOST", "TEAM_HEAD")
}
FIRST_ARRAY = {"SUM": 2, "HADAMARD": 1, "MAP": 2}  # numbers before the result's five; none else


def cases(name, norm, predict, n=600):
    """Model and data by name."""
    if name == "paper":
        return EmbMLP(161, 200, 400), CompositeTask().dataset()
    if name == "emb-mlp":
        task = CompositeTask(range(11, 111), range(1, 6), range(6, 11), masked=())
        return EmbMLP(131, 400, 200), task.dataset()
    rng = np.random.default_rng(0)
    data = Dataset(rng.integers(0, 51, (n, 9)), rng.integers(0, 51, n), 51)
    sizes = {"d_vocab": 51, "d_model": 64, "d_head": 32, "d_mlp": 64, "n_ctx": 9, "n_heads": 2}
    return Decoder(**sizes, norm=norm, predict=predict), data


def operations_of(problem):
    """(kind, numbers of the operation) for each entry of the table, those of parts among them."""
    ints = problem.ints
    for code, p in table_operations(problem):
        if code not in (operations.TEAM, operations.PART):
            yield NAMES[code], ints[p - 2 : p - 2 + int(ints[p - 1])]


def alone(problem, operation):
    """The integers of a table that holds one operation, as the one part of one in parts if others are."""
    indices, count = problem.ints[problem.ints[1] :], len(operation)
    heads = [problem.ints[p : p + 3] for code, p in table_operations(problem) if code == operations.TEAM]
    if heads:
        begin = operations.TEAM_HEAD + 1 + 2
        part = [operations.PART, 3 + count, 1]
        operation = np.concatenate(
            [[operations.TEAM, begin + 3 + count], heads[0], [1, begin], part, operation]
        )
    return np.concatenate([[1, 2 + len(operation)], operation, indices])


def seconds(problem, y, out, rounds):
    """Seconds of the processor for each operation, the least of the rounds; all in order in each round."""
    parts = [alone(problem, numbers) for _, numbers in operations_of(problem)]
    least = np.full(len(parts), np.inf)
    for _ in range(rounds):
        for k, ints in enumerate(parts):
            began = time.process_time()
            problem.rhs(0.0, y, out, problem.floats, ints, problem.work)
            least[k] = min(least[k], time.process_time() - began)
    return least


def label(kind, numbers):
    """Shape of the result, and what else tells operations of a kind apart; with the flops of a product."""
    at = 2 + FIRST_ARRAY.get(kind, 0)
    rows, cols = (int(n) for n in numbers[at + 2 : at + 4])
    text = f"{kind.lower()} ({rows}, {cols})"
    if kind.startswith("DOT"):
        left = numbers[2 + OPERAND : 2 + 2 * OPERAND]
        inner = int(left[2] if left[4] else left[3])
        turned = "".join("T" if numbers[2 + k * OPERAND + 4] else "N" for k in (1, 2))
        return f"{text} over {inner}, {turned}", 2.0 * rows * cols * inner
    if kind == "MAP":
        return f"{text} {operations.FUNCTIONS[int(numbers[2])]}", 0.0
    if kind in ("SUM", "HADAMARD"):
        n, step = int(numbers[2]), OPERAND + (kind == "HADAMARD")
        first = at + OPERAND
        turned = "".join("T" if numbers[first + k * step + 4] else "N" for k in range(n))
        return f"{text} {turned}", 0.0
    return text, 0.0


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("closure", nargs="?", default="exact")
    parser.add_argument("model", nargs="?", choices=("decoder", "emb-mlp", "paper"), default="decoder")
    parser.add_argument("--norm", choices=("pre", "post"))
    parser.add_argument("--predict", choices=("last", "all"), default="last")
    parser.add_argument("--top", type=int, default=12)
    parser.add_argument("--sequences", type=int, default=600)
    given = parser.parse_args()
    model, data = cases(given.model, given.norm, given.predict, given.sequences)
    start = model.init(0.8, 0)
    problem = compile_flow(derive(model, given.closure), data, start)
    y, out = problem.pack(start), np.zeros(problem.n)
    problem(0.0, y, out)
    with teamed(problem) as shared, blas_threads(problem):
        calls = [call_seconds(shared, y, out) for _ in range(25)]
    whole, clock = (min(each) for each in zip(*calls, strict=True))
    with blas_threads(problem):
        taken = seconds(problem, y, out, 7)
    by_kind, by_label = defaultdict(list), defaultdict(list)
    for (kind, numbers), took in zip(operations_of(problem), taken, strict=True):
        text, flops = label(kind, numbers)
        by_kind[kind].append(took)
        by_label[text].append((took, flops))
    products = sum(by_kind["DOT"] + by_kind["DOT_ADDED"])
    print(f"one call {1e3 * whole:.2f} ms, {1e3 * clock:.2f} ms of the wall clock;", end=" ")
    print(f"operations alone {1e3 * taken.sum():.2f} ms")
    if products:
        print(f"call over its products {whole / products:.2f}")
    print(f"scratch memory {problem.work.nbytes / 1e6:.1f} MB\n")
    print("| kind | number | ms | share |\n|---|---|---|---|")
    for kind, times in sorted(by_kind.items(), key=lambda item: -sum(item[1])):
        print(f"| {kind.lower()} | {len(times)} | {1e3 * sum(times):.2f} | {sum(times) / taken.sum():.0%} |")
    print("\n| operation | number | ms | Gflop/s |\n|---|---|---|---|")
    for text, found in sorted(by_label.items(), key=lambda item: -sum(t for t, _ in item[1]))[: given.top]:
        total, flops = (sum(each) for each in zip(*found, strict=True))
        rate = f"{1e-9 * flops / total:.0f}" if flops else ""
        print(f"| {text} | {len(found)} | {1e3 * total:.2f} | {rate} |")


def call_seconds(problem, y, out):
    """Seconds of the processor for one right-hand side, and of the wall clock."""
    began, clock = time.process_time(), time.perf_counter()
    problem(0.0, y, out)
    return time.process_time() - began, time.perf_counter() - clock


if __name__ == "__main__":
    main()
