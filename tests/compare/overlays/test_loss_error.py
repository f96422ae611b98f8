"""Errors of losses that vanish."""

import numpy as np
import pytest

from smallinit.compare.commands.tables import overlay_table
from smallinit.compare.overlays.loss_error import LossError, loss_error


class Aligned:
    """A loss in theory and in training."""

    def __init__(self, ours, theirs):
        self.ours, self.training = np.array(ours), {"loss": np.array(theirs)}

    def observable(self, name):
        return self.ours, self.training[name]


def test_relative_while_there_is_a_loss_and_in_nats_after():
    found = loss_error(Aligned([2.0, 1.1, 0.03, 0.001], [2.0, 1.0, 0.01, 1e-9]), "loss")
    assert found == LossError(pytest.approx(0.1), pytest.approx(0.02))
    assert str(found) == "10.00%, then 0.02 nats"


def test_what_is_never_learnt_or_is_from_the_start():
    assert str(loss_error(Aligned([2.0, 1.5], [2.0, 1.0]), "loss")) == "50.00%"
    assert loss_error(Aligned([0.0, 0.1], [0.0, 0.0]), "loss") == LossError(None, 0.1)


def test_the_table_and_the_summary(synthetic):
    from smallinit.compare import overlay

    t = np.linspace(0, 10, 21)
    both = overlay(synthetic(t, t), synthetic(t, t, kind="training"))
    assert all(name.startswith("loss") for name in both.summary()["largest_loss_error"])
    with pytest.raises(KeyError):  # these have no losses; the heading stands whatever there is
        overlay_table({"leading": both}, both.training, 0.05)
