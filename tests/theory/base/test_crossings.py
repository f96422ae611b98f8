"""First crossings of levels: against hand-made curves, in batches, and where there is none."""

import numpy as np
import pytest

from smallinit.theory.base.crossings import first_crossing, first_reached

T = np.array([0.0, 1.0, 3.0, 4.0])


def test_first_reached():
    assert first_reached([False, True, False, True]) == 1
    assert first_reached(np.array([[0, 0], [1, 0], [0, 1]])).tolist() == [-1, 0, 1]
    assert first_reached(np.zeros((3, 0))).tolist() == [-1] * 3


@pytest.mark.parametrize(
    ("y", "level", "rising", "found"),
    [
        ([4.0, 2.0, 1.0, 5.0], 1.5, False, 2.0),
        ([4.0, 2.0, 1.0, 5.0], 4.5, True, 3.875),
        ([4.0, 2.0, 1.0, 0.0], 2.0, False, 1.0),  # exactly at a point
        ([1.0, 2.0, 1.0, 0.0], 2.0, False, 0.0),  # there from the start
        ([4.0, 2.0, 1.0, 1.0], 0.5, False, np.inf),
        ([4.0, np.nan, np.nan, 1.0], 2.0, False, 4.0),
        ([4.0, np.nan, np.nan, np.nan], 2.0, False, np.inf),
        ([0.0, 0.1, np.inf, np.inf], 2.0, True, 3.0),
        ([np.inf, 1.0, 0.0, 0.0], 2.0, False, 1.0),
    ],
)
def test_first_crossing(y, level, rising, found):
    assert first_crossing(T, y, level, rising=rising) == found
    assert first_crossing(T, np.negative(y), -level, rising=not rising) == found
    if np.isfinite(found):
        batch = first_crossing(T, [y, y], [level, level], rising=rising)
        np.testing.assert_array_equal(batch, [found, found])
        assert first_crossing(T, [[y]], level, rising=rising).shape == (1, 1)


def test_another_quantity_at_the_crossing_and_a_word_for_never():
    falling = np.array([[4.0, 2.0, 1.0, 0.0], [4.0, 4.0, 4.0, 4.0]])
    other = np.array([[0.0, 10.0, 20.0, 30.0]] * 2)
    found = first_crossing(other, falling, 1.5, never=np.nan)
    np.testing.assert_array_equal(found, [15.0, np.nan])


def test_it_is_linear_interpolation():
    rng = np.random.default_rng(0)
    t = np.sort(rng.uniform(size=50))
    y = np.exp(-5.0 * t) + 0.01 * rng.normal(size=50)
    j = int(np.flatnonzero(y <= 0.3)[0])
    expected = np.interp(-0.3, -y[j - 1 : j + 1], t[j - 1 : j + 1])
    assert first_crossing(t, y, 0.3) == expected


def test_no_points():
    assert first_crossing([], [], 1.0) == np.inf
    assert first_crossing([], np.zeros((2, 0)), 1.0).tolist() == [np.inf, np.inf]
