"""A model's logits and loss by powers of the weight scale, and the power at which each weight enters."""

from __future__ import annotations

import sympy as sp

from ..algebra.adjoint import gradients
from ..algebra.matrices import product, total
from ..algebra.nodes import Matrix, RowNorm, nodes_within
from ..algebra.rebuild import canonical, distribute
from ..algebra.scale.counting import Count, Parts, lowest
from ..algebra.scale.cuts import Truncation
from ..algebra.scale.expansion import expand
from ..algebra.scale.selection import Selection
from ..algebra.scale.series import Series
from ..algebra.terms import CountTerms
from ..base.names import NORM_PARTS
from ..base.validate import choice
from ..models.content import kept_by_content
from ..models.model import Model

# Polynomials this short are multiplied out as first terms: kernels then fold more data. Longer ones, and functions
# of a stream's direction, share what they have in common.
MOST_TERMS = 400
SEARCH_DEPTH = 24  # powers searched for the first term that holds a weight


@kept_by_content(64)
def model_logits(model: Model) -> Matrix:
    """Logits of a model in canonical form."""
    return canonical(model.logits)


@kept_by_content(256)
def logit_series(model: Model, order: int, linear: bool = False) -> Series:
    """Logits of a model by powers of the weight scale, up to eps^order."""
    return expand(model_logits(model), model.small_weights, order, linear)


@kept_by_content(64)
def loss_series(model: Model, order: int, linear: bool = False) -> Series:
    """Loss of the model by powers of the weight scale, up to eps^order, without its constant."""
    return model.loss_function.series(logit_series(model, order, linear), order)


@kept_by_content(256)
def logit_powers(model: Model, cut: Truncation, most: int) -> Parts:
    """Powers of the terms of the logits, up to `most`: what a truncation keeps and what it drops."""
    return Count(model.weight_symbols, model.small_weights, cut, most)(model_logits(model))


@kept_by_content(64)
def start_powers(model: Model, linear: bool = False) -> dict[str, int]:
    """Weight name -> lowest power of eps in the logits, hence in the loss, of a term that holds it.

    Raises
    ------
    ValueError
        If the logits do not depend on a weight, as far as powers are searched.
    """
    found = logit_powers(model, Truncation(linear=linear), SEARCH_DEPTH).whole.held
    starts = {w.name: lowest(found.get(w, 0)) for w in model.weight_symbols}
    if lost := [name for name, power in starts.items() if power == float("inf")]:
        raise ValueError(
            f"the logits of {model.name} do not depend on {', '.join(lost)} up to eps^{SEARCH_DEPTH}."
        )
    return {name: int(power) for name, power in starts.items()}


def linear_loss(logits: Matrix, model: Model) -> Matrix:
    """The part of the loss that is linear in some terms of the logits."""
    return model.loss_function.series({1: logits}, 1)[1]


def derived_exactly(model: Model, weight: sp.MatrixSymbol) -> Matrix:
    """Minus the gradient of the whole loss with respect to one weight."""
    loss = model.loss_function.whole(model_logits(model))
    return gradients(total(product(-1, loss)), [weight])[weight]


def escape_exponents(model: Model, norm: str = "exact") -> dict[str, int]:
    """Exponent k of each weight: by itself it grows from weights of scale eps within a flow time of order eps^-k.

    A term of the logits with k + 2 factors moves each of them at a relative rate eps^k. So the direct path W_E W_U
    grows at a rate of its own (k = 0: a finite escape takes log(1/eps)), values and hidden layers wait for eps^-2, keys
    and queries for eps^-6; where a normalisation keeps the direction of the stream alone, all wait less. A weight that
    starts at one, such as a gain, moves by a finite part of itself within eps^-k.

    Parameters
    ----------
    model : Model
        The network.
    norm : {"exact", "linear"}
        Whether normalisations depend on direction alone, or are linear, see `Closure`.

    Returns
    -------
    dict
        Weight name -> k.
    """
    small = {w.name for w in model.small_weights}
    starts = start_powers(model, choice("norm", norm, NORM_PARTS) == "linear")
    return {name: power - 2 * (name in small) for name, power in starts.items()}


def leading_order(model: Model, linear: bool = False) -> int:
    """Lowest power of the weight scale in the logits, hence in the loss."""
    return min(start_powers(model, linear).values())


def last_start(model: Model, linear: bool = False) -> int:
    """Power at which the last of the weights enters the logits."""
    return max(start_powers(model, linear).values())


@kept_by_content(64)
def first_terms(model: Model, linear: bool = False) -> Series:
    """The first terms of the logits that hold each weight, by power.

    Those of the loss are what it makes of them to first order: a product of two terms of the logits, one of which
    holds a weight, is of a higher power than that one.
    """
    starts, series = start_powers(model, linear), Series()
    count = Count(
        model.weight_symbols, model.small_weights, Truncation(linear=linear), last_start(model, linear)
    )
    for power in sorted(set(starts.values())):
        new = [w for w in model.weight_symbols if starts[w.name] == power]
        found = Selection(count, new).term(model_logits(model), power, True)
        if found is not None:
            few = CountTerms()(found) <= MOST_TERMS and not nodes_within(found, RowNorm)
            series[power] = distribute(found) if few else found
    return series


def distributed(series: Series) -> Series:
    """The series with all sums multiplied out and vanishing terms left out."""
    summed = {d: distribute(t) for d, t in series.items()}
    return {d: t for d, t in summed.items() if not isinstance(t, sp.ZeroMatrix)}
