"""Hold a claimed equation of motion against the derived one: to which order it is true, and what it drops."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import sympy as sp

from ...theory.algebra.matrices import terms_of
from ...theory.algebra.nodes import Matrix, matrix_symbols
from ...theory.algebra.rebuild import distribute
from ...theory.algebra.terms import CountTerms
from ...theory.base.validate import integer, kind_of
from ...theory.data.dataset import Dataset
from ...theory.flows.closure import Closure
from ...theory.flows.statistics import statistics
from ...theory.language.vocabulary import Vocabulary
from ...theory.models.model import Model
from ...theory.printing.substitution import substitute_runs
from .comparison import EXACT, FACTOR, LEADING, WRONG, Comparison, compared
from .draws import Draws
from .motion import MeasuredMotion, Motion
from .read_claim import read_claim
from .verdict import LINEAR_NORM, ClaimTerm, Verdict

if TYPE_CHECKING:
    from .residuals import ResidualMeasurement

UNDECIDED, REST = "undecided", "at rest"
MOST_TERMS = 100  # of a term that is multiplied out to be shown
LARGEST_DOUBT = 0.3  # a verdict falls where predicted and measured power differ by more
FAINT = 0.05  # of a leading term's size on random data: below, later terms may hide it at every scale


def check(claim: str | Mapping[str, Matrix], model: Model, data: Dataset, *, seed: int = 0) -> Verdict:
    """Check a claimed equation against the one derived from the model's logits.

    It may be that of a weight, or of a polynomial in weights, whose motion is derived by the product rule: a conserved
    quantity, the product of two layers, a squared norm.

    Parameters
    ----------
    claim : str or mapping
        Text such as "dW_E = M_last @ (W_in @ W_out + I).T" or "d(W_E.T @ W_E - W_in @ W_in.T) = 0" (docs/check.md has
        the grammar), or an equation as a flow prints it with the lines "with ..." that define its names, or one weight
        name, or expression that moves, -> sympy matrix expression in the symbols of the model.
    model : Model
        The network; the equation is that of gradient flow on its loss, in flow time.
    data : Dataset
        Where the error is measured against autodiff.
    seed : int
        Of the random weights and of the random data on which expressions are compared besides their normal forms.

    Returns
    -------
    Verdict

    Raises
    ------
    ClaimError
        If the text cannot be read; it points at the character.
    ValueError
        If model and data do not fit or the mapping is malformed.
    """
    kind_of("model", model, Model, "such as EmbMLP(...)").check_data(data)
    integer("seed", seed, 0)
    words = Vocabulary.of(model)
    written, motion, claimed = read_claim(claim, model, words)
    draws = Draws(model, words, data, seed)
    found = compared(motion, claimed, draws)
    refuted = found.status in (FACTOR, WRONG)
    rests = _rests(motion) if isinstance(claimed, sp.ZeroMatrix) and refuted else ()
    status = REST if rests else found.status
    order = float("inf") if found.gap is None else found.gap[0] - found.start
    proof = draws.proof(motion, claimed, order, found.linear, found.still)
    general, gone, doubtful = _on_random_data(draws, motion, claimed, found, proof)
    if status in (EXACT, LEADING) and doubtful:
        status = UNDECIDED
    rows = draws.row_factors(found.first, found.leading)
    on_data = status in (FACTOR, WRONG) and order == 0 and draws.equal_on_data(found.first, found.leading)
    return Verdict(
        claim=written,
        weight=motion.name,
        status=status,
        first_missing=None if found.gap is None else _term(found, *found.gap, model),
        factor=found.factor,
        beyond=tuple(_term(found, power, term, model) for power, term in found.beyond),
        derived=_term(found, found.lead, found.leading, model),
        predicted_order=order,
        proof=proof,
        row_factors=rows[0],
        row_misfit=rows[1],
        on_data=on_data,
        rests_under=rests,
        norm=LINEAR_NORM if found.linear else "exact",
        of_parts=found.still,
        general=general,
        vanishes=gone,
    )


def _on_random_data(
    draws: Draws, motion: Motion, claimed: Matrix, found: Comparison, proof: ResidualMeasurement
) -> tuple[ResidualMeasurement | None, bool, bool]:
    """The error on random data, if the data given hide its power; whether the leading term vanishes on these; doubt.

    Special data can make the first missing term vanish, or the first of all; random data cannot. There is doubt where
    the power on them is another than the predicted one too.
    """
    leading = motion.first_gradients(found.linear) if found.still else [found.leading]
    gone = draws.vanish_on_data(leading)
    if not gone and not _doubtful(proof, motion.name):
        return None, False, False
    order = proof.predicted[motion.name]
    general = draws.general_proof(motion, claimed, order, found.linear, found.still)
    doubtful = _doubtful(general, motion.name)
    hidden = not doubtful and _hidden(proof, motion.name) and draws.vanish_on_data(leading, FAINT)
    return general if gone or hidden else None, gone, doubtful


def measured_motion(verdict: Verdict, model: Model, data: Dataset) -> MeasuredMotion | None:
    """What the errors of a verdict are of, in numbers, for other equations beside it; none for a weight."""
    words = Vocabulary.of(model)
    motion = read_claim(verdict.claim, model, words)[1]
    return Draws(model, words, data, 0).measured(motion, verdict.of_parts)


def _term(found: Comparison, power: int, term: Matrix, model: Model) -> ClaimTerm:
    """A term of an equation in the model's statistics, with its power relative to the first; a long one as it is."""
    shown = term if CountTerms()(term) > MOST_TERMS else distribute(term)
    return ClaimTerm(power - found.start, substitute_runs(shown, statistics(model)))


def _rests(motion: Motion) -> tuple[str, ...]:
    """The named closures under which a weight, or every weight of a product, does not move; a sum is to cancel."""
    weights = set(motion.weights)
    if sum(not weights.isdisjoint(matrix_symbols(t)) for t in terms_of(distribute(motion.moving))) > 1:
        return ()

    def moves(name: str) -> bool:
        closure = Closure.of(name, motion.model)
        inside = matrix_symbols(closure.logits(motion.model))
        return any(closure.moves(w, motion.model) and w in inside for w in motion.weights)

    return tuple(name for name in ("drive", "softmax") if not moves(name))


def _doubtful(proof: ResidualMeasurement, weight: str) -> bool:
    """Whether the measured power is another than the predicted one; an error that is all rounding is of any power."""
    predicted, measured = proof.predicted[weight], proof.measured[weight]
    if np.isinf(measured) or np.isnan(measured):
        return False
    return bool(abs(predicted - measured) > LARGEST_DOUBT)


def _hidden(proof: ResidualMeasurement, weight: str) -> bool:
    """Whether the measured power is less than the predicted one, as where later terms are larger at every scale."""
    return bool(proof.measured[weight] < proof.predicted[weight] - LARGEST_DOUBT)
