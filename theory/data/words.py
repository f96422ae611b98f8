"""Text as tokens: words, a closed vocabulary of them, and windows with the word that follows."""

from __future__ import annotations

from codecs import BOM_UTF16_BE, BOM_UTF16_LE, BOM_UTF32_BE, BOM_UTF32_LE
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from ..base.arrays import tokens
from ..base.disk.regular import read_regular
from ..base.errors import FieldError
from ..base.validate import choice, integer, kind_of, path_of
from .splitting import has_words, split_words

UNKNOWN = "<unk>"
# Stride of the windows when none is given: every word once as a label, or once at some position.
TASKS = {"last-token": lambda n_ctx: 1, "next-token": lambda n_ctx: n_ctx}
# Marks at the start of files; that of UTF-32 begins as that of UTF-16 does.
WIDE = {"UTF-32": (BOM_UTF32_LE, BOM_UTF32_BE), "UTF-16": (BOM_UTF16_LE, BOM_UTF16_BE)}
_BYTE_LIMIT, _WINDOW_LIMIT = 2**30, 5_000_000


def read_text(path: str | Path) -> str:
    """Read a text file.

    Parameters
    ----------
    path : path
        UTF-8, with or without a byte order mark, at most 1 GiB.

    Returns
    -------
    str

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is too large, binary or not UTF-8, or has no words in it.
    """
    text = read_utf8_file(path)
    if not has_words(text):
        raise ValueError(f"{path} has no words in it: give a text file that has some.")
    return text


def read_utf8_file(path: str | Path) -> str:
    """Read a file of text, whatever is in it; limits and errors are those of `read_text`."""
    path = path_of("path", path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}: give the path of a text file.")
    if path.stat().st_size > _BYTE_LIMIT:
        raise ValueError(f"{path} has {path.stat().st_size:,} bytes: split it, the limit is {_BYTE_LIMIT:,}.")
    raw = read_regular(path, _BYTE_LIMIT)
    for name, marks in WIDE.items():
        if raw.startswith(marks):
            raise ValueError(f"{path} is {name}, as some programs write it: save it as UTF-8.")
    if (zero := raw.find(b"\0")) >= 0:
        raise ValueError(f"{path} is binary (a zero byte at offset {zero}): give a plain text file in UTF-8.")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8 (byte 0x{raw[error.start]:02x} at offset {error.start}): "
            "convert it to UTF-8 first."
        ) from None


@dataclass(frozen=True)
class Words:
    """A closed vocabulary of words: token ``i`` is ``words[i]``, and token 0 stands for every other word.

    Attributes
    ----------
    words : tuple of str
        ``"<unk>"``, then the words from the most to the least frequent, equally frequent ones in alphabetical order.
    """

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse words that are no vocabulary.

        Raises
        ------
        ValueError
            If ``"<unk>"`` is not the first, or a word stands twice.
        """
        if self.words[:1] != (UNKNOWN,) or len(set(self.words)) < len(self.words):
            raise FieldError(
                "words", f"must be {UNKNOWN!r} and distinct words; make a lexicon with `Lexicon.of(text)`."
            )

    @classmethod
    def of(cls, text: str, size: int | None = None) -> Self:
        """Collect the most frequent words of a text.

        Parameters
        ----------
        text : str
            What to count.
        size : int, optional
            Number of tokens, ``"<unk>"`` among them; by default one for every word.

        Raises
        ------
        ValueError
            If the text has no words, or fewer distinct ones than `size` has room for: tokens that never occur would
            stay as they were initialised.
        """
        kind_of("text", text, str, "read_text(path) reads a file")
        counts = Counter(split_words(text))
        if not counts:
            raise FieldError("text", "has no words in it: give a text that has some.")
        most = len(counts) + 1
        size = most if size is None else integer("vocab_size", size, 2)
        if size > most:
            raise FieldError(
                "vocab_size",
                f"is {size} but the text has {len(counts)} distinct words: give at most {most}, "
                f"these and {UNKNOWN!r}.",
            )
        ranked = sorted(counts, key=lambda word: (-counts[word], word))
        return cls((UNKNOWN, *ranked[: size - 1]))

    def __len__(self) -> int:
        """Return the number of tokens."""
        return len(self.words)

    def __repr__(self) -> str:
        """Show the most frequent words."""
        return f"{type(self).__name__}({len(self)} words: {' '.join(self.words[:6])} ...)"

    @cached_property
    def _tokens(self) -> dict[str, int]:
        return {word: token for token, word in enumerate(self.words)}

    def encode(self, text: str) -> npt.NDArray[np.int64]:
        """Return the tokens of a text's words, shape (number of words,)."""
        return np.array([self._tokens.get(word, 0) for word in split_words(text)], dtype=np.int64)

    def decode(self, ids: npt.ArrayLike) -> str:
        """Return the words of tokens (m,), joined by spaces."""
        return " ".join(self.words[token] for token in tokens("ids", ids, 1, len(self)))

    def windows(
        self,
        texts: str | Mapping[str, str],
        n_ctx: int,
        task: str = "last-token",
        *,
        stride: int | Literal["line"] | None = None,
        max_sequences: int | None = None,
        held_out: float = 0.0,
    ) -> dict[str, Any]:
        """Cut texts into windows of `n_ctx` tokens, each labelled with the token after it.

        Parameters
        ----------
        texts : str or mapping
            A text, or name -> text for a mixture in which every text has the same training weight. Groups are "train"
            and "test", for a mixture "NAME-train" and "NAME-test"; the token group NAME holds the tokens that are nine
            times as frequent in this text of a mixture as in the others together.
        n_ctx : int
            Tokens in a window.
        task : {"last-token", "next-token"}
            Whether the loss is to be read at the last position or at every one. The sequences are made alike, because
            it is the model that decides (`Model.per_position`); this sets how far windows overlap.
        stride : int or "line", optional
            Tokens from one window to the next: by default 1 for "last-token" and `n_ctx` for "next-token", so that
            every token of the text is predicted once. With "line" a window starts where a line of the text does; the
            lines being documents, it sees them from their beginning, and goes on into the next after a short one.
        max_sequences : int, optional
            Most windows per text, distinct or not: evenly spaced ones over the whole text.
        held_out : float
            Fraction of each text, at its end, whose windows are held out; in [0, 1).

        Returns
        -------
        dict
            Arguments of `Dataset`: sequences, labels, d_vocab, vocabulary, weights, groups, held_out, token_groups.

        Raises
        ------
        ValueError
            If an argument is out of range, or a text is too short for one window for training (and one held out).
        """
        named = {"": texts} if isinstance(texts, str) else dict(texts)
        if not named or not all(isinstance(text, str) for text in named.values()):
            raise FieldError("texts", "must be a text or map at least one name to a text.")
        n_ctx = integer("n_ctx", n_ctx, 1)
        step = _stride(task, stride, n_ctx)
        if not 0.0 <= held_out < 1.0:
            raise FieldError("held_out", f"must lie in [0, 1), got {held_out!r}.")
        parts = [
            _windows(
                name, ids := self.encode(text), n_ctx, _starts(text, step, len(ids)), max_sequences, held_out
            )
            for name, text in named.items()
        ]
        windows, out = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        source = np.repeat(np.arange(len(parts)), [len(w) for w, _ in parts])
        share = np.bincount(source[~out], minlength=len(parts))[source]
        prefix = np.array([f"{name}-" if name else "" for name in named])[source]
        own = {} if isinstance(texts, str) else _own_tokens(list(named), windows, source, len(self))
        return {
            "sequences": windows[:, :-1],
            "labels": windows[:, -1],
            "d_vocab": len(self),
            "vocabulary": self.words,
            "weights": 1.0 / share,
            "groups": np.char.add(prefix, np.where(out, "test", "train")),
            "held_out": out,
            "token_groups": own,
        }


