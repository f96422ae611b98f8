import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smallinit.theory.data.dataset import Dataset


@st.composite
def raw_data(draw):
    """Small random data with repeated rows, repeated tokens, held-out rows and uneven weights."""
    d_vocab = draw(st.integers(1, 6))
    n, n_ctx = draw(st.integers(1, 12)), draw(st.integers(1, 4))
    token = st.integers(0, d_vocab - 1)
    sequences = draw(st.lists(st.lists(token, min_size=n_ctx, max_size=n_ctx), min_size=n, max_size=n))
    labels = draw(st.lists(token, min_size=n, max_size=n))
    weights = draw(st.lists(st.floats(0.1, 10.0), min_size=n, max_size=n))
    held_out = [False, *draw(st.lists(st.booleans(), min_size=n - 1, max_size=n - 1))]
    groups = draw(st.lists(st.sampled_from(["a", "b"]), min_size=n, max_size=n))
    return sequences, labels, d_vocab, weights, groups, held_out


def one_hot_signature(sequences, labels, d_vocab, weights, held_out):
    """M, written as the definition says, row by row."""
    M = np.zeros((d_vocab, d_vocab))
    for row, label, weight, out in zip(sequences, labels, weights, held_out, strict=True):
        counts = np.bincount(row, minlength=d_vocab)
        M += (not out) * weight * np.outer(counts, np.eye(d_vocab)[label] - 1.0 / d_vocab)
    return M / sum(w for w, out in zip(weights, held_out, strict=True) if not out)


@given(raw_data())
@settings(max_examples=60, deadline=None)
def test_statistics_equal_their_definition(raw):
    sequences, labels, d_vocab, weights, groups, held_out = raw
    data = Dataset(sequences, labels, d_vocab, weights=weights, groups=groups, held_out=held_out)
    expected = one_hot_signature(sequences, labels, d_vocab, weights, held_out)
    np.testing.assert_allclose(data.signature(), expected, atol=1e-14)
    pairs, occurrences = data.signature_parts()
    dense = pairs.toarray() - np.outer(occurrences, np.full(d_vocab, 1 / d_vocab))
    np.testing.assert_allclose(dense, expected, atol=1e-14)
    np.testing.assert_allclose(data.weights[~data.held_out].sum(), 1.0)
    np.testing.assert_allclose(data.occurrences.sum(), data.n_ctx)
    np.testing.assert_allclose(data.signature().sum(axis=1), 0.0, atol=1e-14)


@given(raw_data())
@settings(max_examples=60, deadline=None)
def test_merging_keeps_first_occurrence_order_and_total_weight(raw):
    sequences, labels, d_vocab, weights, groups, held_out = raw
    data = Dataset(sequences, labels, d_vocab, weights=weights, groups=groups, held_out=held_out)
    total = {}
    both = {name for name, out in zip(groups, held_out, strict=True) if out} & {
        name for name, out in zip(groups, held_out, strict=True) if not out
    }
    named = [
        name + ("-test" if out else "-train") * (name in both)
        for name, out in zip(groups, held_out, strict=True)
    ]
    for row, weight in zip(
        zip(map(tuple, sequences), labels, named, held_out, strict=True), weights, strict=True
    ):
        total[row] = total.get(row, 0.0) + weight
    merged = zip(
        map(tuple, data.sequences.tolist()),
        data.labels.tolist(),
        data.groups.tolist(),
        data.held_out.tolist(),
        strict=True,
    )
    assert list(merged) == list(total)
    scale = sum(weight for row, weight in total.items() if not row[3])
    np.testing.assert_allclose(data.weights, np.array(list(total.values())) / scale)


