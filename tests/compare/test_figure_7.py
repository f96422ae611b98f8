import json

import numpy as np
import pytest
from matplotlib.figure import Figure

from smallinit.compare.figures import figure_7
from smallinit.theory.similarity import cosine_matrix

TINY = figure_7.Settings(documents=60, windows=150, n_ctx=4, d_model=8, steps=40, saved=5, learning_rate=5e-3)


@pytest.fixture(scope="module")
def computed():
    """The figure in a tiny size, and what it told."""
    told = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(figure_7.SIZES, "small", TINY)
        return figure_7.run("small", (3, 4), told.append), told


def test_curves_have_an_entry_for_every_gamma_seed_and_time(computed):
    result, told = computed
    assert len(told) == 8
    assert told[-1] == "figure 7: gamma 0.8, seed 4"
    for name in ("loss/reasoning", "loss/narrative", "cosine/reasoning", "cosine/narrative", "bias"):
        assert result.arrays[name].shape == (4, 2, 5)
        assert np.isfinite(result.arrays[name]).all()
    assert result.arrays["step"].tolist() == [0, 10, 20, 30, 40]
    assert (result.arrays["loss/reasoning"][:, :, -1] < result.arrays["loss/reasoning"][:, :, 0]).all()
    json.dumps(result.settings)


def test_a_run_on_its_own_gives_the_same_numbers(computed):
    result, _ = computed
    data = figure_7.mixture(TINY)
    model = figure_7.choose_model(data, TINY)
    trained = figure_7._train(model, data, TINY, 0.8, 4)
    weights = {name: data.weights[data.groups == f"{name}-train"].sum() for name in figure_7.CORPORA}
    assert weights == pytest.approx({"reasoning": 0.5, "narrative": 0.5})
    np.testing.assert_array_equal(result.arrays["loss/narrative"][3, 1], trained["loss/narrative-train"])
    c = cosine_matrix(trained.weights["W_E"][-1][data.token_groups["reasoning"]])
    mean = (c.sum() - len(c)) / (len(c) * (len(c) - 1))
    assert result.arrays["cosine/reasoning"][3, 1, -1] == pytest.approx(mean)


def test_the_statistics_follow_from_the_curves(computed):
    result, _ = computed
    rises, larger, equal, cosine = result.statistics
    a, b = result.arrays["loss/reasoning"], result.arrays["loss/narrative"]
    bias = ((b - a) / a).mean(axis=-1)
    assert rises.values == pytest.approx(
        np.minimum(np.minimum(bias[1] - bias[0], bias[2] - bias[1]), bias[3] - bias[2])
    )
    assert larger.values == pytest.approx(bias[3] - bias[1])
    ends = [result.arrays[f"cosine/{name}"][3, :, -1] for name in figure_7.CORPORA]
    assert cosine.values == pytest.approx(ends[1] - ends[0])
    for s in (rises, larger, cosine):
        assert s.reproduced == (min(s.values) > 0.0)
    assert not equal.reproduced  # forty steps do not halve the loss: nan is no success
    assert np.isnan(equal.values).all()


def test_the_bias_at_a_level_is_interpolated():
    narrative = np.array([[[4.0, 3.0, 2.0], [4.0, 3.9, 3.8]]])
    reasoning = np.array([[[4.0, 2.0, 1.0], [4.0, 3.9, 3.8]]])
    arrays = {
        "loss/narrative": narrative,
        "loss/reasoning": reasoning,
        "bias": (narrative - reasoning) / reasoning,
    }
    found = figure_7.bias_at_level(arrays, 2.0)  # mean loss 4, 2.5, 1.5: half way from bias .5 to bias 1
    assert found[0, 0] == pytest.approx(0.75)
    assert np.isnan(found[0, 1])
    np.testing.assert_allclose(figure_7.bias_at_level(arrays, 4.0), 0.0)


def test_the_drawing_has_four_panels(computed, tmp_path):
    result, _ = computed
    figure = Figure()
    result.draw(figure)
    assert [axes.get_title()[0] for axes in figure.axes] == list("abcd")
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes)
    figure.savefig(tmp_path / "figure.png")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("smal",), "`size` 'smal' is unknown: did you mean 'small'"),
        (("small", ()), "`seeds` must be distinct integers, at least one"),
        (("small", (1, 1)), "`seeds` must be distinct integers"),
        (("small", (-1,)), "`seeds` must be an integer of at least 0, got -1"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        figure_7.run(*arguments)
