"""Data sets from tables: by number or by name, and the first error with its line, its column and a remedy."""

import json

import numpy as np
import pandas
import pytest

from smallinit.theory import Dataset
from smallinit.theory.base.disk.npz import read_arrays

CSV = "first,second,label,weight,group,held_out\nthe,cat,sat,2,animals,no\na,dog,ran,1,animals,no\nthe,dog,ran,1,,yes\n"


def written(tmp_path, text, name="a.csv"):
    (tmp_path / name).write_text(text)
    return tmp_path / name


def test_names_get_numbers_and_are_kept(tmp_path):
    text = CSV.replace(",,yes", ",more,yes")
    data = Dataset.from_csv(written(tmp_path, text))
    assert data.vocabulary == ("a", "cat", "dog", "ran", "sat", "the")
    assert data.d_vocab == 6
    words = np.array(data.vocabulary)
    assert words[data.sequences].tolist() == [["the", "cat"], ["a", "dog"], ["the", "dog"]]
    assert words[data.labels].tolist() == ["sat", "ran", "ran"]
    np.testing.assert_allclose(data.weights, [2 / 3, 1 / 3, 1 / 3])
    assert data.held_out.tolist() == [False, False, True]
    assert data.group_names == ("animals", "more")


def test_numbers_stay_what_they_are(tmp_path):
    data = Dataset.from_csv(written(tmp_path, "a;b;label\n3;1;4\n1;0;2\n"))
    assert data.sequences.tolist() == [[3, 1], [1, 0]]
    assert (data.d_vocab, data.vocabulary) == (5, None)
    mixed = Dataset.from_csv(written(tmp_path, "a,b,label\n3,1,yes\n1,0,no\n"))
    assert mixed.vocabulary == ("0", "1", "3", "no", "yes")
    padded = Dataset.from_csv(written(tmp_path, "a,b,label\n007,7,1\n"))  # two names, not one number
    assert padded.vocabulary == ("007", "1", "7")


def test_every_form_of_a_table_gives_the_same_data(tmp_path):
    rows = [{"sequence": ["x", "y"], "label": "z"}, {"sequence": "y x", "label": "x"}]
    lines = Dataset.from_jsonl(written(tmp_path, "\n\n".join(map(json.dumps, rows)) + "\n", "a.jsonl"))
    one = Dataset.from_csv(written(tmp_path, "sequence,label\nx y,z\ny x,x\n"))
    frame = Dataset.from_dataframe(pandas.DataFrame({"p": ["x", "y"], "q": ["y", "x"], "label": ["z", "x"]}))
    assert lines.fingerprint == one.fingerprint == frame.fingerprint
    assert lines.vocabulary == one.vocabulary == frame.vocabulary == ("x", "y", "z")


def test_what_a_frame_says_is_read_back(tmp_path):
    data = Dataset.from_csv(written(tmp_path, CSV.replace(",,yes", ",more,yes")))
    again = Dataset.from_dataframe(data.to_dataframe())
    assert again.fingerprint == data.fingerprint
    plain = Dataset([[0, 1], [1, 2]], [2, 0], 3, weights=[1.0, 3.0])
    back = Dataset.from_dataframe(plain.to_dataframe(), d_vocab=3)
    assert back.fingerprint == plain.fingerprint


def test_names_of_other_data_keep_their_numbers(tmp_path):
    data = Dataset.from_csv(written(tmp_path, "a,label\nx,y\nz,y\n"))
    other = Dataset.from_csv(written(tmp_path, "a,label\nz,z\n", "b.csv"), vocabulary=data.vocabulary)
    assert other.sequences.tolist() == [[2]]
    with pytest.raises(
        ValueError, match=r"b.csv, line 2: the token 'w' is not in the vocabulary: choose one of x, y, z"
    ):
        Dataset.from_csv(written(tmp_path, "a,label\nw,z\n", "b.csv"), vocabulary=data.vocabulary)


def test_text_keeps_its_words(tmp_path):
    data = Dataset.from_text(written(tmp_path, "one two three one two", "a.txt"), n_ctx=1)
    assert data.vocabulary == ("<unk>", "one", "two", "three")


