"""Text into words, in any script: marks belong to their letter, what cannot be seen splits nothing.

Letters are told from marks by Unicode's categories of the characters that a text really has.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

# Between letters these join, one at a time: apostrophes, hyphens (Hebrew's too), Hebrew's geresh and gershayim, and the
# dot of Catalan.
_INSIDE = "-'\u2019\u2010\u2011\u05be\u05f3\u05f4\u00b7"
_JOINERS = "\u200c\u200d"  # zero-width: part of the spelling within a word (Persian, Hindi, emoji), nothing elsewhere
_SPACES = "\u200b"  # zero-width, but a boundary between words


def split_words(text: str) -> list[str]:
    """Split text into lower-case words and single punctuation marks; white space only separates.

    Parameters
    ----------
    text : str
        Any text; equivalent Unicode forms of a letter are made equal (NFC). Characters without a shape of their own
        (soft hyphens, byte order marks, marks of direction) are left out.

    Returns
    -------
    list of str
        Letters and digits with their marks, joined by single apostrophes or hyphens inside; else one visible
        character, or one picture of several.
    """
    clean = _visible(unicodedata.normalize("NFC", text)).lower()
    # Lower case can take a letter apart, as it does with the dotted capital I.
    return _pattern_of(clean).findall(unicodedata.normalize("NFC", clean))


def has_words(text: str) -> bool:
    """Whether there is anything in a text to be seen."""
    clean = _visible(text)
    return _pattern_of(clean).search(clean) is not None


def _visible(text: str) -> str:
    """The text without characters that have no shape; joiners stay where they follow a letter, a mark or a picture."""
    formats = set(_of_kind(text, "Cf")) - set(_JOINERS)
    table = {ord(c): " " if c in _SPACES else None for c in formats}
    return text.translate(table) if table else text


def _of_kind(text: str, kind: str) -> str:
    """The characters of a text whose category begins so, each once, in order."""
    return "".join(sorted(c for c in set(text) if unicodedata.category(c).startswith(kind)))


def _pattern_of(text: str) -> re.Pattern[str]:
    return _pattern(_of_kind(text, "M"), any(c in text for c in _JOINERS))


@lru_cache(maxsize=64)
def _pattern(marks: str, joiners: bool) -> re.Pattern[str]:
    """Pattern of one word or sign in a text with these marks, which are no letters to Python, and joiners or not."""
    m = re.escape(marks)
    mark = f"[{m}]" if marks else "(?!)"
    run, sign = r"[^\W_]+", r"[^\w\s]"
    if marks or joiners:
        joined = rf"(?:{mark}|[{_JOINERS}](?=[^\W_]|{mark}))"
        run += rf"(?:{joined}+[^\W_]*)*"
        sign = rf"[^\w\s{_JOINERS}{m}]{mark}*"
        sign += rf"(?:\u200d{sign})*|_{mark}*|{mark}+"
    return re.compile(f"{run}(?:[{_INSIDE}]{run})*|{sign}|_")
