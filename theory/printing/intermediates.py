"""Intermediates of a network by the names a paper would give them: the flow of an exact loss, written as it is computed.

========  ==========================================================================================
name      what
========  ==========================================================================================
``S``     scores: what a softmax over places is taken of
``A``     attention: that softmax against its base measure, or its series
``u``     residual stream: a sum that other weights act on
``z``     pre-activations: what an activation is applied to
``h``     hidden layer: the activation's value, or its polynomial
``f``     logits
``p``     probabilities: softmax of the logits
``m``     margins: labels times logits
``R``     what is left to learn: minus the gradient of the loss by the logits, omega (Y - p) for instance
``R_v``   the same carried back to the intermediate v
========  ==========================================================================================

Several of one kind are numbered in the order of the computation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction

from ..algebra.adjoint import gradients
from ..algebra.matrices import apply, hadamard, product, split, total, transpose
from ..algebra.nodes import Matrix, RowSoftmax, StochasticSymbol, matrix_symbols
from ..algebra.rebuild import Rebuild, Substitution, factored
from ..algebra.traversal import parts, rule
from .letters import free_name


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

    equations: dict[str, Matrix]
    definitions: dict[str, Matrix]


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
    pages = _Pages(weights, taken)
    f = pages.forward(logits)
    pages.error(f, loss)
    pages.backward()
    return pages.finished()


class _Pages:
    """Definitions in the order of the computation, and the adjoint of each."""

    def __init__(self, weights: Sequence[sp.MatrixSymbol], taken: Collection[str]) -> None:
        self.weights, self.taken = tuple(weights), set(taken)
        self.meanings: dict[sp.MatrixSymbol, Matrix] = {}
        self.several: set[str] = set()  # kinds that are numbered

    def define(self, wanted: str, meaning: Matrix, kind: type = sp.MatrixSymbol) -> sp.MatrixSymbol:
        """A new symbol for an expression."""
        name = free_name(wanted, self.taken, first=int(wanted in self.several))
        self.taken.add(name)
        symbol = kind(name, *meaning.shape)
        self.meanings[symbol] = meaning
        return symbol

    def forward(self, logits: Matrix) -> sp.MatrixSymbol:
        """Name what the logits are computed from, and the logits."""
        naming = _Forward(self, _roles(logits, set(self.weights)))
        self.f = self.define("f", naming.whole(logits))
        self.stages = tuple(self.meanings)
        return self.f

    def error(self, f: sp.MatrixSymbol, loss: Callable[[Matrix], Matrix]) -> None:
        """Minus the gradient by the logits, in probabilities or margins."""
        error = factored(gradients(product(-1, loss(f)), [f])[f])
        self.bars = {f: self.define("R", _Error(self, f)(error))}

    def backward(self) -> None:
        """Carry the error back, stage by stage, the last first; what reaches a weight is its motion."""
        received: dict[sp.MatrixSymbol, list[Matrix]] = {}
        recall = _Recall({self.meanings[s]: s for s in self.stages})
        for stage in reversed(self.stages):
            if stage not in self.bars:
                bar = total(*received[stage])
                known = isinstance(bar, sp.MatrixSymbol)
                self.bars[stage] = bar if known else self.define(f"R_{stage.name}", bar)
            meaning = self.meanings[stage]
            wanted = [s for s in matrix_symbols(meaning) if s in self.weights or s in self.stages]
            for symbol, share in _pulled_back(self.bars[stage], meaning, wanted).items():
                received.setdefault(symbol, []).append(recall(share))
        self.sides = {
            w.name: total(*received[w]) if w in received else sp.ZeroMatrix(*w.shape) for w in self.weights
        }

    def finished(self) -> WrittenOut:
        """All of it, without the names of what is carried back that stand once or for next to nothing."""
        back = [s for s in self.meanings if s not in self.stages and s.name.startswith("R_")]
        for symbol in back:
            places = (n for e in (*self.sides.values(), *self.meanings.values()) for n in _leaves(e))
            if Counter(places)[symbol] == 1 or len(list(_leaves(self.meanings[symbol]))) <= SHORT:
                swap = Substitution({symbol: self.meanings.pop(symbol)})
                self.sides = {w: swap(e) for w, e in self.sides.items()}
                self.meanings = {s: swap(e) for s, e in self.meanings.items()}
        return WrittenOut(self.sides, {s.name: e for s, e in self.meanings.items()})


def _pulled_back(
    bar: Matrix, meaning: Matrix, wanted: Sequence[sp.MatrixSymbol]
) -> Mapping[sp.MatrixSymbol, Matrix]:
    """What an adjoint sends to the symbols of an expression: the gradient of the sum of its entries times the adjoint."""
    rows, cols = meaning.shape
    entries = hadamard(bar, meaning)
    return gradients(product(sp.OneMatrix(1, rows), entries, sp.OneMatrix(cols, 1)), wanted)


def _leaves(expr: Matrix) -> Iterator[Matrix]:
    """Symbols as often as they stand."""
    if isinstance(expr, sp.MatrixSymbol):
        yield expr
    for part in parts(expr):
        yield from _leaves(part)


def _roles(logits: Matrix, weights: set[sp.MatrixSymbol]) -> dict[Matrix, str]:
    """Sub-expressions that have a name, with the name of their kind."""
    found: dict[Matrix, str] = {}

    def visit(node: Matrix, top: bool = False) -> None:
        if not matrix_symbols(node) & weights or node in found:
            return
        for part in parts(node):
            visit(part)
        for part, role in _named_parts(node, weights):
            if not isinstance(part, sp.MatrixSymbol):
                found[_upright(part)] = role
        if isinstance(node, (RowSoftmax, ElementwiseApplyFunction)) and not top:
            found.setdefault(node, "A" if isinstance(node, RowSoftmax) else "h")
        if isinstance(node, sp.MatAdd) and not top:
            found.setdefault(_upright(node), _role_of_sum(node, weights))

    visit(logits, top=True)
    return found


def _named_parts(node: Matrix, weights: set[sp.MatrixSymbol]) -> Iterator[tuple[Matrix, str]]:
    if isinstance(node, RowSoftmax):
        yield node.args[0], "S"
    elif isinstance(node, ElementwiseApplyFunction):
        yield node.expr, "z"
    elif isinstance(node, sp.HadamardPower):
        yield node.base, "z"
    elif isinstance(node, sp.HadamardProduct):
        masked = any(not matrix_symbols(a) & weights for a in node.args)
        yield from ((a, "S" if masked else "z") for a in node.args if matrix_symbols(a) & weights)


def _role_of_sum(node: sp.MatAdd, weights: set[sp.MatrixSymbol]) -> str:
    inner = [split(t)[1] for t in node.args]
    if any(len(m) == 1 and isinstance(m[0], sp.HadamardPower) for m in inner):
        return "h"
    masked = (
        isinstance(m[0], sp.HadamardProduct) and any(not matrix_symbols(a) & weights for a in m[0].args)
        for m in inner
        if len(m) == 1
    )
    return "A" if any(masked) else "u"


def _upright(node: Matrix) -> Matrix:
    """An expression or its transpose, whichever holds fewer transposes."""
    return min(node, transpose(node), key=_flips)


def _flips(expr: Matrix) -> int:
    """Transposes in sums, products and entrywise products."""
    if isinstance(expr, sp.Transpose):
        return 1
    inner = isinstance(
        expr, (sp.MatAdd, sp.MatMul, sp.HadamardProduct, sp.HadamardPower, ElementwiseApplyFunction)
    )
    return sum(map(_flips, parts(expr))) if inner else 0


class _Forward(Rebuild):
    """Rebuilds logits with a symbol for everything that has a role; sums hold sums that stand alone elsewhere."""

    purpose = "naming intermediates"

    def __init__(self, pages: _Pages, roles: Mapping[Matrix, str]) -> None:
        super().__init__()
        self.pages, self.roles = pages, roles
        self.sums = sorted((r for r in roles if isinstance(r, sp.MatAdd)), key=lambda r: -len(r.args))
        pages.several = {role for role, count in Counter(roles.values()).items() if count > 1}

    def __call__(self, node: Matrix) -> Matrix:
        """A symbol, its transpose, or what is built of such."""
        if node in self.known:
            return self.known[node]
        upright = _upright(node) if not isinstance(node, sp.MatrixSymbol) else node
        if upright in self.roles and upright != node:
            self.known[node] = transpose(self(upright))
        elif node in self.roles:
            meaning = self.whole(node)
            kind = StochasticSymbol if isinstance(node, RowSoftmax) else sp.MatrixSymbol
            self.known[node] = self.pages.define(self.roles[node], meaning, kind)
        else:
            self.known[node] = self.whole(node)
        return self.known[node]

    def whole(self, node: Matrix) -> Matrix:
        """An expression built of symbols, itself without one."""
        return self.rule_of(node)(node)

    @rule(sp.MatAdd)
    def mat_add(self, node: sp.MatAdd) -> Matrix:
        terms, found = list(node.args), []
        for inner in self.sums:
            for whole in (inner, transpose(inner)):
                if (
                    isinstance(whole, sp.MatAdd)
                    and len(whole.args) < len(terms)
                    and set(whole.args) < set(terms)
                ):
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

    def __init__(self, pages: _Pages, f: sp.MatrixSymbol) -> None:
        super().__init__()
        self.pages, self.f = pages, f

    @rule(RowSoftmax)
    def softmax(self, node: RowSoftmax) -> Matrix:
        return self.pages.define("p", node, StochasticSymbol)

    @rule(ElementwiseApplyFunction)
    def function(self, node: ElementwiseApplyFunction) -> Matrix:
        (x,), expr = node.function.variables, node.function.expr
        margin = self.margin(node.expr)
        if expr.could_extract_minus_sign():
            return product(-1, apply(sp.Lambda(x, -expr), margin))
        return apply(node.function, margin)

    def margin(self, node: Matrix) -> Matrix:
        if isinstance(node, sp.MatrixSymbol):
            return node
        known = {e: s for s, e in self.pages.meanings.items()}
        return known[node] if node in known else self.pages.define("m", node)
