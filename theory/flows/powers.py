"""A model's logits and loss by powers of the weight scale, and the power at which each weight enters."""

from __future__ import annotations

import sympy as sp

from ..algebra.adjoint import gradients
from ..algebra.expansion import expand
from ..algebra.matrices import product, terms_of, total
from ..algebra.nodes import Matrix, matrix_symbols
from ..algebra.rebuild import canonical, distribute
from ..algebra.series import Series
from ..models.content import kept_by_content
from ..models.model import Model

SEARCH_DEPTH = 24  # powers searched for the first term that holds a weight


@kept_by_content(64)
def model_logits(model: Model) -> Matrix:
    """Logits of a model in canonical form."""
    return canonical(model.logits)


@kept_by_content(256)
def logit_series(model: Model, order: int) -> Series:
    """Logits of a model by powers of the weight scale, up to eps^order."""
    return expand(model_logits(model), model.weight_symbols, order)


@kept_by_content(64)
def loss_series(model: Model, order: int) -> Series:
    """Loss of the model by powers of the weight scale, up to eps^order, without its constant."""
    return model.loss_function.series(logit_series(model, order), order)


@kept_by_content(64)
def start_powers(model: Model) -> dict[str, int]:
    """Weight name -> lowest power of eps in the logits, hence in the loss, of a term that holds it."""
    starts: dict[str, int] = {}
    for order in range(1, SEARCH_DEPTH):
        term = logit_series(model, order).get(order)
        held = set() if term is None else matrix_symbols(term)
        for w in model.weight_symbols:
            if w in held:
                starts.setdefault(w.name, order)
        if len(starts) == len(model.weight_symbols):
            return starts
    lost = [w.name for w in model.weight_symbols if w.name not in starts]
    raise ValueError(
        f"the logits of {model.name} do not depend on {', '.join(lost)} up to eps^{SEARCH_DEPTH}."
    )


def derived_exactly(model: Model, weight: sp.MatrixSymbol) -> Matrix:
    """Minus the gradient of the whole loss with respect to one weight."""
    loss = model.loss_function.whole(model_logits(model))
    return gradients(total(product(-1, loss)), [weight])[weight]


def leading_order(model: Model) -> int:
    """Lowest power of the weight scale in the logits, hence in the loss."""
    return min(start_powers(model).values())


def last_start(model: Model) -> int:
    """Power at which the last of the weights enters the logits."""
    return max(start_powers(model).values())


def first_terms(series: Series, model: Model) -> Series:
    """Of a series, the terms that are the first to hold some weight."""
    starts = start_powers(model)
    kept: Series = {}
    for power, term in distributed(series).items():
        new = {w for w in model.weight_symbols if starts[w.name] == power}
        if chosen := [t for t in terms_of(term) if matrix_symbols(t) & new]:
            kept[power] = total(*chosen)
    return kept


def distributed(series: Series) -> Series:
    """The series with all sums multiplied out and vanishing terms left out."""
    summed = {d: distribute(t) for d, t in series.items()}
    return {d: t for d, t in summed.items() if not isinstance(t, sp.ZeroMatrix)}
