"""A claim as a whole: what moves on the left, how on the right, and the lines that define its names.

::

    claim      = moving ["/dt"] "=" sum ("with" NAME "=" sum)*
    moving     = "d" NAME | "d" "(" sum ")"

The name is that of a weight; a sum in brackets is a polynomial in the weights, such as what a flow conserves or the
product of two layers. `grammar` has the sums.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction

from ..algebra.nodes import Centering, Matrix, MatrixFunction, matrix_symbols, nodes_within
from ..algebra.rebuild import canonical, distribute
from ..algebra.terms import CountTerms
from ..algebra.traversal import BUILT, LEAVES, Traversal, parts, rule
from ..base.validate import did_you_mean
from .claim_text import ClaimError, statements
from .claim_values import ParsedClaim, Value
from .grammar import Reader

MOST_TERMS = 100  # of what moves, multiplied out
MOST_WEIGHTS = 24  # in a term of it: each of them in turn makes a term of the motion


def parse(
    text: str,
    names: Mapping[str, sp.Expr],
    targets: Mapping[str, sp.MatrixSymbol],
    functions: Mapping[str, sp.Lambda] | None = None,
) -> ParsedClaim:
    """Read a claim such as "dW_E = M_last @ (W_in @ W_out + I).T" or "d(W_E.T @ W_E - W_in @ W_in.T) = 0".

    Parameters
    ----------
    text : str
        The claim, after it lines "with NAME = ..." as a flow prints them, each in terms of those before it.
    names : dict
        Every name that may stand on either side -> matrix or scalar.
    targets : dict
        Every weight that may stand on the left -> its symbol.
    functions : dict, optional
        Name -> scalar function that may be applied entry by entry.

    Raises
    ------
    ClaimError
        For anything outside the grammar, an unknown name or shapes that do not fit.
    """
    first, *definitions = statements(text)
    words: dict[str, Any] = dict(names)
    for line in definitions:
        name, value = _ClaimReader(line, words, functions or {}).definition(targets)
        words[name] = value
    reader = _ClaimReader(first, words, functions or {})
    target, moving = reader.left_side(targets)
    position = reader.expect("=")
    value = reader.whole(moving.shape)
    if value.shape != moving.shape:
        rows, cols = moving.shape
        raise ClaimError(
            f"`claim` gives d{target} the shape {value.shape}, it must be ({rows}, {cols}).",
            first,
            position + 1,
        )
    return ParsedClaim(target, moving, value, text)


def unfit_to_move(moving: Matrix, weights: Collection[sp.MatrixSymbol]) -> str:
    """Why an expression in canonical form is none whose motion can be claimed; nothing if it can."""
    if _CountProducts()(moving) > MOST_TERMS:
        return f"has more than {MOST_TERMS} terms when it is multiplied out: claim the motion of parts of it."
    if _CountWeights(weights)(moving) > MOST_WEIGHTS:
        return f"has a product of more than {MOST_WEIGHTS} weights: claim the motion of parts of it."
    functions = [f for kind in (MatrixFunction, ElementwiseApplyFunction) for f in nodes_within(moving, kind)]
    if any(matrix_symbols(f) & set(weights) for f in functions):
        return (
            "holds a function of weights: write a polynomial, of sums, products, transposes and whole powers."
        )
    if not matrix_symbols(distribute(moving)) & set(weights):
        return "holds no weight, or none that does not cancel: it rests."
    return ""


class _CountProducts(CountTerms):
    """Counts with what entry by entry and centring add."""

    @rule(Centering)
    def centring(self, node: Centering) -> int:
        return 2

    @rule(sp.HadamardProduct)
    def hadamard_product(self, node: sp.HadamardProduct) -> int:
        return math.prod(map(self, node.args))

    @rule(sp.HadamardPower)
    def power(self, node: sp.HadamardPower) -> int:
        return self(node.base) ** int(node.exp)


class _CountWeights(Traversal):
    """Counts the weights that are multiplied in a term, of that with the most of them."""

    purpose = "counting weights"

    def __init__(self, weights: Collection[sp.MatrixSymbol]) -> None:
        super().__init__()
        self.weights = set(weights)

    @rule(*LEAVES)
    def one(self, node: Matrix) -> int:
        return int(node in self.weights)

    @rule(*BUILT, MatrixFunction)
    def largest(self, node: Matrix) -> int:
        return max(map(self, parts(node)), default=0)

    @rule(sp.MatMul, sp.HadamardProduct)
    def multiplied(self, node: Matrix) -> int:
        return sum(map(self, parts(node)))

    @rule(sp.HadamardPower)
    def power(self, node: sp.HadamardPower) -> int:
        return self(node.base) * int(node.exp)


class _ClaimReader(Reader):
    """Reads the sides of an equation."""

    def left_side(self, targets: Mapping[str, sp.MatrixSymbol]) -> tuple[str, Matrix]:
        """What moves, by its name and as an expression."""
        kind, word, position = self.peek()
        known = kind == "name" and word[:1] == "d" and word[1:] in targets
        if (word, self.peek(1)[1]) == ("d", "(") and not known:
            self.next += 1
            found = self._in_brackets(targets)
        else:
            found = self._weight(targets)
        if self.take("/"):
            kind, after, position = self.peek()
            if after != "dt":
                raise self.error(f"`claim` needs 'dt' here, not {after!r}.", position)
            self.next += 1
        return found

    def _weight(self, targets: Mapping[str, sp.MatrixSymbol]) -> tuple[str, Matrix]:
        kind, word, position = self.peek()
        if kind != "name" or word[:1] != "d" or word[1:] not in targets:
            motions = [f"d{t}" for t in targets]
            hint = did_you_mean(
                word, motions, f"it starts with one of {', '.join(motions)}, or with d(..) of an expression."
            )
            if kind == "end":
                raise self.error(f"`claim` is empty: {hint}", position)
            raise self.error(f"`claim` starts with {word!r}, which is no weight's motion: {hint}", position)
        self.next += 1
        return word[1:], targets[word[1:]]

    def _in_brackets(self, targets: Mapping[str, sp.MatrixSymbol]) -> tuple[str, Matrix]:
        start = self.peek()[2]
        moving = canonical(self.bracket())
        if moving in targets.values():
            return moving.name, moving
        if reason := unfit_to_move(moving, targets.values()):
            raise self.error(f"`claim` moves what {reason}", start)
        end = self.tokens[self.next - 1][2] + 1
        return " ".join(self.text[start:end].split()), moving

    def definition(self, weights: Collection[str]) -> tuple[str, Value]:
        """Read a name, which must not be a weight's, and what it stands for."""
        kind, word, position = self.peek()
        if kind != "name" or word in weights:
            what = "a weight" if word in weights else "no name"
            raise self.error(f"`claim` defines {word!r}, which is {what}.", position)
        self.next += 1
        self.expect("=")
        return word, self.all()
