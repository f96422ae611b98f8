"""Shared by the tests: the lists of activations and closures, random data and weights, independent evaluations."""

import copy
import pickle
from dataclasses import replace
from functools import cache

import numpy as np
import sympy as sp

from smallinit.theory import (
    AttentionOnly,
    Dataset,
    Decoder,
    EmbedUnembed,
    EmbMLP,
    OneLayerTransformer,
    ScalarClassifier,
    TwoTokenMLP,
)
from smallinit.theory.data.inputs import ROWS

ACTIVATIONS = ("tanh", "sin", "arctan", "softsign", "gelu", "silu", "identity")
CLOSURES = ("drive", "leading", "softmax", "order=6", "order=7", "order=9", "order=10", "exact")

# Ways out of a process and back, and ways to a second object.
TRAVELS = {
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),  # noqa: S301 -- our own
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
}

# Every model in a small size, with the length of the sequences that go with it.
MODELS = {
    "emb-mlp": (EmbMLP(6, 5, 4), 3),
    "emb-mlp, mse": (EmbMLP(6, 5, 4, "gelu", loss="mse"), 2),
    "emb-mlp, logistic": (EmbMLP(6, 5, 4, loss="logistic"), 1),
    "embed-unembed": (EmbedUnembed(6, 4), 3),
    "two-token": (TwoTokenMLP(6, 5), 2),
    "classifier": (ScalarClassifier(6, 5, 3, 4), 4),
    "classifier, logistic": (ScalarClassifier(6, 5, 3, 4, "arctan", loss="logistic"), 3),
    "transformer": (OneLayerTransformer(6, 7, 3, 4, 3, unembed=False), 3),
    "transformer, unembed": (OneLayerTransformer(6, 4, 3, 5, 3, "gelu"), 3),
    "transformer, positions": (OneLayerTransformer(5, 4, 2, 3, 3, positions=True), 3),
    "attention-only": (AttentionOnly(5, 3), 3),
    "attention-only, two layers": (AttentionOnly(4, 3, 2), 3),
}
TINY = """
[task]
keys = "5-8"
memory_anchors = "3-4"
reasoning_anchors = "1-2"
masked = [[1, 2]]
[model]
d_model = 6
d_mlp = 7
[theory]
t1 = 4.0
points = 5
[training]
learning_rate = 0.5
"""


def data_for(name, seed=0, n=20):
    """Repeated tokens, unequal weights, labels that the model of that name can have."""
    model, n_ctx = MODELS[name]
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2 if model.outputs == 1 else min(model.d_vocab, model.outputs), n)
    tokens = rng.integers(0, model.d_vocab, (n, n_ctx))
    return Dataset(tokens, labels, model.d_vocab, weights=rng.uniform(0.1, 1.1, n))


def random_data(seed=0, d_vocab=7, n=30, n_ctx=3, held_out=False):
    """Repeated tokens, unequal weights; some rows held out if asked."""
    rng = np.random.default_rng(seed)
    mask = np.arange(n) % 5 == 0 if held_out else None
    return Dataset(
        rng.integers(0, d_vocab, (n, n_ctx)),
        rng.integers(0, d_vocab, n),
        d_vocab,
        weights=rng.uniform(0.1, 1.1, n),
        held_out=mask,
    )


def padded_case(seed=0):
    """A decoder that predicts at every position, and sequences of unequal length for it."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, 5, (14, 4))
    tokens[:, 1] = np.maximum(tokens[:, 1], 1)  # none is all padding
    weights, held_out = rng.uniform(0.1, 1.1, 14), np.arange(14) == 3
    data = Dataset(tokens, rng.integers(1, 5, 14), 5, weights=weights, held_out=held_out)
    return Decoder(5, 3, 2, 4, 4, n_layers=1, norm=None, predict="all", padding=0), data


def pairs_data(labels):
    """Twelve pairs of tokens, of which the last one decides the label ("decided"), or nothing does ("random")."""
    rng = np.random.default_rng(3)
    tokens = rng.integers(0, 6, (12, 2))
    found = rng.permutation(6)[tokens[:, -1]] if labels == "decided" else rng.integers(0, 6, 12)
    return Dataset(tokens, found, 6)


def random_weights(model, seed=0, scale=0.5):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(0.0, scale, shape) for name, shape in model.weights.items()}


def small_case(activation="tanh", seed=0, sizes=(7, 5, 6), **options):
    """Data, model and weights of order one."""
    model = EmbMLP(*sizes, activation)
    return random_data(seed, d_vocab=sizes[0], **options), model, random_weights(model, seed)


def small_blocks(monkeypatch, parts=True):
    """Have arrays of a few numbers worked through in blocks of a few rows, in parts or all by one thread."""
    from smallinit.sim.compile.rows import row_blocks, row_teams

    monkeypatch.setattr(row_teams, "LEAST_HEIGHT", 1)
    monkeypatch.setattr(row_teams, "WHOLE", 1.0 if parts else -1.0)
    for name, value in {"LARGE": 40, "BLOCK": 30, "LINE": 1, "MOST": np.inf}.items():
        monkeypatch.setattr(row_blocks, name, value)


def sympy_value(expr, model, values, digits=30):
    """Sympy's own evaluation of a matrix expression at `digits` digits, rounded to float64; of each part once."""
    dense = {k: v.toarray() if hasattr(v, "toarray") else np.asarray(v) for k, v in values.items()}
    known = {}

    def explicit(node):
        if isinstance(node, sp.MatrixSymbol):
            array = dense[str(node)]
            return sp.ImmutableMatrix(*array.shape, [sp.Float(float(x), digits) for x in array.ravel()])
        return node.func(*map(value, node.args)).doit().as_explicit().evalf(digits)

    def value(node):
        if not isinstance(node, sp.MatrixExpr):
            return node
        if node not in known:
            known[node] = explicit(node)
        return known[node]

    found = value(expr.subs(model.sizes | {ROWS: dense["omega"].shape[0]}))
    return np.array(found.tolist(), dtype=float)


def relative(a, b):
    return np.linalg.norm(np.asarray(a) - np.asarray(b)) / np.linalg.norm(b)


def refused(capsys, *argv: str, code: int = 2) -> str:
    """Run a command that must fail with one line on stderr, and return that line."""
    from smallinit.cli import run

    assert run(list(argv)) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("\n")
    assert err.count("\n") == 1
    return err


def as_theory(run):
    """A training run in the place of a theory: one whose numbers are known."""
    return replace(run, kind="theory")


@cache
def alone(part):
    """What is compiled as a part of other functions, as one that Python can call; each is compiled once."""
    from numba import njit

    return njit(error_model="numpy", fastmath=part.targetoptions.get("fastmath", False))(part.py_func)


def decay_towards_cosine(rates):
    """Problem of decay at many rates towards a slowly moving target: y_i' = -rate_i (y_i - cos t) - sin t."""
    from smallinit.sim.kernel.problem import Problem

    rates = rates.copy()

    def f(t, y, out):
        for i in range(y.size):
            out[i] = -rates[i] * (y[i] - np.cos(t)) - np.sin(t)

    return Problem.from_function(f, rates.size)
