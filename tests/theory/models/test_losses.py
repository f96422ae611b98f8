"""Losses of large logits against many digits: in numpy, in torch, and their gradients in kernels."""

import mpmath
import numpy as np
import pytest
import sympy as sp
import torch
from mpmath import mp, mpf

from smallinit.compare import train
from smallinit.compare.proof.residuals import autodiff_gradient
from smallinit.compare.training.batches import row_losses
from smallinit.sim.trajectory.observables import losses
from smallinit.theory import Dataset, EmbedUnembed, EmbMLP, ScalarClassifier, derive
from smallinit.theory.algebra.evaluate import evaluate
from smallinit.theory.data.inputs import ROWS
from smallinit.theory.models.losses import LOSSES, Loss

SIZES = [1e-3, 1.0, 40.0, 900.0, 1e5, 1e10, 1e100]


def logits(size, outputs):
    """Random rows, and rows that are equal throughout."""
    rng = np.random.default_rng(0)
    return np.vstack(
        [size * rng.normal(size=(20, outputs)), np.full((2, outputs), size), np.full((2, outputs), -size)]
    )


def expected(name, f, label):
    """Loss of one row, by its definition."""
    f = [mpf(float(x)) for x in f]
    signs = [(1 if label else -1)] if len(f) == 1 else [1 if j == label else -1 for j in range(len(f))]
    if name == "cross_entropy":
        return mpmath.log(sum(mpmath.exp(x) for x in f)) - f[label]
    if name == "exponential":
        return sum(mpmath.exp(-s * x) for s, x in zip(signs, f, strict=True))
    if name == "logistic":
        return sum(mpmath.log(1 + mpmath.exp(-s * x)) for s, x in zip(signs, f, strict=True))
    y = signs if len(f) == 1 else [int(j == label) for j in range(len(f))]
    return sum((x - t) ** 2 for x, t in zip(f, y, strict=True)) / 2


def agree(found, exactly):
    """To 12 digits; to 15 places next to 1, where torch takes the logarithm of a sum."""
    if exactly > 1.7e308:
        return found == np.inf
    return abs(mpf(float(found)) - exactly) <= abs(exactly) * 1e-12 + mpf("5e-16")


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("size", SIZES)
def test_values(name, size):
    for outputs in (1, 18) if name != "cross_entropy" else (18,):
        f = logits(size, outputs)
        labels = np.arange(len(f)) % max(outputs, 2)
        ours = LOSSES[name].values(f, LOSSES[name].targets(labels, outputs))
        model = EmbMLP(18, 1, 1, loss=name)
        twin = row_losses(model, torch.from_numpy(f), torch.from_numpy(labels)).numpy()
        with mp.workdps(250):
            for i, label in enumerate(labels):
                exactly = expected(name, f[i], label)
                assert agree(ours[i], exactly), (f[i], label)
                assert agree(twin[i], exactly), (f[i], label)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("name", [name for name in LOSSES if name != "exponential"])
def test_losses_in_torch_and_their_slopes_are_finite_far_out(name, dtype):
    """Written by hand with torch's own functions; the exponential is as large as it says."""
    f = torch.tensor([[1e3, -1e3, 0.0], [-1e3, 1e3, 1e3], [0.5, -2.0, 1.0]], dtype=dtype, requires_grad=True)
    labels = torch.tensor([0, 0, 2])
    hot = torch.nn.functional.one_hot(labels, 3).to(dtype)
    by_hand = {
        "cross_entropy": lambda: -(hot * torch.log_softmax(f, dim=1)).sum(dim=1),
        "logistic": lambda: -torch.nn.functional.logsigmoid((2 * hot - 1) * f).sum(dim=1),
        "mse": lambda: 0.5 * ((f - hot) ** 2).sum(dim=1),
    }[name]()
    ours = row_losses(EmbMLP(3, 1, 1, loss=name), f, labels)
    assert ours.dtype == dtype
    assert torch.isfinite(ours).all()
    slopes = [torch.autograd.grad(x.sum(), f)[0] for x in (ours, by_hand)]
    torch.testing.assert_close(ours, by_hand)
    torch.testing.assert_close(*slopes)


