"""Losses of sequences that are there with several labels: their logits are formed once."""

import numpy as np
import pytest

from smallinit.sim.compile import logits as compiled
from smallinit.sim.trajectory import observables
from smallinit.theory import Dataset, EmbMLP


@pytest.fixture
def pairs():
    """Twelve tokens with all of twelve labels, weights and groups of all sizes, some held out."""
    rng = np.random.default_rng(0)
    token, label = (part.ravel() for part in np.indices((12, 12)))
    order = rng.permutation(144)
    return Dataset(
        token[order, None], label[order], 12, weights=rng.uniform(0.1, 3.0, 144), held_out=rng.random(144) < 0.2,
        groups=np.where(token[order] < 4, "few", "many"),
    )  # fmt: skip


@pytest.mark.parametrize("loss", ["cross_entropy", "mse", "logistic"])
def test_every_label_of_a_sequence_has_its_loss(pairs, loss, monkeypatch):
    model = EmbMLP(12, 5, 6, loss=loss)
    weights = {name: np.stack([w, 3.0 * w]) for name, w in model.init(0.1, seed=1).items()}
    evaluated = []
    plain = compiled.value
    monkeypatch.setattr(compiled, "value", lambda *a: (evaluated.append(plain(*a)), evaluated[-1])[1])
    found = observables.losses(model, weights, pairs)
    assert [len(f) for f in evaluated] == [12, 12]  # distinct sequences, at each of two times
    for i in range(2):
        f = compiled.logits(model, {name: w[i] for name, w in weights.items()}, pairs.sequences)
        each = model.loss_function.values(f, model.loss_function.targets(pairs.labels, 12))
        right = f.argmax(axis=1) == pairs.labels
        for name, rows in [("", ~pairs.held_out), *((f"/{g}", pairs.groups == g) for g in pairs.group_names)]:
            share = np.where(rows, pairs.weights, 0.0)
            share = share / share.sum()
            np.testing.assert_allclose(found[f"loss{name}"][i], share @ each, rtol=1e-14)
            np.testing.assert_allclose(found[f"accuracy{name}"][i], share @ right, rtol=1e-14)


def test_no_rows_have_no_losses():
    from smallinit.theory.models.losses import CrossEntropy

    rule, none = CrossEntropy(), np.zeros(0, int)
    assert rule.values(np.zeros((0, 5)), rule.targets(none, 5)).shape == (0,)
    assert rule.of_labels(np.zeros((0, 5)), none, none).shape == (0,)


def test_blocks_of_rows_change_no_bit(monkeypatch):
    from smallinit.theory.models import losses

    rng = np.random.default_rng(1)
    f, labels = 10.0 * rng.normal(size=(50, 40)), rng.integers(0, 40, 50)
    law = rng.dirichlet(np.ones(40), 50)
    rule = losses.CrossEntropy()
    whole = [rule.values(f, targets) for targets in (rule.targets(labels, 40), law)]
    top = f.max(axis=1)
    fit = f[np.arange(50), labels]
    np.testing.assert_allclose(whole[0], top + np.log(np.exp(f - top[:, None]).sum(axis=1)) - fit, atol=1e-13)
    monkeypatch.setattr(losses, "BLOCK", 100)
    for before, targets in zip(whole, (rule.targets(labels, 40), law), strict=True):
        np.testing.assert_array_equal(rule.values(f, targets), before)
