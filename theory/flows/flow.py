"""Flows: the gradient-flow equations of a model under a closure, derived from its symbolic logits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy as sp

from ..algebra.adjoint import gradients
from ..algebra.matrices import product, total
from ..algebra.nodes import Matrix, free_symbols
from ..algebra.rebuild import distribute, factored
from ..algebra.terms import CountTerms
from ..base.frozen import FrozenRecord
from ..base.frozen_dict import FrozenDict
from ..base.validate import choice
from ..models.model import Model
from ..printing.intermediates import WrittenOut
from ..printing.latex import latex
from ..printing.letters import letters
from ..printing.substitution import by_rising_power, substitute_runs
from ..printing.text import text
from .affordable import affordable
from .closure import Closure
from .drops import dropped_terms, first_dropped, shown_drop
from .powers import start_powers
from .readable import as_printed, scale_symbol
from .statistics import statistics
from .symmetry.invariants import Invariant, symmetries, weighted_invariants
from .symmetry.quantities import Quantity

if TYPE_CHECKING:
    from jaxtyping import Float

    from ...sim.optimizers.optimizer import Optimizer
    from ...sim.optimizers.step_equations import StepEquations
    from ..data.dataset import Dataset

MOST_TERMS = 2_000  # that equations are multiplied out to
MARK = "{eps}^k marks the terms that lie k powers of the weight scale above the first of their equation"


@dataclass(frozen=True, eq=False)
class Flow(FrozenRecord):
    """dW/dt = -grad L of a closure, for every weight; t is flow time (learning rate x step), L the weighted mean.

    Attributes
    ----------
    model : Model
        The network.
    closure : str
        Name of the closure.
    right_hand_sides : dict
        Weight name -> right-hand side in the raw data symbols C (counts), Y (labels), omega (row weights); what
        kernels are generated from. Read only.
    moving : tuple of str
        The weights that move.
    """

    model: Model
    closure: str
    right_hand_sides: Mapping[str, Matrix] = field(repr=False)
    moving: tuple[str, ...] = ()

    @cached_property
    def kept(self) -> Closure:
        """The closure as an object that knows its parts."""
        return Closure.of(self.closure, self.model)

    @cached_property
    def equations(self) -> Mapping[str, Matrix]:
        """Weight name -> right-hand side as a sympy expression, with `statistics` standing for data products.

        These are the equations to compute with. What pages show is `readable`, with `definitions`.
        """
        weights, names = self.model.small_weights, statistics(self.model)
        length = sum(map(CountTerms(), self.right_hand_sides.values()))
        if self.kept.whole_loss or length > MOST_TERMS:
            sides = {w: substitute_runs(factored(e), names) for w, e in self.right_hand_sides.items()}
        else:
            sides = {
                w: by_rising_power(substitute_runs(distribute(e), names), weights)
                for w, e in self.right_hand_sides.items()
            }
        return FrozenDict(sides)

    @cached_property
    def statistics(self) -> Mapping[str, Matrix]:
        """Definitions of the data symbols that stand in `equations` (M: signature matrix, K: co-occurrence, ...)."""
        symbols = frozenset[sp.Basic]().union(*map(free_symbols, self.equations.values()))
        return FrozenDict({str(s): e for s, e in statistics(self.model).items() if s in symbols})

    @cached_property
    def _page(self) -> WrittenOut:
        return as_printed(self)

    @property
    def readable(self) -> Mapping[str, Matrix]:
        """Weight name -> right-hand side as it is printed, in terms of `definitions`.

        Where the loss is kept whole, and for long first terms, these are the intermediates of docs/notation.md (scores
        S, attention A, ...); elsewhere the statistics, and a scalar eps, to be put 1, whose powers mark terms beyond
        the first.
        """
        return FrozenDict(self._page.equations)

    @property
    def definitions(self) -> Mapping[str, Matrix]:
        """Name -> definition of what stands in `readable`, each in terms of weights, data and names before it."""
        return FrozenDict(self._page.definitions)

    @cached_property
    def dropped(self) -> tuple[tuple[int, Matrix], ...]:
        """The first terms of the loss that the closure drops, as (power of eps, sum); nothing if it drops none."""
        return tuple(islice(dropped_terms(self.kept, self.model), 1))

    @cached_property
    def _drop(self) -> tuple[int, Matrix | None] | None:
        return shown_drop(self.kept, self.model)

    @cached_property
    def residual_order(self) -> Mapping[str, float]:
        """Weight name -> predicted power of eps of the relative error of its right-hand side.

        0 for a weight that the closure freezes, infinity where nothing is dropped. Special data can make the first
        dropped term vanish (odd cumulants do for two labels): the residual is then smaller than predicted.
        """
        if self.kept == Closure():  # nothing is dropped, and no series is asked for
            return FrozenDict({w: inf if w in self.moving else 0 for w in self.model.weights})
        dropped, starts = first_dropped(self.kept, self.model), start_powers(self.model, self.kept.linear)
        return FrozenDict({w: dropped[w] - starts[w] if w in self.moving else 0 for w in self.model.weights})

    @cached_property
    def invariants(self) -> tuple[Invariant, ...]:
        """What the flow conserves, proved by a symmetry of its loss or else observed at random points.

        Searched among sums over the weights, with whole coefficients, of: the weights; their sums over one axis and
        over both; their Gram matrices W^T W and W W^T, the diagonals and traces of these. Left out is what follows from
        others in the list, and what only holds weights that rest.
        """
        return tuple(Invariant(q.name, q.expression, proved) for q, proved in self._symmetries)

    @cached_property
    def _symmetries(self) -> tuple[tuple[Quantity, bool], ...]:
        return symmetries(self.model, self.right_hand_sides, self.kept.loss(self.model))

    def weighted_invariants(
        self, rates: Mapping[str, float], decays: Mapping[str, float]
    ) -> tuple[Invariant, ...]:
        """What gradient descent in the limit of small rates conserves with a rate and a decay for every weight.

        Parameters
        ----------
        rates, decays : dict
            Weight name -> kappa and lambda in dW/dt = -kappa (dL/dW + lambda W), of all weights.

        Returns
        -------
        tuple of Invariant
            Proved ones: kappa_l^-1 W_l^T W_l - kappa_(l+1)^-1 W_(l+1) W_(l+1)^T and the like, times a whole number;
            with the rate at which decay lets them fall.
        """
        return weighted_invariants(self._symmetries, rates, decays)

    def rhs(self, data: Dataset, weights: Mapping[str, Any]) -> dict[str, Float[np.ndarray, "rows cols"]]:
        """Evaluate dW/dt (per unit of flow time) with the compiled kernel that `integrate` uses.

        Parameters
        ----------
        data : Dataset
            Training data; held-out rows take no part.
        weights : dict
            Weight name -> array of the model's shape.

        Returns
        -------
        dict
            Weight name -> dW/dt, same shape, float64.

        Raises
        ------
        ValueError
            If a weight is missing or mis-shaped, or the vocabularies differ.
        """
        from ... import sim  # the one door upwards, which loads on use: theory itself imports no numba

        return sim.evaluate_flow(self, data, weights)

    def only(self, *weights: str) -> Flow:
        """The same flow with all weights at rest but these.

        Parameters
        ----------
        weights : str
            Names of those that move.

        Returns
        -------
        Flow
            Equations dW/dt in flow time; zero for the others.

        Raises
        ------
        FieldError
            If the model has no weight of a name.
        """
        for name in weights:
            choice("weights", name, tuple(self.model.weights))
        sides = {w: e if w in weights else sp.ZeroMatrix(*e.shape) for w, e in self.right_hand_sides.items()}
        return Flow(self.model, self.closure, sides, tuple(w for w in self.moving if w in weights))

    def under(self, optimizer: Optimizer) -> StepEquations:
        """The equations of weights and moments under an optimizer in the limit of small rates, to be printed.

        Parameters
        ----------
        optimizer : Optimizer
            For example ``smallinit.sim.AdamW(learning_rate=1e-3)``.

        Returns
        -------
        StepEquations
            With this flow's right-hand sides as minus the gradient, and with what is conserved.

        Raises
        ------
        ValueError
            If the optimizer has a rate or a decay for a weight that the model lacks.
        """
        from ... import sim

        return sim.StepEquations(self, optimizer)

    def latex(self) -> str:
        r"""Equations in the letters of arXiv 2502.04375, as lines of an ``aligned`` environment."""
        shown = self._letters()
        lines = [rf"\dot{{{shown[w]}}} &= {latex(e, shown)}" for w, e in self.readable.items()]
        lines += [rf"{shown[s]} &= {latex(e, shown)}" for s, e in self.definitions.items()]
        lines += [f"{shown[str(eps)]} &= 1" for eps in self._marks()]
        return "\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}"

    def _letters(self) -> dict[str, str]:
        """LaTeX of every name on the page."""
        term = self._drop and self._drop[1]
        lines = (*self.readable.values(), *self.definitions.values(), *([term] if term else []))
        return letters({*self.model.weight_symbols}.union(*map(free_symbols, lines)))

    def _marks(self) -> list[sp.Symbol]:
        """The symbol that marks powers, if the page has it."""
        eps = scale_symbol(self)
        return [eps] if any(eps in free_symbols(e) for e in self.readable.values()) else []

    def _repr_latex_(self) -> str:
        """The equations, for notebooks."""
        return f"$$\n{self.latex()}\n$$"

    def _repr_html_(self) -> str:
        """Equations as MathML, with what is dropped, predicted and conserved, for notebooks."""
        from ..printing import html as markup

        orders = ", ".join(
            f"{f'eps^{o}' if np.isfinite(o) else 'none'} for {w}" for w, o in self.residual_order.items()
        )
        parts = [
            markup.equations(self.latex()),
            *(markup.escape(MARK.format(eps=eps)) for eps in self._marks()),
        ]
        if self._drop:
            order, term = self._drop
            shown = markup.mathml(latex(term, self._letters()), "inline") if term else ""
            parts.append(f"drops of the loss: eps^{order}{shown and ': '}{shown}, and higher powers")
        parts.append(markup.line("predicted relative error", orders))
        parts += [markup.line("conserved", str(invariant)) for invariant in self.invariants]
        title = f"Gradient flow of {self.model.name}, closure {self.closure!r}"
        return markup.card(title, *parts, status="t: flow time = learning rate x step")

    def __str__(self) -> str:
        """Equations with their definitions, first dropped term, predicted exponents and invariants, as text."""
        head = f"Gradient flow of {self.model.name}, closure {self.closure!r} (t: flow time = learning rate x step)"
        lines = [head, *(f"  d{w}/dt = {text(e)}" for w, e in self.readable.items())]
        lines += [f"  with {s} = {text(e)}" for s, e in self.definitions.items()]
        lines += [f"  with {eps} = 1: {MARK.format(eps=eps)}" for eps in self._marks()]
        if self._drop:
            order, term = self._drop
            shown = f": {text(term)}" if term else ""
            lines.append(f"  drops of the loss: eps^{order}{shown}, and higher powers")
        orders = {w: f"{w} eps^{o}" for w, o in self.residual_order.items() if np.isfinite(o)}
        exact = [w for w in self.residual_order if w not in orders]
        rest = [f"none for {', '.join(exact)}"] if exact and orders else ["none"] if exact else []
        lines.append(f"  predicted relative error: {', '.join([*orders.values(), *rest])}")
        lines += [f"  conserved: {i}" for i in self.invariants]
        return "\n".join(lines)


def derive(model: Model, closure: str | Closure = "leading") -> Flow:
    """Derive the gradient flow of a model under a closure, from its symbolic logits.

    Parameters
    ----------
    model : Model
        The network.
    closure : str or Closure
        "drive" (only the embedding moves), "leading" (the first terms of every weight), "order=k" (all terms of the
        loss up to eps^k), "softmax" (exact loss, linearised network), "exact" (the true gradient), or what is kept of
        each part: ``Closure(softmax="exact", activation=3, attention=1)``, as text "activation=3,attention=1".

    Returns
    -------
    Flow
        Its equations give dW/dt in flow time, for the weighted mean of the model's loss.

    Raises
    ------
    ValueError
        If the closure is unknown, keeps nothing, or would take more than a minute or so to derive.
    """
    if not isinstance(model, Model):
        raise ValueError(f"`model` must be a Model such as EmbMLP(...), got {type(model).__name__}.")
    kept = affordable(Closure.of(closure, model), model)
    ascent = gradients(total(product(-1, kept.loss(model))), model.weight_symbols)
    moving = tuple(str(w) for w in model.weight_symbols if kept.moves(w, model))
    sides = {str(w): factored(g) if str(w) in moving else sp.ZeroMatrix(*w.shape) for w, g in ascent.items()}
    return Flow(model, kept.name, sides, moving)
