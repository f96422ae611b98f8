from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smallinit.theory import AttentionOnly, Dataset, Lexicon, read_text
from smallinit.theory.data.corpora.stories import story_corpus
from smallinit.theory.data.splitting import split_words
from smallinit.theory.data.words import UNKNOWN

SAMPLE = "The cat sat. The cat's hat, the well-known HAT!\n"


def written(tmp_path, content):
    path = tmp_path / "text.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_words_are_lower_case_and_punctuation_stands_alone():
    words = ["the", "cat", "sat", ".", "the", "cat's", "hat", ",", "the", "well-known", "hat", "!"]
    assert split_words(SAMPLE) == words
    assert split_words("it\u2019s -- caf\u00e9_3") == ["it\u2019s", "-", "-", "caf\u00e9", "_", "3"]
    assert split_words("cafe\u0301") == ["caf\u00e9"]


def test_the_most_frequent_words_are_kept_and_ties_are_alphabetical():
    lexicon = Lexicon.of(SAMPLE, 5)
    assert lexicon.words == (UNKNOWN, "the", "hat", "!", ",")
    assert lexicon.encode("The dog, the HAT").tolist() == [1, 0, 4, 1, 2]
    assert lexicon.decode([1, 0, 2]) == "the <unk> hat"
    assert Lexicon.of(SAMPLE).words[3:] == tuple(sorted(set(split_words(SAMPLE)) - {"the", "hat"}))


@given(st.text(max_size=80))
@settings(max_examples=100, deadline=None)
def test_a_whole_vocabulary_loses_only_case_and_space(text):
    words = split_words(text)
    if words:
        lexicon = Lexicon.of(text)
        assert lexicon.decode(lexicon.encode(text)).split(" ") == words
        assert len(lexicon) == len(set(words)) + 1


def test_last_token_windows_are_the_n_grams_of_the_text(tmp_path):
    path = written(tmp_path, "a b a b a c a b " * 5)
    data = Dataset.from_text(path, n_ctx=2)
    ids = Lexicon.of(read_text(path)).encode(read_text(path)).tolist()
    expected = Counter(zip(ids, ids[1:], ids[2:], strict=False))
    found = {
        (*row, label): weight * 38
        for row, label, weight in zip(
            data.sequences.tolist(), data.labels.tolist(), data.weights, strict=True
        )
    }
    assert found == pytest.approx(expected)
    assert data.group_names == ("train",)


def test_next_token_windows_tile_the_text():
    text = " ".join("abcdefghij")
    data = Lexicon.of(text).dataset(text, 3, "next-token")
    assert data.sequences.tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    assert data.labels.tolist() == [4, 7, 10]


