"""Claimed equations of motion of arXiv 2502.04375, held against the derived ones by `check`."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ...theory.data.tasks import CompositeTask
from ...theory.models.emb_mlp import EmbMLP
from ...theory.models.one_layer_transformer import OneLayerTransformer
from ...theory.printing.text import text as as_text
from .claim import Claim, Finding
from .wording import exact_number, scaling

if TYPE_CHECKING:
    from ...theory.data.dataset import Dataset
    from ...theory.models.model import Model

SOURCE = "arXiv 2502.04375"
METHOD = "difference from the derived equation by powers of eps; slope of the error against autodiff"
REASONING = range(6, 10)  # reasoning anchors of the task with noise keys
LEADING_ORDER = "at leading order, "  # under which premise the paper's equations stand


@lru_cache(maxsize=1)
def anchor_data() -> Dataset:
    """A small composite task without noise keys, all of it: 20 keys, 5 + 5 anchors, q = 2."""
    return CompositeTask(range(11, 31), range(1, 6), range(6, 11), masked=()).dataset()


@lru_cache(maxsize=1)
def noisy_data() -> Dataset:
    """A small composite task with noise keys, L = 9: every key, position and pair of its 4 + 4 anchors once.

    So the laws of labels and of positions are those of the task to the last digit; only the noise keys are drawn.
    """
    task = CompositeTask(range(11, 21), range(1, 5), REASONING, masked=(), length=9)
    return task.sampled(10 * 7 * (4**2 + 4**2), balanced=True)


def equation_claim(
    number: str,
    place: str,
    text: str,
    model: Model,
    data: Dataset,
    assumptions: str,
    rows: range | None = None,
    premise: str = LEADING_ORDER,
) -> Claim:
    """A claim that is an equation in the grammar of `check`.

    Parameters
    ----------
    number, place, assumptions : str
        See `Claim`; `place` is where in the paper it stands.
    text : str
        The equation.
    model, data
        What it is held against.
    rows : range, optional
        Tokens whose prefactors are looked at.
    premise : str
        Under what the equation is claimed, as the statement begins.
    """

    def test() -> Finding:
        from ..proof.check import check

        verdict = check(text, model, data)
        numbers = {"measured order": verdict.measured_order, "predicted order": verdict.predicted_order}
        sentence = f"the relative error {scaling('eps', verdict.measured_order)}"
        if verdict.first_missing is not None:
            first = verdict.first_missing
            place = f"at relative power {first.power}" if first.power else "in the leading term"
            sentence += f"; first difference, {place}: {as_text(first.expression)}"
        if verdict.beyond:
            powers = " and ".join(str(term.power) for term in verdict.beyond)
            sentence += f"; its terms at relative powers {powers} lie beyond what that already spoils"
        if rows is not None and verdict.status not in ("exact", "leading order"):
            factor, misfit = (
                float(np.mean(v[list(rows)])) for v in (verdict.row_factors, verdict.row_misfit)
            )
            numbers |= {"prefactor of reasoning anchors": factor, "misfit after it": misfit}
            told = exact_number(factor)
            told += f" = {factor:.3f}" if "/" in told else ""
            sentence += f"; on reasoning anchors the leading term is {told} times the derived one"
        return Finding(verdict.status, sentence, numbers)

    return Claim(number, f"{SOURCE}, {place}", premise + text, assumptions, METHOD, test)


def claims() -> tuple[Claim, ...]:
    """A4/A5 (Proposition 1), A10/A11 (Propositions 2 and 3), and the corrected form of the latter."""
    bag = EmbMLP(51, 12, 14)
    data = noisy_data()
    block = OneLayerTransformer(data.d_vocab, data.d_vocab, 6, 8, 9, unembed=False)
    noisy = (
        "Def. 2 without unembedding; small composite task, L = 9, q = 2, uniform positions, all equally often"
    )
    residual = "M_last @ (W_in@W_out + I).T"
    path = "1/L * M_bag @ (W_in@W_out + I).T"
    return (
        equation_claim(
            "A5", "Prop. 1", "dW_E = diag(r) @ (P - 1/V) @ W_out.T @ W_in.T", bag, anchor_data(),
            "Emb-MLP with tanh; r counts occurrences; small composite task",
        ),
        equation_claim(
            "A10", "Prop. 2 and 3", f"dW_E = {path} @ (W_V@W_O + I).T", block, data, noisy, REASONING,
        ),
        equation_claim(
            "A10 corrected", "Prop. 2 and 3", f"dW_E = {path} @ (W_V@W_O).T + {residual}", block, data, noisy,
        ),
        equation_claim(
            "A11", "Prop. 2 and 3", "dW_E = M_last", block, data, noisy,
            premise="at leading order and without the factor W, ",
        ),
    )  # fmt: skip