@given(raw_data(), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_label_law_is_the_row_of_the_signature(raw, token):
    sequences, labels, d_vocab, weights, groups, held_out = raw
    data = Dataset(sequences, labels, d_vocab, weights=weights, groups=groups, held_out=held_out)
    if token >= d_vocab or data.occurrences[token] == 0:
        with pytest.raises(ValueError, match="must occur in a training sequence"):
            data.label_law(token)
        return
    law = data.label_law(token)
    np.testing.assert_allclose(law.sum(), 1.0)
    np.testing.assert_allclose(
        data.occurrences[token] * (law - 1 / d_vocab), data.signature()[token], atol=1e-14
    )


def test_repeated_token_counts_twice():
    data = Dataset([[1, 1, 0]], [2], d_vocab=3)
    assert data.counts.toarray().tolist() == [[1.0, 2.0, 0.0]]
    assert data.counts.nnz == 2
    assert data.occurrences.tolist() == [1.0, 2.0, 0.0]


def test_held_out_rows_keep_the_scale_but_take_no_part():
    data = Dataset([[0], [1], [2]], [0, 1, 2], d_vocab=3, weights=[1, 3, 4], held_out=[False, False, True])
    assert data.weights.tolist() == [0.25, 0.75, 1.0]
    assert data.training_weights.tolist() == [0.25, 0.75, 0.0]
    assert data.occurrences.tolist() == [0.25, 0.75, 0.0]


def test_defaults_and_names():
    data = Dataset([[0, 1], [1, 0]], [0, 1], d_vocab=2)
    assert data.group_names == ("all",)
    assert data.weights.tolist() == [0.5, 0.5]
    assert not data.held_out.any()
    assert data.token_groups == {}
    assert (len(data), data.n_ctx, data.d_vocab) == (2, 2, 2)
    assert data.sequences.dtype == data.labels.dtype == np.int64
    assert Dataset([[0]] * 3, [0] * 3, 1, groups=["z", "a", "z"]).group_names == ("z", "a")


def test_one_token_vocabulary_has_no_signal():
    assert Dataset([[0, 0]], [0], d_vocab=1).signature().tolist() == [[0.0]]


def test_arrays_are_read_only_copies():
    sequences = np.array([[0, 1]])
    data = Dataset(sequences, [0], d_vocab=2)
    sequences[:] = 1
    assert data.sequences.tolist() == [[0, 1]]
    with pytest.raises(ValueError, match="read-only"):
        data.sequences[0, 0] = 1
    with pytest.raises(AttributeError):
        data.d_vocab = 3


def test_fingerprint_changes_with_every_field():
    base = {"sequences": [[0, 1], [1, 2]], "labels": [0, 1], "d_vocab": 3}
    changes = [
        {},
        {"sequences": [[0, 1], [2, 2]]},
        {"labels": [0, 2]},
        {"d_vocab": 4},
        {"weights": [1, 2]},
        {"groups": ["a", "b"]},
        {"groups": ["b", "a"]},
        {"held_out": [False, True]},
        {"token_groups": {"x": [1]}},
        {"token_groups": {"y": [1]}},
    ]
    prints = [Dataset(**(base | change)).fingerprint for change in changes]
    assert len(set(prints)) == len(changes)
    assert prints[0] == Dataset(**base, groups=["all", "all"]).fingerprint
    assert len(prints[0]) == hashlib.sha256().digest_size * 2


def test_large_vocabulary_stays_sparse():
    d_vocab, n = 50_257, 5_000
    rng = np.random.default_rng(0)
    data = Dataset(rng.integers(d_vocab, size=(n, 20)), rng.integers(d_vocab, size=n), d_vocab)
    pairs, occurrences = data.signature_parts()
    assert pairs.nnz <= 20 * n
    assert occurrences.shape == (d_vocab,)
    np.testing.assert_allclose(pairs.sum(), 20.0)
    with pytest.raises(ValueError, match=r"18\.8 GiB.*signature_parts"):
        data.signature()


def test_wide_rows_merge_exactly():
    # 40 columns of 1000 tokens overflow a single 64-bit code several times over.
    rng = np.random.default_rng(1)
    rows = rng.integers(1000, size=(50, 40))
    near = rows.copy()
    near[:, -1] = (near[:, -1] + 1) % 1000
    near_first = rows.copy()
    near_first[:, 0] = (near_first[:, 0] + 1) % 1000
    everything = np.concatenate([rows, near, rows, near_first])
    data = Dataset(everything, np.zeros(200, dtype=int), 1000)
    np.testing.assert_array_equal(data.sequences, np.concatenate([rows, near, near_first]))
    np.testing.assert_allclose(data.weights, np.repeat([2.0, 1.0, 1.0], 50) / 200)


GOOD = {"sequences": [[0, 1], [1, 0]], "labels": [0, 1], "d_vocab": 2}
BAD = [
    ({"sequences": [[0, 2], [1, 0]]}, r"`sequences` must lie in \[0, d_vocab\) = \[0, 2\), got 2"),
    ({"sequences": [[0, -1], [1, 0]]}, "`sequences` must lie in .* got -1"),
    ({"labels": [0, 2]}, r"`labels` must lie in \[0, d_vocab\) = \[0, 2\), got 2"),
    ({"labels": [0]}, r"`labels` must have shape \(2,\).*got \(1,\)"),
    ({"labels": [[0], [1]]}, r"`labels` must have 1 axis, got shape \(2, 1\)"),
    ({"sequences": [], "labels": []}, "`sequences` must have 2 axes, got shape"),
    ({"sequences": np.zeros((0, 2), int), "labels": []}, "`sequences` must not be empty"),
    ({"sequences": np.zeros((2, 0), int)}, "`sequences` must not be empty"),
    ({"sequences": [[0, 1], [1]]}, "`sequences` must be a rectangular array, got rows of different lengths"),
    ({"sequences": [[0.0, 1.0], [1.0, 0.0]]}, "`sequences` must hold integers, got dtype float64"),
    ({"sequences": [[True, False]] * 2}, "`sequences` must hold integers, got dtype bool"),
    ({"sequences": [["a", "b"]] * 2}, "`sequences` must hold integers"),
    ({"sequences": [[None, None]] * 2}, "`sequences` must be a rectangular array of numbers"),
    ({"labels": [0.0, np.nan]}, "`labels` must hold integers"),
    ({"d_vocab": 0}, "`d_vocab` must be an integer of at least 1, got 0"),
    ({"d_vocab": 2.0}, "`d_vocab` must be an integer of at least 1, got 2.0"),
    ({"d_vocab": True}, "`d_vocab` must be an integer of at least 1, got True"),
    ({"weights": [1, -1]}, r"`weights` must be finite and positive, got -1.0 at index 1"),
    ({"weights": [1, 0]}, "`weights` must be finite and positive, got 0.0"),
    ({"weights": [1, np.nan]}, "`weights` must be finite and positive, got nan"),
    ({"weights": [1, np.inf]}, "`weights` must be finite and positive, got inf"),
    ({"weights": [1e308, 1e308]}, "`weights` must have a finite sum"),
    ({"weights": [1]}, r"`weights` must have shape \(2,\)"),
    ({"weights": ["a", "b"]}, "`weights` must hold real numbers"),
    ({"groups": ["a"]}, r"`groups` must have shape \(2,\)"),
    ({"groups": [1, 2]}, "`groups` must be a name, got 1"),
    ({"groups": ["a", ""]}, "`groups` must be a name, got ''"),
    ({"held_out": [True, True]}, "`held_out` must leave at least one training sequence, got all 2"),
    ({"held_out": [0, 1]}, "`held_out` must hold booleans, got dtype int64"),
    ({"held_out": [True]}, r"`held_out` must have shape \(2,\)"),
    ({"token_groups": {"x": [2]}}, r"`token_groups\['x'\]` must lie in"),
    ({"token_groups": {"x": []}}, r"`token_groups\['x'\]` must not be empty"),
    ({"token_groups": {1: [0]}}, "`token_groups` must be a name, got 1"),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=[str(i) for i in range(len(BAD))])
def test_bad_input_is_refused_in_one_sentence(change, message):
    with pytest.raises(ValueError, match=message) as caught:
        Dataset(**(GOOD | change))
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


NO_NAMES = ["", "nul\0", "\ud800", "two\nlines", "tab\t", "bell\a", "a\u2028b", "x" * 201, 3, None]


@pytest.mark.parametrize("name", NO_NAMES, ids=ascii)
def test_names_that_no_file_or_figure_can_hold_are_refused_when_the_data_set_is_made(name):
    with pytest.raises(ValueError, match="`groups` must be a name"):
        Dataset([[0], [1]], [0, 1], 2, groups=["a", name])
    with pytest.raises(ValueError, match="`token_groups` must be a name"):
        Dataset([[0], [1]], [0, 1], 2, token_groups={name: [0]})


@pytest.mark.parametrize(
    "name", ["_hidden", "$x^$", "a/b", "50 %", "हिन्दी", "x" * 200, "<b>", "a|b"], ids=ascii
)
def test_all_other_names_are_kept(name):
    data = Dataset([[0], [1]], [0, 1], 2, groups=["a", name], token_groups={name: [0]})
    assert data.group_names == ("a", name)
    assert list(data.token_groups) == [name]
