"""What is another thing than a function takes is refused by the name of the argument before anything is done."""

import numpy as np
import pytest
from helpers import random_data, random_weights

from smallinit.compare import embedding_motion, overlay, train
from smallinit.sim import (
    Outcome,
    Status,
    evaluate_flow,
    integrate,
    norm_regimes,
    onset,
    predict_stages,
)
from smallinit.sim.forecast.mode_forecast import mode_residuals
from smallinit.theory import (
    EmbMLP,
    Lexicon,
    bigrams,
    cooccurrence_similarity,
    derive,
    key_label_law,
    memory_label_law,
    reasoning_label_law,
    shuffle_labels,
    signature_modes,
    signature_similarity,
    squared_gradients,
    subset,
)
from smallinit.theory.base.errors import FieldError
from smallinit.theory.base.validate import brief

DATA, MODEL = random_data(), EmbMLP(7, 5, 6)
START = random_weights(MODEL)


@pytest.mark.parametrize("other", [3, None, "data", DATA.sequences])
@pytest.mark.parametrize(
    ("field", "call"),
    [
        ("data", signature_modes),
        ("data", signature_similarity),
        ("data", bigrams),
        ("data", cooccurrence_similarity),
        ("data", lambda data: subset(data, [0])),
        ("data", lambda data: shuffle_labels(data, "all")),
        ("task", memory_label_law),
        ("task", lambda task: reasoning_label_law(task, 3)),
        ("task", lambda task: key_label_law(task, 3)),
        ("flow", squared_gradients),
        ("flow", lambda flow: evaluate_flow(flow, DATA, START)),
        ("model", lambda model: predict_stages(model, DATA, START)),
        ("trajectory", onset),
        ("trajectory", norm_regimes),
        ("trajectory", lambda run: mode_residuals(run, None)),
    ],
)
def test_another_thing_is_refused_by_the_name_of_the_argument(field, call, other):
    with pytest.raises(FieldError, match=f"^`{field}` must be a.* got {type(other).__name__}: "):
        call(other)


def test_a_text_is_no_number():
    with pytest.raises(FieldError, match=r"`text` must be a str, got int: read_text\(path\) reads a file"):
        Lexicon.of(3)


@pytest.fixture(scope="module")
def runs():
    run = train(MODEL, DATA, START, learning_rate=0.1, steps=10)
    return integrate(derive(MODEL), DATA, START, t1=1.0, save_at=run.t), run


def test_parts_of_a_trajectory_are_asked_for_by_names_and_indices(runs):
    theory, run = runs
    assert "loss" in theory.to_xarray("loss")
    assert list(theory.to_dataframe("loss")) == ["loss"]
    for field, call in (("observables", theory.to_xarray), ("names", theory.to_dataframe)):
        with pytest.raises(FieldError, match=rf'`{field}` must be names, such as \["loss"\], got 3'):
            call(3)
    for index in ("a", 1.5, 11, -12, None):
        with pytest.raises(IndexError, match="`index` must be that of one of 11 saved times, got"):
            theory.state(index)
    np.testing.assert_array_equal(theory.state(np.int64(-11))["W_E"], START["W_E"])
    with pytest.raises(FieldError, match="`path` must be a path"):
        overlay(theory, run).plot(3)
    with pytest.raises(
        FieldError, match=r"`theories` must be a list or tuple, got Trajectory: give \[theory\]"
    ):
        embedding_motion(theory, run)


def test_an_outcome_has_a_status_and_a_time():
    with pytest.raises(FieldError, match=r"`status` must be a Status, got str: such as Status.REACHED_END"):
        Outcome("done", 1.0)
    with pytest.raises(FieldError, match="`t` must be a flow time, got 'late'"):
        Outcome(Status.REACHED_END, "late")


def test_values_of_many_lines_are_shown_in_one():
    assert brief(np.eye(2)) == "array([[1., 0.], [0., 1.]])"
