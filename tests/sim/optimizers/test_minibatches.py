"""Minibatches on the side of theory: the mean square of a batch's gradient, what it feeds, blocks, refusals."""

import numpy as np
import pytest
from helpers import random_data

from smallinit.sim import GD, AdamW, Momentum, SignGD, integrate
from smallinit.sim.compile.companions import compile_squares
from smallinit.sim.optimizers.minibatches import MeanBatches, drawn_rows
from smallinit.theory import Dataset, EmbMLP, derive

MODEL, DATA = EmbMLP(6, 5, 4), random_data(d_vocab=6, n=25, n_ctx=3, held_out=True)
START, EXACT = MODEL.init(0.5, 0), derive(MODEL, "exact")
ROWS = np.flatnonzero(~DATA.held_out)
SINGLE = [Dataset(DATA.sequences[[i]], DATA.labels[[i]], 6) for i in ROWS]
ADAM = AdamW(0.02, betas=(0.8, 0.95), weight_decay=0.1, rates={"W_E": 0.5})


def gradients(weights):
    """Of every training sequence, (m, n)."""
    each = [EXACT.rhs(one, weights) for one in SINGLE]
    return -np.stack([np.concatenate([g[w].ravel() for w in START]) for g in each])


def test_the_mean_square_is_that_of_many_batches():
    size, single, omega = 3, gradients(START), DATA.weights[ROWS]
    rng = np.random.default_rng(0)
    drawn = [single[drawn_rows(np.cumsum(omega), size, rng)].mean(axis=0) ** 2 for _ in range(20_000)]
    problem = compile_squares(EXACT, DATA, START)
    batches = MeanBatches(problem, size, ADAM)
    mean = omega @ single
    predicted = batches.keep * mean**2 + batches.noise(problem.pack(START))
    spread = np.std(drawn, axis=0) / np.sqrt(len(drawn))
    assert np.abs((np.mean(drawn, axis=0) - predicted) / (spread + 1e-300)).max() < 5.0
    one_off = np.mean(drawn, axis=0) - (mean**2 + batches.noise(problem.pack(START)))  # without the 1 - 1/B
    assert np.abs(one_off / (spread + 1e-300)).max() > 5.0


def test_the_steps_are_the_recursion_fed_with_it():
    size, omega = 4, DATA.weights[ROWS]
    flat = np.concatenate([START[w].ravel() for w in START])
    shapes = [START[w].shape for w in START]
    cuts = np.cumsum([np.prod(s) for s in shapes])[:-1]
    kappa = np.where(np.arange(len(flat)) < cuts[0], 0.5, 1.0)
    a = b = np.zeros(len(flat))
    for s in range(1, 31):
        weights = {w: p.reshape(q) for w, p, q in zip(START, np.split(flat, cuts), shapes, strict=True)}
        single = gradients(weights)
        g = omega @ single
        a = 0.8 * a + 0.2 * g
        b = 0.95 * b + 0.05 * ((1 - 1 / size) * g**2 + omega @ single**2 / size)
        u = (a / (1 - 0.8**s)) / (np.sqrt(b / (1 - 0.95**s)) + 1e-8)
        flat = flat * (1 - 0.02 * kappa * 0.1) - 0.02 * kappa * u
    found = integrate(
        EXACT, DATA, START, steps=30, optimizer=ADAM, method="steps", batch_size=size, save_at=[30]
    )
    for w, part in zip(START, np.split(flat, cuts), strict=True):
        np.testing.assert_allclose(found.weights[w][-1].ravel(), part, rtol=1e-10, atol=1e-13)


def test_blocks_follow_the_steps():
    options = {"steps": 200, "optimizer": AdamW(1e-3), "batch_size": 4, "save_at": [0, 77, 150, 200]}
    steps = integrate(EXACT, DATA, START, method="steps", **options)
    blocks = integrate(EXACT, DATA, START, **options)
    assert blocks.statistics["methods"] == "multirate"
    assert blocks.statistics["rhs_calls"] < 0.7 * steps.statistics["rhs_calls"]
    for w in START:
        moved = np.linalg.norm(steps.weights[w][-1] - START[w])
        assert np.linalg.norm(blocks.weights[w] - steps.weights[w], axis=(1, 2)).max() < 2e-3 * moved


@pytest.mark.parametrize("optimizer", [GD(0.1), Momentum(0.05)])
def test_linear_updates_have_the_full_batch_for_a_mean(optimizer):
    options = {"steps": 20, "optimizer": optimizer, "save_at": [20], "method": "steps"}
    mean = integrate(EXACT, DATA, START, batch_size=4, **options)
    full = integrate(EXACT, DATA, START, **options)
    np.testing.assert_array_equal(mean.weights["W_E"], full.weights["W_E"])


def test_the_batch_is_in_label_and_provenance():
    found = integrate(EXACT, DATA, START, steps=2, optimizer=ADAM, batch_size=4, seed=1)
    assert found.label.endswith("batches of 4, seed 1")
    assert (found.provenance["batch_size"], found.provenance["seed"]) == (4, 1)
    assert found.statistics["methods"] == "steps"


def test_the_mean_of_the_batches_of_many_seeds_is_the_mean_path():
    options = {"steps": 40, "optimizer": GD(0.05), "batch_size": 2, "save_at": [40]}
    mean = integrate(EXACT, DATA, START, **options).weights["W_E"][0]
    drawn = np.stack([integrate(EXACT, DATA, START, seed=k, **options).weights["W_E"][0] for k in range(60)])
    spread = np.linalg.norm(drawn.std(axis=0)) / np.sqrt(60)
    assert 0.3 * spread < np.linalg.norm(drawn.mean(axis=0) - mean) < 3.0 * spread


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"batch_size": 21},
            "`batch_size` is 21 but the data has 20 distinct training sequences: leave it out",
        ),
        ({"batch_size": 0}, "`batch_size` must be an integer of at least 1, got 0"),
        ({"seed": 0}, "`seed` is 0 without a `batch_size`"),
        ({"batch_size": 4, "seed": -1}, "`seed` must be an integer of at least 0"),
        ({"batch_size": 4, "seed": 0, "method": "multirate"}, '`seed` is 0, whose batches .*use "steps"'),
        ({"batch_size": 4, "optimizer": SignGD(0.01)}, "the mean step of sign descent hangs on more"),
    ],
)
def test_refusals(options, words):
    with pytest.raises(ValueError, match=words):
        integrate(EXACT, DATA, START, **({"optimizer": ADAM, "steps": 3} | options))


def test_a_flow_has_no_batches():
    with pytest.raises(ValueError, match="`batch_size` is 4 without an `optimizer`"):
        integrate(EXACT, DATA, START, t1=1.0, batch_size=4)
