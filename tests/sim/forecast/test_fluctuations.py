"""The covariance of the weights against the recursion of dense matrices, and against many runs."""

from itertools import pairwise

import numpy as np
import pytest
from helpers import padded_case, random_data, random_weights
from own_models import E, EveryPosition, U, own

from smallinit.sim import GD, AdamW, Linear, fluctuations, integrate
from smallinit.sim.forecast.sequences import SequenceGradients
from smallinit.theory import Dataset, EmbMLP, derive
from smallinit.theory.data.inputs import X_ALL

MODEL, DATA = EmbMLP(6, 3, 4), random_data(d_vocab=6, n=25)
START, EXACT = MODEL.init(0.5, 0), derive(MODEL, "exact")
SINGLE = [Dataset(DATA.sequences[[i]], DATA.labels[[i]], 6) for i in range(len(DATA))]
N, SIZE, STEPS = 54, 5, 60
DESCENT = GD(0.02, weight_decay=0.1, rates={"W_in": 0.5}, schedule=Linear(STEPS, 0.5))


def flat(weights):
    return np.concatenate([weights[w].ravel() for w in START])


def slope(data, y):
    cuts = np.cumsum([START[w].size for w in START])[:-1]
    parts = zip(START, np.split(y, cuts), strict=True)
    return flat(EXACT.rhs(data, {w: p.reshape(START[w].shape) for w, p in parts}))


@pytest.fixture(scope="module")
def dense():
    """Sigma <- (I + eta J) Sigma (I + eta J)^T + eta^2 C, step by step."""
    y, sigma, eye = flat(START), np.zeros((N, N)), np.eye(N)
    kappa = flat({w: np.full(v.shape, DESCENT.rates.get(w, 1.0)) for w, v in START.items()})
    for rate in DESCENT.clock(STEPS).rates:
        g, single = slope(DATA, y), np.stack([slope(one, y) for one in SINGLE])
        noise = (single.T * DATA.weights) @ single - np.outer(g, g)
        jacobian = np.stack([slope(DATA, y + 1e-5 * e) - slope(DATA, y - 1e-5 * e) for e in eye]).T / 2e-5
        step = eye + rate * kappa[:, None] * (jacobian - 0.1 * eye)
        sigma = step @ sigma @ step.T + rate**2 * (kappa[:, None] * noise * kappa) / SIZE
        y = y + rate * kappa * (g - 0.1 * y)
    return sigma


def covariance(found):
    rows = np.concatenate(
        [found.directions[w][-1].reshape(len(found.directions[w][-1]), -1) for w in START], axis=1
    )
    return rows.T @ rows


def test_all_directions_are_the_dense_recursion(dense):
    found = fluctuations(
        EXACT,
        DATA,
        START,
        steps=STEPS,
        optimizer=DESCENT,
        batch_size=SIZE,
        save_at=[0, STEPS],
        rank=N,
        draws=8,
    )
    np.testing.assert_array_equal(found.variance("W_E")[0], 0.0)
    assert np.linalg.norm(covariance(found) - dense) < 0.02 * np.linalg.norm(dense)
    variance = np.diag(dense)[: START["W_E"].size].reshape(START["W_E"].shape)
    np.testing.assert_allclose(found.variance("W_E")[-1], variance, rtol=0.05)


def test_few_directions_hold_the_leading_ones_and_the_sum(dense):
    found = covariance(
        fluctuations(
            EXACT, DATA, START, steps=STEPS, optimizer=DESCENT, batch_size=SIZE, save_at=1, rank=6, draws=20
        )
    )
    leading = np.linalg.eigh(dense)[1][:, -1]
    assert leading @ found @ leading == pytest.approx(leading @ dense @ leading, rel=0.05)
    assert np.trace(found) == pytest.approx(np.trace(dense), rel=0.15)


def every_position():
    return own(X_ALL * E * U, cls=EveryPosition)


