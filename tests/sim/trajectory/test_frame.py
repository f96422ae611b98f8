from dataclasses import replace

import numpy as np
import pytest


def test_every_number_per_time_is_a_column(trajectory):
    frame = trajectory.to_dataframe()
    assert frame.index.name == "t"
    np.testing.assert_array_equal(frame.index, trajectory.t)
    numbers = [name for name in trajectory.observable_names if trajectory[name].ndim == 1]
    assert (
        set(numbers) <= set(frame.columns) == {*numbers, *(["step"] if trajectory.steps is not None else [])}
    )
    for name in numbers:
        np.testing.assert_array_equal(frame[name], trajectory[name])


def test_named_arrays_fill_a_column_per_entry(trajectory):
    frame = trajectory.to_dataframe(["loss", "cosine/keys"])
    np.testing.assert_array_equal(frame["cosine/keys[0,1]"], trajectory["cosine/keys"][:, 0, 1])
    assert [name for name in frame.columns if name != "step"][:2] == ["loss", "cosine/keys[0,0]"]
    assert "loss" in trajectory.to_dataframe("loss")
    with pytest.raises(KeyError, match="no observable 'los'"):
        trajectory.to_dataframe(["los"])


def test_a_frame_is_a_copy(trajectory):
    frame = trajectory.to_dataframe()
    frame["loss"] = 0.0
    assert trajectory["loss"].any()


def test_a_training_run_has_its_steps(trajectory):
    assert trajectory.to_dataframe()["step"].tolist() == [0, 5, 20]
    assert "step" not in replace(trajectory, steps=None).to_dataframe()
