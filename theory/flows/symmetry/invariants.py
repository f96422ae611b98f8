"""Conserved quantities of a flow: found at random points among those of `quantities`, then proved by a symmetry.

Let every weight that moves follow dW/dt = -dPhi/dW, and let D give each of them a direction. If the loss Phi does not
change along D, whatever the weights are, then the sum over weights of <dW/dt, D_W> vanishes. For D_W = c a b^T with
free columns a and b this is the time derivative of a^T (sum of c W) b, and for D_W = c W s s^T half that of
s^T (sum of c W^T W) s. The columns are free: so the matrices in brackets are conserved. This is Noether's theorem for
gradient flows; the same holds for the other levels of `quantities`, and for transposes.

That Phi does not change is proved with symbols, by its derivative along D (`algebra.tangent`), which cancels where the
symmetry closes: in the scores for keys and queries, in the logits for a change of basis of the residual stream, in the
loss for what a softmax does not see.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm

import sympy as sp

from ...algebra.adjoint import gradients
from ...algebra.matrices import product, total
from ...algebra.monomials import Monomials, TooLongError
from ...algebra.nodes import Matrix, matrix_symbols
from ...algebra.rebuild import distribute, factored
from ...algebra.tangent import tangent
from ...data.inputs import ONES_WITHIN
from ...models.model import Model
from .quantities import Quantity
from .screening import conserved


@dataclass(frozen=True)
class Invariant:
    """A quantity that stays constant along a flow.

    Attributes
    ----------
    name : str
        For example "W_E.T*W_E - W_in*W_in.T", "diag(W_E1.T*W_E1 - W_out*W_out.T)" or "W_out*1".
    expression : sympy matrix expression
        The conserved matrix in the weights: a column for sums over an axis and for diagonals, (1, 1) for numbers.
    proved : bool
        Whether a symmetry proves it; else its time derivative vanished to rounding wherever it was evaluated.
    decay : float
        Under weight decay, the rate at which it falls: it is its start times exp(-decay x flow time).
    """

    name: str
    expression: Matrix
    proved: bool = True
    decay: float = 0.0

    def __str__(self) -> str:
        """The name, marked if there is no proof."""
        return self.name if self.proved else f"observed, not proved: {self.name}"


def find_invariants(
    model: Model, equations: Mapping[str, Matrix], potential: Matrix
) -> tuple[Invariant, ...]:
    """What a flow conserves, among all quantities of `quantities`.

    Parameters
    ----------
    model : Model
        The network.
    equations : dict
        Weight name -> right-hand side of the flow.
    potential : Matrix
        The loss whose gradient flow it is; if it is another, nothing is proved.

    Returns
    -------
    tuple of Invariant
        Without what follows from others in the list (the diagonal of a conserved matrix, sums of invariants), and
        without weights that rest.
    """
    return tuple(Invariant(q.name, q.expression, p) for q, p in symmetries(model, equations, potential))


def symmetries(
    model: Model, equations: Mapping[str, Matrix], potential: Matrix
) -> tuple[tuple[Quantity, bool], ...]:
    """The quantities of `find_invariants`, each with whether a symmetry of the potential proves it."""
    found = conserved(model, equations)
    descends = bool(found) and _is_gradient_flow(model, equations, potential)
    return tuple((q, descends and _is_symmetry(potential, q)) for q in found)


def weighted_invariants(
    found: Iterable[tuple[Quantity, bool]], rates: Mapping[str, float], decays: Mapping[str, float]
) -> tuple[Invariant, ...]:
    """What stays under dW/dt = -kappa_W (dPhi/dW + lambda_W W), by the symmetries of Phi.

    Where sum <dPhi/dW, D_W> vanishes, D_W = c W s s^T, the sum of c/kappa_W W^T W changes by decay alone, by
    -2 c lambda_W W^T W from each weight: it falls as a whole, as exp(-2 kappa lambda t), where kappa_W lambda_W is the
    same for all of its weights. Of quantities linear in the weights the exponent is half of that.

    Parameters
    ----------
    found : iterable of (Quantity, bool)
        What `symmetries` found; what is not proved is left out.
    rates, decays : dict
        Weight name -> kappa and lambda, of all weights.

    Returns
    -------
    tuple of Invariant
        With whole coefficients; without those whose weights decay at different rates.
    """
    kept = []
    for quantity, proved in found:
        falls = {rates[t.weight.name] * decays[t.weight.name] for t, _ in quantity.terms}
        if not proved or max(falls) - min(falls) > 1e-12 * max(falls):
            continue
        parts = {t: Fraction(c) / Fraction(repr(float(rates[t.weight.name]))) for t, c in quantity.terms}
        whole = lcm(*(part.denominator for part in parts.values()))
        shared = gcd(*(int(part * whole) for part in parts.values()))
        weighted = Quantity(
            quantity.level, tuple((t, int(part * whole) // shared) for t, part in parts.items())
        )
        decay = quantity.degree * max(falls)
        kept.append(Invariant(weighted.name, weighted.expression, decay=decay))
    return tuple(kept)


def is_conserved(equations: Mapping[str, Matrix], expr: Matrix) -> bool:
    """Whether the time derivative of an expression in the weights cancels once its sums are multiplied out."""
    return isinstance(distribute(time_derivative(equations, expr)), sp.ZeroMatrix)


def time_derivative(equations: Mapping[str, Matrix], expr: Matrix) -> Matrix:
    """d/dt of an expression in the weights along dW/dt = equations[W]."""
    speeds = {s: equations[s.name] for s in matrix_symbols(expr) if s.name in equations}
    return tangent(expr, speeds)


def _is_gradient_flow(model: Model, equations: Mapping[str, Matrix], potential: Matrix) -> bool:
    """Whether every weight rests or descends the potential, to the letter."""
    moving = [w for w in model.weight_symbols if not isinstance(equations[w.name], sp.ZeroMatrix)]
    ascent = gradients(total(product(-1, potential)), moving)
    return all(factored(ascent[w]) == equations[w.name] for w in moving)


def _is_symmetry(potential: Matrix, quantity: Quantity) -> bool:
    """Whether the potential rests along the directions of a quantity, with powers multiplied out if need be."""
    for powers in (False, True):
        try:
            change = tangent(potential, quantity.directions, Monomials(ONES_WITHIN, powers))
        except TooLongError:
            continue
        if isinstance(change, sp.ZeroMatrix):
            return True
    return False
