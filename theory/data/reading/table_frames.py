"""A data set as a data frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas


def frame_of(data: Any) -> pandas.DataFrame:
    """Set the rows of a `Dataset` in columns, one for each position; tokens by name if all have one."""
    import pandas

    named = data.vocabulary is not None and len(data.vocabulary) == data.d_vocab
    read = np.array(data.vocabulary, dtype=object) if named else np.arange(data.d_vocab)
    columns = {f"token_{i}": read[column] for i, column in enumerate(data.sequences.T)}
    last = {"label": read[data.labels], "weight": data.weights.copy(), "group": data.groups.astype(object)}
    return pandas.DataFrame(columns | last | {"held_out": data.held_out.copy()})
