"""A flow and its data, compiled into a Problem."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import scipy.sparse as sparse
import sympy as sp

from ...theory.algebra.nodes import matrix_symbols
from ...theory.algebra.sizes import dimension_sizes
from ...theory.base.validate import kind_of
from ...theory.data.inputs import N_CTX, ROWS
from ...theory.flows.flow import Flow
from ...theory.flows.powers import model_logits
from ..kernel._interpreter import rhs
from ..kernel.alignment import aligned
from ..kernel.cache import LOCK
from ..kernel.calls._addresses import make_ready
from ..kernel.problem import Problem
from ..kernel.work import functions_of
from .ordering import lower_flow
from .rows.shared_rows import equal_rows
from .table.emit import Emitter

if TYPE_CHECKING:
    from ...theory.algebra.nodes import Matrix
    from ...theory.data.dataset import Dataset
    from ...theory.models.model import Model

_PROBLEMS: WeakKeyDictionary[Flow, WeakKeyDictionary[Dataset, dict[bool, Problem]]] = WeakKeyDictionary()
# Flows come and go, and the next one often has the same equations: kernels are kept for these as long as the data,
# the last few, unless they are large.
_LATEST: WeakKeyDictionary[Dataset, dict[tuple[Any, ...], Problem]] = WeakKeyDictionary()
KEPT, LARGE_BYTES = 16, 2**22


def compile_flow(
    flow: Flow,
    data: Dataset,
    start: Mapping[str, np.ndarray],
    fold: bool = True,
    blocks: bool = True,
    ready: bool = True,
) -> Problem:
    """Compile a flow on a dataset into one table of operations with its data folded.

    Parameters
    ----------
    flow : Flow
        The derived equations.
    data : Dataset
        Training data; held-out rows take no part.
    start : dict
        Validated weights.
    fold : bool, default True
        Whether weights that the flow freezes enter as constants, folded with the data; else they are part of the
        state, with derivative zero.
    blocks : bool, default True
        Whether many rows are worked through block by block (see `row_blocks`), as suits a cache and not a device.
    ready : bool, default True
        Whether the operations are compiled, or loaded, now; else they are when the table is first carried out.

    Returns
    -------
    Problem
        With scratch memory of its own, so that each thread may compile once and run alone.

    Raises
    ------
    ValueError
        If the vocabularies of model and data differ.
    """
    flow.model.check_data(data)
    frozen = {w: start[w] for w in flow.model.weights if w not in flow.moving and fold}
    if frozen:
        problem = _compile(flow, data, frozen, blocks)  # another start, other constants: nothing to share
    else:
        with LOCK:
            found = _PROBLEMS.setdefault(flow, WeakKeyDictionary()).setdefault(data, {})
            if blocks not in found:
                found[blocks] = _latest(flow, data, blocks)
            problem = found[blocks].with_own_memory()
    if ready:
        _make_ready(problem)
    return problem


def _make_ready(problem: Problem) -> None:
    if not problem.notes.get("ready"):  # members of an ensemble ask one by one
        make_ready(functions_of(problem))
        problem.notes["ready"] = True


def evaluate_flow(flow: Flow, data: Dataset, weights: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Evaluate dW/dt, per unit of flow time, by the kernel that `integrate` uses; `Flow.rhs` is this.

    Parameters
    ----------
    flow : Flow
        The derived equations.
    data : Dataset
        Training data; held-out rows take no part.
    weights : dict
        Weight name -> array of the model's shape.

    Returns
    -------
    dict
        Weight name -> dW/dt, same shape, float64.

    Raises
    ------
    ValueError
        If a weight is missing or mis-shaped, the vocabularies differ, or the result is not finite.
    """
    kind_of("flow", flow, Flow, "`derive` makes one")
    clean = flow.model.validate(weights)
    problem = compile_flow(flow, data, clean, fold=False)
    out = aligned(problem.n, zero=True)
    problem(0.0, problem.pack(clean), out)
    for name, slope in (moved := problem.unpack(out)).items():
        if not np.isfinite(slope).all():
            raise ValueError(f"d{name}/dt is not finite at these weights: make them smaller.")
    return {name: moved[name] for name in clean}


