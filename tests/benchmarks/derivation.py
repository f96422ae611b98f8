"""How long a derivation and its kernel take, for every model and closure: `python tests/benchmarks/derivation.py`.

Each pair is derived once, in one process; importing `smallinit.sim` loads the compiled interpreter from numba's cache
(the first time on a machine it compiles it: run twice).
"""

import sys
import time
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "compare")]

import smallinit.theory  # noqa: E402, F401

IMPORTED = time.perf_counter()
from smallinit.sim.compile.compiler import compile_flow  # noqa: E402

LOADED = time.perf_counter() - IMPORTED

from helpers import MODELS, data_for, random_weights  # noqa: E402

from smallinit.theory import derive  # noqa: E402

CLOSURES = ("drive", "leading", "softmax", "activation=3,attention=1", "order=8", "exact")


def timed(name: str, closure: str) -> tuple[float, float, int]:
    """Seconds to derive, seconds to a runnable kernel, operations in it."""
    model, data = MODELS[name][0], data_for(name)
    began = time.perf_counter()
    flow = derive(model, closure)
    derived = time.perf_counter()
    problem = compile_flow(flow, data, random_weights(model))
    return derived - began, time.perf_counter() - derived, int(problem.ints[0])


def main() -> None:
    """Print a table, and its largest entries."""
    timed("two-token", "exact")
    print(f"import of smallinit.sim with its compiled interpreter: {LOADED:.2f} s\n")
    print("| model | closure | derive, s | kernel, s | operations |\n|---|---|---|---|---|")
    rows = []
    for name in MODELS:
        for closure in CLOSURES:
            derived, ready, size = timed(name, closure)
            rows.append((derived, ready))
            print(f"| {name} | {closure} | {derived:.2f} | {ready:.2f} | {size} |", flush=True)
    print(
        f"\nlongest derivation {max(r[0] for r in rows):.2f} s, longest kernel {max(r[1] for r in rows):.2f} s"
    )


if __name__ == "__main__":
    main()
