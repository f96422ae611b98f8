"""Words of any script stay whole; what cannot be seen splits none."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallinit.theory import Lexicon, read_text
from smallinit.theory.data.splitting import has_words, split_words

WHOLE = {
    "Hindi": "नमस्ते दुनिया हिन्दी",
    "Tamil": "வணக்கம் உலகம்",
    "Hebrew with points": "שָׁלוֹם עֲלֵיכֶם",
    "Arabic with points": "مُحَمَّد",
    "Thai": "กำลัง ที่",
    "Vietnamese": "tiếng Việt".lower(),
    "Persian, zero-width non-joiner": "می\u200cخواهم",  # noqa: RUF001
    "Hindi, zero-width joiner": "क्\u200dष",
    "Hebrew, gershayim and maqaf": "צה״ל בית־ספר",
    "Catalan": "col·lecció",
    "non-breaking hyphen": "co\u2011operate",
    "hyphens and apostrophes": "well-known don't don\u2019t",
    "letters that have no single character": "x\u0301y\u0323",
}


@pytest.mark.parametrize("name", WHOLE)
def test_words_stay_whole(name):
    text = unicodedata.normalize("NFC", WHOLE[name])
    assert split_words(WHOLE[name]) == text.split()


UNSEEN = {
    "soft hyphen": ("co\u00adoper\u00adate", ["cooperate"]),
    "byte order mark": ("one\ufefftwo \ufeffthree", ["onetwo", "three"]),
    "word joiner": ("a\u2060b", ["ab"]),
    "marks of direction": ("\u202babc\u202c \u200eabc", ["abc", "abc"]),
    "zero-width space": ("one\u200btwo", ["one", "two"]),
    "joiners at the edges": ("\u200dabc\u200c \u200c", ["abc"]),
    "a letter that lower case takes apart": ("İstanbul", ["i\u0307stanbul"]),
}


@pytest.mark.parametrize("name", UNSEEN)
def test_what_cannot_be_seen_splits_no_word(name):
    text, words = UNSEEN[name]
    assert split_words(text) == words


def test_pictures_of_several_characters_are_one_sign():
    assert split_words("ok 👩\u200d👩\u200d👧 ❤\ufe0f!") == ["ok", "👩\u200d👩\u200d👧", "❤\ufe0f", "!"]


def test_equal_looks_are_equal_words():
    assert split_words("e\u0301te\u0301 été ÉTÉ") == ["été"] * 3
    assert split_words("co\u00adop coop") == ["coop", "coop"]


PLAIN = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*|[^\w\s]|_")


@given(st.text("abcXYZ ß'\u2019-_.,!?\n\t1234()\"\u2013éàÅ", max_size=60))
def test_plain_text_is_split_as_ever(text):
    assert split_words(text) == PLAIN.findall(unicodedata.normalize("NFC", text).lower())


@given(st.text(max_size=60))
def test_any_text_is_split_once_and_for_all(text):
    words = split_words(text)
    assert split_words(" ".join(words)) == words
    assert has_words(text) == bool(words)
    assert all(word and not word.isspace() for word in words)
    seen = [c for w in words for c in w]
    assert all(unicodedata.category(c) != "Cf" or c in "\u200c\u200d" for c in seen)


def test_a_vocabulary_of_words_with_marks(tmp_path):
    text = "नमस्ते दुनिया नमस्ते हिन्दी " * 5
    lexicon = Lexicon.of(text)
    assert set(lexicon.words) == {"<unk>", "नमस्ते", "दुनिया", "हिन्दी"}
    assert lexicon.decode(lexicon.encode(text)) == text.strip()
    path = tmp_path / "text.txt"
    path.write_text("\ufeff" + text, encoding="utf-8")
    assert read_text(path) == text
    path.write_text("\u200b\u00ad\ufeff \n", encoding="utf-8")
    with pytest.raises(ValueError, match="has no words in it"):
        read_text(path)
