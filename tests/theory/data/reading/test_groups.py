import numpy as np
import pytest

from smallinit.compare import overlay, train
from smallinit.sim import integrate
from smallinit.theory import Dataset, EmbMLP, derive


def data(groups, held_out, n=6):
    rng = np.random.default_rng(0)
    return Dataset(rng.integers(0, 5, (n, 3)), rng.integers(0, 5, n), 5, groups=groups, held_out=held_out)


def test_a_group_with_held_out_rows_is_split():
    mixed = data(["a", "a", "b", "b", "b", "c"], [False, True, False, True, True, True])
    assert mixed.group_names == ("a-train", "a-test", "b-train", "b-test", "c")
    for name in mixed.group_names:
        assert len(set(mixed.held_out[mixed.groups == name])) == 1
    again = Dataset(mixed.sequences, mixed.labels, 5, mixed.weights, mixed.groups, mixed.held_out)
    assert again.fingerprint == mixed.fingerprint


def test_without_names_the_training_rows_are_a_group_of_their_own():
    assert data(None, [True, False, False, False, True, False]).group_names == ("all-test", "all-train")
    assert data(None, None).group_names == ("all",)


def test_a_name_that_a_split_needs_is_refused():
    with pytest.raises(ValueError, match="but 'a-test' is a group already: rename one"):
        data(["a", "a", "a-test", "b", "b", "b"], [False, True, True, False, False, False])


def test_every_side_reports_training_and_held_out_rows_apart():
    own = data(["mine"] * 6, [False, False, False, False, True, True])
    model = EmbMLP(5, 4, 4)
    start = model.init(gamma=0.5, seed=0)
    theory = integrate(derive(model, "softmax"), own, start, t1=0.4, save_at=3)
    run = train(model, own, start, learning_rate=0.1, steps=4, save_at=3)
    lean = train(model, own, start, learning_rate=0.1, steps=4, save_at=3, keep="observables")
    for side in (theory, run, lean):
        np.testing.assert_array_equal(side["loss"], side["loss/mine-train"])
        assert side["loss/mine-test"][-1] != side["loss"][-1]
        assert "loss/mine" not in side.observable_names
    assert "loss/mine-test" in overlay(theory, run).relative_error


def test_names_take_no_more_room_than_they_need():
    """Of ten million rows, nine letters in the place of three are a quarter of a gigabyte."""
    assert Dataset([[0], [1]], [1, 0], 2).groups.dtype == "<U3"
