"""Names of the user's stand on figures as they are."""

import warnings

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

from smallinit.compare import overlay, train
from smallinit.compare.plots.literal import literal
from smallinit.compare.plots.overlay_figure import plot_overlays
from smallinit.sim import integrate, load_trajectory
from smallinit.theory import Dataset, EmbMLP, derive

GROUPS = ["$x^$", "_hidden", r"a\$b$", "50%|c/d", "$\\frac{1}$"]


@pytest.mark.parametrize("name", GROUPS, ids=ascii)
def test_a_label_is_shown_as_it_is(name):
    figure, plain = Figure(), Figure()
    panel, other = figure.subplots(), plain.subplots()
    panel.plot([0, 1], label=literal(name))
    other.plot([0, 1], label="x")
    other.get_lines()[0].set_label(name)
    legend = panel.legend()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.canvas.draw()
    (text,) = legend.get_texts()
    shown, mathematics = text._preprocess_math(text.get_text())
    assert shown.lstrip("\u200b") == name
    assert not mathematics


def test_a_run_with_such_groups_is_drawn_saved_and_read(tmp_path):
    rng = np.random.default_rng(0)
    groups = [GROUPS[i % len(GROUPS)] for i in range(20)]
    data = Dataset(
        rng.integers(0, 6, (20, 3)), rng.integers(0, 6, 20), 6, groups=groups,
        token_groups={"$x^$": [0, 1], "_anchors": [2, 3]},
    )  # fmt: skip
    model = EmbMLP(6, 4, 5)
    start = model.init(0.5, 0)
    theory = integrate(derive(model, "softmax"), data, start, 1.0, 5)
    training = train(model, data, start, learning_rate=0.25, steps=4, save_at=5)
    before = pyplot.get_fignums()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_overlays([overlay(theory, training)], tmp_path / "overlay.png", dpi=50)
    assert pyplot.get_fignums() == before
    back = load_trajectory(theory.save(tmp_path / "run.nc"), model, data)
    for group in GROUPS:
        np.testing.assert_array_equal(back[f"loss/{group}"], theory[f"loss/{group}"])
    np.testing.assert_array_equal(back["cosine/$x^$"], theory["cosine/$x^$"])
