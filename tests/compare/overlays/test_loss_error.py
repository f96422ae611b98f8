"""Errors of losses that vanish."""

import numpy as np
import pytest
from helpers import as_theory

from smallinit.compare import overlay, train
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


def test_the_table_and_the_summary(model, data, start):
    trained = train(model, data, start, steps=40, save_at=9)
    theory = as_theory(train(model, data, start, steps=40, save_at=9, weight_decay=0.1))
    both = overlay(theory, trained)
    off = np.abs(theory["loss/memory"] - trained["loss/memory"]) / trained["loss/memory"]
    assert both.summary()["largest_loss_error"]["loss/memory"] == {
        "relative": pytest.approx(off.max(), rel=1e-12),
        "nats": None,
    }
    assert f"{off.max():.2%}" in overlay_table({"leading": both}, trained, 0.05)
