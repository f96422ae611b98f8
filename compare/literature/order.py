"""The order in which a rule and noise are learned: two regimes of the label laws given a token."""

from __future__ import annotations

import numpy as np

from ...theory.base.crossings import first_reached
from ...theory.data.dataset import Dataset
from ...theory.flows.flow import derive
from ...theory.models.embed_unembed import EmbedUnembed
from .claim import Claim, Finding, judged

SOURCE = "arXiv 2502.04375, in the linear model of arXiv 2509.20124"
PRIME, NOISE, GROUPS, SEEDS, FALLEN = 11, 0.2, ("rule", "noise"), 3, 0.9


def order_claim(modular: bool, first: str = "rule") -> Claim:
    """Which labels a linear model learns first, those that follow a rule or those that are noise.

    Parameters
    ----------
    modular : bool
        Addition modulo p, where every token has the same label law, or of integers.
    first : {"rule", "noise"}
        The group whose loss is claimed to fall first.
    """

    def test() -> Finding:
        from ...sim.integration.integrate import integrate

        runs = []
        for seed in range(SEEDS):
            data, rng = noisy_addition(modular, seed), np.random.default_rng(seed)
            model = EmbedUnembed(data.d_vocab, 8)
            start = {name: 0.01 * rng.normal(size=shape) for name, shape in model.weights.items()}
            path = integrate(derive(model, "exact"), data, start, t1=2000.0, save_at=201)
            share = np.array([path[f"loss/{group}"] / path[f"loss/{group}"][0] for group in GROUPS])
            runs.append(share[:, first_reached(share.min(axis=0) < FALLEN)])
        rule, noise = np.mean(runs, axis=0)
        winners = {GROUPS[int(np.argmin(run))] if run.min() < FALLEN else "neither" for run in runs}
        return judged(
            winners == {first},
            f"when the first of them is at {FALLEN} of its start, the loss of the rule is {rule:.3f} and that of the "
            f"noise {noise:.3f} (mean of {len(runs)} seeds; first: {' or '.join(sorted(winners))})",
            rule=rule,
            noise=noise,
        )

    kind = (
        f"modulo {PRIME} (uniform marginals: every token has the same label law)"
        if modular
        else "of integers"
    )
    return Claim(
        f"D order, {'modular' if modular else 'integers'}",
        SOURCE,
        f"labels that follow {'a rule' if first == 'rule' else 'no rule'} are learned first",
        f"true flow of EmbedUnembed, entries of size .01; addition {kind}, {NOISE:.0%} of the labels random",
        f"loss of the two groups when one has fallen to {FALLEN} of its start, in each of {SEEDS} seeds",
        test,
    )


def noisy_addition(modular: bool, seed: int) -> Dataset:
    """All pairs with their sums, a part of which is replaced by noise; groups rule and noise."""
    rng = np.random.default_rng(seed)
    a, b = np.divmod(np.arange(PRIME**2), PRIME)
    sums = (a + b) % PRIME if modular else a + b
    noisy = rng.random(sums.size) < NOISE
    labels = np.where(noisy, rng.integers(0, sums.max() + 1, sums.size), sums)
    groups = np.array(GROUPS)[noisy.astype(int)]
    return Dataset(np.stack([a, b], axis=1), labels, int(sums.max()) + 1, groups=groups)
