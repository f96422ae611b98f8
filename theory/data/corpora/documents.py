"""A corpus of one's own: a text file of documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from ...base.folders import digest_of
from ..splitting import has_words, split_words
from ..words import read_text

FEWEST, FEWEST_WORDS = 10, 1000  # of a corpus; far fewer are learnt by heart at once


@dataclass(frozen=True)
class Documents:
    """The documents of a text file, one a line, or one a paragraph where blank lines stand between them.

    Attributes
    ----------
    name, sha256 : str
        Of the file, without its folder.
    texts : tuple of str
        Each without line breaks.
    """

    name: str
    sha256: str
    texts: tuple[str, ...]

    @classmethod
    def read(cls, path: str | Path) -> Documents:
        """Read a file.

        Parameters
        ----------
        path : path
            As in `read_text`.

        Raises
        ------
        FileNotFoundError
            If there is none.
        ValueError
            If it is no text, or has fewer than 10 documents or 1000 words.
        """
        texts, separator = split_documents(read_text(path))
        if len(texts) < FEWEST:
            raise ValueError(
                f"{path} has {len(texts)} documents, separated by {separator}: give {FEWEST} or more, one a line "
                "without blank lines, or with blank lines between them."
            )
        words = sum(len(split_words(text)) for text in texts)
        if words < FEWEST_WORDS:
            raise ValueError(
                f"{path} has {words} words, too few to train on: give a text of {FEWEST_WORDS} or more."
            )
        return cls(Path(path).name, digest_of(Path(path)), texts)

    def record(self) -> dict[str, Any]:
        """What names the file."""
        return {"file": self.name, "sha256": self.sha256, "documents": len(self.texts)}


def split_documents(text: str) -> tuple[tuple[str, ...], str]:
    """Split a text at blank lines if there are any between its lines, else at every line.

    Returns
    -------
    tuple of str, str
        The documents, and what separates them: "blank lines" or "line breaks".
    """
    lines = [line.strip() for line in text.strip().splitlines()]
    parts = [" ".join(group) for filled, group in groupby(lines, has_words) if filled]
    if len(parts) > 1:
        return tuple(parts), "blank lines"
    return tuple(lines), "line breaks"


def pick_documents(texts: Sequence[str], length: int, most: int) -> list[str]:
    """At most so many documents, evenly spaced: of those with up to `length` words if they are enough, else of all."""
    whole = [text for text in texts if len(split_words(text)) <= length]
    among = whole if len(whole) >= most else list(texts)
    return [among[i * len(among) // most] for i in range(most)] if len(among) > most else among
