"""What the letters of a printed page mean that the page does not define: data, and signs."""

from __future__ import annotations

import re

MEANINGS = {
    "C": "n x d_vocab: tokens of each sequence, counted",
    "C_mean": "n x d_vocab: average of a sequence's one-hot tokens",
    "X_last": "n x d_vocab: last token of each sequence, one-hot",
    "X_1": "n x d_vocab: first token of each sequence, one-hot",
    "X_2": "n x d_vocab: second token of each sequence, one-hot",
    "C_pair": "n x n_pair: average over the (position, token) pairs of a sequence",
    "T_pair": "n_pair x d_vocab: token of each pair, one-hot",
    "P_pair": "n_pair x n_ctx: position of each pair, one-hot",
    "P_last": "n x n_ctx: the last position, one-hot",
    "X": "n x d_vocab: token at each position of each sequence, one-hot",
    "P": "n x n_ctx: position of each such row, one-hot",
    "A_causal": "n x n: average over the positions of a sequence up to each",
    "P_query": "n_offset x n_ctx: of each pair of positions, the one that looks, one-hot",
    "P_key": "n_offset x n_ctx: of each pair of positions, the one looked at, one-hot",
    "P_offset": "n_offset x n_ctx: of each pair of positions, the distance, one-hot",
    "X_all": "n_all x d_vocab: token at each position of each sequence, one-hot",
    "P_all": "n_all x n_ctx: position of each such row, one-hot",
    "A_all": "n_all x n_all: average over the positions of a sequence up to each",
    "R_last": "n x n_all: picks the last row of each sequence",
    "A_last": "n x n_all: average over the rows of a sequence",
    "cos_all": "n_all x d_head: cosines of the angles of rotary positions",
    "sin_all": "n_all x d_head: sines of the angles of rotary positions",
    "turn": "d_head x d_head: takes the halves (a, b) of a row to (-b, a)",
    "Y": "labels, one-hot; a row for each row of the logits, as in all that has n rows",
    "omega": "n x 1: weights of these rows, of sum 1",
    "Pi": "takes its mean away from each row",
    "o": "product entry by entry; ^o2 is a power entry by entry",
    "eps": "scale of the weights: eps^k marks what has k factors of them more",
}
WORD = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
DEFINED = re.compile(r"^\s*with (\w+) =", re.MULTILINE)
SHOWN = re.compile(
    r"^  (?:d\S+/dt|with \w+) = (.*)$|^  (?:drops of the loss|predicted relative error): (.*)$", re.MULTILINE
)


def glossary(*pages: str) -> str:
    """Explain the letters of printed equations that these do not define themselves.

    Parameters
    ----------
    *pages : str
        Flows as printed.

    Returns
    -------
    str
        A line for each letter under "where"; empty if there is none. Data matrices of a model's own are left out.
    """
    shown_lines = (" ".join(match) for page in pages for match in SHOWN.findall(page))
    used = {word for line in shown_lines for word in WORD.findall(line.replace("^o", " o "))}
    defined = {name for page in pages for name in DEFINED.findall(page)}
    shown = {name: text for name, text in MEANINGS.items() if name in used - defined}
    width = max(map(len, shown), default=0)
    return (
        "\n".join(["where", *(f"  {name:{width}}  {text}" for name, text in shown.items())]) if shown else ""
    )
