"""Hold a claimed equation of motion against the derived one: to which order it is true, and what it drops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import sympy as sp

from ...theory.algebra.matrices import terms_of
from ...theory.algebra.nodes import Matrix, matrix_symbols
from ...theory.algebra.rebuild import distribute
from ...theory.algebra.terms import CountTerms
from ...theory.base.frozen import FrozenRecord
from ...theory.base.validate import integer, kind_of
from ...theory.data.dataset import Dataset
from ...theory.flows.closure import Closure
from ...theory.flows.statistics import statistics
from ...theory.language.vocabulary import Vocabulary
from ...theory.models.model import Model
from ...theory.printing.latex import latex
from ...theory.printing.substitution import substitute_runs
from ...theory.printing.text import text
from .comparison import EXACT, FACTOR, LEADING, WRONG, Comparison, compared
from .draws import Draws
from .motion import MeasuredMotion, Motion
from .read_claim import read_claim

if TYPE_CHECKING:
    from .residuals import ResidualMeasurement

UNDECIDED, REST, LINEAR_NORM = "undecided", "at rest", "linear"
MOST_TERMS = 100  # of a term that is multiplied out to be shown
LARGEST_DOUBT = 0.3  # a verdict falls where predicted and measured power differ by more
FAINT = 0.05  # of a leading term's size on random data: below, later terms may hide it at every scale


@dataclass(frozen=True)
class ClaimTerm:
    """A term of an equation.

    Attributes
    ----------
    power : int
        Power of eps relative to the equation's leading term.
    expression : Matrix
        The term, in the model's statistics.
    """

    power: int
    expression: Matrix

    def __str__(self) -> str:
        """The power and the term."""
        return f"eps^{self.power}: {text(self.expression)}"


@dataclass(frozen=True, eq=False)
class Verdict(FrozenRecord):
    """What a check found about a claim dW/dt = ..., or d(..)/dt = ... of a polynomial in weights.

    Attributes
    ----------
    claim : str
        The claim as text.
    weight : str
        The weight whose equation is claimed, or in brackets what else it is of.
    status : str
        "exact", "leading order" (true, with terms missing at a higher power), "wrong by a constant factor", "wrong",
        "at rest" (zero for a weight or a product that moves, but not under the closures of `rests_under`), or
        "undecided": the measured power contradicts the algebra, on random data too.
    first_missing : ClaimTerm or None
        Derived minus claimed at the lowest power at which they differ.
    factor : float or None
        The constant by which the claim's leading term must be divided, for status "wrong by a constant factor".
    beyond : tuple of ClaimTerm
        Claimed terms of higher power than the first missing one: what is dropped already spoils them.
    derived : ClaimTerm
        The leading term of the derived equation.
    predicted_order : float
        Power of eps with which the relative error against the true gradient vanishes, from the series; infinity where
        nothing is missing, negative where the claim begins with a lower power than the gradient, so that it grows.
    proof : ResidualMeasurement
        That error measured against autodiff on the data, as the weights shrink; `plot_proof` draws it.
    row_factors : ndarray, shape (rows,)
        What each row of the claim's term of the derived leading power must be divided by to come closest to the derived
        one, on the data; nan where it vanishes. It tells a wrong prefactor per token from a wrong form.
    row_misfit : ndarray, shape (rows,)
        What is left of each row after that factor, relative to the row.
    on_data : bool
        Whether the claim's leading term equals the derived one on the data given, though not in general.
    rests_under : tuple of str
        The closures that the status "at rest" is of.
    norm : {"exact", "linear"}
        Where powers are counted: with normalisations far above their eps, or near zero, where they are linear; a claim
        is held against the second where the first refutes it, and counts where it is nearer.
    of_parts : bool
        Whether powers and errors are relative to the motion of the parts as it would be if nothing of it cancelled: for
        what is no weight and is claimed to rest, or rests.
    general : ResidualMeasurement or None
        The error measured on random data, where the leading term of the gradient vanishes on the data given, or is so
        small that later terms hide the power; `measured_order` is then that of `general`.
    vanishes : bool
        Whether that term vanishes there.
    """

    claim: str
    weight: str
    status: str
    first_missing: ClaimTerm | None
    factor: float | None
    beyond: tuple[ClaimTerm, ...]
    derived: ClaimTerm
    predicted_order: float
    proof: ResidualMeasurement = field(repr=False)
    row_factors: np.ndarray = field(repr=False)
    row_misfit: np.ndarray = field(repr=False)
    on_data: bool = False
    rests_under: tuple[str, ...] = ()
    norm: str = "exact"
    of_parts: bool = False
    general: ResidualMeasurement | None = field(default=None, repr=False)
    vanishes: bool = False

    @property
    def measured_order(self) -> float:
        """Power of eps with which the error was measured to vanish: that of `general` where there is one."""
        return (self.general or self.proof).measured[self.weight]

    @property
    def _errors(self) -> str:
        measured = round(self.measured_order, 3) + 0.0  # a power that vanishes is no -8.98e-06
        error = "error relative to the motion of its parts" if self.of_parts else "relative error"
        where = "measured on random data" if self.general else "measured"
        return f"{error} ~ eps^{self.predicted_order:g} (predicted), eps^{measured:.3g} ({where})"

    @property
    def _remarks(self) -> list[str]:
        remarks = ["on this data the leading term agrees all the same"] if self.on_data else []
        if self.general:
            how = "vanishes" if self.vanishes else "is small, and later terms hide the power"
            remarks.append(f"on this data the leading term of the gradient {how}")
        if self.rests_under:
            remarks.append(f"it moves, but not under the closure {' or '.join(self.rests_under)}")
        if self.norm == LINEAR_NORM:
            remarks.append("of normalisations near zero, where they are linear (norm=linear)")
        return remarks

    def __str__(self) -> str:
        """The verdict in words."""
        lines = [f"{self.claim}\n  {self.status}"]
        if self.factor is not None:
            lines[0] += f": the claim's leading term is {self.factor:.10g} times the derived one"
        lines += [f"  {remark}" for remark in self._remarks]
        lines.append(f"  derived leading term, {self.derived}")
        if self.first_missing is not None:
            lines.append(f"  first difference (derived - claimed), relative power {self.first_missing}")
        lines += [f"  beyond that order, relative power {term}" for term in self.beyond]
        lines.append(f"  {self._errors}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """The verdict with its terms as MathML, for notebooks."""
        from ...theory.printing import html as markup

        def shown(term: ClaimTerm) -> str:
            return f"eps^{term.power}: {markup.mathml(latex(term.expression), 'inline')}"

        parts = [f"derived leading term, {shown(self.derived)}"]
        if self.factor is not None:
            parts.insert(0, f"the claim's leading term is {self.factor:.10g} times the derived one")
        parts = [*self._remarks, *parts]
        if self.first_missing is not None:
            parts.append(f"first difference (derived - claimed), relative power {shown(self.first_missing)}")
        parts += [f"beyond that order, relative power {shown(term)}" for term in self.beyond]
        return markup.card(self.claim, *parts, self._errors, status=self.status)


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
