"""What the page of a sweep says was found."""

import numpy as np
import xarray

from smallinit.compare.report.sweep_page import _firsts


def sweep(outcomes):
    """Three seeds of one run; group a falls to 0 at t = 1, group b at t = 2, in the last seed the other way round."""
    early, late = [1.0, 0.0, 0.0], [1.0, 1.0, 0.0]
    losses = {"loss/a": [early, early, late], "loss/b": [late, late, early]}
    dims = ("init.seed", "run", "time")
    return xarray.Dataset(
        {
            **{name: (dims, np.array(v)[:, None]) for name, v in losses.items()},
            "t": (dims, np.tile([0.0, 1.0, 2.0], (3, 1, 1))),
            "outcome": (dims[:2], np.array(outcomes)[:, None]),
        },
        coords={"run": ["softmax"], "init.seed": [0, 1, 2]},
    )


def test_which_group_is_first():
    assert list(_firsts(sweep(["REACHED_END"] * 3))) == [
        "softmax: first to lose 25% of its loss is a in 2, b in 1 of 3 points that reached their end"
    ]


def test_a_blow_up_and_a_missing_point_say_nothing():
    assert list(_firsts(sweep(["BLOW_UP", "", "REACHED_END"]))) == [
        "softmax: first to lose 25% of its loss is b in 1 of 1 points that reached their end"
    ]
    assert list(_firsts(sweep(["BLOW_UP"] * 3))) == []


def test_one_group_alone_is_no_news():
    assert list(_firsts(sweep(["REACHED_END"] * 3).drop_vars("loss/b"))) == []