@pytest.mark.parametrize("case", [padded_case, every_position])
def test_gradients_of_sequences_with_several_rows(case):
    model, data = case()
    flow, weights = derive(model, "exact"), random_weights(model, 1)
    found, rng = SequenceGradients(flow, data), np.random.default_rng(2)
    found.move_to(weights)
    rows = np.flatnonzero(~data.held_out)
    single = [Dataset(data.sequences[[i]], data.labels[[i]], 5) for i in rows]
    wanted = np.stack([np.concatenate([g.ravel() for g in flow.rhs(d, weights).values()]) for d in single])
    z, direction = rng.normal(size=len(rows)), rng.normal(size=wanted.shape[1])
    np.testing.assert_allclose(found.weights, data.weights[rows], rtol=1e-14)
    np.testing.assert_allclose(found.combined(z), z @ wanted, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(found.along(direction), wanted @ direction, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("rank", [1, 3])
def test_the_noise_of_each_weight_is_its_own_however_few_directions_lead(rank):
    """Leading directions cross the weights: what they share with the rest counts, for the small weight above all."""
    near = {w: v * (0.3 if w == "W_out" else 1.0) for w, v in START.items()}
    options = {
        "steps": 1,
        "optimizer": GD(0.1),
        "batch_size": SIZE,
        "save_at": [1],
        "rank": rank,
        "draws": 4000,
    }
    found = covariance(fluctuations(EXACT, DATA, near, **options))
    g, single = slope(DATA, flat(near)), np.stack([slope(one, flat(near)) for one in SINGLE])
    noise = 0.1**2 * ((single.T * DATA.weights) @ single - np.outer(g, g)) / SIZE
    assert np.linalg.norm(found - noise) < 0.06 * np.linalg.norm(noise)
    cuts = np.cumsum([0, *(v.size for v in START.values())])
    for a, b in pairwise(cuts):
        assert np.trace(found[a:b, a:b]) == pytest.approx(np.trace(noise[a:b, a:b]), rel=0.06)


def test_a_stiff_path_is_cut_into_stable_pieces(dense):
    found = fluctuations(
        EXACT,
        DATA,
        START,
        steps=STEPS,
        optimizer=DESCENT,
        batch_size=SIZE,
        save_at=1,
        rank=N,
        draws=8,
        intervals=2,
    )
    assert np.trace(covariance(found)) == pytest.approx(np.trace(dense), rel=0.1)


def test_a_fast_direction_keeps_the_variance_of_its_steps():
    """Where rate x curvature is near 1, single steps decide."""
    far, rate = {w: 2.5 * v for w, v in START.items()}, 0.2
    y, sigma, eye = flat(far), np.zeros((N, N)), np.eye(N)
    for _ in range(STEPS):
        g, single = slope(DATA, y), np.stack([slope(one, y) for one in SINGLE])
        noise = ((single.T * DATA.weights) @ single - np.outer(g, g)) / SIZE
        jacobian = np.stack([slope(DATA, y + 1e-5 * e) - slope(DATA, y - 1e-5 * e) for e in eye]).T / 2e-5
        sigma = (eye + rate * jacobian) @ sigma @ (eye + rate * jacobian).T + rate**2 * noise
        y = y + rate * g
    assert 0.3 < -rate * np.linalg.eigvalsh(jacobian)[0] < 2.0
    options = {"steps": STEPS, "optimizer": GD(rate), "batch_size": SIZE, "save_at": 1, "rank": N, "draws": 8}
    found = covariance(fluctuations(EXACT, DATA, far, **options))
    assert np.trace(found) == pytest.approx(np.trace(sigma), rel=0.05)
    assert np.linalg.norm(found - sigma) < 0.1 * np.linalg.norm(sigma)


def test_it_is_the_spread_of_runs():
    found = fluctuations(
        EXACT, DATA, START, steps=STEPS, optimizer=DESCENT, batch_size=SIZE, save_at=[STEPS], rank=N, draws=8
    )
    options = {"steps": STEPS, "optimizer": DESCENT, "batch_size": SIZE, "save_at": [STEPS]}
    runs = [integrate(EXACT, DATA, START, seed=k, **options).weights for k in range(200)]
    for w in START:
        measured = np.var([run[w][0] for run in runs], axis=0, ddof=1).sum()
        assert found.variance(w)[-1].sum() == pytest.approx(measured, rel=0.15)
    assert found.mean.label.endswith("batches of 5")
    with pytest.raises(ValueError, match="`name` 'W_Q' is unknown"):
        found.variance("W_Q")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"optimizer": AdamW(0.1)}, "`optimizer` must be GD"),
        ({"batch_size": 26}, "`batch_size` is 26 but the data has 25"),
        ({"rank": 0}, "`rank` must be an integer of at least 1"),
    ],
)
def test_refusals(options, words):
    with pytest.raises(ValueError, match=words):
        fluctuations(EXACT, DATA, START, **({"steps": 5, "optimizer": GD(0.1), "batch_size": 5} | options))