def test_an_npz_is_what_experiments_read(tmp_path):
    data = Dataset([[0, 1], [1, 2]], [2, 0], 3, groups=["a", "b"])
    arrays = read_arrays(
        data.save(tmp_path / "a.npz"), ("sequences", "labels"), ("weights", "groups", "held_out")
    )
    assert Dataset(arrays["sequences"], arrays["labels"], 3, **{n: arrays[n] for n in ("weights", "groups", "held_out")}
                   ).fingerprint == data.fingerprint  # fmt: skip
    with pytest.raises(FileExistsError):
        data.save(tmp_path / "a.npz")
    with pytest.raises(ValueError, match=r"must end in \.npz"):
        data.save(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,label\n1,2\n3\n", r"line 3: has 1 cell where line 1 names 2: give it as many"),
        ("a,label\n1,\n", r"line 2: `label` is empty: give a token"),
        (
            "a,lable\n1,2\n",
            r"`label` 'label' is no column of .*line 2: did you mean 'lable'; give the name of the one",
        ),
        ("a,label,weight\n1,2,0\n", r"line 2: `weight` must be a positive number, got '0'"),
        ("a,label,weight\n1,2,1\n1,2,\n", r"line 3: `weight` is empty: give every row one, or none"),
        ("a,label,held_out\n1,2,maybe\n", r"line 2: `held_out` must be true or false, got 'maybe'"),
        ("a,a,label\n1,2,3\n", r"line 1: must name every column once"),
        ("a,label\n9999999,2\n", r"line 2: the token 9999999 is beyond the vocabulary of 1,048,576"),
        ("label\n1\n", r"line 2: has no tokens: give a column `sequence`"),
        ("a,label\n", r"a\.csv has no rows: give it a line for each sequence"),
        ("", r"a\.csv is empty: give it a line that names the columns"),
        ("\n\n", r"a\.csv is empty"),
        ('a,label\n"1,2\n', r"is no CSV"),
        (
            "sequence,label\n1 2,3\n1,3\n",
            r"line 3: `sequence` has 1 token where line 2 has 2: give all the same",
        ),
        ("sequence,label,more\n1 2,3,4\n", r"line 2: unknown column `more` beside `sequence`"),
        ("a,label\n1,2\n-1,2\n", r"line 3: must have whole numbers from 0 on .* got '-1': change it"),
        ("a,label\n1.0,2\n3,2\n", r"line 2: must have whole numbers from 0 on .* got '1.0'"),
        ("a,label\n1,2\n3,nan\n", r"line 3: must have whole numbers from 0 on .* got 'nan'"),
        (f"a,label\n1,2\n{10**22},2\n", r"line 3: must have whole numbers from 0 on .* got '10"),
    ],
)
def test_the_first_error_says_where_what_and_what_to_do(tmp_path, text, said):
    with pytest.raises(ValueError, match=said):
        Dataset.from_csv(written(tmp_path, text))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", r"line 2: is no JSON"),
        ("[1, 2]", r"line 2: must be an object"),
        (
            '{"sequence": [1, 2.5], "label": 1}',
            r"line 2: `sequence` must be a token, a number from 0 on or a name, got 2.5",
        ),
        ('{"sequence": [1, true], "label": 1}', r"line 2: `sequence` must be a token.*got True"),
        ('{"sequence": [1, 2], "label": -1}', r"line 2: `label` must be a token.*got -1"),
        (
            '{"sequence": 5, "label": 1}',
            r"line 2: `sequence` must be tokens parted by blanks or a list, got 5",
        ),
    ],
)
def test_lines_of_json_that_are_none(tmp_path, line, said):
    with pytest.raises(ValueError, match=said):
        Dataset.from_jsonl(written(tmp_path, '{"sequence": [0, 1], "label": 1}\n' + line, "a.jsonl"))


def test_keys_of_json_mean_in_every_line_what_they_mean_in_the_first(tmp_path):
    first = '{"a": 1, "b": 2, "label": 3}\n'
    data = Dataset.from_jsonl(written(tmp_path, first + '{"b": 5, "label": 3, "a": 4}\n', "a.jsonl"))
    assert data.sequences.tolist() == [[1, 2], [4, 5]]
    for line, said in (
        ('{"a": 1, "c": 2, "label": 3}', "line 2: has no column `b`"),
        ('{"a": 1, "b": 2, "c": 2, "label": 3}', "line 2: unknown column `c` beside `a`"),
        ('{"sequence": [1, 2], "label": 3}', "line 2: has no column `a`"),
    ):
        with pytest.raises(ValueError, match=said):
            Dataset.from_jsonl(written(tmp_path, first + line, "a.jsonl"))


