"""Shared by the tests: the lists of activations and closures, random data and weights, independent evaluations."""

import numpy as np
import sympy as sp

from smallinit.theory import Dataset, EmbMLP
from smallinit.theory.model import ROWS

ACTIVATIONS = ("tanh", "sin", "arctan", "softsign", "gelu", "silu", "identity")
CLOSURES = ("drive", "leading", "softmax", "order=6", "order=7", "order=9", "order=10", "exact")


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


def random_weights(model, seed=0, scale=0.5):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(0.0, scale, shape) for name, shape in model.weights.items()}


def small_case(activation="tanh", seed=0, sizes=(7, 5, 6), **options):
    """Data, model and weights of order one."""
    model = EmbMLP(*sizes, activation)
    return random_data(seed, d_vocab=sizes[0], **options), model, random_weights(model, seed)


def sympy_value(expr, model, values, digits=30):
    """Sympy's own evaluation of a matrix expression at `digits` digits, rounded to float64."""
    dense = {k: v.toarray() if hasattr(v, "toarray") else np.asarray(v) for k, v in values.items()}
    expr = expr.subs(model.sizes | {ROWS: dense["omega"].shape[0]})
    explicit = {
        s: sp.ImmutableMatrix(
            *dense[str(s)].shape, [sp.Float(float(x), digits) for x in dense[str(s)].ravel()]
        )
        for s in expr.free_symbols
        if isinstance(s, sp.MatrixSymbol)
    }
    matrix = expr.xreplace(explicit).doit().as_explicit()
    return np.array(matrix.evalf(digits).tolist(), dtype=float)


def relative(a, b):
    return np.linalg.norm(np.asarray(a) - np.asarray(b)) / np.linalg.norm(b)
