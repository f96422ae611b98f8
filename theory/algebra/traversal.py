"""One traversal for every pass over matrix expressions: a rule per kind of node, chosen by type, results kept.

A pass is a subclass of `Traversal` whose methods are marked with the kinds of nodes that they handle. The rule of a
node is that of its class or of the nearest base class that has one; a node without a rule is refused by name, never
passed over. `NODES` lists every kind that a canonical expression may hold, and a test crosses it with every pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction
from sympy.matrices.expressions.diagonal import DiagMatrix

from .nodes import Centering, Matrix, MatrixFunction

# What has no parts, what sympy builds from parts, and what this package adds to it.
LEAVES = (sp.MatrixSymbol, sp.Identity, sp.ZeroMatrix, sp.OneMatrix, Centering)
BUILT = (
    sp.MatMul,
    sp.MatAdd,
    sp.Transpose,
    sp.HadamardProduct,
    sp.HadamardPower,
    ElementwiseApplyFunction,
    DiagMatrix,
)
NODES = (*LEAVES, *BUILT, *MatrixFunction.__subclasses__())


class UnknownNodeError(TypeError, ValueError):
    """An expression holds a kind of node for which a pass has no rule; the message names both."""


def rule(*kinds: type) -> Callable[[Any], Any]:
    """Mark a method as the rule for some kinds of nodes."""

    def mark(method: Any) -> Any:
        method.kinds = kinds
        return method

    return mark


class Dispatch:
    """Finds the rule for a node among the marked methods of a class.

    Attributes
    ----------
    purpose : str
        What the rules are for, as it stands in a refusal.
    """

    purpose: ClassVar[str] = "traversal"
    _rules: ClassVar[dict[type, str]] = {}
    _chosen: ClassVar[dict[type, str]] = {}

    def __init_subclass__(cls) -> None:
        """Collect the rules; those of a subclass take the place of its bases'."""
        super().__init_subclass__()
        cls._rules, cls._chosen = {}, {}
        for base in reversed(cls.__mro__):
            for name, method in vars(base).items():
                cls._rules |= dict.fromkeys(getattr(method, "kinds", ()), name)

    def rule_of(self, node: Any) -> Callable[..., Any]:
        """The method that handles a node.

        Raises
        ------
        UnknownNodeError
            If none does.
        """
        kind = type(node)
        if kind not in self._chosen:
            found = next((self._rules[base] for base in kind.__mro__ if base in self._rules), None)
            if found is None:
                raise UnknownNodeError(self.refusal(kind))
            self._chosen[kind] = found
        return getattr(self, self._chosen[kind])

    def made_of(self, node: MatrixFunction) -> Matrix:
        """What a node is made of, for a pass without a rule of its own for it.

        Raises
        ------
        UnknownNodeError
            If it is made of nothing else.
        """
        if (other := node.made_of) is None:
            raise UnknownNodeError(self.refusal(type(node)))
        return other

    @classmethod
    def refusal(cls, kind: type) -> str:
        """The sentence with which a kind of node is refused."""
        return (
            f"no rule of {cls.purpose} for {kind.__name__}: write it with other operations, or add the rule."
        )


class Traversal(Dispatch):
    """A pass: called with an expression, it applies the node's rule, once for every distinct sub-expression.

    Rules call the pass on the parts of their node. An instance holds what the pass depends on besides the expression
    (an order, values of symbols, ...).

    Attributes
    ----------
    most : int or None
        Results kept before all are forgotten, for passes that live as long as the process; None keeps all.
    """

    most: ClassVar[int | None] = None

    def __init__(self) -> None:
        self.known: dict[Any, Any] = {}

    def __call__(self, node: Any) -> Any:
        """Result of the pass for an expression."""
        known = self.known
        if node not in known:
            result = self.rule_of(node)(node)
            if self.most is not None and len(known) >= self.most:
                known.clear()
            known[node] = result
        return known[node]


class _Parts(Dispatch):
    """The matrices that a node is built from."""

    purpose = "the parts of an expression"

    @rule(*LEAVES)
    def none(self, node: Matrix) -> Sequence[Matrix]:
        return ()

    @rule(sp.MatMul)
    def factors(self, node: sp.MatMul) -> Sequence[Matrix]:
        return node.as_coeff_matrices()[1]

    @rule(sp.HadamardPower)
    def base(self, node: sp.HadamardPower) -> Sequence[Matrix]:
        return (node.base,)

    @rule(ElementwiseApplyFunction)
    def argument(self, node: ElementwiseApplyFunction) -> Sequence[Matrix]:
        return (node.expr,)

    @rule(sp.MatAdd, sp.Transpose, sp.HadamardProduct, DiagMatrix)
    def every(self, node: Matrix) -> Sequence[Matrix]:
        return node.args

    @rule(MatrixFunction)
    def own(self, node: MatrixFunction) -> Sequence[Matrix]:
        return node.matrices


_parts = _Parts()


def parts(node: Matrix) -> Sequence[Matrix]:
    """The matrices that a node is built from; none for symbols and constants.

    Raises
    ------
    UnknownNodeError
        For a kind that is not in `NODES`.
    """
    return _parts.rule_of(node)(node)
