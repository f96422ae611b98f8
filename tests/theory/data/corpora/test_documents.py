import hashlib

import pytest

from smallinit.theory.data.corpora.documents import Documents, pick_documents, split_documents

LINES = [f"Document {i} has these words : " + "word " * 100 for i in range(12)]


def test_one_document_a_line(tmp_path):
    path = tmp_path / "proofs.txt"
    path.write_text("\n".join(LINES) + "\n\n")  # blank lines at the end separate nothing
    found = Documents.read(path)
    assert found.texts == tuple(line.strip() for line in LINES)
    assert found.record() == {
        "file": "proofs.txt",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "documents": 12,
    }


def test_blank_lines_separate_documents_of_several_lines():
    text = "Once upon\n a time.\n\n\nThe end.\n \t\n- - -\nAnd on.\n"
    assert split_documents(text) == (("Once upon a time.", "The end.", "- - - And on."), "blank lines")
    assert split_documents("a\r\nb\r\n") == (("a", "b"), "line breaks")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\n".join(LINES[:9]), "has 9 documents, separated by line breaks: give 10 or more, one a line"),
        ("\n".join(LINES[:6]) + "\n\n" + "\n".join(LINES[6:]), "has 2 documents, separated by blank lines"),
        ("few words\n" * 10, "has 20 words, too few to train on: give a text of 1000 or more"),
        ("a\0b", "is binary"),
        (" \n", "has no words in it"),
    ],
)
def test_what_is_no_corpus_is_refused(tmp_path, text, said):
    path = tmp_path / "corpus.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=said):
        Documents.read(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*none.txt: give the path"):
        Documents.read(tmp_path / "none.txt")


def test_documents_that_fit_come_first_and_are_spread():
    texts = [" ".join(["w"] * n) for n in (1, 9, 2, 9, 3, 9, 4, 9)]
    assert [len(t.split()) for t in pick_documents(texts, 4, 2)] == [1, 3]
    assert [len(t.split()) for t in pick_documents(texts, 4, 4)] == [1, 2, 3, 4]
    assert [len(t.split()) for t in pick_documents(texts, 3, 4)] == [
        1,
        2,
        3,
        4,
    ]  # three fit: of all, every other
    assert pick_documents(texts, 4, 99) == texts
