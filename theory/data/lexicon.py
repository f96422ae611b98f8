"""Real text as a training set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..base.validate import passed_on
from .dataset import Dataset
from .words import Words


@dataclass(frozen=True, repr=False)
class Lexicon(Words):
    """A closed vocabulary of words: token ``i`` is ``words[i]``, and token 0 stands for every other word.

    Attributes
    ----------
    words : tuple of str
        ``"<unk>"``, then the words from the most to the least frequent, equally frequent ones in alphabetical order.
    """

    def dataset(
        self, texts: str | Mapping[str, str], n_ctx: int, task: str = "last-token", **options: Any
    ) -> Dataset:
        """Cut texts into windows of `n_ctx` tokens, each labelled with the token after it.

        Arguments, among them `stride`, `max_sequences` and `held_out`, and errors are those of `Words.windows`. Equal
        windows are one row; its weight counts them.
        """
        asked = passed_on("Lexicon.dataset", self.windows, options, "n_ctx", "task")
        return Dataset(**self.windows(texts, n_ctx, task, **asked))
