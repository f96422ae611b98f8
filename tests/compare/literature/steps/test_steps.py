"""Claims about optimizers: they hold, wrong ones are caught, and what they rest on is right."""

import time

import numpy as np
import pytest

from smallinit.compare import claims
from smallinit.compare.literature.claim import FAILS, HOLDS
from smallinit.compare.literature.steps import class_frequency, decay_clock, spectral_growth
from smallinit.sim import GD, AdamW, SignGD
from smallinit.theory import exact

ALL = [c for part in (decay_clock, class_frequency, spectral_growth) for c in part.claims()]
PLANTED = {
    "power of the frequency": lambda: class_frequency.frequency_claim(-0.9),
    "not exponential": lambda: class_frequency.frequency_claim(optimizer=GD),
    "another exponent": lambda: class_frequency.frequency_claim(optimizer=lambda rate: AdamW(rate)),
    "decay too strong": lambda: decay_clock.clock_claim(
        lambda L, s, d: exact.homogeneous_decayed_blow_up(L, s, 1.2 * d)
    ),
    "degree ignored": lambda: decay_clock.clock_claim(
        lambda L, s, d: exact.homogeneous_decayed_blow_up(3, s, d)
    ),
    "time a little off": lambda: decay_clock.clock_claim(
        lambda L, s, d: (1 + 1e-5) * exact.homogeneous_decayed_blow_up(L, s, d)
    ),
    "balances fall more slowly": lambda: decay_clock.balance_claim(1.0),
    "modes differ": lambda: spectral_growth.spectral_claim(SignGD),
    "plateaus": lambda: spectral_growth.spectral_claim(GD),
}


@pytest.mark.parametrize("claim", ALL, ids=lambda c: c.number)
def test_they_hold_and_are_quick(claim):
    claim.verify()  # compiles
    begin = time.perf_counter()
    found = claim.verify()
    assert found.status == HOLDS, found.sentence
    assert time.perf_counter() - begin < 10.0  # some 1 s on an idle machine


@pytest.mark.parametrize("fault", PLANTED)
def test_a_wrong_claim_is_caught(fault):
    assert PLANTED[fault]().verify().status == FAILS


def test_they_are_listed():
    listed = [c.number for c in claims()]
    assert [c.number for c in ALL] == listed[-len(ALL) :]
    assert len(set(listed)) == len(listed)


def test_losses_of_classes_lose_no_digits():
    logits = np.zeros((1, 8, 8))
    logits[0] += 40.0 * np.eye(8)
    np.testing.assert_allclose(class_frequency.losses(logits), np.log1p(7 * np.exp(-40.0)), rtol=1e-12)


def test_modes_are_those_of_the_signature_matrix():
    weights = spectral_growth.data().training_weights
    M = np.diag(weights) @ (np.eye(6) - 1 / 6)
    left, strengths, right = spectral_growth.modes()
    assert strengths.shape == (5,)
    np.testing.assert_allclose((left * strengths) @ right.T, M, atol=1e-14)
