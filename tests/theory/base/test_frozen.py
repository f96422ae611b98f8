import json

import numpy as np
import pytest
import scipy.sparse as sparse
from helpers import TRAVELS

from smallinit.theory.base.frozen import frozen, read_only, sealed
from smallinit.theory.base.frozen_dict import FrozenDict


def test_a_frozen_dict_reads_as_a_dict_and_refuses_every_change():
    kept = FrozenDict({"a": 1, "b": 2})
    assert kept == {"a": 1, "b": 2}
    assert {**kept} == kept
    assert json.dumps(kept) == '{"a": 1, "b": 2}'
    assert type(kept | {"c": 3}) is dict
    assert type(kept.copy()) is dict
    changes = [
        lambda: kept.__setitem__("a", 2),
        lambda: kept.__delitem__("a"),
        lambda: kept.update(a=2),
        lambda: kept.pop("a"),
        lambda: kept.popitem(),
        lambda: kept.clear(),
        lambda: kept.setdefault("c", 1),
        lambda: kept.__ior__({"a": 2}),
    ]
    for change in changes:
        with pytest.raises(TypeError, match="cannot be changed"):
            change()
    assert kept == {"a": 1, "b": 2}


@pytest.mark.parametrize("travel", TRAVELS.values(), ids=TRAVELS)
def test_a_frozen_dict_travels(travel):
    there = travel(FrozenDict({"a": (1, 2)}))
    assert type(there) is FrozenDict
    assert there == {"a": (1, 2)}


def test_read_only_copies_what_somebody_else_can_still_write_to():
    theirs = np.arange(6.0).reshape(2, 3)
    ours = read_only(theirs)
    view = theirs[:1].view()
    view.setflags(write=False)  # closed itself, but not what it shows
    shown = read_only(view)
    theirs[:] = -1.0
    assert np.array_equal(ours, np.arange(6.0).reshape(2, 3))
    assert np.array_equal(shown, [[0.0, 1.0, 2.0]])
    with pytest.raises(ValueError, match="read-only"):
        ours[0] = 0.0


def test_read_only_takes_what_is_sealed_as_it_is():
    whole = np.zeros((4, 2))
    part = sealed(whole[:3])
    assert read_only(part) is part
    assert not whole.flags.writeable


def test_a_row_broadcast_along_time_stays_one_row():
    wide = read_only(np.broadcast_to(np.arange(3.0), (1000, 3)))
    assert wide.strides[0] == 0
    assert wide.shape == (1000, 3)
    assert not wide.flags.writeable


def test_frozen_goes_down_into_every_part():
    matrix = sparse.csr_array(np.eye(2))
    kept = frozen({"a": [np.zeros(2), {"b": np.ones(2)}], "s": matrix})
    matrix.data[:] = 5.0
    assert type(kept["a"]) is tuple
    assert np.array_equal(kept["s"].toarray(), np.eye(2))
    for array in (kept["a"][0], kept["a"][1]["b"], kept["s"].data, kept["s"].indices, kept["s"].indptr):
        assert not array.flags.writeable
