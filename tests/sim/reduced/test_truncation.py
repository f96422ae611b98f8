"""The bound of what truncation does: its norms, and that nothing of the size of a weight is written out for it."""

import tracemalloc

import numpy as np
import pytest

from smallinit.sim import integrate, reduce
from smallinit.sim.reduced.truncation import _tail, spectral_norms
from smallinit.theory import Dataset, EmbedUnembed, EmbMLP, derive


def reduced(d_vocab, width, modes):
    """A reduction of bigrams with its trajectory."""
    rng = np.random.default_rng(0)
    data = Dataset(rng.integers(0, d_vocab, (4 * d_vocab, 1)), rng.integers(0, d_vocab, 4 * d_vocab), d_vocab)
    model = EmbMLP(d_vocab, width, width)
    start = model.init(0.8, 0)
    small = reduce(derive(model, "leading"), data, modes=modes)
    return small, start, integrate(small, data, start, t1=1.0, save_at=3)


def test_norms_of_the_tail_are_those_of_its_matrices():
    small, start, inside = reduced(70, 45, 6)  # more than one strip, the last of them narrower
    U, V, M = small.U, small.V, small.signature.dot(np.eye(70))
    T = M - U @ np.diag(small.strengths) @ V.T
    first, last = start["W_E"], start["W_out"]
    found, norm = _tail(small, inside), np.linalg.norm
    assert found.sigma == small.tail
    assert found.right == pytest.approx(norm(T @ last.T), rel=1e-12)
    assert found.left == pytest.approx(norm(T.T @ first), rel=1e-12)
    assert found.both == pytest.approx(norm(first.T @ T @ last.T), rel=1e-12)
    assert found.first == pytest.approx(norm(first - U @ U.T @ first, 2), rel=1e-12)
    assert found.last == pytest.approx(norm(last - last @ V @ V.T, 2), rel=1e-12)


@pytest.mark.parametrize("shape", [(3, 4, 9), (3, 9, 4), (2, 5, 5)])
def test_spectral_norms(shape):
    stack = np.random.default_rng(0).normal(size=shape)
    np.testing.assert_allclose(spectral_norms(stack), np.linalg.norm(stack, 2, axis=(1, 2)), rtol=1e-12)


def test_the_bound_takes_less_than_one_weight():
    small, start, inside = reduced(6000, 512, 8)
    tracemalloc.start()
    try:
        small.error_bound(inside)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 0.6 * start["W_E"].nbytes


@pytest.mark.parametrize("model", [EmbMLP(4, 3, 3), EmbedUnembed(4, 3)])
def test_the_bound_of_a_start_at_zero_ends(model):
    """Nothing moves, and nothing is lost; of two layers whose tail alone moves the bound is still one."""
    rng = np.random.default_rng(0)
    data = Dataset(rng.integers(0, 4, (9, 3)), rng.integers(0, 4, 9), 4)
    flow = derive(model, "leading")
    small, zero = (
        reduce(flow, data, modes=1),
        {name: np.zeros(shape) for name, shape in model.weights.items()},
    )
    bound = small.error_bound(integrate(small, data, zero, 2.0, 3))
    assert all(not b.any() for b in bound.values())
    tail = zero | {"W_E": np.outer(small.U[:, 0], np.zeros(3)) + 0.1 * np.eye(4, 3)}
    tail["W_E"] -= np.outer(small.U[:, 0], small.U[:, 0] @ tail["W_E"])
    run, whole = integrate(small, data, tail, 2.0, 3), integrate(flow, data, tail, 2.0, 3)
    lifted, bound = small.lift(run), small.error_bound(run)
    for name, b in bound.items():
        assert (np.linalg.norm(lifted.weights[name] - whole.weights[name], axis=(1, 2)) <= b + 1e-9).all()
