"""Quantities computed from the weights of a trajectory: one piece of code for theory and for training.

==============================  ===========  ===============================================================
name                            shape        meaning
==============================  ===========  ===============================================================
``loss``                        (n_t,)       weighted mean loss of the training sequences (cross-entropy: in nats);
                                             with the logits of the trajectory's closure, which for training
                                             and for the closure "exact" are the network's own
``loss/<group>``                (n_t,)       weighted mean in one group of sequences, all trained on or all held out
``accuracy``, ``accuracy/...``  (n_t,)       weighted fraction of sequences whose label has the top logit
``norm/<weight>``               (n_t,)       Frobenius norm
``singular_values/<weight>``    (n_t, k)     in falling order
``effective_rank/<weight>``     (n_t,)       exp(entropy of the singular values over their sum)
``cosine/<token group>``        (n_t, m, m)  cosines between the embeddings (rows of W_E) of some tokens
``invariant/<a>-<b>``           (n_t,)       drift of ``a^T a - b b^T``, relative to ``|a^T a| + |b b^T|`` at
                                             the start; conserved where a and b are joined linearly
``invariant/<last>-sum``        (n_t,)       drift of the last weight's sum over the vocabulary, relative to
                                             its norm at the start
==============================  ===========  ===============================================================
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.base.arrays import cosine_matrix
from ...theory.base.errors import FieldError
from ...theory.base.validate import did_you_mean

if TYPE_CHECKING:
    from ...theory.data.dataset import Dataset
    from ...theory.models.model import Model

_UNITS = {"loss": "nats", "norm": "weight", "singular_values": "weight"}


def observable_names(
    weights: Mapping[str, np.ndarray], model: Model | None = None, data: Dataset | None = None
) -> tuple[str, ...]:
    """Names of all observables that can be computed from what is given."""
    names: list[str] = []
    if model is not None and data is not None and weights:
        for kind in ("loss", "accuracy"):
            names += [kind, *(f"{kind}/{group}" for group in data.group_names)]
    for kind in ("norm", "singular_values", "effective_rank"):
        names += [f"{kind}/{name}" for name in weights]
    if "W_E" in weights and data is not None:
        names += [f"cosine/{group}" for group in data.token_groups]
    names += [f"invariant/{name}" for name in _invariant_names(weights)]
    return tuple(names)


def check_observables(wanted: Iterable[str], known: Collection[str]) -> None:
    """Refuse the first observable that cannot be computed.

    Raises
    ------
    FieldError
        If there is one, with the nearest of the `known` names.
    """
    if unknown := [name for name in wanted if name not in known]:
        hint = did_you_mean(unknown[0], known)
        raise FieldError("observables", f"has no {unknown[0]!r} among them: {hint}")


def observe(
    name: str,
    weights: Mapping[str, np.ndarray],
    model: Model | None = None,
    data: Dataset | None = None,
    closure: str = "exact",
) -> dict[str, np.ndarray]:
    """Compute one of `observable_names`, together with those that cost nothing more.

    Parameters
    ----------
    name : str
        The observable.
    weights : dict
        Weight name -> (n_t, rows, cols).
    model, data : Model, Dataset or None
        Needed for losses and accuracies, and for cosines.
    closure : str
        Whose logits the losses and accuracies are computed with: "exact" is the network itself.

    Returns
    -------
    dict
        Observable name -> array, time axis first.
    """
    kind, _, rest = name.partition("/")
    if model is not None and data is not None and kind in ("loss", "accuracy"):
        return losses(model, weights, data, closure)
    if kind == "norm":
        w = weights[rest]  # squares of all entries at once would fill as much memory as the weights
        return {name: np.sqrt(np.einsum("tij,tij->t", w, w))}
    if kind in ("singular_values", "effective_rank"):
        values = singular_values(weights[rest])
        return {f"singular_values/{rest}": values, f"effective_rank/{rest}": effective_rank(values)}
    if data is not None and kind == "cosine":
        return {name: cosine_matrix(weights["W_E"][:, np.asarray(data.token_groups[rest])])}
    return {name: invariant_drift(rest, weights)}


def units(name: str) -> str:
    """Units of an observable."""
    return _UNITS.get(name.partition("/")[0], "1")


def losses(
    model: Model, weights: Mapping[str, np.ndarray], data: Dataset, closure: str = "exact"
) -> dict[str, np.ndarray]:
    """Loss and accuracy of the training sequences and of each group, from one pass of logits per time.

    Sequences that are there with several labels, as the pairs of a large vocabulary are, have their logits once.
    """
    from ...theory.flows.closure import Closure
    from ..compile.logits import value

    expr = Closure.of(closure, model).logits(model)
    names = ["", *(f"/{group}" for group in data.group_names)]
    masks = [~np.asarray(data.held_out), *(np.asarray(data.groups) == group for group in data.group_names)]
    shares = np.stack([np.where(mask, data.weights, 0.0) for mask in masks])
    shares /= shares.sum(axis=1, keepdims=True)
    n_t = len(next(iter(weights.values())))
    loss, accuracy = np.zeros((n_t, len(names))), np.zeros((n_t, len(names)))
    at = [{name: w[i] for name, w in weights.items()} for i in range(n_t)]
    for sequences, rows, each in _parts(model, data):
        matrices = model.inputs(sequences)
        labels = model.row_labels(data.sequences[rows], data.labels[rows])
        share = np.stack([model.row_weights(row, data.sequences[rows]) for row in shares[:, rows]])
        targets = model.loss_function.targets(labels, model.outputs) if each is None else None
        for i in range(n_t):
            f = value(expr, model, at[i], matrices)
            if each is None:
                loss[i] += share @ model.loss_function.values(f, targets)
            else:
                loss[i] += share @ model.loss_function.of_labels(f, each, labels)
            accuracy[i] += share @ _right(f, labels, each)
    result = {f"loss{name}": loss[:, j].copy() for j, name in enumerate(names)}
    return result | {f"accuracy{name}": accuracy[:, j].copy() for j, name in enumerate(names)}


def _parts(model: Model, data: Dataset) -> Iterator[tuple[np.ndarray, Any, np.ndarray | None]]:
    """Yield sequences, the rows of the data that they stand for, and which of them each row has; None for its own."""
    from ..compile.logits import chunks

    n = len(data.labels)
    distinct, which = (data.sequences, None) if model.per_position else _distinct(data.sequences)
    if which is None or 2 * len(distinct) > n:
        for part in chunks(model, n):
            yield data.sequences[part], part, None
        return
    order = np.argsort(which, kind="stable")
    ends = np.searchsorted(which[order], np.arange(len(distinct) + 1))
    for part in chunks(model, len(distinct)):
        rows = order[ends[part.start] : ends[part.stop]]
        yield distinct[part], rows, which[rows] - part.start


def _distinct(sequences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    distinct, which = np.unique(sequences, axis=0, return_inverse=True)
    return distinct, which.reshape(-1)


def _right(logits: np.ndarray, labels: np.ndarray, each: np.ndarray | None) -> np.ndarray:
    """Whether the label has the top logit (m,); for one output, whether its sign is the label's."""
    one = logits.shape[1] == 1
    best = logits[:, 0] > 0.0 if one else logits.argmax(axis=1)
    return (best if each is None else best[each]) == (labels > 0 if one else labels)


