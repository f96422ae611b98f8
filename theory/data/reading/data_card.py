"""What a notebook shows of a data set: its groups, and its first sequences by name."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...printing import html as markup

FIRST, LONGEST = 5, 12  # sequences shown, and tokens of each


def data_card(data: Any) -> str:
    """Set a `Dataset` as HTML."""
    share = data.training_weights
    groups = []
    for name in data.group_names:
        rows = data.groups == name
        labels = len(np.unique(data.labels[rows]))
        hidden = int(data.held_out[rows].sum())
        groups.append((name, f"{rows.sum():,}", f"{share[rows].sum():.1%}", f"{hidden:,}", labels))
    first = [
        (" ".join(_name(data, i) for i in sequence[:LONGEST]) + (" ..." if data.n_ctx > LONGEST else ""),
         _name(data, label), group)
        for sequence, label, group in zip(
            data.sequences[:FIRST], data.labels[:FIRST], data.groups[:FIRST], strict=True)
    ]  # fmt: skip
    sizes = f"{len(data):,} distinct sequences of {data.n_ctx} tokens, vocabulary of {data.d_vocab:,}"
    return markup.card(
        "Dataset",
        markup.table(("group", "sequences", "of the loss", "held out", "distinct labels"), groups),
        markup.table(("sequence", "label", "group"), first, caption=f"the first {len(first)}"),
        status=sizes,
    )


def _name(data: Any, token: int) -> str:
    names = data.vocabulary or ()
    return names[token] if token < len(names) else str(token)
