"""Exact label laws ``P^s`` of the composite task (A7-A8), in closed form and by convolution.

``P^s`` is the law of the label of a sequence that contains token ``s``, sequences counted as often as
``s`` occurs in them. All laws here are exact; memory labels enter by their expectation over the draws.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from math import comb, prod

import numpy as np
import numpy.typing as npt

from ..base.errors import FieldError
from ..base.validate import brief, choice, flag, integer, kind_of
from .tasks import CompositeTask

Law = npt.NDArray[np.float64]
MOST = 1_000_000  # values of a term, and terms


def uniform_sum_law(n_terms: int, size: int) -> Law:
    """Return the law of the sum of `n_terms` independent uniforms on ``0 .. size-1``, in closed form.

    ``P(m) = N^-k sum_l (-1)^l C(k, l) C(m - l N + k - 1, k - 1)`` (A8).

    Parameters
    ----------
    n_terms : int
        Number of terms k, at least 1.
    size : int
        Number of values N of each term, at least 1.

    Returns
    -------
    ndarray, shape (n_terms * (size - 1) + 1,)
        Entry ``m`` is the probability of the sum ``m``.
    """
    k, size = integer("n_terms", n_terms, 1, MOST), integer("size", size, 1, MOST)
    return sum_law([size] * k)


def sum_law(sizes: Sequence[int]) -> Law:
    """Return the law of a sum of independent uniforms on ``0 .. size-1``, in closed form.

    Inclusion-exclusion over the terms that overflow, which is A8's formula when all sizes agree: the
    generating function is ``prod_i (1 - x^N_i) / (1 - x)^k``. Integers until the last division, because
    the alternating sum cancels.

    Parameters
    ----------
    sizes : sequence of int
        Number of values of each term, at least 1 each.

    Returns
    -------
    ndarray, shape (sum(sizes) - len(sizes) + 1,)
        Entry ``m`` is the probability of the sum ``m``.
    """
    clean = _sizes(sizes)
    k = len(clean)
    overflow = {0: 1}
    for size in clean:
        shifted = {shift + size: -sign for shift, sign in overflow.items()}
        overflow = {s: overflow.get(s, 0) + shifted.get(s, 0) for s in overflow.keys() | shifted.keys()}
    total = prod(clean)
    ways = [
        sum(sign * comb(m - shift + k - 1, k - 1) for shift, sign in overflow.items() if shift <= m)
        for m in range(sum(clean) - k + 1)
    ]
    return np.array([way / total for way in ways])


def sum_law_by_convolution(sizes: Sequence[int]) -> Law:
    """Return the same law as `sum_law`, by convolving the uniform laws."""
    return reduce(np.convolve, [np.full(size, 1.0 / size) for size in _sizes(sizes)])


def memory_label_law(task: CompositeTask) -> Law:
    """Return the expected label law of every memory anchor: uniform on the keys.

    Parameters
    ----------
    task : CompositeTask

    Returns
    -------
    ndarray, shape (d_vocab,)
    """
    kind_of("task", task, CompositeTask, "such as CompositeTask()")
    law = np.zeros(task.d_vocab)
    law[list(task.keys)] = 1.0 / len(task.keys)
    return law


def reasoning_label_law(task: CompositeTask, anchor: int, *, training: bool = False) -> Law:
    """Return the label law of a reasoning anchor: that of ``Z + A_1 + .. + A_{q-1}`` shifted by the anchor.

    Parameters
    ----------
    task : CompositeTask
    anchor : int
        One of ``task.reasoning_anchors``.
    training : bool
        True for the law of the training set, without the masked tuples; by default that of all tuples.

    Returns
    -------
    ndarray, shape (d_vocab,)
        Mean ``anchor + mean(Z) + (q-1) mean(A)`` when not `training`.

    Raises
    ------
    ValueError
        If `anchor` is not a reasoning anchor, or occurs in masked tuples only.
    """
    kind_of("task", task, CompositeTask, "such as CompositeTask()")
    if integer("anchor", anchor, 0) not in task.reasoning_anchors:
        raise FieldError("anchor", f"must be one of the task's reasoning anchors, got {brief(anchor)}.")
    training = flag("training", training)
    q, n = task.n_anchors, len(task.reasoning_anchors)
    law = _law_of_sum(task, [(anchor,), task.keys, *[task.reasoning_anchors] * (q - 1)])
    if not training:
        return law
    # Occurrences of the anchor: q n^(q-1) in all tuples, fewer once the masked ones are gone.
    removed = [(entry.count(anchor), entry) for entry in task.masked]
    return _without(law, q * n ** (q - 1), task.keys, removed)


def key_label_law(task: CompositeTask, key: int, part: str = "reasoning", *, training: bool = False) -> Law:
    """Return the label law of a key.

    As the key before the anchors it gives ``key + A_1 + .. + A_q`` on reasoning data and a uniform
    label on memory data; as a noise key it says nothing, so those occurrences carry the law of all labels.

    Parameters
    ----------
    task : CompositeTask
    key : int
        One of ``task.keys``.
    part : {"reasoning", "memory", "all"}
        Which sequences to count.
    training : bool
        True for the law of the training set, without the masked tuples.

    Returns
    -------
    ndarray, shape (d_vocab,)

    Raises
    ------
    ValueError
        If `key` is not a key, `part` is unknown, or no training sequence is left.
    """
    kind_of("task", task, CompositeTask, "such as CompositeTask()")
    if integer("key", key, 0) not in task.keys:
        raise FieldError("key", f"must be one of the task's keys, got {brief(key)}.")
    choice("part", part, ("reasoning", "memory", "all"))
    training = flag("training", training)
    memory = memory_label_law(task)
    n_memory = len(task.memory_anchors) ** task.n_anchors
    n_reasoning = len(task.reasoning_anchors) ** task.n_anchors - (len(task.masked) if training else 0)
    if part == "memory" or (part == "all" and n_reasoning == 0):
        return memory
    reasoning = _key_law_of_reasoning(task, key, training)
    if part == "reasoning":
        return reasoning
    return (n_memory * memory + n_reasoning * reasoning) / (n_memory + n_reasoning)


def _key_law_of_reasoning(task: CompositeTask, key: int, training: bool) -> Law:
    """Return a key's label law on reasoning sequences: one informative occurrence against n_noise others."""
    anchors, n_tuples = (
        [task.reasoning_anchors] * task.n_anchors,
        len(task.reasoning_anchors) ** task.n_anchors,
    )
    removed = [(1, entry) for entry in task.masked] if training else []
    informed = _without(_law_of_sum(task, [(key,), *anchors]), n_tuples, (key,), removed)
    uninformed = _without(_law_of_sum(task, [task.keys, *anchors]), n_tuples, task.keys, removed)
    return (informed + task.n_noise * uninformed) / (1 + task.n_noise)