def singular_values(weight: np.ndarray) -> np.ndarray:
    """Singular values (n_t, k) of a weight (n_t, rows, cols), in falling order."""
    if len(weight) and weight.strides[0] == 0:  # a frozen weight, broadcast along time
        once = np.linalg.svd(weight[0], compute_uv=False)
        return np.broadcast_to(once, (len(weight), once.size))
    return np.linalg.svd(weight, compute_uv=False)


def effective_rank(values: np.ndarray) -> np.ndarray:
    """Effective rank (n_t,) of singular values (n_t, k); 0 for a zero matrix."""
    total = values.sum(axis=1, keepdims=True)
    p = np.divide(values, total, out=np.zeros(values.shape), where=total > 0.0)
    entropy = -np.sum(p * np.log(p, out=np.zeros(p.shape), where=p > 0.0), axis=1)
    return np.where(total[:, 0] > 0.0, np.exp(entropy), 0.0)


def _invariant_names(weights: Mapping[str, np.ndarray]) -> Iterator[str]:
    names = list(weights)
    for a, b in pairwise(names):
        if weights[a].shape[2] == weights[b].shape[1]:
            yield f"{a}-{b}"
    if names:
        yield f"{names[-1]}-sum"


def invariant_drift(name: str, weights: Mapping[str, np.ndarray]) -> np.ndarray:
    """Drift (n_t,) of one invariant relative to the initial size of its parts; see the table above."""
    first, _, second = name.rpartition("-")
    a = weights[first]
    if second == "sum":
        values, size = a.sum(axis=2)[:, :, None], np.linalg.norm(a[:1])
    else:
        b = weights[second]
        gram_a, gram_b = a.transpose(0, 2, 1) @ a, b @ b.transpose(0, 2, 1)
        values, size = gram_a - gram_b, np.linalg.norm(gram_a[:1]) + np.linalg.norm(gram_b[:1])
    return np.linalg.norm(values - values[:1], axis=(1, 2)) / (size or 1.0)
