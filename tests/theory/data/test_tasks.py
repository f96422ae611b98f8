from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smallinit.theory.data.tasks import CompositeTask

SMALL = {
    "keys": range(20, 23),
    "memory_anchors": range(1, 3),
    "reasoning_anchors": (4, 5, 7),
    "masked": ((4, 5),),
}


@st.composite
def tasks(draw, max_noise=2):
    """Draw small tasks of every shape: sets with gaps, any q, noise, uneven positions, masks."""
    pool = draw(st.permutations(range(12)))
    n_keys, n_memory, n_reasoning = (draw(st.integers(1, 3)) for _ in range(3))
    cuts = np.cumsum([0, n_keys, n_memory, n_reasoning])
    keys, memory, reasoning = (pool[a:b] for a, b in pairwise(cuts))
    q, noise = draw(st.integers(1, 3)), draw(st.integers(0, max_noise))
    every = list(product(reasoning, repeat=q))
    masked = draw(st.lists(st.sampled_from(every), max_size=3))
    positions = draw(st.lists(st.integers(0, 3), min_size=noise + 1, max_size=noise + 1))
    return CompositeTask(
        keys=keys,
        memory_anchors=memory,
        reasoning_anchors=reasoning,
        n_anchors=q,
        length=q + 1 + noise,
        masked=masked,
        positions=positions if sum(positions) else None,
        seed=draw(st.integers(0, 5)),
    )


def by_brute_force(task):
    """Every sequence with its weight, label and group, straight from the words of A1."""
    rows, q = {}, task.n_anchors
    for kind, members in (("memory", task.memory_anchors), ("reasoning", task.reasoning_anchors)):
        for anchors in product(members, repeat=q):
            for p, weight in enumerate(task.positions):
                for key, *noise in product(task.keys, repeat=1 + task.n_noise):
                    if weight == 0:
                        continue
                    row = (*noise[:p], key, *anchors, *noise[p:])
                    group = "memory"
                    label = int(task.memory_labels([key], [anchors])[0])
                    if kind == "reasoning":
                        label = key + sum(anchors)
                        group = "reasoning-test" if anchors in task.masked else "reasoning-train"
                    rows[row] = (label, group, weight / len(task.keys) ** (1 + task.n_noise))
    return rows


@given(tasks())
@settings(max_examples=40, deadline=None)
def test_enumeration_equals_brute_force(task):
    data, expected = task.dataset(), by_brute_force(task)
    assert len(data) == task.n_sequences == len(expected)
    scale = sum(weight for _, group, weight in expected.values() if group != "reasoning-test")
    for row, label, group, weight, out in zip(
        data.sequences.tolist(), data.labels, data.groups, data.weights, data.held_out, strict=True
    ):
        assert expected[tuple(row)][:2] == (label, group)
        assert out == (group == "reasoning-test")
        assert weight == pytest.approx(expected[tuple(row)][2] / scale, rel=1e-12)


