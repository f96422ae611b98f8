"""Names on a printed page: the paper's letters in LaTeX, and free names for what a page defines itself."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import count, pairwise

import sympy as sp

# Code name -> letter of arXiv 2502.04375 (docs/notation.md has the table with shapes).
PAPER_LETTERS = {
    "W_E": r"W^{E}",
    "W_in": r"W^{(1)}",
    "W_out": r"W^{(2)}",
    "omega": r"\omega",
    "d_vocab": r"V",
    "d_model": r"d_m",
    "d_mlp": r"d_f",
    "eps": r"\varepsilon",
}
RESERVED = ("e", "i", r"\pi", r"\Pi", r"\mathbf{1}", r"\mathbb{I}")  # what LaTeX prints of its own


def free_name(wanted: str, taken: Iterable[str], first: int = 0) -> str:
    """The name itself, or with the first number that makes it free: ``S``, ``S_1``, ``S_2``, ...

    Names are numbered in any case from `first` on if it is not 0.
    """
    taken = set(taken)
    names = (f"{wanted}_{number}" if number else wanted for number in count(first))
    return next(name for name in names if name not in taken)


def letters(symbols: Iterable[sp.Basic]) -> dict[str, str]:
    r"""LaTeX of every symbol by name, no two alike.

    A letter of the paper gives way to a symbol that already prints like it, and what sympy would print like another
    name (``W1`` and ``W_1``) stands in typewriter. A weight of a block has the block's number above. A name of several
    letters is upright: ``gain`` is no product.

    Parameters
    ----------
    symbols : iterable of Symbol and MatrixSymbol
        All that stand on one page.

    Returns
    -------
    dict
        Name -> LaTeX.
    """
    shown, used = {}, {_bare(r) for r in RESERVED}
    for name in sorted({str(s) for s in symbols}, key=lambda name: (name in PAPER_LETTERS, name)):
        options = [PAPER_LETTERS[name]] if name in PAPER_LETTERS else []
        options += [_one_word(_dotted(name)), rf"\mathtt{{{name.replace('_', chr(92) + '_')}}}"]
        shown[name] = next((o for o in options if _bare(o) not in used), options[-1])
        used.add(_bare(shown[name]))
    return shown


def _dotted(name: str) -> str:
    """``blocks.0.W_Q`` as W_Q with the number of its block above, ``blocks.0.ln1.w`` as w with a subscript as well."""
    *above, own = name.split(".")
    numbers = [part for part in above if part.isdigit()]
    within = [part for part, after in pairwise([*above, ""]) if not part.isdigit() and not after.isdigit()]
    shown = sp.latex(sp.Symbol("_".join([own, *within])))
    return rf"{shown}^{{({','.join(numbers)})}}" if numbers else shown


def _one_word(latex: str) -> str:
    return re.sub(r"^[A-Za-z]{2,}", r"\\mathrm{\g<0>}", latex)


def _bare(latex: str) -> str:
    return latex.replace("{", "").replace("}", "").replace(" ", "")
