import numpy as np
import pytest

from smallinit.compare.figures.parts.text_bias import BiasWindow, bias, bias_at_equal_loss

EPOCH = np.array([0.0, 1.0, 2.0, 4.0, 8.0])


def test_the_window_is_the_longest_stretch_of_a_larger_bias():
    large = np.zeros(5)
    found = BiasWindow.between(EPOCH, np.array([0.5, -0.5, -0.5, 0.5, -0.5]), large)
    assert (found.opens, found.closes) == pytest.approx((3.0, 6.0))  # not 0 to 0.5
    assert found.middle == pytest.approx(4.5)
    assert found.excess == pytest.approx(0.375)
    assert found.greatest == pytest.approx(0.5)
    assert not found.still_open


def test_a_window_may_have_no_end_or_not_be_there():
    ever = BiasWindow.between(EPOCH, np.full(5, 0.3), np.full(5, 0.1))
    assert (ever.opens, ever.closes, ever.still_open) == (0.0, 8.0, True)
    assert ever.excess == pytest.approx(0.2)
    never = BiasWindow.between(EPOCH, np.zeros(5), np.full(5, 0.1))
    assert np.isnan([never.opens, never.closes, never.excess]).all()


def test_the_bias_at_equal_loss_is_interpolated():
    curves = {
        "loss/narrative": np.array([[4.0, 3.0, 2.0], [4.0, 3.5, 3.0]]),
        "loss/reasoning": np.array([[4.0, 2.0, 1.0], [4.0, 3.0, 1.5]]),
    }
    np.testing.assert_allclose(bias(curves), [[0.0, 0.5, 1.0], [0.0, 1 / 6, 1.0]])
    # Both come to 1.5 of reasoning: half way from bias 0.5 to 1, and at the end.
    np.testing.assert_allclose(bias_at_equal_loss(curves, "reasoning"), [0.75, 1.0])
    # Mean losses 4, 2.5, 1.5 and 4, 3.25, 2.25: 2.25 is a quarter of the way.
    np.testing.assert_allclose(bias_at_equal_loss(curves, "mean"), [0.625, 1.0])