def test_next_token_models_read_their_labels_off_the_text():
    text = story_corpus(3)
    lexicon = Lexicon.of(text)
    ids = lexicon.encode(text)
    data = lexicon.dataset(text, 5, "next-token")
    labels = AttentionOnly(len(lexicon), 5).row_labels(data.sequences, data.labels)
    assert labels.tolist() == ids[1 : 1 + labels.size].tolist()
    assert labels.size == 5 * ((len(ids) - 1) // 5)


def test_windows_may_start_with_the_lines():
    text = "a b c\n\n  \nd e\nf g h i\nj"
    lexicon = Lexicon.of(text)
    data = lexicon.dataset(text, 3, "next-token", stride="line")
    assert [lexicon.decode(row) for row in data.sequences] == ["a b c", "d e f", "f g h"]
    assert [lexicon.words[label] for label in data.labels] == ["d", "g", "i"]
    ends = lexicon.dataset(text, 3, stride="line", held_out=0.5)
    assert ends.held_out.tolist() == [
        False,
        True,
    ]  # a b c -> d; d e f -> g would lie on both sides of the cut
    assert lexicon.dataset(text, 3, stride="line", max_sequences=1).sequences.shape == (1, 3)


@given(st.text(max_size=60))
@settings(max_examples=100, deadline=None)
def test_the_words_of_the_lines_are_those_of_the_text(text):
    assert [word for line in text.splitlines() for word in split_words(line)] == split_words(text)


@pytest.mark.parametrize("words", [(), ("a",), (UNKNOWN, "a", "a"), ("a", UNKNOWN)])
def test_a_lexicon_begins_with_the_unknown_word_and_has_no_word_twice(words):
    with pytest.raises(ValueError, match="`words` must be '<unk>' and distinct words"):
        Lexicon(words)


def test_held_out_windows_lie_behind_the_training_text():
    text = " ".join(f"w{i}" for i in range(50))
    lexicon = Lexicon.of(text)
    data = lexicon.dataset(text, 3, held_out=0.2)
    position = np.array([int(word[1:]) for word in lexicon.words[1:]])
    train = data.groups == "train"
    assert (data.held_out == ~train).all()
    assert position[data.labels[train] - 1].max() == 39
    assert position[data.sequences[~train] - 1].min() == 40
    assert (train.sum(), (~train).sum()) == (37, 7)


def test_fewer_windows_are_spread_over_the_text():
    text = " ".join(f"w{i:02}" for i in range(50))
    lexicon = Lexicon.of(text)
    data = lexicon.dataset(text, 3, max_sequences=5)
    assert [lexicon.words[t] for t in data.sequences[:, 0]] == ["w00", "w09", "w18", "w28", "w37"]


def test_a_mixture_gives_every_text_the_same_weight_and_its_own_tokens():
    texts = {"x": "a b . " * 30, "y": "c d . " * 10}
    lexicon = Lexicon.of("".join(texts.values()))
    data = lexicon.dataset(texts, 2, held_out=0.2)
    assert set(data.group_names) == {"x-train", "x-test", "y-train", "y-test"}
    for name in texts:
        assert data.weights[data.groups == f"{name}-train"].sum() == pytest.approx(0.5)
        assert lexicon.decode(data.token_groups[name]) == {"x": "a b", "y": "c d"}[name]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no words in it: give a text file that has some."),
        (" \n\t", "has no words in it"),
        ("a word\n".encode("utf-16"), "is UTF-16, as some programs write it: save it as UTF-8."),
        ("a word\n".encode("utf-32"), "is UTF-32, as some programs write it: save it as UTF-8."),
        (
            b"\0\0\xfe\xff" + "a".encode("utf-32-be"),
            "is UTF-32, as some programs write it: save it as UTF-8.",
        ),
        (b"\x7fELF\x00\x01", "is binary (a zero byte at offset 4): give a plain text file in UTF-8."),
        ("caf\u00e9".encode("latin-1"), "is not UTF-8 (byte 0xe9 at offset 3): convert it to UTF-8 first."),
        (
            "a b c d",
            "has 4 words, too few for one window of `n_ctx` = 4 and the word after it: give at least 5.",
        ),
    ],
)
def test_unusable_files_are_refused_in_one_sentence(tmp_path, content, message):
    with pytest.raises(ValueError, match=r"^[^\n]*$") as caught:
        Dataset.from_text(written(tmp_path, content), n_ctx=4)
    assert message in str(caught.value)


def test_a_byte_order_mark_is_no_word(tmp_path):
    assert read_text(written(tmp_path, b"\xef\xbb\xbfword")) == "word"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*nothing\.txt"):
        read_text(tmp_path / "nothing.txt")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vocab_size": 99}, "`vocab_size` is 99 but the text has 3 distinct words: give at most 4"),
        ({"vocab_size": 1}, "`vocab_size` must be an integer of at least 2, got 1"),
        ({"task": "next"}, "`task` 'next' is unknown: choose one of last-token, next-token"),
        ({"stride": 0}, "`stride` must be an integer of at least 1, got 0"),
        ({"max_sequences": 0}, "`max_sequences` must be an integer of at least 1, got 0"),
        ({"held_out": 1.0}, r"`held_out` must lie in \[0, 1\), got 1.0"),
        ({"held_out": 0.99}, "`held_out` = 0.99 leaves no window of the text for training"),
        ({"held_out": 0.05}, "`held_out` = 0.05 leaves no window of the text to hold out"),
    ],
)
def test_arguments_are_checked(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        Dataset.from_text(written(tmp_path, "a b c " * 10), 2, **options)


def test_the_novel(novel):
    data = Dataset.from_text(novel, 4, 300, held_out=0.1)
    lexicon = Lexicon.of(read_text(novel), 300)
    assert {"the", "i", "school", "porcupine"} <= set(lexicon.words)
    assert "gutenberg" not in Lexicon.of(read_text(novel), 1000).words
    again = Dataset.from_text(str(novel), 4, 300, held_out=0.1)
    assert data.fingerprint == again.fingerprint
    assert len(data) > 40_000
