"""Files of sequences: tables, texts and arrays, told apart by what their names end in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...theory.base.disk.npz import read_arrays
from ...theory.base.errors import FieldError, InputError
from .sections import Data, alternatives

if TYPE_CHECKING:
    import numpy as np

    from ...theory.data.dataset import Dataset

ARRAYS = ("sequences", "labels")
OPTIONAL_ARRAYS = ("weights", "groups", "held_out", "vocabulary")
TABLES = (".csv", ".tsv", ".jsonl")
# End of a file's name -> keys of [data] that say how it is read.
DATA_KEYS = {
    ".txt": ("n_ctx", "vocab_size", "held_out", "max_sequences"),
    **dict.fromkeys(TABLES, ("label", "group")),
}

ENDS = (*TABLES, ".txt", ".npz")


def read_dataset(
    file: str, d_vocab: int | None, spec: Data | None = None, vocabulary: Sequence[str] | None = None
) -> Dataset:
    """Read sequences and labels by what the file's name ends in: .npz, .csv, .tsv, .jsonl or .txt.

    Parameters
    ----------
    file : str
        Where.
    d_vocab : int or None
        Size of the vocabulary; as large as the file needs if None.
    spec : Data, optional
        What else the experiment says of its data.
    vocabulary : sequence of str, optional
        Names of the tokens of other data, which are to be these.

    Raises
    ------
    ValueError
        If it cannot be read, with the line and the remedy.
    """
    from ...theory.data.dataset import Dataset

    if not Path(file).exists():
        raise InputError(f"there is no file {file!r}: give the path of a table, a text or an .npz.")
    suffix = Path(file).suffix.lower()
    if suffix not in ENDS:
        raise InputError(
            f"{file!r} ends in none of {', '.join(ENDS)}, by which data are read: rename the file."
        )
    options: dict[str, Any] = {} if spec is None else spec.options
    if unfit := [key for key in options if key not in DATA_KEYS.get(suffix, ())]:
        fitting = [end for end, keys in DATA_KEYS.items() if unfit[0] in keys]
        raise FieldError(
            unfit[0], f"goes with {alternatives(fitting)} and the data are {file!r}: leave it out."
        )
    if suffix == ".txt":
        options.setdefault("vocab_size", d_vocab)
        if "n_ctx" not in options:
            raise FieldError("n_ctx", "is missing: set the number of words in a window of the text.")
        return Dataset.from_text(file, **options)
    if suffix in TABLES:
        read = Dataset.from_jsonl if suffix == ".jsonl" else Dataset.from_csv
        return read(file, d_vocab=d_vocab, vocabulary=vocabulary, **options)
    arrays = read_arrays(Path(file), ARRAYS, OPTIONAL_ARRAYS)
    return Dataset(
        arrays["sequences"],
        arrays["labels"],
        d_vocab or _needed_vocabulary(arrays),
        weights=arrays.get("weights"),
        groups=arrays.get("groups"),
        held_out=arrays.get("held_out"),
        vocabulary=arrays["vocabulary"].tolist() if "vocabulary" in arrays else None,
    )


def _needed_vocabulary(arrays: Mapping[str, np.ndarray]) -> int:
    """Return the smallest vocabulary; arrays that are no tokens at all are left for `Dataset` to refuse."""
    largest = [int(a.max()) for name in ARRAYS if (a := arrays[name]).size and a.dtype.kind in "iu"]
    named = arrays["vocabulary"].size if "vocabulary" in arrays else 1
    return max(named, 1 + max(0, *largest)) if largest else named
