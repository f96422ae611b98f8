"""Models and flows with the eps of their normalisations put zero, which is where closures count powers.

A row that shrinks with the weights ends below any eps that is fixed. Far above it only the direction of the row counts,
which is the same at every scale once eps is zero.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import fields, replace
from functools import lru_cache, partial

import sympy as sp

from ...theory.algebra.nodes import Matrix, RowNorm, nodes_within
from ...theory.algebra.norms import without_eps
from ...theory.algebra.scale.mirrored import mirrored
from ...theory.flows.closure import Closure
from ...theory.flows.flow import Flow
from ...theory.flows.powers import model_logits
from ...theory.models.model import Model


def eps_of_norms(model: Model) -> frozenset[sp.Expr]:
    """The eps of a model's normalisations."""
    return frozenset(node.eps for node in nodes_within(model_logits(model), RowNorm))


def far_above(model: Model) -> Model:
    """The model itself if its normalisations have no eps, else the one that has none.

    Where eps is the field `norm_eps`, that is a model of the same class.
    """
    if not any(eps_of_norms(model)):
        return model
    if getattr(model, "norm_eps", 0.0):
        model = replace(model, norm_eps=0.0)
    if not any(norms := eps_of_norms(model)):
        return model
    return _changed(model, without_eps, norms)


def model_mirrored(model: Model) -> Model:
    """A model whose normalisations have no eps, continued to negative scales; itself if it has none."""
    if not eps_of_norms(model):
        return model
    return _changed(model, mirrored, model.small_weights)


def _changed(model: Model, change: Callable[..., Matrix], *given: Hashable) -> Model:
    """A model of a class of its own, whose logits are changed."""
    kind = _class_of(type(model), change, *given)
    return kind(**{f.name: getattr(model, f.name) for f in fields(model)})


@lru_cache(maxsize=64)
def _class_of(kind: type[Model], change: Callable[..., Matrix], *given: Hashable) -> type[Model]:
    """That class, one for all proofs: what they keep of its models is found again."""

    def logits(self: Model) -> Matrix:
        return change(kind.logits.__get__(self), *given)

    return type(kind.__name__, (kind,), {"logits": property(logits), "__module__": kind.__module__})


def flow_far_above(flow: Flow) -> Flow:
    """The flow there: itself if nothing is dropped, or if its normalisations are linear, as they are near zero."""
    norms = eps_of_norms(flow.model)
    if _stays(flow) or not any(norms):
        return flow
    return _with(flow, far_above(flow.model), partial(without_eps, norms=norms))


def flow_mirrored(flow: Flow) -> Flow:
    """A flow far above the eps of its normalisations, continued to negative scales; itself where that is no matter."""
    if _stays(flow) or not eps_of_norms(flow.model):
        return flow
    return _with(flow, model_mirrored(flow.model), partial(mirrored, weights=flow.model.small_weights))


def _stays(flow: Flow) -> bool:
    return flow.kept == Closure() or flow.kept.linear


def _with(flow: Flow, model: Model, change: Callable[[Matrix], Matrix]) -> Flow:
    sides = {w: change(e) for w, e in flow.right_hand_sides.items()}
    return Flow(model, flow.closure, sides, flow.moving)
