"""Models made up at random: attention with heads and layers, gates, biases, ties, scalars, on several data matrices."""

from dataclasses import dataclass, field

import numpy as np
import sympy as sp

from smallinit.theory import Dataset, Model, weight
from smallinit.theory.algebra.matrices import apply, hadamard, product, total, transpose
from smallinit.theory.algebra.nodes import RowSoftmax
from smallinit.theory.data.inputs import C_MEAN, COUNTS, D_MODEL, ROWS, X_1, X_LAST

ONES = sp.OneMatrix(ROWS, 1)
GATES = ("tanh", "sin", "arctan")


@dataclass(frozen=True)
class Made(Model):
    """Whatever `make` has put together."""

    d_model: int = 3
    d_mlp: int = 4
    parts: tuple = field(default=(), repr=False)

    @property
    def weight_symbols(self):
        return self.parts[0]

    @property
    def logits(self):
        return self.parts[1]


class _Maker:
    def __init__(self, rng):
        self.rng, self.weights = rng, {}

    def weight(self, name, rows, cols):
        return self.weights.setdefault(name, weight(name, rows, cols))

    def pick(self, *options):
        return options[self.rng.integers(len(options))]

    def stream(self, E):
        """What enters: counts, means or single tokens, one or two of them, maybe scaled or with a bias."""
        x = product(self.pick(COUNTS, C_MEAN, X_LAST), E)
        if self.rng.random() < 0.4:
            x = total(x, product(self.pick(sp.Rational(1, 2), -2, 1 / D_MODEL), X_1, E))
        if self.rng.random() < 0.3:
            x = total(x, product(ONES, self.weight("b_in", 1, "d_model")))
        return x

    def attend(self, u, E, layer, head):
        A = self.weight(f"A_{layer}{head}", "d_model", "d_model")
        query = product(X_LAST, E) if layer == 0 else u
        scores = product(query, A, transpose(E))
        value = self.weight(f"V_{layer}{head}", "d_model", "d_model")
        return product(RowSoftmax(scores, C_MEAN), E, value)

    def block(self, u, layer):
        """A nonlinear block on the stream, or none."""
        kind = self.pick("mlp", "gate", "none", "biased", "product")
        if kind == "none":
            return u
        W = self.weight(f"W_{layer}", "d_model", "d_mlp")
        z = product(u, W)
        if kind == "biased":
            z = total(z, product(ONES, self.weight(f"b_{layer}", 1, "d_mlp")))
        h = apply(self.pick(*GATES), z)
        if kind in ("gate", "product"):
            other = product(u, self.weight(f"G_{layer}", "d_model", "d_mlp"))
            x = sp.Symbol("x", real=True)
            gate = sp.Lambda(x, 1 / (1 + sp.exp(-x)))
            h = hadamard(apply(gate, z) if kind == "gate" else h, other)
        return product(h, self.weight(f"O_{layer}", "d_mlp", "d_model"))

    def logits(self):
        E = self.weight("W_E", "d_vocab", "d_model")
        u = self.stream(E)
        for layer in range(self.rng.integers(0, 2)):
            heads = [self.attend(u, E, layer, k) for k in range(self.rng.integers(1, 3))]
            u = total(u, *heads)
        for layer in range(self.rng.integers(0, 2)):
            u = total(self.block(u, layer), u) if self.rng.random() < 0.5 else self.block(u, layer)
        if self.rng.random() < 0.3:
            return product(u, transpose(E))  # tied
        f = product(u, self.weight("W_U", "d_model", "d_vocab"))
        return total(f, product(ONES, self.weight("b_U", 1, "d_vocab"))) if self.rng.random() < 0.2 else f


def make(seed):
    """A model and data that go with it: repeated tokens, unequal weights."""
    rng = np.random.default_rng([seed, 5])
    maker = _Maker(rng)
    f = maker.logits()
    loss = "mse" if rng.random() < 0.2 else "cross_entropy"
    model = Made(5, loss=loss, parts=(tuple(maker.weights.values()), f))
    n = int(rng.integers(11, 23))
    data = Dataset(rng.integers(0, 5, (n, 3)), rng.integers(0, 5, n), 5, weights=rng.uniform(0.2, 1.2, n))
    return model, data
