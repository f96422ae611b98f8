"""A flow's equations as a page shows them: intermediates by name, or powers of the weight scale marked."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import sympy as sp

from ..algebra.adjoint import gradients
from ..algebra.evaluate import evaluate, evaluate_all
from ..algebra.matrices import product, terms_of, total
from ..algebra.nodes import Matrix, StochasticSymbol, free_symbols, matrix_symbols
from ..algebra.rebuild import factored
from ..algebra.terms import CountSymbols
from ..printing.intermediates import WrittenOut, write_out
from ..printing.letters import free_name
from ..printing.repeated import name_repeated
from ..printing.substitution import mark_powers, substitute_runs
from ..printing.text import text
from .powers import first_terms, linear_loss, model_logits, start_powers
from .statistics import statistics

if TYPE_CHECKING:
    from .flow import Flow

RESERVED = ("Pi", "I", "diag", "softmax", "logsumexp", "eps", "x")  # what a page prints of its own
SHORT_LINE = 90  # characters of an equation that needs no intermediates
LONG_PAGE = 2_000  # symbols of first terms that are better written with intermediates too
AGREEMENT = 1e-9  # largest relative difference of two evaluations of the same equation at random arrays


def as_printed(flow: Flow) -> WrittenOut:
    """Equations and definitions as they are printed.

    Under a closure that keeps the loss whole, and for long first terms, long equations name intermediates as a network
    computes them. That is evaluated at random arrays first and held against the flow's own right-hand sides, which
    stand as they are where the two differ (a flow that somebody wrote by hand). Other polynomials stand in the data's
    statistics, with eps^k before terms that lie k powers of the weight scale above the first; long ones are not
    multiplied out. What a long page repeats has a name.
    """
    model, kept = flow.model, flow.kept
    own, symbols = WrittenOut(flow.equations, flow.statistics), CountSymbols()
    length = sum(map(symbols, flow.equations.values()))
    if not kept.whole_loss and not (kept.minimal and length > LONG_PAGE):
        long = length > LONG_PAGE and _by_power(flow)
        return long or WrittenOut(_marked(flow), flow.statistics)
    if length <= LONG_PAGE and all(len(text(e)) <= SHORT_LINE for e in flow.equations.values()):
        return own
    taken = {*names_in_use(flow), *RESERVED}
    logits = total(*first_terms(model, kept.linear, False).values()) if kept.minimal else kept.logits(model)
    loss = partial(linear_loss, model=model) if kept.minimal else model.loss_function.whole
    moving = [w for w in model.weight_symbols if w.name in flow.moving]
    written = write_out(logits, loss, moving, taken)
    sides = {w.name: written.equations.get(w.name, sp.ZeroMatrix(*w.shape)) for w in model.weight_symbols}
    written = WrittenOut(*name_repeated(sides, written.definitions, taken))
    if agree(written, flow.right_hand_sides):
        return written
    return WrittenOut(*name_repeated(own.equations, own.definitions, taken)) if length > LONG_PAGE else own


def _by_power(flow: Flow) -> WrittenOut | None:
    """Equations as sums over powers of the weight scale that are not multiplied out; None where they would differ."""
    model, kept, eps = flow.model, flow.kept, scale_symbol(flow)
    starts = start_powers(model, kept.linear)
    moving = [w for w in model.weight_symbols if w.name in flow.moving]
    names = statistics(model)
    lines = {
        (w.name, power - starts[w.name]): substitute_runs(factored(side), names)
        for power, term in kept.series(model, int(kept.softmax)).items()
        for w, side in gradients(product(-1, term), moving).items()
        if power >= starts[w.name]
    }
    inside = frozenset[sp.MatrixSymbol]().union(*map(matrix_symbols, lines.values()))
    used = {s.name: e for s, e in names.items() if s in inside}
    lines, definitions = name_repeated(lines, used, {*names_in_use(flow), *RESERVED})
    sides = {w.name: sp.ZeroMatrix(*w.shape) for w in model.weight_symbols}
    for (name, power), side in lines.items():
        if not isinstance(side, sp.ZeroMatrix):
            sides[name] = sp.MatAdd(*terms_of(sides[name]), *terms_of(at_power(side, eps**power)))
    written = WrittenOut(sides, definitions)
    return written if agree(written, flow.right_hand_sides, {eps: 1}) else None


def at_power(side: Matrix, power: sp.Expr) -> Matrix:
    """A side times a power of the weight scale, its own factors beside it; itself at the power 0."""
    factors = side.args if isinstance(side, sp.MatMul) else (side,)
    return side if power == 1 else sp.MatMul(power, *factors)


def names_in_use(flow: Flow) -> set[str]:
    """Names that a page must not give to anything else: weights, data, dimensions."""
    own = free_symbols(model_logits(flow.model)).union(*map(free_symbols, flow.right_hand_sides.values()))
    return {*map(str, own), *flow.model.weights, *map(str, flow.model.sizes), "Y", "omega"}


def scale_symbol(flow: Flow) -> sp.Symbol:
    """The symbol eps that marks powers; it stands for 1."""
    return sp.Symbol(free_name("eps", {*names_in_use(flow), *flow.statistics}), positive=True)


def _marked(flow: Flow) -> dict[str, Matrix]:
    weights, eps = flow.model.small_weights, scale_symbol(flow)
    return {w: mark_powers(e, weights, eps) for w, e in flow.equations.items()}


def agree(
    written: WrittenOut, sides: Mapping[str, Matrix], numbers: Mapping[sp.Symbol, int] | None = None
) -> bool:
    """Whether equations with named intermediates equal others, at random arrays of random small sizes."""
    lines = (*sides.values(), *written.equations.values(), *written.definitions.values())
    inside = frozenset[sp.MatrixSymbol]().union(*map(matrix_symbols, lines))
    given = sorted((s for s in inside if s.name not in written.definitions), key=str)
    shapes = {d for e in (*lines, *inside) for d in e.shape}
    dimensions = {d for e in (*lines, *shapes) for d in free_symbols(e) if isinstance(d, sp.Symbol)}
    rng = np.random.default_rng(0)
    sizes = {d: 2 + i for i, d in enumerate(sorted(dimensions, key=str))} | dict(numbers or {})
    values = {s.name: _draw(s, sizes, rng) for s in given}
    expected = evaluate_all(sides, values, sizes)
    for name, definition in written.definitions.items():
        values[name] = evaluate(definition, values, sizes)
    found = {w: evaluate(e, values, sizes) for w, e in written.equations.items()}
    return all(_close(found[w], expected[w]) for w in sides)


def _draw(symbol: sp.MatrixSymbol, sizes: Mapping[sp.Symbol, int], rng: np.random.Generator) -> np.ndarray:
    shape = [int(sp.sympify(d).xreplace(sizes)) for d in symbol.shape]
    if isinstance(symbol, StochasticSymbol):
        positive = rng.uniform(0.2, 1.0, shape)
        return positive / positive.sum(axis=1, keepdims=True)
    return rng.normal(0.0, 0.7, shape) / np.sqrt(shape[0])  # deep networks are not to saturate


def _close(a: np.ndarray, b: np.ndarray) -> bool:
    scale = max(float(np.abs(b).max()), 1e-300)
    return bool(np.isfinite(a).all() and np.abs(np.asarray(a) - np.asarray(b)).max() <= AGREEMENT * scale)
