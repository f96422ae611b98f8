"""What is handed out stays as it was: arrays that nobody can write to, mappings without setters, records that travel.

An array that a record holds is either nobody's to change or the record's own copy; what leaves it can be read, kept and
sent to another process, and is there what it was here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import cache
from typing import Any

import numpy as np
import scipy.sparse as sparse

from .frozen_dict import FrozenDict


def sealed(array: Any) -> Any:
    """Close an array of our own, with all that it is a view of, to writing; `read_only` takes it as it is then.

    Of a sparse array, its three parts; equal entries are summed before, since they cannot be later.
    """
    if type(array) is np.ndarray and array.base is None:  # the usual case, many times in a small call
        array.setflags(write=False)
        return array
    if not isinstance(array, np.ndarray) and sparse.issparse(array):
        array.sum_duplicates()
        for part in (array.data, array.indices, array.indptr):
            sealed(part)
        return array
    for part in _holders(array):
        part.setflags(write=False)
    return array


def read_only(array: np.ndarray) -> np.ndarray:
    """Give the numbers of an array so that nobody can change them: itself if it is `sealed`, else a copy.

    One row that is broadcast along the first axis stays one row.
    """
    if not (array.flags.writeable if array.base is None else any(p.flags.writeable for p in _holders(array))):
        return array
    if array.ndim and len(array) > 1 and array.strides[0] == 0:
        return sealed(np.broadcast_to(sealed(np.array(array[0])), array.shape))
    return sealed(np.array(array))


def _holders(array: np.ndarray) -> Iterator[np.ndarray]:
    """An array and those whose memory it shows."""
    part: Any = array
    while isinstance(part, np.ndarray):
        yield part
        part = part.base


def frozen(value: Any) -> Any:
    """Give a value that cannot be changed, with all its parts: arrays, sparse arrays, mappings and lists."""
    if value is None or isinstance(value, (int, float, str)):  # asking an abstract class takes longer
        return value
    if isinstance(value, np.ndarray):
        return read_only(value)
    if type(value) is dict:
        return FrozenDict({key: frozen(part) for key, part in value.items()})
    if sparse.issparse(value):
        return sealed(sparse.csr_array(value, copy=True))
    if isinstance(value, Mapping):
        return FrozenDict({key: frozen(part) for key, part in value.items()})
    if type(value) in (list, tuple):
        return tuple(frozen(part) for part in value)
    return value


class FrozenRecord:
    """Base of frozen dataclasses that hold arrays or mappings: nobody changes them, here or where they are sent.

    Arrays that somebody else can write to are copied when a record is made; `sealed` ones are taken. Pickled and copied
    it has equal fields, again closed to writing. What is computed from the fields and kept beside them does not travel;
    it is computed again. Those with arrays are declared with ``eq=False``, and so compared as objects: arrays compared
    entry by entry give no one answer.
    """

    __array_ufunc__ = None  # so that an array == a record asks the record once, not for each entry

    def __post_init__(self) -> None:
        """Close all fields to writing."""
        for name in _parameters(type(self)):
            object.__setattr__(self, name, frozen(getattr(self, name)))

    def __getstate__(self) -> dict[str, Any]:
        """Return the fields that a record is made of."""
        return {name: getattr(self, name) for name in _parameters(type(self))}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Set the fields; arrays come out of a pickle writable."""
        for name, value in state.items():
            object.__setattr__(self, name, frozen(value))


@cache
def _parameters(kind: Any) -> tuple[str, ...]:
    """Names of the fields that records of a class are made of."""
    return tuple(f.name for f in fields(kind) if f.init)
