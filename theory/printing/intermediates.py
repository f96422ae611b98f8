"""The flow of an exact loss, written as a network computes it, with the names that a paper gives to what is between.

========  =====================================================================================================
name      what
========  =====================================================================================================
``S``     scores: what a softmax over places is taken of
``A``     attention: that softmax against its base measure, or its series
``u``     residual stream: a sum that other weights act on
``v``     normalised rows: a sum over the root of its mean square
``c``     centred rows, where a closure takes such a norm apart
``r``     the number that a norm then multiplies each row by
``z``     pre-activations: what an activation is applied to
``h``     hidden layer: the activation's value, or its polynomial
``f``     logits
``p``     probabilities: softmax of the logits
``m``     margins: labels times logits
``R``     what is left to learn: minus the gradient of the loss by the logits, omega (Y - p) for instance
``R_u``   the same carried back to the intermediate u
``B``     what else stands twice or more (`repeated`)
========  =====================================================================================================

Several of one kind are numbered in the order of the computation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction

from ..algebra.adjoint import gradients
from ..algebra.matrices import apply, hadamard, product, total, transpose
from ..algebra.nodes import Matrix, RowSoftmax, StochasticSymbol, matrix_symbols
from ..algebra.rebuild import Rebuild, Substitution, factored
from ..algebra.traversal import parts, rule
from .letters import free_name
from .roles import find_roles, upright

SHORT = 2  # symbols in what is carried back that needs no name


@dataclass(frozen=True)
class WrittenOut:
    """Equations with what stands in them.

    Attributes
    ----------
    equations : dict
        Weight name -> right-hand side.
    definitions : dict
        Name -> what it stands for, each in terms of weights, data and the names before it.
    """

    equations: Mapping[str, Matrix]
    definitions: Mapping[str, Matrix]


def write_out(
    logits: Matrix,
    loss: Callable[[Matrix], Matrix],
    weights: Sequence[sp.MatrixSymbol],
    taken: Collection[str],
) -> WrittenOut:
    """Write the gradient flow of a loss of logits as a network computes it: forward, the error, and back.

    Parameters
    ----------
    logits : Matrix
        In weights and data.
    loss : callable
        Logits -> (1, 1) expression.
    weights : sequence of MatrixSymbol
        Whose motion is wanted.
    taken : collection of str
        Names that intermediates must not have.
    """
    names = _Definitions(taken)
    f = names.define("f", _Forward(names, find_roles(logits, weights)).whole(logits))
    forward = tuple(names.meanings)
    error = factored(gradients(product(-1, loss(f)), [f])[f])
    bars = {f: names.define("R", _Error(names, f)(error))}
    sides, carried = _backward(names, forward, bars, weights)
    return _needed(_shortened(sides, names.meanings, carried))


def _needed(written: WrittenOut) -> WrittenOut:
    """Without definitions that nothing refers to: logits, where the error does not depend on them."""
    needed = {s.name for e in written.equations.values() for s in matrix_symbols(e)}
    kept: dict[str, Matrix] = {}
    for name, meaning in reversed(list(written.definitions.items())):
        if name in needed:
            kept[name] = meaning
            needed |= {s.name for s in matrix_symbols(meaning)}
    return WrittenOut(written.equations, dict(reversed(list(kept.items()))))


class _Definitions:
    """Names given so far, in the order of the computation."""

    def __init__(self, taken: Collection[str]) -> None:
        self.taken = set(taken)
        self.several: set[str] = set()  # kinds that are numbered
        self.meanings: dict[sp.MatrixSymbol, Matrix] = {}

    def define(self, wanted: str, meaning: Matrix, kind: type = sp.MatrixSymbol) -> sp.MatrixSymbol:
        """A new symbol for an expression."""
        name = free_name(wanted, self.taken, first=int(wanted in self.several))
        self.taken.add(name)
        symbol = kind(name, *meaning.shape)
        self.meanings[symbol] = meaning
        return symbol


def _backward(
    names: _Definitions,
    forward: Sequence[sp.MatrixSymbol],
    bars: dict[sp.MatrixSymbol, sp.MatrixSymbol],
    weights: Sequence[sp.MatrixSymbol],
) -> tuple[dict[str, Matrix], list[sp.MatrixSymbol]]:
    """Carry the error back, the last stage first; what reaches a weight is its motion."""
    received: dict[sp.MatrixSymbol, list[Matrix]] = {}
    recall = _Recall({names.meanings[s]: s for s in forward})
    carried = []
    for stage in reversed(forward):
        if stage not in bars:
            bar = total(*received[stage])
            if not isinstance(bar, sp.MatrixSymbol):
                bar = names.define(f"R_{stage.name}", bar)
                carried.append(bar)
            bars[stage] = bar
        meaning = names.meanings[stage]
        wanted = [s for s in matrix_symbols(meaning) if s in weights or s in forward]
        for symbol, share in _pulled_back(bars[stage], meaning, wanted).items():
            received.setdefault(symbol, []).append(recall(share))
    sides = {w.name: total(*received[w]) if w in received else sp.ZeroMatrix(*w.shape) for w in weights}
    return sides, carried


def _pulled_back(
    bar: Matrix, meaning: Matrix, wanted: Sequence[sp.MatrixSymbol]
) -> Mapping[sp.MatrixSymbol, Matrix]:
    """What an adjoint sends to the symbols of an expression: the gradient of the sum of (adjoint o expression)."""
    rows, cols = meaning.shape
    entries = hadamard(bar, meaning)
    return gradients(product(sp.OneMatrix(1, rows), entries, sp.OneMatrix(cols, 1)), wanted)


def _shortened(
    sides: dict[str, Matrix], meanings: dict[sp.MatrixSymbol, Matrix], carried: Sequence[sp.MatrixSymbol]
) -> WrittenOut:
    """Put in what is carried back and stands once, or is next to nothing."""
    for symbol in carried:
        places = Counter(leaf for e in (*sides.values(), *meanings.values()) for leaf in _leaves(e))
        if places[symbol] == 1 or len(list(_leaves(meanings[symbol]))) <= SHORT:
            swap = Substitution({symbol: meanings[symbol]})
            meanings = {s: swap(e) for s, e in meanings.items() if s != symbol}
            sides = {w: swap(e) for w, e in sides.items()}
    return WrittenOut(sides, {s.name: e for s, e in meanings.items()})


def _leaves(expr: Matrix) -> Iterator[Matrix]:
    """Symbols as often as they stand."""
    if isinstance(expr, sp.MatrixSymbol):
        yield expr
    for part in parts(expr):
        yield from _leaves(part)


class _Forward(Rebuild):
    """Rebuilds logits with a symbol for everything that has a role; sums hold sums that stand alone elsewhere."""

    purpose = "naming intermediates"

    def __init__(self, names: _Definitions, found: Mapping[Matrix, str]) -> None:
        super().__init__()
        self.names, self.roles = names, found
        self.sums = sorted((r for r in found if isinstance(r, sp.MatAdd)), key=lambda r: -len(r.args))
        names.several = {letter for letter, count in Counter(found.values()).items() if count > 1}

    def __call__(self, node: Matrix) -> Matrix:
        """A symbol, its transpose, or what is built of such."""
        if node not in self.known:
            self.known[node] = self.named(node)
        return self.known[node]

    def named(self, node: Matrix) -> Matrix:
        turned = upright(node)
        if turned not in self.roles:
            return self.whole(node)
        if turned != node:
            return transpose(self(turned))
        kind = StochasticSymbol if isinstance(node, RowSoftmax) else sp.MatrixSymbol
        return self.names.define(self.roles[node], self.whole(node), kind)

    def whole(self, node: Matrix) -> Matrix:
        """An expression built of symbols, itself without one."""
        return self.rule_of(node)(node)

    @rule(sp.MatAdd)
    def mat_add(self, node: sp.MatAdd) -> Matrix:
        terms, found = list(node.args), []
        for inner in self.sums:
            for whole in (inner, transpose(inner)):
                if len(whole.args) < len(terms) and set(whole.args) < set(terms):
                    terms = [t for t in terms if t not in whole.args]
                    found.append(self(whole))
        return total(*map(self, terms), *found)


class _Recall(Rebuild):
    """Writes named expressions as their symbols."""

    purpose = "recalling names"

    def __init__(self, names: Mapping[Matrix, sp.MatrixSymbol]) -> None:
        super().__init__()
        self.names = names

    def __call__(self, node: Matrix) -> Matrix:
        """The symbol, or what is built of symbols."""
        return self.names[node] if node in self.names else super().__call__(node)


class _Error(Rebuild):
    """Names probabilities and margins; a minus sign of an entrywise function goes to the front."""

    purpose = "naming the error"

    def __init__(self, names: _Definitions, f: sp.MatrixSymbol) -> None:
        super().__init__()
        self.names, self.f = names, f

    @rule(RowSoftmax)
    def softmax(self, node: RowSoftmax) -> Matrix:
        return self.names.define("p", node, StochasticSymbol)

    @rule(ElementwiseApplyFunction)
    def function(self, node: ElementwiseApplyFunction) -> Matrix:
        (x,), expr = node.function.variables, node.function.expr
        margin = self.margin(node.expr)
        if expr.could_extract_minus_sign():
            return product(-1, apply(sp.Lambda(x, -expr), margin))
        return apply(node.function, margin)

    def margin(self, node: Matrix) -> Matrix:
        """A symbol for what a loss is a function of."""
        known = {meaning: symbol for symbol, meaning in self.names.meanings.items()} | {self.f: self.f}
        return known[node] if node in known else self.names.define("m", node)
