"""A model's logits and loss by powers of the weight scale, and the power at which each weight enters."""

from __future__ import annotations

import sympy as sp

from ..algebra.adjoint import gradients
from ..algebra.matrices import product, total
from ..algebra.nodes import Matrix, RowNorm, matrix_symbols, nodes_within
from ..algebra.rebuild import canonical, distribute
from ..algebra.scale.counting import Count, Parts, lowest
from ..algebra.scale.cuts import Truncation
from ..algebra.scale.expansion import expand
from ..algebra.scale.selection import CancelledError, Selection
from ..algebra.scale.series import Series
from ..algebra.terms import CountTerms
from ..base.errors import FieldError
from ..base.names import NORM_PARTS
from ..base.validate import choice, kind_of
from ..models.content import kept_by_content
from ..models.model import Model

# Polynomials this short are multiplied out as first terms: kernels then fold more data. Longer ones, and functions
# of a stream's direction, share what they have in common.
SHORT = 400
SEARCH_DEPTH = 24  # powers searched for the first term that holds a weight
SHALLOW = 40  # weights of a network whose first terms are multiplied out to see whether they cancel
MOST_TERMS = 1_000  # of a sum that is; a longer one is taken not to cancel


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
    found, late = _counted(model, cut, most), _late_starts(model, cut.linear)
    if not late:
        return found
    floor = {w: late[w.name] for w in model.weight_symbols if w.name in late}
    return Parts(*(p.above(floor) for p in (found.kept, found.dropped)))


def _counted(model: Model, cut: Truncation, most: int) -> Parts:
    return Count(model.weight_symbols, model.small_weights, cut, most)(model_logits(model))


@kept_by_content(64)
def never_linear(model: Model) -> str:
    """Why normalisations cannot be linear, if they cannot."""
    norms = nodes_within(model_logits(model), RowNorm)
    if any(node.eps == 0 for node in norms):
        return "those with norm_eps = 0 never are"
    count = Count(model.weight_symbols, model.small_weights, Truncation(linear=True), SEARCH_DEPTH)
    if any(lowest(count(node.args[0]).whole.every) == 0 for node in norms):
        return f"{model.name} normalises a sum with a part that does not vanish with the weights"
    return ""


def check_linear(model: Model, field: str, name: str) -> None:
    """Refuse a value of a field that takes normalisations as linear, where one of them never is.

    Raises
    ------
    FieldError
        Naming the field, the value and why.
    """
    if reason := never_linear(model):
        raise FieldError(field, f"{name!r} takes normalisations as linear, but {reason}: keep them exact.")


@kept_by_content(64)
def start_powers(model: Model, linear: bool = False) -> dict[str, int]:
    """Weight name -> lowest power of eps in the logits, hence in the loss, of a term that holds it.

    Raises
    ------
    ValueError
        If the logits do not depend on a weight, as far as powers are searched.
    """
    return _counted_starts(model, linear) | _late_starts(model, linear)


@kept_by_content(64)
def _counted_starts(model: Model, linear: bool) -> dict[str, int]:
    """The same where no terms cancel."""
    found = _counted(model, Truncation(linear=linear), SEARCH_DEPTH).whole.held
    starts = {w.name: lowest(found.get(w, 0)) for w in model.weight_symbols}
    _all_found(model, [name for name, power in starts.items() if power == float("inf")])
    return {name: int(power) for name, power in starts.items()}


def _all_found(model: Model, lost: list[str]) -> None:
    if lost:
        raise ValueError(
            f"the logits of {model.name} do not depend on {', '.join(lost)} up to eps^{SEARCH_DEPTH}."
        )


@kept_by_content(64)
def _late_starts(model: Model, linear: bool) -> dict[str, int]:
    """Starts of those weights whose counted first terms cancel, from the logits multiplied out."""
    if len(model.weights) > SHALLOW:
        return {}
    starts = _counted_starts(model, linear)
    lost = {name for name, power in starts.items() if not _stands(model, linear, name, power)}
    late: dict[str, int] = {}
    for power in range(min((starts[name] for name in lost), default=SEARCH_DEPTH), SEARCH_DEPTH):
        if late.keys() == lost:
            break
        term = distributed(logit_series(model, power, linear)).get(power)
        there = set() if term is None else {s.name for s in matrix_symbols(term)}
        late |= dict.fromkeys((lost & there) - late.keys(), power)
    _all_found(model, sorted(lost - late.keys()))
    return late


def _stands(model: Model, linear: bool, name: str, power: int) -> bool:
    """Whether a weight is left of its counted first terms once these are multiplied out."""
    try:
        term = _selected(model, linear, power)
    except CancelledError:
        return False
    if term is None or CountTerms()(term) > MOST_TERMS:
        return term is not None
    return any(s.name == name for s in matrix_symbols(distribute(term)))


@kept_by_content(64)
def _selected(model: Model, linear: bool, power: int) -> Matrix | None:
    """First terms of the logits that hold the weights whose counted start is a power."""
    starts = _counted_starts(model, linear)
    new = [w for w in model.weight_symbols if starts[w.name] == power]
    count = Count(model.weight_symbols, model.small_weights, Truncation(linear=linear), SEARCH_DEPTH)
    return Selection(count, new).term(model_logits(model), power, True)


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

    Raises
    ------
    ValueError
        If the model is none, or its normalisations are never linear.
    """
    kind_of("model", model, Model, "give the network")
    if linear := choice("norm", norm, NORM_PARTS) == "linear":
        check_linear(model, "norm", norm)
    small, starts = {w.name for w in model.small_weights}, start_powers(model, linear)
    return {name: power - 2 * (name in small) for name, power in starts.items()}


def leading_order(model: Model, linear: bool = False) -> int:
    """Lowest power of the weight scale in the logits, hence in the loss."""
    return min(start_powers(model, linear).values())


def last_start(model: Model, linear: bool = False) -> int:
    """Power at which the last of the weights enters the logits."""
    return max(start_powers(model, linear).values())


@kept_by_content(64)
def first_terms(model: Model, linear: bool = False, multiplied: bool = True) -> Series:
    """The first terms of the logits that hold each weight, by power.

    Those of the loss are what it makes of them to first order: a product of two terms of the logits, one of which
    holds a weight, is of a higher power than that one. Short ones are multiplied out, if `multiplied`.
    """
    starts, late, series = start_powers(model, linear), _late_starts(model, linear), Series()
    for power in sorted(set(starts.values())):
        new = {name for name, first in starts.items() if first == power}
        if new & late.keys() or any(first == power for first in _overtaken(model, linear)):
            found = _holding(distributed(logit_series(model, power, linear))[power], new)
        else:
            found = _selected(model, linear, power)
        if found is not None:
            few = CountTerms()(found) <= SHORT and not nodes_within(found, RowNorm)
            series[power] = distribute(found) if few and multiplied else found
    return series


def _overtaken(model: Model, linear: bool) -> list[int]:
    """Counted starts that are too low."""
    counted = _counted_starts(model, linear)
    return [counted[name] for name in _late_starts(model, linear)]


def _holding(summed: Matrix, names: set[str]) -> Matrix:
    """Terms of a sum that hold a weight of some names."""
    terms = summed.args if isinstance(summed, sp.MatAdd) else (summed,)
    return total(*(t for t in terms if any(s.name in names for s in matrix_symbols(t))))


def distributed(series: Series) -> Series:
    """The series with all sums multiplied out and vanishing terms left out."""
    summed = {d: distribute(t) for d, t in series.items()}
    return {d: t for d, t in summed.items() if not isinstance(t, sp.ZeroMatrix)}
