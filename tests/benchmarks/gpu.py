"""Flows on a GPU against the CPU: calls of right-hand sides, one step, and a whole flow, in float64.

`python tests/benchmarks/gpu.py [--quick] [--device cuda|cpu] [--cpu-seconds 20]`, in under three minutes on a large
GPU. With `--device cpu` torch's CPU tensors stand in for the GPU. Cases: `exact` of the Emb-MLP at the paper's size
(19,800 sequences, V = 161, d_model = 200, d_mlp = 400), also to flow time 400; `exact` of a decoder with LayerNorm that
predicts every position; `softmax` of an Emb-MLP with a vocabulary of 8,192; `leading` with one of 50,257. The CPU runs
our interpreter on all its cores. Where it does not reach flow time 400 within `--cpu-seconds`, its time is that of as
many calls as the device took, and states are compared where it came to. (The automatic choice has `bdf` on the CPU
alone, where it may need fewer calls.) Times are medians, of the wall clock.
"""

import argparse
import time

import numpy as np
import torch
from _race import machine
from large_vocabulary import zipf_bigrams

from smallinit.sim import integrate
from smallinit.sim.compile.compiler import compile_flow
from smallinit.sim.device.placement import described
from smallinit.sim.device.tensor_program import TensorProgram
from smallinit.theory import CompositeTask, Dataset, Decoder, EmbMLP, derive

FLOW_TIME = 400.0


def paper(quick):
    """The Emb-MLP of arXiv 2502.04375, figure 3B, or a small one."""
    if quick:
        task = CompositeTask(range(11, 31), range(1, 6), range(6, 11), masked=((6, 8), (8, 6)))
        return EmbMLP(51, 40, 40), task.dataset()
    return EmbMLP(161, 200, 400), CompositeTask().dataset()


def decoder(quick):
    """A decoder with LayerNorm, predicting every position."""
    rng, vocabulary, n = np.random.default_rng(0), 51, 60 if quick else 4000
    width = 16 if quick else 128
    data = Dataset(rng.integers(0, vocabulary, (n, 9)), rng.integers(0, vocabulary, n), vocabulary)
    sizes = {"d_vocab": vocabulary, "d_model": width, "d_head": width // 2, "d_mlp": 2 * width, "n_ctx": 9}
    return Decoder(**sizes, n_heads=2, n_layers=2, norm="pre", predict="all"), data


def bigrams(vocabulary, width, tokens):
    """An Emb-MLP on weighted bigrams."""
    return EmbMLP(vocabulary, width, width), zipf_bigrams(vocabulary, tokens, 10**7)


def cases(quick):
    """Name -> what makes model and data, and the closure."""
    softmax, leading = (
        ((300, 16, 10**4), (1000, 16, 10**5)) if quick else ((8192, 768, 2 * 10**6), (50_257, 768, 2 * 10**6))
    )
    return {
        "Emb-MLP, " + ("small" if quick else "paper's size"): (lambda: paper(quick), "exact"),
        "decoder, LayerNorm, all positions": (lambda: decoder(quick), "exact"),
        f"Emb-MLP, V = {softmax[0]:,}": (lambda: bigrams(*softmax), "softmax"),
        f"Emb-MLP, V = {leading[0]:,}": (lambda: bigrams(*leading), "leading"),
    }


def wait(device):
    """Until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(call, most=9, budget=6.0):
    """Median seconds of a call that was made once before, within about a budget."""
    times = []
    while len(times) < most and sum(times) < budget:
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return float(np.median(times))


def one_call(flow, data, start, device):
    """Unknowns, seconds of a call on either, and how much the results differ, relative to the largest entry."""
    problem = compile_flow(flow, data, start)
    whole = compile_flow(flow, data, start, blocks=False)
    y, out = problem.pack(start), np.empty(problem.n)
    program, state = TensorProgram(whole, device), torch.tensor(problem.pack(start)).to(device)
    slope = torch.empty_like(state)

    def on_device():
        program(0.0, state, slope)
        wait(device)

    on_device()
    problem(0.0, y, out)
    here, there = seconds(lambda: problem(0.0, y, out)), seconds(on_device)
    return problem.n, here, there, _difference(out, slope.cpu().numpy())


def one_step(flow, data, start, device):
    """Seconds of one step of Tsit5 from call to result, on either: data go to the device, the state comes back."""
    options = {"t1": 0.1, "save_at": [0.1], "fixed_step": 0.1, "method": "tsit5", "observables": ["norm/W_E"]}
    return [
        seconds(lambda where=where: integrate(flow, data, start, device=where, **options), most=3, budget=4.0)
        for where in ("cpu", device)
    ]


def _difference(here, there):
    """Largest difference relative to the largest entry."""
    return np.abs(here - there).max() / np.abs(here).max()


def whole_flow(quick, device, cpu_seconds):
    """Flow to t = 400 on either, or as far as the CPU came."""
    (model, data), end = paper(quick), FLOW_TIME
    flow, start = derive(model, "exact"), model.init(0.8, 0)
    rows = []
    for rtol in (1e-6, 1e-4):
        options = {"t1": end, "save_at": 41, "rtol": rtol, "max_steps": 10**6, "throw": False}
        here = integrate(flow, data, start, max_seconds=cpu_seconds, **options)
        there = integrate(flow, data, start, device=device, **options)
        last, runs = len(here.t) - 1, (here.statistics, there.statistics)
        error = max(_difference(here.weights[w][last], there.weights[w][last]) for w in start)
        a, b = (run["seconds"] / run["rhs_calls"] for run in runs)
        whole = (
            f"{runs[0]['seconds']:.2f}"
            if here.outcome.success
            else f"{a * runs[1]['rhs_calls']:.0f} (scaled)"
        )
        rows.append(
            f"| {rtol:g} | {runs[1]['rhs_calls']} | {whole} | {runs[1]['seconds']:.2f} | {1e3 * a:.2f} | {1e3 * b:.3f} "
            f"| {a / b:.1f} | {error:.1e} at t = {here.t[last]:g} | {runs[1]['methods']} |"
        )
    print("| rtol | calls | CPU s to t = 400 | device s | CPU ms a call | device ms a call | CPU / device "
          "| largest difference | methods |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|")
    print("\n".join(rows), flush=True)


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--cpu-seconds", type=float, default=20.0)
    given = parser.parse_args()
    device, began = torch.device(given.device), time.perf_counter()
    print(f"{machine()}; device: {described(device)['device_name']}; float64\n")
    print("| flow | closure | unknowns | CPU ms a call | device ms a call | CPU / device | difference | CPU ms a step "
          "| device ms a step | device GiB |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name, (made, closure) in cases(given.quick).items():
        model, data = made()
        flow, start = derive(model, closure), model.init(0.8, 0)
        n, here, there, difference = one_call(flow, data, start, device)
        step, step_there = one_step(flow, data, start, device)
        peak = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else float("nan")
        print(
            f"| {name} | {closure} | {n:,} | {1e3 * here:.2f} | {1e3 * there:.3f} | {here / there:.1f} "
            f"| {difference:.1e} | {1e3 * step:.1f} | {1e3 * step_there:.1f} | {peak:.2f} |",
            flush=True,
        )
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
    print()
    whole_flow(given.quick, device, given.cpu_seconds)
    print(f"\n{time.perf_counter() - began:.0f} s in all")


if __name__ == "__main__":
    main()