@pytest.mark.parametrize("name", ["weight", "group"])
@pytest.mark.parametrize("order", [1, -1])
def test_a_line_of_json_without_what_others_have_is_named(tmp_path, name, order):
    rows = [{"a": 1, "label": 3, name: 2}, {"a": 4, "label": 3}][::order]
    path = written(tmp_path, "\n".join(map(json.dumps, rows)), "a.jsonl")
    with pytest.raises(ValueError, match=f"line {2 if order > 0 else 1}: `{name}` is empty: give every row"):
        Dataset.from_jsonl(path)


def test_frames_hold_arrays_and_name_columns_once():
    frame = pandas.DataFrame({"sequence": [np.array([1, 2]), [np.int64(0), 3]], "label": [1, 2]})
    assert Dataset.from_dataframe(frame).sequences.tolist() == [[1, 2], [0, 3]]
    for columns in (["a", "a", "label"], [0, "0", "label"]):
        with pytest.raises(ValueError, match="`frame` must name every column once, got"):
            Dataset.from_dataframe(pandas.DataFrame([[1, 2, 3]], columns=columns))


def test_a_gap_in_a_frame_hides_no_flag(tmp_path):
    frame = pandas.DataFrame({"a": [0, 1], "label": [1, 2], "held_out": [1.0, np.nan]})
    assert Dataset.from_dataframe(frame).held_out.tolist() == [True, False]
    frame.to_csv(tmp_path / "a.csv", index=False)
    assert Dataset.from_csv(tmp_path / "a.csv").held_out.tolist() == [True, False]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_ends_of_lines_and_marks_of_byte_order_change_nothing(tmp_path, end):
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbf" + end.join(["a,label", "1,2", '"0",1', ""]).encode())
    assert Dataset.from_csv(path).sequences.tolist() == [[1], [0]]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"columns": "ab"}, "`columns` must be names of columns, such as"),
        ({"columns": []}, "`columns` must be names of columns, such as"),
        ({"columns": ["a", "a"]}, "`columns` must be distinct"),
        ({"columns": ["a", "label"]}, "without that of labels, 'label'"),
        ({"vocabulary": "xy"}, "`vocabulary` must be distinct names of tokens, got 'xy'"),
        ({"vocabulary": [0, 1]}, "`vocabulary` must be distinct names of tokens, got .0, 1"),
        ({"vocabulary": 5}, "`vocabulary` must be distinct names of tokens, got 5"),
        ({"vocabulary": ["\ud800"]}, "has a name that is no text"),
        ({"d_vocab": "5"}, "`d_vocab` must be an integer of at least 1, got '5'"),
        ({"d_vocab": 0}, "`d_vocab` must be an integer of at least 1, got 0"),
    ],
)
def test_what_cannot_be_asked_of_a_table_is_refused(tmp_path, options, said):
    with pytest.raises(ValueError, match=said):
        Dataset.from_csv(written(tmp_path, "a,b,label\n1,0,1\n"), **options)


def test_a_huge_weight_is_refused(tmp_path):
    line = f'{{"sequence": [1, 2], "label": 3, "weight": 1{"0" * 400}}}'
    with pytest.raises(ValueError, match="line 1: `weight` must be a positive number"):
        Dataset.from_jsonl(written(tmp_path, line, "a.jsonl"))


def test_what_is_no_table_or_vocabulary_is_refused():
    with pytest.raises(ValueError, match=r"`frame` must be a pandas.DataFrame, got list"):
        Dataset.from_dataframe([1])
    with pytest.raises(ValueError, match="row 1 of the frame: `a` must be a token"):
        Dataset.from_dataframe(pandas.DataFrame({"a": [1, None], "label": [1, 2]}))
    for names, said in ((("a", "a"), "distinct names"), (("a", "b", "c"), "has 3 names for `d_vocab` = 2")):
        with pytest.raises(ValueError, match=said):
            Dataset([[0]], [1], 2, vocabulary=names)


def test_groups_in_a_column_of_another_name(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,b,answer,kind\n1,2,0,rule\n2,1,1,noise\n")
    data = Dataset.from_csv(path, label="answer", group="kind")
    assert (data.n_ctx, sorted(data.group_names)) == (2, ["noise", "rule"])
    with pytest.raises(ValueError, match=r"`group` 'knid' is no column of .*line 2: did you mean 'kind'\?"):
        Dataset.from_csv(path, label="answer", group="knid")
    path.write_text("a,group,label,kind\n1,x,0,rule\n")
    with pytest.raises(ValueError, match=r"`group` 'kind' and 'group' are both columns of .*: rename one"):
        Dataset.from_csv(path, group="kind")
