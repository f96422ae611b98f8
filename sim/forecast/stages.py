"""The two stages of small-initialisation attention: values condense, then keys and queries grow and lose rank.

While all weights are small, keys and queries stand still at leading order and the values align with one direction v
(arXiv 2510.06954). Once the outer weights have settled, keys and queries obey the linear flow ``dW_Q/dt = F W_K,
dW_K/dt = F^T W_Q``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import issparse

from ...theory.base.crossings import first_crossing
from ...theory.base.errors import FieldError
from ...theory.base.frozen import FrozenRecord
from ...theory.base.validate import brief, kind_of, real
from ...theory.data.dataset import Dataset
from ...theory.data.inputs import build_inputs
from ...theory.exact.keys_and_queries import key_query
from ...theory.flows.flow import derive
from ...theory.models.model import Model
from ..integration.integrate import integrate
from ..ode.outcome import Status
from ..trajectory.trajectory import Trajectory

if TYPE_CHECKING:
    from jaxtyping import Float

INNER = ("W_Q", "W_K")


def value_direction(model: Model, data: Dataset, weights: Mapping[str, Any]) -> Float[np.ndarray, " d_vocab"]:
    """Direction v in which the values grow first: the top left singular vector of ``W_E^T M``, or of M one-hot.

    M is the signature of the mean token, ``sum_i w_i (c(X_i)/L)^T g_i``, with g the labels' pull on the logits at zero:
    y - 1/V for cross-entropy, y for squares, and for margins the signs, 1 at the label and -1 elsewhere.

    Returns
    -------
    ndarray
        Unit vector, of the length of W_V's rows.
    """
    train = np.flatnonzero(~data.held_out)
    mean = build_inputs({"C_mean"}, data.sequences[train], data.d_vocab)["C_mean"]
    pull = _pull(model, data.labels[train])
    signature = mean.T @ (data.weights[train, None] * pull)
    signature = np.asarray(weights["W_E"]).T @ signature if "W_E" in model.weights else signature
    return np.linalg.svd(signature, full_matrices=False)[0][:, 0]


def _pull(model: Model, labels: np.ndarray) -> np.ndarray:
    """Minus the gradient of each row's loss with respect to its logits, at zero, up to one factor for all rows."""
    targets = model.loss_function.targets(labels, model.outputs)
    targets = targets.toarray() if issparse(targets) else targets
    return targets - 1.0 / model.outputs if model.loss == "cross_entropy" else targets


def alignment(trajectory: Trajectory) -> Float[np.ndarray, " n_t"]:
    """Share of W_V that lies along v, ``|v^T W_V| / |W_V|`` with v of that time, shape (n_t,).

    1 once every column is a multiple of v (`value_direction`).

    Raises
    ------
    ValueError
        If the trajectory has no W_V, or lacks its model or data.
    """
    _check(trajectory, ("W_V",))
    (model, data), path = trajectory.model_and_data(), trajectory.weights
    shares = np.empty(len(trajectory))
    for i in range(len(trajectory)):
        v = value_direction(model, data, {name: w[i] for name, w in path.items()})
        shares[i] = np.linalg.norm(v @ path["W_V"][i]) / np.linalg.norm(path["W_V"][i])
    return shares


def onset(trajectory: Trajectory, factor: float = 2.0) -> float:
    """Flow time at which keys and queries together have grown by a factor, the second stage's onset.

    Interpolated in the logarithm of the norm; infinite if it is not reached.

    Raises
    ------
    ValueError
        If the trajectory has no keys and queries, or `factor` is not above 1.
    """
    _check(trajectory, INNER)
    factor = _factor(factor)
    size = np.log(np.sqrt(sum(np.sum(trajectory.weights[name] ** 2, axis=(1, 2)) for name in INNER)))
    grown = size - size[0] - np.log(factor)
    return float(first_crossing(trajectory.t, grown, 0.0, rising=True))


@dataclass(frozen=True, eq=False)
class Stages(FrozenRecord):
    """What separated time scales predict from the start alone.

    Attributes
    ----------
    blow_up : float
        Flow time T* at which the leading flow blows up: the end of stage 1.
    plateau : dict
        Weights on the plateau, keys and queries as at the start.
    coupling : ndarray, shape (d, d)
        F on the plateau.
    onset : float
        T* plus the time in which the linear flow under F makes keys and queries grow by `factor`.
    factor : float
        That growth.
    """

    blow_up: float
    plateau: dict[str, Float[np.ndarray, "rows cols"]]
    coupling: Float[np.ndarray, "d_vocab d_vocab"]
    onset: float
    factor: float