def _latest(flow: Flow, data: Dataset, blocks: bool) -> Problem:
    """The kernel of a flow: that of an equal one, if it was compiled on this dataset lately."""
    if not flow.model._built_in:
        # what a model of the user's reads from data may change in a notebook
        return _compile(flow, data, {}, blocks)
    latest = _LATEST.setdefault(data, {})
    # Fields such as `padding` are in no equation: they say what the data matrices hold.
    key = flow.model, flow.model.content, blocks, *flow.right_hand_sides.items()
    problem = latest.pop(key, None) or _compile(flow, data, {}, blocks)
    if problem.floats.nbytes + problem.ints.nbytes <= LARGE_BYTES:
        latest[key] = problem
    while len(latest) > KEPT:
        del latest[next(iter(latest))]
    return problem


def _compile(flow: Flow, data: Dataset, frozen: dict[str, np.ndarray], blocks: bool) -> Problem:
    shapes = {w: s for w, s in flow.model.weights.items() if w not in frozen}
    sides, values, sizes = flow_parts(flow, data, shapes)
    return compile_sides(sides, values | frozen, shapes, sizes, frozen, blocks, ready=False)


def flow_parts(
    flow: Flow, data: Dataset, moving: Iterable[str]
) -> tuple[dict[str, Matrix], dict[str, Any], dict[sp.Symbol, int]]:
    """What the derivatives of some weights are made of: right-hand sides, data matrices and sizes."""
    values = distinct_rows(flow.model, data)
    sides = {w: flow.right_hand_sides[w] for w in moving}
    sizes = flow.model.sizes | {ROWS: values["omega"].shape[0], N_CTX: data.n_ctx}
    for side in sides.values():
        sizes |= dimension_sizes(side, values)
    return sides, values, sizes


def compile_sides(
    sides: Mapping[str, Matrix],
    values: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, int]],
    sizes: Mapping[sp.Symbol, int],
    frozen: Mapping[str, np.ndarray],
    blocks: bool = True,
    ready: bool = True,
) -> Problem:
    """Compile right-hand sides in weights of these shapes and data of these values; the rest as in `compile_flow`."""
    graph, outputs = lower_flow(sides, values, shapes, sizes)
    layout = _layout(shapes)
    kernel = Emitter(graph, layout, outputs, blocks).run()
    work = aligned(kernel.work_size)
    problem = Problem(rhs, layout, kernel.floats, kernel.ints, work, frozen, compiled=True)
    if ready:
        _make_ready(problem)
    return problem


def distinct_rows(model: Model, data: Dataset, labels_apart: bool = False) -> dict[str, Any]:
    """Data matrices of the training rows, with those merged that the loss cannot tell apart.

    A square of gradients tells labels apart: with `labels_apart`, rows merge only where these are the same; and several
    rows of one sequence stay where they are, since their gradients are summed before they are squared.
    """
    values = model.data_matrices(data)
    symbols = matrix_symbols(model_logits(model))
    if any(s.cols == ROWS for s in symbols) or (labels_apart and model.per_position):
        return values  # rows that look at each other stay as they are
    told_apart = {s.name for s in symbols if s.rows == ROWS and s.name in values}
    labels_apart = labels_apart or not model.loss_function.linear_in_labels
    return merge_rows(values, told_apart | ({"Y"} if labels_apart else set()))


def merge_rows(values: dict[str, Any], inputs: set[str]) -> dict[str, Any]:
    """Merge sequences that the loss cannot tell apart: equal in every data matrix named by `inputs`.

    Their weights add up and their labels become one law, which leaves every gradient as it was; the bag-of-counts
    model meets (z, a, b) and (z, b, a) as one row.
    """
    rows = sparse.hstack([values[name] for name in sorted(inputs)], format="csr")
    group = equal_rows(rows)
    first = np.unique(group, return_index=True)[1]
    weights = values["omega"].ravel()
    merged = np.bincount(group, weights=weights)
    share = weights / merged[group]
    mean = sparse.csr_array((share, (group, np.arange(group.size))), shape=(first.size, group.size))
    labels = mean @ values["Y"]
    kept = {name: v[first] if name in inputs else v for name, v in values.items()}
    return kept | {"Y": labels.tocsr() if sparse.issparse(labels) else labels, "omega": merged.reshape(-1, 1)}


def _layout(shapes: Mapping[str, tuple[int, int]]) -> dict[str, tuple[int, tuple[int, ...]]]:
    layout, offset = {}, 0
    for name, shape in shapes.items():
        layout[name] = (offset, shape)
        offset += shape[0] * shape[1]
    return layout
