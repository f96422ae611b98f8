"""When the modes of a signature matrix are learnt: along a trajectory, and as predicted from the start alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp
from scipy.special import softmax

from ...theory.algebra.matrices import product
from ...theory.base.arrays import real_array
from ...theory.base.crossings import first_crossing
from ...theory.base.errors import FieldError
from ...theory.base.validate import kind_of, positive, real
from ...theory.data.dataset import Dataset
from ...theory.data.inputs import COUNTS, build_inputs, weight
from ...theory.data.signature_modes import Modes
from ...theory.flows.flow import derive
from ...theory.models.model import Model
from ..compile.logits import chunks, logits
from ..integration.integrate import integrate
from ..ode.outcome import Status
from ..trajectory.trajectory import Trajectory

NAMES = ("W_E", "W_in", "W_out")


def mode_residuals(trajectory: Trajectory, modes: Modes) -> np.ndarray:
    """How much of each mode is not learnt yet: ``u^T [sum_i w_i phi_i^T (y_i - p_i)] v``, relative to its strength.

    Parameters
    ----------
    trajectory : Trajectory
        From theory (its closure's own logits) or training, of a model with cross-entropy loss and one label a sequence.
    modes : Modes
        Of the trajectory's data; the sum runs over their groups' training sequences.

    Returns
    -------
    ndarray, shape (n_t, k)
        1 at uniform predictions if the modes' centring is "uniform", and close to it otherwise; 0 once learnt; nan
        for a mode of strength 0, which has nothing to learn.

    Raises
    ------
    ValueError
        If the trajectory lacks its model or data, or the model has another loss.
    """
    kind_of("trajectory", trajectory, Trajectory, "`integrate` and `train` make one")
    kind_of("modes", modes, Modes, "`signature_modes` makes one")
    model, data = trajectory.model_and_data()
    if model.loss != "cross_entropy" or model.per_position or model.outputs != data.d_vocab:
        raise ValueError(f"`trajectory` is of {model}: modes need cross-entropy over one label a sequence.")
    rows = np.flatnonzero(np.isin(data.groups, modes.groups) & ~data.held_out)
    left = np.zeros((len(trajectory), modes.strengths.size))
    for part in chunks(model, rows.size):
        mine = rows[part]
        sequences = data.sequences[mine]
        tokens = build_inputs({modes.statistic}, sequences, data.d_vocab)[modes.statistic] @ modes.tokens
        weighted = data.weights[mine, None] * tokens
        for i in range(len(trajectory)):
            now = {name: w[i] for name, w in trajectory.weights.items()}
            p = softmax(logits(model, now, sequences, trajectory.closure), axis=1)
            left[i] += np.sum(weighted * (modes.labels[data.labels[mine]] - p @ modes.labels), axis=0)
    return np.divide(left, modes.strengths, out=np.full(left.shape, np.nan), where=modes.strengths > 0.0)


def learning_times(trajectory: Trajectory, modes: Modes, share: float = 0.5) -> np.ndarray:
    """Flow time at which the residual of each mode first falls to a share of its strength; infinite if never."""
    share, residuals = real("share", share), mode_residuals(trajectory, modes)
    return first_crossing(trajectory.t, residuals.T, share)


def mode_blow_ups(modes: Modes, weights: Mapping[str, Any], t1: float) -> np.ndarray:
    """Flow time at which each mode alone blows up under the leading flow of W_E W_in W_out, from these weights.

    Parameters
    ----------
    modes : Modes
        Its strengths and vectors.
    weights : dict
        Start, with ``W_E``, ``W_in`` and ``W_out``.
    t1 : float
        Flow time up to which it is looked for.

    Returns
    -------
    ndarray, shape (k,)
        Infinite where it lies beyond `t1`.
    """
    kind_of("modes", modes, Modes, "`signature_modes` makes one")
    kind_of("weights", weights, Mapping, "give a dict of weight names to arrays")
    if missing := [name for name in NAMES if name not in weights]:
        raise FieldError("weights", f"lacks {missing[0]}: modes need those of a network with one layer.")
    outer, t1 = {name: real_array(f"weights[{name!r}]", weights[name]) for name in NAMES}, positive("t1", t1)
    w_in = outer["W_in"]
    model = _Mode(2, *w_in.shape, loss="exponential")
    flow, one = derive(model, "leading"), Dataset([[0]], [1], 2)
    times = []
    for k, strength in enumerate(modes.strengths):
        ends = modes.tokens[:, k] @ outer["W_E"], outer["W_out"] @ modes.labels[:, k]
        start = {"W_E": np.vstack([ends[0], 0.0 * ends[0]]), "W_in": w_in, "W_out": ends[1][:, None]}
        outcome = integrate(flow, one, start, t1=t1 * strength, rtol=1e-9, save_at=2, throw=False).outcome
        times.append(outcome.t / strength if outcome.status is Status.BLOW_UP else np.inf)
    return np.array(times)


@dataclass(frozen=True)
class _Mode(Model):
    """One mode of strength 1: its loss is exp(-e W_in o) with e = u W_E and o = W_out v."""

    d_model: int
    d_mlp: int

    @property
    def weight_symbols(self) -> tuple[sp.MatrixSymbol, ...]:
        return (
            weight("W_E", "d_vocab", "d_model"),
            weight("W_in", "d_model", "d_mlp"),
            weight("W_out", "d_mlp", 1),
        )

    @property
    def logits(self) -> Any:
        return product(COUNTS, *self.weight_symbols)