def predict_stages(
    model: Model, data: Dataset, start: Mapping[str, Any], *, t1: float = 1e6, factor: float = 2.0
) -> Stages:
    """Predict the end of stage 1 and the onset of stage 2, each stage on its own.

    Stage 1 is the leading flow up to its blow-up T*; the plateau is where the flow with attention held at the average
    (closure ``attention=0``) stands at 2 T*; stage 2 is the closed form for the coupling F there, from the keys and
    queries of the start. Exact in the limit of small weights, as T* grows without bound, if the plateau is one: if the
    averaged attention cannot fit the labels.

    Parameters
    ----------
    model : Model
        With weights W_Q and W_K that the loss holds linearly at first order in the scores.
    data : Dataset
        Training data.
    start : dict
        Initial weights.
    t1 : float
        Flow time up to which the blow-up is looked for.
    factor : float
        Growth of keys and queries that counts as the onset.

    Raises
    ------
    ValueError
        If there are no keys and queries, or the leading flow does not blow up before `t1`.
    """
    kind_of("model", model, Model, "such as OneLayerTransformer(...)")
    if missing := [name for name in INNER if name not in model.weights]:
        raise ValueError(f"`model` {model.name} has no {' and '.join(missing)}: it has no second stage.")
    start, factor = model.validate(start), _factor(factor)
    first = integrate(derive(model, "leading"), data, start, t1=t1, save_at=2, throw=False)
    if first.outcome.status is not Status.BLOW_UP:
        raise ValueError(f"`t1` {t1:g}: no blow-up of the leading flow up to there; make it larger.")
    time = first.outcome.t
    outer = integrate(derive(model, "attention=0"), data, start, t1=2.0 * time, save_at=2)
    plateau = {name: w[-1] for name, w in outer.weights.items()}
    F = coupling(model, data, plateau)
    return Stages(time, plateau, F, time + _growth_time(F, start, factor), factor)


def coupling(model: Model, data: Dataset, weights: Mapping[str, Any]) -> np.ndarray:
    """F of ``dW_Q/dt = F W_K`` at first order in the scores, read off the derived flow; shape (d, d).

    The equation of W_Q is linear in W_K, so unit keys, as many columns at a time as the head is wide, read F.
    """
    flow = derive(model, "attention=1")
    rows, width = model.weights["W_K"]
    blocks = []
    for first in range(0, rows, width):
        unit = np.eye(rows, width, -first)
        at = {**weights, "W_Q": np.zeros((rows, width)), "W_K": unit}
        blocks.append(flow.rhs(data, at)["W_Q"][:, : rows - first])
    return np.hstack(blocks)


def _growth_time(F: np.ndarray, start: Mapping[str, Any], factor: float) -> float:
    """Time in which keys and queries grow by a factor under the linear flow."""
    Q, K = (start[name] for name in INNER)

    def grown(t: float) -> float:
        return float(np.linalg.norm(np.vstack(key_query(t, F, Q, K))) / np.linalg.norm(np.vstack([Q, K])))

    rate = float(np.linalg.norm(F, 2))
    if rate == 0.0 or not (Q.any() or K.any()):
        return float("inf")
    reach = 1.0 / rate
    while grown(reach) < factor:
        reach *= 2.0
    from scipy.optimize import brentq  # here: which takes a while to load

    return float(brentq(lambda t: grown(t) - factor, 0.0, reach, rtol=1e-10))


def _factor(value: Any) -> float:
    if (factor := real("factor", value)) <= 1.0:
        raise FieldError("factor", f"must be above 1, got {brief(value)}.")
    return factor


def _check(trajectory: Trajectory, names: tuple[str, ...]) -> None:
    kind_of("trajectory", trajectory, Trajectory, "`integrate` and `train` make one")
    if missing := [name for name in names if name not in trajectory.weights]:
        raise ValueError(f"`trajectory` has no {' and '.join(missing)}: its model has no attention.")
