"""Theory against training at paper size: wall-clock to the same flow time, and peak memory.

A closure, softmax or exact, of the `paper` preset (19,800 sequences, V = 161, d_model = 200, d_mlp = 400) is integrated
to flow time 400, and its torch twin is trained there by full-batch gradient descent in float64 and in float32
(learning rate 0.5, 800 steps), each in a process of its own with the same number of threads.

    python tests/benchmarks/theory_vs_training.py            # everything, about six minutes
    python tests/benchmarks/theory_vs_training.py --steps 40 # training timed over 40 steps and scaled to 800
    python tests/benchmarks/theory_vs_training.py --closure exact --steps 40 --repeats 1 --dtypes float64 float32

Seconds are those of the wall clock, and of the processor, which other work on the machine disturbs less.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

FLOW_TIME, LEARNING_RATE = 400.0, 0.5


def setting():
    from smallinit.theory import CompositeTask, EmbMLP

    data, model = CompositeTask().dataset(), EmbMLP(161, 200, 400)
    return data, model, model.init(0.8, 0)


def peak_gb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def theory(closure, rtol, repeats, dtypes):
    import numpy as np

    from smallinit.sim import integrate
    from smallinit.theory import derive

    data, model, start = setting()
    flow = derive(model, closure)
    begin = time.perf_counter()
    flow.rhs(data, start)
    prepare = time.perf_counter() - begin
    options = {"rtol": rtol, "max_steps": 10**6}
    for dtype in dtypes:
        for method in (None, "bdf"):  # warm-up; a run goes over to BDF by itself
            integrate(flow, data, start, t1=1e-3, save_at=[1e-3], dtype=dtype, method=method, **options)
    found = {dtype: {"seconds": [], "cpu": []} for dtype in dtypes}
    trajectories = {}
    for _ in range(repeats):
        for dtype in dtypes:
            begin, cpu = time.perf_counter(), time.process_time()
            saves = np.linspace(0, FLOW_TIME, 41)
            trajectories[dtype] = integrate(
                flow, data, start, t1=FLOW_TIME, save_at=saves, dtype=dtype, **options
            )
            found[dtype]["seconds"].append(time.perf_counter() - begin)
            found[dtype]["cpu"].append(time.process_time() - cpu)
    for dtype, run in trajectories.items():
        found[dtype] |= {k: run.statistics[k] for k in ("rhs_calls", "methods")}
        found[dtype]["losses"] = {k: float(run[k][-1]) for k in ("loss/memory", "loss/reasoning-train")}
        found[dtype]["gap"] = gap(run, trajectories[dtypes[0]])
    calls = call_seconds(flow, data, start) if len(dtypes) > 1 else None
    return {"runs": found, "calls": calls, "prepare": prepare, "peak_gb": peak_gb()}


def gap(run, other):
    """Largest distance of two trajectories' weights, relative to how far these have moved."""
    import numpy as np

    moved = {name: np.linalg.norm(w - w[0], axis=(1, 2))[1:] for name, w in other.weights.items()}
    apart = {
        name: np.linalg.norm(w - other.weights[name], axis=(1, 2))[1:] for name, w in run.weights.items()
    }
    return max(float((apart[name] / moved[name]).max()) for name in moved)


def call_seconds(flow, data, start, rounds=9):
    """Median processor seconds of one right-hand side in float64 and in float32, which take turns."""
    import numpy as np

    from smallinit.sim.compile.compiler import compile_flow
    from smallinit.sim.kernel.single_precision import in_single_precision

    double = compile_flow(flow, data, start)
    problems = {"float64": double, "float32": in_single_precision(double)}
    y, out = double.pack(start), np.empty(double.n)
    times = {dtype: [] for dtype in problems}
    for _ in range(rounds):
        for dtype, problem in problems.items():
            begin = time.process_time()
            problem(0.0, y, out)
            times[dtype].append(time.process_time() - begin)
    return {dtype: statistics.median(taken) for dtype, taken in times.items()}


def training(steps, dtype):
    from smallinit.compare import train

    data, model, start = setting()
    spent = []
    for n in (2, 2, steps + 2):  # the first warms up, the second says what all but the steps takes
        begin = time.process_time()
        run = train(model, data, start, learning_rate=LEARNING_RATE, steps=n, save_at=[0, n], dtype=dtype)
        spent.append(time.process_time() - begin)
    whole = round(FLOW_TIME / LEARNING_RATE)
    result = {"seconds_per_step": run.statistics["seconds_per_step"], "steps": steps, "peak_gb": peak_gb()}
    result["seconds"] = result["seconds_per_step"] * whole
    result["cpu"] = (spent[2] - spent[1]) / steps * whole
    if steps == whole:
        result["losses"] = {k: float(run[k][-1]) for k in ("loss/memory", "loss/reasoning-train")}
    return result


def child(*arguments):
    done = subprocess.run(
        [sys.executable, "-P", __file__, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", choices=("theory", "float64", "float32"))
    parser.add_argument("--steps", type=int, default=round(FLOW_TIME / LEARNING_RATE))
    parser.add_argument("--rtol", type=float, default=1e-5)
    parser.add_argument("--closure", default="softmax")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dtypes", nargs="+", default=["float64"], help="of the theory")
    given = parser.parse_args()
    if given.part == "theory":
        print(json.dumps(theory(given.closure, given.rtol, given.repeats, given.dtypes)))
    elif given.part:
        print(json.dumps(training(given.steps, given.part)))
    else:
        compare(given)


def compare(given):
    """Print theory's figures, and training's beside them."""
    options = ("--rtol", str(given.rtol), "--closure", given.closure, "--repeats", str(given.repeats))
    ours = child("--part", "theory", *options, "--dtypes", *given.dtypes)
    for dtype, run in ours["runs"].items():
        wall, cpu = (statistics.median(run[key]) for key in ("seconds", "cpu"))
        print(
            f"theory, {given.closure}, {dtype}: {wall:.2f} s, of the processor {cpu:.2f} s (median of "
            f"{given.repeats}; {run['rhs_calls']} right-hand sides by {run['methods']}, "
            f"{1e3 * cpu / run['rhs_calls']:.2f} ms each); losses at the end {run['losses']}"
            + (f"; displacements {run['gap']:.1e} from those in {given.dtypes[0]}" if run["gap"] else "")
        )
    if ours["calls"]:
        double, single = ours["calls"]["float64"], ours["calls"]["float32"]
        print(f"one right-hand side: float64 {1e3 * double:.1f} ms, float32 {1e3 * single:.1f} ms", end="")
        print(f", {double / single:.2f} times faster")
    print(f"{ours['prepare']:.1f} s to derive and load once; peak {ours['peak_gb']:.2f} GB")
    for dtype in ("float64", "float32"):
        theirs = child("--part", dtype, "--steps", str(given.steps))
        faster = ", ".join(
            f"in {own} {theirs['seconds'] / statistics.median(run['seconds']):.1f} times faster "
            f"({theirs['cpu'] / statistics.median(run['cpu']):.1f} by processor time)"
            for own, run in ours["runs"].items()
        )
        print(
            f"training in {dtype}: {theirs['seconds']:.1f} s, of the processor {theirs['cpu']:.1f} s "
            f"({theirs['seconds_per_step']:.3f} s a step, {theirs['steps']} steps timed); "
            f"peak {theirs['peak_gb']:.2f} GB; losses at the end {theirs.get('losses', 'not reached')}; "
            f"theory to flow time {FLOW_TIME:g} {faster}"
        )


if __name__ == "__main__":
    main()
