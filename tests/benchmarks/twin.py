"""The decoder's torch twin against a decoder written by hand with torch's own modules: loss and gradient, in turns.

`python tests/benchmarks/twin.py [--turns 40]`: least milliseconds of processor time of a forward and backward pass, one
thread, so that a busy machine does not count. The other network has nn.Linear, nn.LayerNorm and fused attention, and
computes no more positions than the last block needs.
"""

import os

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"))  # before torch is loaded

import argparse
import time

import torch
from _race import machine
from torch import nn
from torch.nn import functional as F

from smallinit.compare.training.networks import network
from smallinit.theory import Decoder

# sequences, n_ctx, d_vocab, d_model, d_head, d_mlp, heads
SIZES = [
    (960, 3, 51, 32, 16, 32, 2),
    (600, 9, 51, 64, 32, 64, 2),
    (100, 9, 161, 200, 64, 800, 1),
    (16, 80, 500, 64, 32, 128, 2),
]


class Block(nn.Module):
    """Attention, then a hidden layer, each after a LayerNorm."""

    def __init__(self, d, d_head, d_mlp, heads, dtype):
        super().__init__()
        self.heads, linear = heads, {"bias": False, "dtype": dtype}
        self.ln1, self.ln2 = (nn.LayerNorm(d, **linear) for _ in range(2))
        self.q, self.k, self.v = (nn.Linear(d, heads * d_head, **linear) for _ in range(3))
        self.o = nn.Linear(heads * d_head, d, **linear)
        self.hidden = nn.Sequential(nn.Linear(d, d_mlp, **linear), nn.GELU(), nn.Linear(d_mlp, d, **linear))

    def forward(self, x, last):
        """The stream after the block, at the last position alone where no more is wanted."""
        h = self.ln1(x)
        q, k, v = (
            layer(rows).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for layer, rows in ((self.q, h[:, -1:] if last else h), (self.k, h), (self.v, h))
        )
        z = F.scaled_dot_product_attention(q, k, v, is_causal=not last)
        x = (x[:, -1:] if last else x) + self.o(z.transpose(1, 2).flatten(2))
        return x + self.hidden(self.ln2(x))


class ByHand(nn.Module):
    """Two blocks between embeddings and a final LayerNorm."""

    def __init__(self, n_ctx, vocabulary, d, d_head, d_mlp, heads, predict, dtype):
        super().__init__()
        self.tokens, self.last = nn.Embedding(vocabulary, d, dtype=dtype), predict == "last"
        self.positions = nn.Parameter(torch.zeros(n_ctx, d, dtype=dtype))
        self.blocks = nn.ModuleList(Block(d, d_head, d_mlp, heads, dtype) for _ in range(2))
        self.end = nn.Sequential(
            nn.LayerNorm(d, bias=False, dtype=dtype), nn.Linear(d, vocabulary, bias=False, dtype=dtype)
        )

    def forward(self, tokens):
        """Logits of all rows that predict."""
        x = self.blocks[0](self.tokens(tokens) + self.positions, False)
        return self.end(self.blocks[1](x, self.last)).flatten(0, 1)


def step(net, tokens, labels):
    """A call that gives the processor's seconds for loss and gradient."""

    def call():
        net.zero_grad(set_to_none=True)
        began = time.thread_time()
        F.cross_entropy(net(tokens), labels).backward()
        return time.thread_time() - began

    return call


def compare(size, predict, dtype, turns):
    """Least milliseconds of the twin and of the network by hand."""
    n, n_ctx, vocabulary, d, d_head, d_mlp, heads = size
    model = Decoder(vocabulary, d, d_head, d_mlp, n_ctx, n_heads=heads, activation="gelu", predict=predict)
    tokens = torch.randint(0, vocabulary, (n, n_ctx))
    labels = torch.randint(0, vocabulary, (n if predict == "last" else n * n_ctx,))
    nets = network(model, model.init(0.5, 0), dtype), ByHand(*size[1:], predict, dtype)
    calls = [step(net, tokens, labels) for net in nets]
    times = [[], []]
    for turn in range(turns + 1):
        for kept, call in zip(times, calls, strict=True):
            kept.extend([call()] if turn else [])
    return [1e3 * min(kept) for kept in times]


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--turns", type=int, default=40)
    turns = parser.parse_args().turns
    torch.set_num_threads(1)
    print(f"{machine()}\n\n| sequences x tokens, width | predicts | dtype | twin ms | by hand ms | ratio |")
    print("|---|---|---|---|---|---|")
    for size in SIZES:
        for predict in ("last", "all"):
            for dtype in (torch.float64, torch.float32):
                ours, hand = compare(size, predict, dtype, turns)
                shape = f"{size[0]} x {size[1]}, {size[3]}"
                name = str(dtype).removeprefix("torch.")
                print(
                    f"| {shape} | {predict} | {name} | {ours:.2f} | {hand:.2f} | {ours / hand:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
