"""Right-hand sides of decoders against torch's loss and gradient, in turns, one thread each, float64.

`python tests/benchmarks/decoder.py [--n-ctx 64] [--norm none] [--predict last] [--closures exact]`: 600 sequences of 9,
51 tokens, widths 64/32/64, 2 layers of 2 heads, where nothing else is said. The network is written by hand and uses
torch's fused attention and normalisation. Times are those of the processor, which others on the machine disturb less;
ratios are of the least of all turns, and of medians. "Derive" is the time to derive the flow, "ready" that to compile
the kernel and call it once.
"""

import os

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
os.environ.update(
    dict.fromkeys(THREADS, "1")
)  # before numpy is loaded: pools of threads spin against each other

import argparse  # noqa: E402
import time  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from _race import machine  # noqa: E402

from smallinit.sim.compile.compiler import compile_flow  # noqa: E402
from smallinit.theory import Dataset, Decoder, derive  # noqa: E402

LIMITS = {"exact": 0.9, "softmax": 0.4, "leading": 0.1}
HEADS, LAYERS = 2, 2


class Network:
    """The decoder by hand, as fast as torch makes it."""

    def __init__(self, model, data, start):
        self.model, self.w = model, {k: torch.tensor(v, requires_grad=True) for k, v in start.items()}
        self.tokens, last = torch.tensor(data.sequences), model.predict == "last"
        self.labels = torch.tensor(data.labels if last else model.row_labels(data.sequences, data.labels))
        self.weights = torch.tensor(data.weights if last else model.row_weights(data.weights, data.sequences))

    def norm(self, x, name):
        """LayerNorm with a gain, if there are any."""
        if self.model.norm is None:
            return x
        return F.layer_norm(x, x.shape[-1:], self.w[f"{name}.w"][0], None, self.model.norm_eps)

    def block(self, x, layer, last):
        """The stream after a block; at the last position alone where no more is wanted."""
        w, at = self.w, f"blocks.{layer}"
        n, t, _ = x.shape
        read = self.norm(x, f"{at}.ln1")
        asks = read[:, -1:] if last else read
        q, k, v = (
            (rows @ w[f"{at}.{name}"]).view(n, -1, HEADS, self.model.d_head).transpose(1, 2)
            for rows, name in ((asks, "W_Q"), (read, "W_K"), (read, "W_V"))
        )
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=not last and t > 1)
        x = (x[:, -1:] if last else x) + mixed.transpose(1, 2).flatten(2) @ w[f"{at}.W_O"]
        return x + torch.tanh(self.norm(x, f"{at}.ln2") @ w[f"{at}.W_in"]) @ w[f"{at}.W_out"]

    def gradients(self):
        """Gradients of the loss, by weight."""
        for value in self.w.values():
            value.grad = None
        x = F.embedding(self.tokens, self.w["W_E"]) + self.w["W_pos"]
        for layer in range(LAYERS):
            x = self.block(x, layer, layer == LAYERS - 1 and self.model.predict == "last")
        logits = (self.norm(x, "ln_final") @ self.w["W_U"]).flatten(0, 1)
        (self.weights * F.cross_entropy(logits, self.labels, reduction="none")).sum().backward()
        return {name: value.grad.numpy() for name, value in self.w.items()}


def clock(f):
    """Seconds of the processor that a call takes: all is done by one thread."""
    began = time.process_time()
    f()
    return time.process_time() - began


def kernels(model, data, start, closures):
    """Closure -> (call, seconds to derive it, seconds until it was ready, problem, its output)."""
    found = {}
    for closure in closures:
        began = time.process_time()
        flow = derive(model, closure)
        derived, began = time.process_time() - began, time.process_time()
        problem = compile_flow(flow, data, start)
        y, out = problem.pack(start), np.zeros(problem.n)
        problem(0.0, y, out)
        ready = time.process_time() - began
        found[closure] = (lambda p=problem, y=y, out=out: p(0.0, y, out), derived, ready, problem, out)
    return found


def measure(model, data, closures, turns):
    """Rows of the table for one model."""
    start = model.init(0.8, 0)
    network, found = Network(model, data, start), kernels(model, data, start, closures)
    calls = {"torch": network.gradients} | {name: made[0] for name, made in found.items()}
    times = {name: [] for name in calls}
    for turn in range(turns + 1):
        for name, call in calls.items():
            taken = clock(call)
            if turn:  # the first is warm-up
                times[name].append(taken)
    if "exact" in found:
        check(network.gradients(), found["exact"][3].unpack(found["exact"][4]))
    base = min(times["torch"])
    for name, (_, derived, ready, problem, _) in found.items():
        ratio, middle = min(times[name]) / base, np.median(times[name]) / np.median(times["torch"])
        print(
            f"| {model.norm} | {model.predict} | {name} | {1e3 * min(times[name]):.1f} | {1e3 * base:.1f} "
            f"| {ratio:.2f} | {middle:.2f} | {LIMITS.get(name, '')} "
            f"| {derived:.2f} | {ready:.2f} | {problem.work.nbytes / 1e6:.0f} |",
            flush=True,
        )


def check(gradients, slopes):
    """Exact flow and torch agree, else the times mean nothing."""
    size = max(np.abs(g).max() for g in gradients.values())
    error = max(np.abs(slopes[name] + g).max() for name, g in gradients.items()) / size
    if not error < 1e-11:
        raise SystemExit(f"exact flow and torch differ by {error:.1e} of the largest entry: nothing to time.")


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sequences", type=int, default=600)
    parser.add_argument("--n-ctx", type=int, default=9)
    parser.add_argument("--norm", nargs="+", choices=("none", "pre"), default=["none", "pre"])
    parser.add_argument("--predict", nargs="+", choices=("last", "all"), default=["last", "all"])
    parser.add_argument("--closures", nargs="+", default=list(LIMITS))
    parser.add_argument("--turns", type=int, default=15)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    sequences = rng.integers(0, 51, (given.sequences, given.n_ctx))
    data = Dataset(sequences, rng.integers(0, 51, given.sequences), 51)
    print(f"{machine()}; {given.sequences} sequences of {given.n_ctx}\n")
    print(
        "| norm | predicts | closure | ms | torch ms | ratio | of medians | wanted | derive s | ready s | scratch MB |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    sizes = {"d_vocab": 51, "d_model": 64, "d_head": 32, "d_mlp": 64, "n_ctx": given.n_ctx, "n_heads": HEADS}
    for norm in given.norm:
        for predict in given.predict:
            model = Decoder(**sizes, n_layers=LAYERS, norm=None if norm == "none" else norm, predict=predict)
            measure(model, data, given.closures, given.turns)


if __name__ == "__main__":
    main()
