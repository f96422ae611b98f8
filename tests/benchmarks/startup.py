"""Start-up as whole processes: imports, help, small runs of commands, and kernels compiled where nothing is cached.

A process compiles the operations that its flow has and the loop that it steps with, so what a user waits for depends on
the flow: it is that of Emb-MLP on a small task, by name. Python's own bytecode is there, as after a first use.

python tests/benchmarks/startup.py
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

COMMANDS = {
    "python, bare": ["-c", "pass"],
    "import smallinit": ["-c", "import smallinit"],
    "smallinit --help": ["-m", "smallinit", "--help"],
}
RUN = ["-m", "smallinit"]
SMALL = [
    "--preset",
    "demo",
    "--t1",
    "1",
    "--theory.points",
    "3",
    "--model.d-model",
    "6",
    "--model.d-mlp",
    "6",
]
COMMANDS_WITH_RESULTS = {
    "smallinit derive": [*RUN, "derive"],
    "smallinit simulate": [*RUN, "simulate", *SMALL, "--out"],
    "smallinit train": [*RUN, "train", *SMALL, "--out"],
    "smallinit overlay": [*RUN, "overlay", *SMALL, "--out"],
}

SETTING = """
from smallinit.theory import CompositeTask, EmbMLP, derive
data = CompositeTask(range(11, 14), range(1, 3), range(3, 5), masked=()).dataset()
model = EmbMLP(data.d_vocab, 4, 4)
start = model.init(0.8, 0)
"""
EVERYTHING = """
from smallinit.sim.kernel import _interpreter, _single, operations
from smallinit.sim.kernel.calls import _addresses
functions = [(operations.MAP, k) for k in range(len(operations.FUNCTIONS))]
codes = [(code, 0) for code in range(operations.DOT_ADDED + 1) if code != operations.MAP]
for single in (False, True):
    _addresses.make_ready(functions + codes, single)
"""
RHS = 'derive(model, "{}").rhs(data, start)'
TRAJECTORY = (
    'from smallinit.sim import integrate\nintegrate(derive(model, "{}"), data, start, t1=1.0, rtol=1e-5{})'
)
KERNELS = {
    "leading flow, one right-hand side": SETTING + RHS.format("leading"),
    "exact flow, one right-hand side": SETTING + RHS.format("exact"),
    "leading flow, a trajectory": SETTING + TRAJECTORY.format("leading", ""),
    "exact flow, a trajectory": SETTING + TRAJECTORY.format("exact", ""),
    "exact flow, the same in float32": SETTING + TRAJECTORY.format("exact", ", dtype='float32'"),
    "all operations, both precisions": EVERYTHING,
}


def seconds(arguments, **environment):
    """Seconds of a process by the wall clock, and of the processor."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    begin, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-P", *arguments],
        check=True,
        stdout=subprocess.DEVNULL,
        env=kept | environment,
    )
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    return time.perf_counter() - begin, spent


def small_runs(rounds=5):
    """Least processor seconds of small runs whose kernels are compiled."""
    with tempfile.TemporaryDirectory() as folder:
        for name, arguments in COMMANDS_WITH_RESULTS.items():
            places = [[f"{folder}/{name}-{i}"] if "--out" in arguments else [] for i in range(rounds + 1)]
            yield name, min([seconds([*arguments, *place])[1] for place in places][1:])


def compiled(code):
    """Processor seconds of a process with empty caches, and of the next with what that one left."""
    with tempfile.TemporaryDirectory() as folder:
        caches = {"NUMBA_CACHE_DIR": f"{folder}/numba", "SMALLINIT_CACHE": f"{folder}/smallinit"}
        return [seconds(["-c", code], **caches)[1] for _ in range(2)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=1, help="of compilation from nothing, which takes a minute"
    )
    rounds = parser.parse_args().rounds
    compiled(KERNELS["exact flow, the same in float32"])
    for name, arguments in COMMANDS.items():
        seconds(arguments)
        print(f"{name:24} {statistics.median(seconds(arguments)[0] for _ in range(9)):.3f} s")
    print("small runs, whole process, seconds of the processor")
    for name, least in small_runs():
        print(f"{name:24} {least:.2f} s")
    print("kernels, whole process, seconds of the processor: nothing cached, then cached")
    for name, code in KERNELS.items():
        cold, warm = (
            statistics.median(each) for each in zip(*(compiled(code) for _ in range(rounds)), strict=True)
        )
        print(f"{name:34} {cold:.1f} s, {warm:.2f} s")


if __name__ == "__main__":
    main()
