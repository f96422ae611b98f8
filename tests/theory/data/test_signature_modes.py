"""Modes of the signature matrix and the interventions that change them one at a time."""

import numpy as np
import pytest
from helpers import random_data

from smallinit.theory import CompositeTask, Dataset, shuffle_labels, signature_modes, subset
from smallinit.theory.data import signature_modes as module


def grouped(seed=0, n=60, d_vocab=9):
    rng = np.random.default_rng(seed)
    return Dataset(
        rng.integers(0, d_vocab, (n, 3)), rng.integers(0, d_vocab, n), d_vocab, weights=rng.uniform(0.1, 1, n),
        groups=np.where(np.arange(n) % 3 == 0, "a", "b"), held_out=np.arange(n) % 7 == 0,
    )  # fmt: skip


def by_hand(data, groups, law):
    """Sum over rows, token by token."""
    signature = np.zeros((data.d_vocab, data.d_vocab))
    for x, y, w, group, held in zip(
        data.sequences, data.labels, data.weights, data.groups, data.held_out, strict=True
    ):
        if group in groups and not held:
            for token in x:
                signature[token] += w * (np.eye(data.d_vocab)[y] - law)
    return signature


@pytest.mark.parametrize("groups", [("a-train",), ("b-train",), ("a-train", "b-train")])
@pytest.mark.parametrize("centring", ["uniform", "group", "data"])
def test_modes_rebuild_the_centred_signature(groups, centring):
    data = grouped()
    train = ~data.held_out
    mine = train & np.isin(data.groups, groups)
    law = {
        "uniform": np.full(9, 1 / 9),
        "group": np.bincount(data.labels[mine], data.weights[mine], 9) / data.weights[mine].sum(),
        "data": np.bincount(data.labels[train], data.weights[train], 9),
    }[centring]
    modes = signature_modes(data, groups, centring=centring, n_modes=9)
    rebuilt = modes.tokens * modes.strengths @ modes.labels.T
    np.testing.assert_allclose(rebuilt, by_hand(data, groups, law), atol=1e-14)


def test_uniform_centring_is_the_data_sets_signature():
    data = random_data()
    modes = signature_modes(data, centring="uniform", n_modes=7)
    np.testing.assert_allclose(modes.tokens * modes.strengths @ modes.labels.T, data.signature(), atol=1e-14)


def test_the_composite_tasks_spectra_are_those_of_the_formula_sheet():
    """theory.md, "why reasoning first": .0050, .0047, .0047 and about .0030, .0026, .0024."""
    data = CompositeTask().dataset()
    reasoning = signature_modes(data, "reasoning-train", n_modes=3).strengths
    memory = signature_modes(data, "memory", n_modes=3).strengths
    assert np.round(reasoning, 4).tolist() == [0.0050, 0.0047, 0.0047]
    assert np.all((memory > 0.0024) & (memory < 0.0031))


def test_a_large_vocabulary_is_decomposed_by_products_alone(monkeypatch):
    data = grouped(n=300, d_vocab=40)
    dense = signature_modes(data, "b-train", n_modes=4)
    monkeypatch.setattr(module, "DENSE_ENTRIES", 0)
    sparse = signature_modes(data, "b-train", n_modes=4)
    np.testing.assert_allclose(sparse.strengths, dense.strengths, rtol=1e-10)
    np.testing.assert_allclose(sparse.labels, dense.labels, atol=1e-8)


def test_overlap_is_one_inside_a_span_and_zero_across():
    modes = signature_modes(grouped(), n_modes=5)
    np.testing.assert_allclose(modes.overlap(modes, 2), [1, 1, 0, 0, 0], atol=1e-12)


def test_thinning_scales_the_noise_and_keeps_the_share():
    """Memory labels are noise: a third of the sequences, sqrt(3) times the spectrum."""
    data = CompositeTask(range(11, 31), range(1, 6), range(6, 11), masked=((6, 8),)).dataset()
    memory = data.groups == "memory"
    keep = ~memory | (np.random.default_rng(0).random(len(data)) < 1 / 3)
    thin = subset(data, keep)
    shares = [d.weights[(d.groups == "memory") & ~d.held_out].sum() for d in (data, thin)]
    assert shares[0] == pytest.approx(shares[1], rel=1e-12)
    before, after = (signature_modes(d, "memory", n_modes=10).strengths for d in (data, thin))
    assert np.median(after / before) == pytest.approx(np.sqrt(3), rel=0.15)
    same = signature_modes(thin, "reasoning-train").strengths
    np.testing.assert_allclose(same, signature_modes(data, "reasoning-train").strengths, rtol=1e-12)


def test_shares_scale_a_groups_spectrum():
    data = grouped()
    share = data.weights[data.groups == "a-train"].sum()
    other = subset(data, np.ones(len(data), dtype=bool), {"a-train": 0.2, "b-train": 0.8})
    ratio = signature_modes(other, "a-train").strengths / signature_modes(data, "a-train").strengths
    np.testing.assert_allclose(ratio, 0.2 / share, rtol=1e-10)


def test_shuffling_keeps_sequences_and_label_frequencies():
    data = grouped()
    shuffled = shuffle_labels(data, "a-train", seed=3)
    train = data.groups == "a-train"
    assert sorted(shuffled.labels[train]) == sorted(data.labels[train])
    assert (shuffled.labels[train] != data.labels[train]).any()
    assert (shuffled.labels[~train] == data.labels[~train]).all()
    assert shuffled.fingerprint != data.fingerprint


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda d: signature_modes(d, "c"), "`groups` names 'c'"),
        (
            lambda d: signature_modes(d, centring="mean"),
            "`centring` 'mean' is unknown: choose one of uniform",
        ),
        (lambda d: signature_modes(d, statistic="X"), "`statistic` 'X' is unknown: choose one of C"),
        (lambda d: signature_modes(d, n_modes=0), "`n_modes`"),
        (lambda d: subset(d, [True]), "`keep` must be 60 booleans"),
        (lambda d: subset(d, d.groups == "a-train"), "leaves the group 'b-train' without"),
        (lambda d: subset(d, d.groups != "z", {"z": 1.0}), "for 'z'"),
        (lambda d: subset(d, d.groups != "z", {"a-train": 0.0}), "positive"),
        (lambda d: shuffle_labels(d, "z"), "`group` 'z'"),
    ],
)
def test_bad_input_is_named(call, word):
    with pytest.raises(ValueError, match=word):
        call(grouped())
