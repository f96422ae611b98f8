"""Claimed equations of motion of arXiv 2502.04375, held against the derived ones by `check`."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ...theory.data.tasks import CompositeTask
from ...theory.models.emb_mlp import EmbMLP
from ...theory.models.one_layer_transformer import OneLayerTransformer
from .claim import Claim, Finding

if TYPE_CHECKING:
    from ...theory.data.dataset import Dataset
    from ...theory.models.model import Model

SOURCE = "arXiv 2502.04375"
METHOD = "difference from the derived equation by powers of eps; slope of the error against autodiff"
REASONING = range(6, 11)  # reasoning anchors of the small task


@lru_cache(maxsize=2)
def anchor_data(length: int) -> Dataset:
    """The small composite task (20 keys, 5 + 5 anchors, q = 2): all of it, or 1,500 sequences with noise keys."""
    task = CompositeTask(range(11, 31), range(1, 6), REASONING, masked=(), length=length)
    return task.dataset() if length == 3 else task.sampled(1500)


def equation_claim(
    number: str,
    place: str,
    text: str,
    model: Model,
    data: Dataset,
    assumptions: str,
    rows: range | None = None,
) -> Claim:
    """A claim that is an equation in the grammar of `check`; `rows` are tokens whose prefactors are looked at."""

    def test() -> Finding:
        from ..proof.check import check

        verdict = check(text, model, data)
        numbers = {"measured order": verdict.measured_order, "predicted order": verdict.predicted_order}
        sentence = f"{verdict.status}; relative error ~ eps^{verdict.measured_order:.2f}"
        if verdict.first_missing is not None:
            sentence += f"; first difference {verdict.first_missing}"
        if verdict.beyond:
            powers = ", ".join(str(term.power) for term in verdict.beyond)
            sentence += f"; its terms at relative powers {powers} lie beyond what that already spoils"
        if rows is not None and verdict.status not in ("exact", "leading order"):
            factor, misfit = (
                float(np.mean(v[list(rows)])) for v in (verdict.row_factors, verdict.row_misfit)
            )
            numbers |= {"prefactor of reasoning anchors": factor, "misfit after it": misfit}
            sentence += f"; on reasoning anchors the leading term is {factor:.2f} times the derived one"
        return Finding(verdict.status, sentence, numbers)

    return Claim(number, f"{SOURCE}, {place}", text, assumptions, METHOD, test)


def claims() -> tuple[Claim, ...]:
    """A4/A5 (Proposition 1), A10/A11 (Propositions 2 and 3), and the corrected form of the latter."""
    bag = EmbMLP(51, 12, 14)
    block = OneLayerTransformer(51, 51, 6, 8, 9, unembed=False)
    noisy = "Def. 2 without unembedding; small composite task, L = 9, q = 2, uniform positions"
    residual = "M_last @ (W_in@W_out + I).T"
    path = "1/L * M_bag @ (W_in@W_out + I).T"
    data = anchor_data(9)
    return (
        equation_claim(
            "A5", "Prop. 1", "dW_E = diag(r) @ (P - 1/V) @ W_out.T @ W_in.T", bag, anchor_data(3),
            "Emb-MLP with tanh; r counts occurrences; small composite task",
        ),
        equation_claim(
            "A10", "Prop. 2 and 3", f"dW_E = {path} @ (W_V@W_O + I).T", block, data, noisy, REASONING,
        ),
        equation_claim(
            "A10 corrected", "Prop. 2 and 3", f"dW_E = {path} @ (W_V@W_O).T + {residual}", block, data, noisy,
        ),
        equation_claim(
            "A11", "Prop. 2 and 3", "dW_E = M_last", block, data, noisy + "; without the factor W",
        ),
    )  # fmt: skip