def _law_of_sum(task: CompositeTask, sets: Sequence[tuple[int, ...]]) -> Law:
    """Return the law, on the vocabulary, of the sum of one uniform draw from each set of tokens."""
    sizes = [members[-1] - members[0] + 1 for members in sets]
    if all(size == len(members) for size, members in zip(sizes, sets, strict=True)):
        values = sum_law(sizes)
    else:
        # Sets with gaps have no closed form.
        marks = [np.isin(np.arange(members[0], members[-1] + 1), members) / len(members) for members in sets]
        values = reduce(np.convolve, marks)
    law = np.zeros(task.d_vocab)
    first = sum(members[0] for members in sets)
    law[first : first + values.size] = values
    return law


def _without(law: Law, count: int, keys: tuple[int, ...], removed: list[tuple[int, tuple[int, ...]]]) -> Law:
    """Return `law`, that of `count` anchor tuples, after `removed` (multiplicity, tuple) pairs are gone."""
    left = count - sum(multiplicity for multiplicity, _ in removed)
    if left == 0:
        raise FieldError("task", "leaves no training sequence for this token: every tuple with it is masked.")
    remaining = count * law
    for multiplicity, entry in removed:
        remaining[np.array(keys) + sum(entry)] -= multiplicity / len(keys)
    # Rounding can leave -1e-17 where nothing is left.
    return np.maximum(remaining, 0.0) / left


def _sizes(sizes: Sequence[int]) -> list[int]:
    """Return the sizes as positive ints, at least one."""
    clean = [integer("sizes", size, 1, MOST) for size in kind_of("sizes", sizes, Iterable, "such as [2, 3]")]
    if not clean:
        raise FieldError("sizes", "must not be empty, got [].")
    return clean
