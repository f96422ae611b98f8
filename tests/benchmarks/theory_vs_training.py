"""Theory against training at paper size: wall-clock to the same flow time, and peak memory.

A closure, softmax or exact, of the `paper` preset (19,800 sequences, V = 161, d_model = 200, d_mlp = 400) is integrated
to flow time 400, and its torch twin is trained there by full-batch gradient descent in float64 and in float32
(learning rate 0.5, 800 steps), each in a process of its own with the same number of threads.

    python tests/benchmarks/theory_vs_training.py            # everything, about six minutes
    python tests/benchmarks/theory_vs_training.py --steps 40 # training timed over 40 steps and scaled to 800
    python tests/benchmarks/theory_vs_training.py --closure exact --steps 40 --repeats 1
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


def theory(closure, rtol, repeats):
    import numpy as np

    from smallinit.sim import integrate
    from smallinit.theory import derive

    data, model, start = setting()
    flow = derive(model, closure)
    begin = time.perf_counter()
    flow.rhs(data, start)
    prepare = time.perf_counter() - begin
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        trajectory = integrate(
            flow, data, start, t1=FLOW_TIME, save_at=np.linspace(0, FLOW_TIME, 41), rtol=rtol, max_steps=10**6
        )
        seconds.append(time.perf_counter() - begin)
    losses = {k: float(trajectory[k][-1]) for k in ("loss/memory", "loss/reasoning-train")}
    calls, methods = trajectory.statistics["rhs_calls"], trajectory.statistics["methods"]
    return {
        "seconds": seconds,
        "prepare": prepare,
        "calls": calls,
        "methods": methods,
        "losses": losses,
        "peak_gb": peak_gb(),
    }


def training(steps, dtype):
    from smallinit.compare import train

    data, model, start = setting()
    train(model, data, start, learning_rate=LEARNING_RATE, steps=2, save_at=[0], dtype=dtype)  # warm-up
    run = train(model, data, start, learning_rate=LEARNING_RATE, steps=steps, save_at=[0, steps], dtype=dtype)
    whole = round(FLOW_TIME / LEARNING_RATE)
    result = {"seconds_per_step": run.statistics["seconds_per_step"], "steps": steps, "peak_gb": peak_gb()}
    result["seconds"] = result["seconds_per_step"] * whole
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
    options = parser.parse_args()
    if options.part:
        own = options.part == "theory"
        print(
            json.dumps(
                theory(options.closure, options.rtol, options.repeats)
                if own
                else training(options.steps, options.part)
            )
        )
        return
    ours = child(
        "--part", "theory", "--rtol", str(options.rtol), "--closure", options.closure, "--repeats", str(options.repeats)
    )  # fmt: skip
    median = statistics.median(ours["seconds"])
    print(
        f"theory, {options.closure}: {median:.2f} s (median of {len(ours['seconds'])}; {ours['calls']} "
        f"right-hand sides by {ours['methods']}, "
        f"{1e3 * median / ours['calls']:.2f} ms each; {ours['prepare']:.1f} s to derive and load once); "
        f"peak {ours['peak_gb']:.2f} GB; losses at the end {ours['losses']}"
    )
    for dtype in ("float64", "float32"):
        theirs = child("--part", dtype, "--steps", str(options.steps))
        print(
            f"training in {dtype}: {theirs['seconds']:.1f} s ({theirs['seconds_per_step']:.3f} s a step, "
            f"{theirs['steps']} steps timed); peak {theirs['peak_gb']:.2f} GB; "
            f"losses at the end {theirs.get('losses', 'not reached')}; "
            f"theory is {theirs['seconds'] / median:.0f} times faster to flow time {FLOW_TIME:g}"
        )


if __name__ == "__main__":
    main()
