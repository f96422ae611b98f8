import numpy as np
import pytest
from matplotlib.figure import Figure

from smallinit.compare.figures.parts.anchors import show_cosines


@pytest.mark.parametrize(("n", "split"), [(20, 10), (7, 2)])
def test_the_blocks_of_a_matrix_of_cosines_are_named(n, split):
    ax = Figure().subplots()
    show_cosines(ax, np.eye(n), "early", split)
    for axis in (ax.xaxis, ax.yaxis):
        names = {
            label.get_text(): at for label, at in zip(axis.get_ticklabels(), axis.get_ticklocs(), strict=True)
        }
        assert names == {"memory": np.arange(split).mean(), "reasoning": np.arange(split, n).mean()}


def test_a_matrix_that_is_not_parted_names_nothing():
    ax = Figure().subplots()
    show_cosines(ax, np.eye(3), "late")
    assert not [*ax.get_xticks(), *ax.get_yticks()]
