"""What a check found about a claim: its record, in words and for notebooks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ...theory.algebra.nodes import Matrix
from ...theory.base.frozen import FrozenRecord
from ...theory.printing.latex import latex
from ...theory.printing.text import text

if TYPE_CHECKING:
    from .residuals import ResidualMeasurement

LINEAR_NORM = "linear"


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
