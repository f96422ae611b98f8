"""Minibatches in ensembles: compiled once for all members, with a seed for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.base.errors import FieldError
from ...theory.base.validate import brief, integer, is_integer
from ..compile.compiler import compile_flow
from ..integration.optimized import gradient_rows
from ..integration.step_plan import StepPlan
from ..optimizers.minibatches import GradientRows

if TYPE_CHECKING:
    from ...theory.data.dataset import Dataset
    from ...theory.flows.flow import Flow
    from ..kernel.problem import Problem


@dataclass(frozen=True)
class MemberBatches:
    """Minibatches of the members: what each of them moves by, and the problem that it is of.

    Attributes
    ----------
    plan : StepPlan
        Of all members.
    rows : tuple of GradientRows
        One for all members, or one for each where weights rest.
    problems : tuple of Problem
        Of the members, where weights rest; else empty.
    seeds : list of int or None
        Of the members.
    """

    plan: StepPlan
    rows: tuple[GradientRows, ...]
    problems: tuple[Problem, ...]
    seeds: list[int | None]

    @classmethod
    def of(cls, flow: Flow, data: Dataset, members: list, plan: StepPlan, seed: Any) -> MemberBatches:
        """Compile what they need, once, or for every member where weights rest."""
        rest = set(flow.moving) != set(flow.model.weights)  # what rests is folded with the data
        rows = tuple(gradient_rows(flow, data, m, plan) for m in (members if rest else members[:1]))
        problems = tuple(compile_flow(flow, data, m) for m in members) if rest else ()
        return cls(plan, rows, problems, _seeds(seed, len(members)))

    @property
    def drawn(self) -> bool:
        """Whether these are batches of seeds."""
        return self.plan.seed is not None

    def member(self, i: int, shared: Problem) -> tuple[Problem, dict[str, Any]]:
        """Problem and settings of a member; `shared` is what members have in common where nothing rests."""
        rows = self.rows[i if self.problems else 0].seeded(self.seeds[i])
        return (self.problems[i] if self.problems else shared), {"method": self.plan.method(rows)}


def _seeds(seed: Any, batch: int) -> list[int | None]:
    """A seed for each member."""
    if seed is None or is_integer(seed):
        return [None if seed is None else int(seed) for _ in range(batch)]
    values = seed.tolist() if isinstance(seed, np.ndarray) else seed
    if not isinstance(values, list | tuple | range) or len(values) != batch:
        raise FieldError(
            "seed", f"must be an integer or one for each of the {batch} members, got {brief(seed)}."
        )
    return [integer("seed", value, 0) for value in values]
