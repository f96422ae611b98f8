"""When groups are learnt beyond the frequencies of their labels."""

from dataclasses import replace
from math import inf, log

import numpy as np
import pytest

from smallinit.compare import train
from smallinit.compare.overlays.learning_times import learning_order, learnt_at
from smallinit.theory import Dataset, EmbMLP
from smallinit.theory.base.errors import FieldError


@pytest.fixture(scope="module")
def run():
    """Ten lines of a rule, and two labels for each pair of an arbitrary group, whose entropy is log 2."""
    rule = [[i, 6] for i in range(4)]
    arbitrary = [[4, 6], [4, 7], [5, 6], [5, 7]]
    data = Dataset(
        np.array(rule + arbitrary),
        np.array([8, 9, 8, 9, 8, 9, 9, 8]),
        d_vocab=10,
        groups=["rule"] * 4 + ["arbitrary"] * 4,
    )
    model = EmbMLP(10, d_model=8, d_mlp=8)
    return train(model, data, model.init(0.8, 0), learning_rate=0.5, steps=400, save_at=101)


def test_a_fall_to_the_entropy_of_the_labels_is_not_learning(run):
    times = learnt_at(run)
    assert set(times) == {"rule", "arbitrary"}
    for group, t in times.items():
        at = np.interp(t, run.t, run[f"loss/{group}"]) if t < inf else run[f"loss/{group}"].min()
        assert at == pytest.approx(0.9 * log(2), rel=1e-9) if t < inf else at > 0.9 * log(2)
    # Both fall from log 10 to log 2 on label frequencies; only the rule goes on at once.
    assert run["loss/arbitrary"][0] > log(2) * 2
    assert times["rule"] < times["arbitrary"]


def test_what_has_no_label_entropy_is_left_out(run):
    data = run.data
    one = Dataset(data.sequences, np.full(8, 8), d_vocab=10, groups=data.groups)
    assert learnt_at(replace(run, data=one)) == {}
    with pytest.raises(ValueError, match="lacks its model or data"):
        learnt_at(replace(run, data=None))


def test_what_is_no_trajectory_is_refused(run):
    with pytest.raises(FieldError, match="must be a Trajectory, got list: of an overlay"):
        learnt_at([run])


def test_the_sentence_tells_who_says_so():
    training = {"a": 2.0, "b": 3.0}
    same, other, none = {"a": 2.5, "b": inf}, {"a": 4.0, "b": 3.5}, {"a": inf, "b": inf}
    assert learning_order(training, {"softmax": same}).endswith(
        "a (t = 2) in training, and 'softmax' (t = 2.5) says so."
    )
    assert learning_order(training, {"x": same, "y": same}).endswith(
        "and 'x' (t = 2.5) and 'y' (t = 2.5) say so."
    )
    assert learning_order(training, {"x": same, "y": other}).endswith("says so; 'y' says b (t = 3.5).")
    assert learning_order(training, {"y": none}).endswith("in training; 'y' says nothing.")
    assert learning_order(none, {"y": none}).endswith("nothing in training, and 'y' says so.")
    assert learning_order({}, {}) == ""