def _stride(task: str, stride: int | str | None, n_ctx: int) -> int | None:
    """Tokens from one window to the next; None for a window a line."""
    choice("task", task, TASKS)
    if stride == "line":
        return None
    return TASKS[task](n_ctx) if stride is None else integer("stride", stride, 1)


def _starts(text: str, stride: int | None, n_words: int) -> npt.NDArray[np.int64]:
    """Where windows may start: every `stride` words, or at the first word of every line that has some."""
    if stride is not None:
        return np.arange(0, n_words, stride)
    lengths = np.array([len(split_words(line)) for line in text.splitlines()], dtype=np.int64)
    return (np.cumsum(lengths) - lengths)[lengths > 0]


def _windows(
    name: str,
    ids: npt.NDArray[np.int64],
    n_ctx: int,
    starts: npt.NDArray[np.int64],
    most: int | None,
    held_out: float,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Windows with their label (m, n_ctx + 1), and which are held out; none lies on both sides of the cut."""
    what = f"the text {name!r}" if name else "the text"
    if len(ids) <= n_ctx:
        raise ValueError(
            f"{what} has {len(ids)} words, too few for one window of `n_ctx` = {n_ctx} and the word after it: "
            f"give at least {n_ctx + 1}."
        )
    cut = len(ids) - int(held_out * len(ids))
    starts = starts[starts < len(ids) - n_ctx]
    starts = starts[(starts >= cut) | (starts + n_ctx < cut)]
    if most is not None and len(starts) > integer("max_sequences", most, 1):
        starts = starts[np.arange(most) * len(starts) // most]
    if len(starts) > _WINDOW_LIMIT:
        raise ValueError(
            f"{what} has {len(starts):,} windows (limit {_WINDOW_LIMIT:,}): set `max_sequences` or a larger `stride`."
        )
    out = starts >= cut
    if out.all() or (held_out > 0.0 and not out.any()):
        lacking = "for training" if out.all() else "to hold out"
        raise FieldError(
            "held_out",
            f"= {held_out:g} leaves no window of {what} {lacking}: it has {len(ids)} words; change it.",
        )
    return ids[starts[:, None] + np.arange(n_ctx + 1)], out


def _own_tokens(
    names: list[str], windows: npt.NDArray[np.int64], source: npt.NDArray[np.int64], d_vocab: int
) -> dict[str, npt.NDArray[np.int64]]:
    """Tokens nine times as frequent in the windows of one text as in all others; a text without any is left out."""
    shares = np.array(
        [np.bincount(windows[source == i].ravel(), minlength=d_vocab) for i in range(len(names))], dtype=float
    )
    shares /= shares.sum(axis=1, keepdims=True)
    own = {name: np.flatnonzero(shares[i] > 0.9 * shares.sum(axis=0)) for i, name in enumerate(names)}
    return {name: found for name, found in own.items() if found.size}