@given(tasks(), st.integers(1, 60), st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_samples_are_enumerated_rows_with_equal_numbers_per_tuple(task, n, seed):
    n_tuples = sum(task._n_tuples())
    data = task.sampled(n * n_tuples, seed)
    every = dict(zip(map(tuple, task.dataset().sequences.tolist()), task.dataset().labels, strict=True))
    per_tuple = {}
    scale = data.weights.sum()
    for row, label, weight in zip(data.sequences.tolist(), data.labels, data.weights, strict=True):
        assert every[tuple(row)] == label
        anchors = tuple(token for token in row if token not in task.keys)
        per_tuple[anchors] = per_tuple.get(anchors, 0.0) + weight / scale
    assert len(per_tuple) == n_tuples
    np.testing.assert_allclose(list(per_tuple.values()), 1.0 / n_tuples)


def test_default_is_the_emb_mlp_setting():
    data = CompositeTask().dataset()
    assert (len(data), data.n_ctx, data.d_vocab) == (20_000, 3, 161)
    assert data.held_out.sum() == 200
    assert (~data.held_out).sum() == 19_800
    assert data.labels.max() == 160
    assert data.group_names == ("memory", "reasoning-train", "reasoning-test")
    np.testing.assert_allclose(data.weights, 1.0 / 19_800, rtol=1e-12)
    assert set(map(tuple, data.sequences[data.held_out][:, 1:].tolist())) == {(11, 13), (13, 11)}
    assert {name: group.tolist() for name, group in data.token_groups.items()} == {
        "keys": list(range(21, 121)),
        "memory-anchors": list(range(1, 11)),
        "reasoning-anchors": list(range(11, 21)),
    }


def test_demo_vocabulary():
    task = CompositeTask(
        keys=range(11, 31), memory_anchors=range(1, 6), reasoning_anchors=range(6, 11), masked=()
    )
    assert task.d_vocab == 51
    assert len(task.dataset()) == 20 * 50


def test_memory_labels_depend_on_seed_and_tuple_only():
    task = CompositeTask(**SMALL)
    longer = CompositeTask(**(SMALL | {"length": 5, "reasoning_anchors": (4, 5), "d_vocab": 99}))
    keys, anchors = np.array([20, 21, 22]), np.array([[1, 2], [2, 2], [2, 1]])
    labels = task.memory_labels(keys, anchors)
    assert set(labels) <= set(task.keys)
    np.testing.assert_array_equal(labels, longer.memory_labels(keys, anchors))
    np.testing.assert_array_equal(labels[[2, 0]], task.memory_labels(keys[[2, 0]], anchors[[2, 0]]))
    full = [CompositeTask(seed=seed).dataset().labels[:10_000] for seed in (0, 1)]
    # Two independent draws from 100 keys agree about once in a hundred.
    assert np.mean(full[0] == full[1]) == pytest.approx(0.01, abs=0.005)


def test_memory_labels_are_uniform_and_independent_of_the_tuple():
    data = CompositeTask().dataset()
    rows = data.groups == "memory"
    labels = data.labels[rows] - 21
    counts = np.bincount(labels, minlength=100)
    # chi2 with 99 degrees of freedom: mean 99, sd 14.1
    assert 45 < ((counts - 100.0) ** 2 / 100).sum() < 165
    for column in data.sequences[rows].T:
        assert abs(np.corrcoef(column, labels)[0, 1]) < 0.05
    neighbours = labels.reshape(10, 10, 100)
    for axis in range(3):
        assert np.mean(np.diff(neighbours, axis=axis) == 0) == pytest.approx(0.01, abs=0.006)


@pytest.mark.parametrize(
    "more", [{}, {"length": 5}, {"length": 4, "positions": [3, 1]}, {"seed": 3, "d_vocab": 300}]
)
def test_a_task_shows_what_makes_it(more):
    task = CompositeTask(**more)
    assert repr(task).startswith("CompositeTask(keys=range(21, 121), memory_anchors=range(1, 11), ")
    assert eval(repr(task), {"CompositeTask": CompositeTask}) == task  # noqa: S307
    assert "reasoning_anchors=(10, 14, 20)" in repr(
        CompositeTask(reasoning_anchors=(14, 10, 20), masked=(), memory_anchors=[1])
    )


def test_sampled_is_reproducible_and_seeded():
    task = CompositeTask(length=9)
    assert task.sampled(500).fingerprint == task.sampled(500).fingerprint
    assert task.sampled(500, seed=3).fingerprint == task.sampled(500, seed=3).fingerprint
    assert task.sampled(500, seed=3).fingerprint != task.sampled(500, seed=4).fingerprint


def test_sampled_remainder_goes_to_distinct_tuples():
    task = CompositeTask(**SMALL)
    data = task.sampled(13 + 4, seed=0)
    scale = data.weights.min()
    counts = {}
    for row, weight in zip(data.sequences[:, 1:].tolist(), data.weights / scale, strict=True):
        counts[tuple(row)] = counts.get(tuple(row), 0) + round(weight)
    assert sorted(counts.values()) == [1] * 9 + [2] * 4


def test_sampled_converges_to_the_enumeration():
    task = CompositeTask(**SMALL, length=4, positions=[3, 1])
    exact, sample = task.dataset().signature(), task.sampled(130_000, seed=0).signature()
    assert np.abs(exact - sample).max() < 0.01
    assert np.abs(exact).max() > 0.05


def test_balanced_pairs_need_whole_rounds():
    task = CompositeTask(range(5, 9), (1, 2), (3, 4), length=5, masked=(), seed=0)
    cells = 8 * 4 * len(task.positions)  # tuples, keys, positions
    with pytest.raises(
        ValueError, match=f"multiple of {cells} where `balanced`, got {cells + 1}: take {cells}"
    ):
        task.sampled(cells + 1, balanced=True)


def test_balanced_pairs_give_the_exact_label_laws():
    """One pair for every tuple, position and key: what noise cannot change is that of the enumeration."""
    task = CompositeTask(**SMALL, length=5, positions=[3, 0, 1])
    exact = task.dataset()
    n = exact.sequences.shape[0] // len(task.keys) ** task.n_noise
    sample = task.sampled(n, seed=1, balanced=True)
    assert sample.sequences.shape[0] <= n < exact.sequences.shape[0]
    anchors = [*task.memory_anchors, *task.reasoning_anchors]
    np.testing.assert_allclose(sample.signature()[anchors], exact.signature()[anchors], atol=1e-15)
    assert np.abs(task.sampled(n, seed=1).signature()[anchors] - exact.signature()[anchors]).max() > 1e-3
    assert sample.fingerprint == task.sampled(n, seed=1, balanced=True).fingerprint
    last = [
        np.bincount(data.labels, data.weights * (data.sequences[:, -1] == anchors[-1]))
        for data in (sample, exact)
    ]
    np.testing.assert_allclose(*last, atol=1e-15)


def test_position_law_moves_the_key():
    task = CompositeTask(**SMALL, length=5, positions=[0, 0, 1])
    data = task.dataset()
    assert len(data) == task.n_sequences == 13 * 27
    assert np.isin(data.sequences[:, :3], task.keys).all()
    reasoning = data.groups != "memory"
    np.testing.assert_array_equal(data.labels[reasoning], data.sequences[reasoning, 2:].sum(axis=1))


def test_too_many_sequences_point_to_sampling():
    with pytest.raises(ValueError, match=r"would enumerate 600,000,000 sequences .*use `sampled\(n\)`"):
        CompositeTask(length=5).dataset()
    for length in (9, 5000):
        with pytest.raises(
            ValueError, match=r"would enumerate more than 10\^15 sequences .*use `sampled\(n\)`"
        ):
            CompositeTask(length=length).dataset()


def test_a_sample_of_a_huge_task_needs_no_table():
    task = CompositeTask(n_anchors=15, length=20, masked=())
    data = task.sampled(1000)
    assert data.sequences.shape == (1000, 20)
    with pytest.raises(ValueError, match="`n_anchors` gives more than"):
        CompositeTask(n_anchors=40, length=50, masked=()).sampled(10)


BAD = [
    ({"keys": range(0)}, "`keys` must not be empty"),
    ({"memory_anchors": []}, "`memory_anchors` must not be empty"),
    ({"reasoning_anchors": range(5, 5)}, "`reasoning_anchors` must not be empty"),
    ({"keys": range(20, 121)}, "`keys` and `reasoning_anchors` must be disjoint, both hold 20"),
    (
        {"memory_anchors": range(1, 12)},
        "`memory_anchors` and `reasoning_anchors` must be disjoint, both hold 11",
    ),
    ({"keys": [30, 30]}, "`keys` must hold distinct tokens, got 30 twice"),
    ({"keys": [30.0]}, "`keys` must be an integer of at least 0, got 30.0"),
    ({"keys": [-1]}, "`keys` must be an integer of at least 0, got -1"),
    ({"keys": 7}, r"`keys` must be a range or a list of integers, such as range\(21, 41\), got 7"),
    (
        {"keys": "21-40"},
        r"`keys` must be a range or a list of integers, such as range\(21, 41\), got '21-40'",
    ),
    ({"n_anchors": 0}, "`n_anchors` must be an integer of at least 1, got 0"),
    ({"n_anchors": 2.0}, "`n_anchors` must be an integer of at least 1, got 2.0"),
    ({"length": 2}, r"`length` must be at least `n_anchors` \+ 1 = 3, got 2"),
    ({"masked": ((11, 1),)}, r"`masked` must hold tuples of 2 reasoning anchors, got \(11, 1\)"),
    ({"masked": ((11,),)}, r"`masked` must hold tuples of 2 reasoning anchors, got \(11,\)"),
    ({"masked": (11, 13)}, "`masked` must be a list of tuples of integers"),
    ({"reasoning_anchors": range(15, 20)}, "`masked=\\(\\)` holds nothing out"),
    ({"positions": [1, 1]}, r"`positions` must have shape \(1,\)"),
    ({"length": 4, "positions": [1e308, 1e308]}, "`positions` must have a positive finite sum, got inf"),
    ({"positions": [0]}, "`positions` must have a positive finite sum, got 0.0"),
    ({"positions": [-1]}, "`positions` must be finite and not negative, got -1.0"),
    ({"positions": [np.nan]}, "`positions` must be finite and not negative, got nan"),
    ({"seed": -1}, "`seed` must be an integer of at least 0, got -1"),
    ({"seed": 0.5}, "`seed` must be an integer of at least 0, got 0.5"),
    ({"d_vocab": 160}, "`d_vocab` must be at least 161 to hold every token and label, got 160"),
    ({"d_vocab": "161"}, "`d_vocab` must be an integer of at least 1, got '161'"),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=[str(i) for i in range(len(BAD))])
def test_bad_input_is_refused_in_one_sentence(change, message):
    with pytest.raises(ValueError, match=message) as caught:
        CompositeTask(**change)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("n", [0, -3, 2.5, True])
def test_bad_sample_size(n):
    with pytest.raises(ValueError, match="`n` must be"):
        CompositeTask().sampled(n)