def test_small_losses_keep_their_digits():
    f = np.array([[50.0, 0.0, 1.0], [800.0, 200.0, 100.0]])
    with mp.workdps(400):
        for name, labels in (("cross_entropy", [0, 0]), ("logistic", [0, 0])):
            ours = LOSSES[name].values(f, LOSSES[name].targets(np.array(labels), 3))
            for found, row in zip(ours, f, strict=True):
                assert float(found) == pytest.approx(float(expected(name, row, 0)), rel=1e-13, abs=0.0)


@pytest.mark.parametrize("size", [1e10, 1e100])
def test_equal_logits_of_any_size_cost_log_of_their_number(size):
    data = Dataset([[0], [1]], [0, 17], 18)
    model = EmbedUnembed(18, 1)
    start = {"W_E": np.full((18, 1), 1.0), "W_U": np.full((1, 18), size)}
    stacked = {name: w[None] for name, w in start.items()}
    assert losses(model, stacked, data)["loss"][0] == pytest.approx(np.log(18.0), rel=1e-14)
    run = train(model, data, start, learning_rate=1e-300, steps=1)
    assert run["loss"][0] == pytest.approx(np.log(18.0), rel=1e-14)


@pytest.mark.parametrize("margin", [-900.0, -40.0, 0.3, 40.0, 900.0])
@pytest.mark.parametrize(
    "model",
    [EmbMLP(2, 1, 1, "identity", loss="logistic"), ScalarClassifier(2, 1, 1, 1, "identity", loss="logistic")],
    ids=str,
)
def test_kernel_and_twin_of_the_logistic_loss(model, margin):
    """One sequence, every weight 1 but the last: the output is the last weight."""
    data = Dataset([[0]], [1], 2)
    start = {name: np.ones(shape) for name, shape in model.weights.items()}
    last = list(start)[-1]
    start[last] = np.full_like(start[last], margin)
    motion = derive(model, "exact").rhs(data, start)[last]
    gradient = autodiff_gradient(model, data, start)[last]
    with mp.workdps(50):
        outputs = motion.shape[1]
        expected = [float(s / (1 + mpmath.exp(s * mpf(margin)))) for s in ([-1, 1] if outputs == 2 else [1])]
    np.testing.assert_allclose(motion[0], expected, rtol=1e-13)
    np.testing.assert_allclose(-gradient[0], expected, rtol=1e-13)


def test_an_exponential_loss_beyond_floats_is_said():
    model, data = ScalarClassifier(2, 1, 1, 1, "identity"), Dataset([[0]], [1], 2)
    start = {name: np.ones(shape) for name, shape in model.weights.items()}
    start[list(start)[-1]] = np.full((1, 1), -900.0)
    with pytest.raises(ValueError, match="not finite at these weights: make them smaller"):
        derive(model, "exact").rhs(data, start)


@pytest.mark.parametrize("name", LOSSES)
def test_the_series_of_a_loss_follows_from_its_rows(name):
    """That of the base class against the loss itself on a circle of complex scales, constants apart."""
    loss, rng, V = LOSSES[name], np.random.default_rng(0), 3
    first, second = (sp.MatrixSymbol(letter, ROWS, V) for letter in "AB")
    values = {letter: rng.normal(size=(5, V)) for letter in "AB"}
    labels = rng.integers(0, V, 5)
    weights = rng.dirichlet(np.ones(5))
    y = np.eye(V)[labels] if name in ("cross_entropy", "mse") else 2.0 * np.eye(V)[labels] - 1.0
    known = {**values, "Y": y, "omega": weights[:, None]}

    def whole(eps):
        f = eps * values["A"] + eps**2 * values["B"]
        rows = {
            "cross_entropy": lambda: np.log(np.exp(f).sum(axis=1)) - (y * f).sum(axis=1),
            "exponential": lambda: np.exp(-y * f).sum(axis=1),
            "logistic": lambda: np.log(1 + np.exp(-y * f)).sum(axis=1),
            "mse": lambda: ((f - y) ** 2).sum(axis=1) / 2,
        }[name]()
        return weights @ rows

    points = 0.3 * np.exp(2j * np.pi * np.arange(32) / 32)
    expected = np.fft.fft([whole(eps) for eps in points]).real / 32 / 0.3 ** np.arange(32)
    for series in (Loss.series(loss, {1: first, 2: second}, 4), loss.series({1: first, 2: second}, 4)):
        for power in range(1, 5):
            found = evaluate(series[power], known, {ROWS: 5}) if power in series else 0.0
            assert float(np.squeeze(found)) == pytest.approx(expected[power], rel=1e-9, abs=1e-12)
