"""Panels that compose: into any axes, with one colour for a thing, and labels of which none lies on another."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from helpers import as_theory
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from smallinit.compare import (
    overlay,
    plot_cosines,
    plot_errors,
    plot_losses,
    plot_norms,
    plot_overlays,
    train,
)
from smallinit.compare.plots.marks.axis_words import axis_words, weight_words
from smallinit.compare.plots.marks.edge_labels import EdgeLabels, spread
from smallinit.compare.plots.marks.evenly import evenly
from smallinit.compare.plots.marks.palette import (
    GREY,
    GROUP_COLOURS,
    WEIGHT_COLOURS,
    group_colours,
    on_panel,
    weight_colours,
)
from smallinit.compare.plots.panels import _plateau
from smallinit.sim.ode.outcome import Outcome, Status
from smallinit.sim.trajectory.trajectory import Trajectory
from smallinit.theory import Dataset, EmbMLP


@pytest.fixture(scope="module")
def both(model, data, start):
    run = train(model, data, start, steps=40)
    return overlay(as_theory(train(model, data, start, learning_rate=0.05, steps=80)), run)


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def labels(ax):
    return next(child for child in ax.get_children() if isinstance(child, EdgeLabels))


def many(n, ending=1.0):
    """A training of n weights whose norms end at the same height."""
    t = np.linspace(0.0, 1.0, 11)
    weights = {f"blocks.{k}.W_Q": (1.0 + k + (ending - 1.0 - k) * t)[:, None, None] for k in range(n)}
    return Trajectory(t, weights, Outcome(Status.REACHED_END, 1.0), kind="training", label="GD")


def test_every_panel_draws_where_it_is_told_and_returns_it(both):
    figure, axes = plt.subplots(2, 2)
    one, two, three, four = axes.flat
    assert plot_losses(both, ax=one) is one
    assert plot_norms(both.theory, both.training, ax=two) is two
    assert plot_errors(both, ["W_E"], three) is three
    assert plot_cosines(both, 2.0, "training", ax=four) is four
    assert [len(ax.lines) + len(ax.images) > 0 for ax in axes.flat] == [True] * 4
    assert plt.get_fignums() == [figure.number]
    assert isinstance(plot_norms(both.training), Axes)  # pyplot's current axes


def test_a_figure_is_returned_and_shows_itself(both):
    figure = both.plot()
    assert isinstance(figure, Figure)
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert plt.get_fignums() == []
    _, axes = plt.subplots(2, 5)
    assert plot_overlays(both, axes=axes) is axes[0, 0].figure
    assert all(ax.has_data() for ax in axes.flat)
    with pytest.raises(ValueError, match="`axes` must be 4 or 10 axes here, got 3"):
        plot_overlays(both, axes=axes.flat[:3])
    with pytest.raises(ValueError, match="`ax` must be an Axes"):
        plot_losses(both, ax="here")


@pytest.mark.parametrize("n", [2, 5, 12])
def test_labels_of_curves_that_end_together_do_not_overlap(n):
    figure, ax = plt.subplots(figsize=(3.2, 1.9))
    plot_norms(many(n), ax=ax)
    figure.canvas.draw()
    texts = labels(ax).texts()
    boxes = [text.get_window_extent() for text in texts]
    assert len(boxes) == n
    for i, a in enumerate(boxes):
        assert a.x0 > ax.get_window_extent().x1
        assert not any(a.overlaps(b) for b in boxes[:i])


def test_layouts_leave_room_for_labels():
    figure, ax = plt.subplots(layout="constrained", figsize=(3.0, 2.0))
    plot_norms(many(3), ax=ax)
    figure.canvas.draw()
    assert labels(ax).get_window_extent().x1 <= figure.bbox.x1 + 1.0


def test_labels_keep_the_order_of_their_curves_and_move_no_more_than_they_must():
    np.testing.assert_allclose(spread(np.array([5.0, 1.0, 9.0]), 2.0, 0.0, 10.0), [5.0, 1.0, 9.0])
    np.testing.assert_allclose(spread(np.array([5.0, 5.0]), 2.0, 0.0, 10.0), [4.0, 6.0])
    np.testing.assert_allclose(spread(np.array([10.0, 10.0, 0.0]), 2.0, 0.0, 10.0), [8.0, 10.0, 0.0])
    rng = np.random.default_rng(0)
    for _ in range(50):
        wanted = rng.uniform(0.0, 10.0, 6)
        placed = spread(wanted, 1.0, 0.0, 10.0)
        assert np.all(np.diff(np.sort(placed)) > 1.0 - 1e-9)
        np.testing.assert_array_equal(np.argsort(placed), np.argsort(wanted))


def test_a_thing_has_one_colour(both):
    _, (left, right, below) = plt.subplots(1, 3)
    plot_norms(both, ax=left)
    plot_errors(both, ["W_in", "W_E"], right)
    plot_losses(both, ax=below)
    colour = {text.get_text(): text.get_color() for ax in (left, below) for text in labels(ax).texts()}
    assert colour["$W_{E}$"] == WEIGHT_COLOURS["W_E"] == right.lines[1].get_color()
    assert right.lines[0].get_color() == WEIGHT_COLOURS["W_in"]
    assert colour["memory"] == GROUP_COLOURS["memory"]
    assert not set(WEIGHT_COLOURS.values()) & set(GROUP_COLOURS.values())
    assert len(set(weight_colours(["blocks.0.W_Q", "blocks.1.W_Q", "W_E", "ln.w"]).values())) == 4
    assert group_colours(["x", "memory"])["memory"] == GROUP_COLOURS["memory"]


def test_limits_are_those_of_what_one_reads(both):
    t = np.array([0.0, 1.0])
    wild = Trajectory(t, {"W_E": np.array([1.0, 1e9])[:, None, None]}, Outcome(Status.BLOW_UP, 1.0))
    tame = Trajectory(
        t, {"W_E": np.array([1.0, 2.0])[:, None, None]}, Outcome(Status.REACHED_END, 1.0), "training"
    )
    _, ax = plt.subplots()
    assert plot_norms(wild, tame, ax=ax).get_ylim()[1] < 3.0
    assert "blows up at" in ax.texts[0].get_text()


def test_a_note_gives_way_to_curves():
    data = Dataset([[0], [1]], [0, 1], 2, groups=["memory", "memory"])
    plateau = np.log(2.0)
    for late in (plateau + 0.02, plateau - 0.2):
        t = np.linspace(0.0, 1.0, 50)
        loss = np.where(t < 0.4, plateau + 0.4, late)
        run = Trajectory(
            t, {}, Outcome(Status.REACHED_END, 1.0), "training", data=data, measured={"loss/memory": loss}
        )
        figure, ax = plt.subplots()
        plot_losses(run, ax=ax)
        box = ax.texts[0].get_window_extent()
        curve = ax.transData.transform(np.column_stack([t, loss]))
        assert not ((curve > box.min) & (curve < box.max)).all(axis=1).any()
        plt.close(figure)


def test_words_stand_on_axes_and_not_keys():
    assert axis_words("init.gamma").startswith(r"$\gamma$")
    assert axis_words("training.some_key") == "some key"
    assert weight_words("W_out") == r"$W_{\mathrm{out}}$"
    assert weight_words("blocks.1.W_Q") == "$W_{Q}$ (1)"
    assert weight_words("a$b") == r"a\$b"


def test_refusals(both):
    with pytest.raises(ValueError, match="`runs` must be 1 to 4 trajectories or overlays, got 0"):
        plot_losses()
    with pytest.raises(ValueError, match="must be trajectories or overlays, got int"):
        plot_norms(3)
    with pytest.raises(ValueError, match="`weights` has no 'W_e' among them: did you mean 'W_E'"):
        plot_norms(both, weights=["W_e"])
    with pytest.raises(ValueError, match="'W_e' has no relative error"):
        plot_errors(both, ["W_e"])
    with pytest.raises(ValueError, match="have no losses"):
        plot_losses(many(2))
    with pytest.raises(ValueError, match="`tokens` must name some blocks"):
        plot_cosines(both, 1.0, tokens={})


@pytest.mark.filterwarnings("error")
def test_panels_lie_in_subfigures_and_over_a_single_time(both):
    figure = plt.figure()
    left, right = figure.subfigures(1, 2)
    for panels, run in ((left.subplots(1, 3), both), (right.subplots(1, 3), both)):
        plot_losses(run, ax=panels[0])
        plot_norms(run, ax=panels[1])
        plot_errors(run, ["W_E"], panels[2])
    figure.canvas.draw()
    t = np.zeros(1)
    once = Trajectory(t, {"W": np.ones((1, 2, 2))}, Outcome(Status.REACHED_END, 0.0), "training", "GD")
    plot_norms(once, ax=plt.subplots()[1]).figure.canvas.draw()


@pytest.mark.filterwarnings("error")
def test_logarithmic_axes_stay_what_they_are(both):
    ax = plt.subplots()[1]
    ax.set(xscale="log", yscale="log")
    plot_losses(both, ax=ax)
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert ax.get_xlim() == pytest.approx((min(both.training.t[1], both.theory.t[1]), both.training.t[-1]))
    losses = both.training["loss/memory"]
    assert ax.get_ylim()[0] < losses.min() < losses.max() < ax.get_ylim()[1]
    ax.figure.canvas.draw()


@pytest.mark.parametrize("tokens", [{"a": [1, 99]}, {"a": [1, -1]}, {"a": [0.5, 1]}, [1, 2]])
def test_tokens_that_there_are_not_are_refused(both, tokens):
    with pytest.raises(ValueError, match="`tokens"):
        plot_cosines(both, 1.0, tokens=tokens)


def test_errors_are_named_where_no_other_panel_does(both):
    figure, (one, two) = plt.subplots(1, 2)
    plot_errors(both, ["W_E", "W_out"], one)
    plot_errors(both, ["W_E", "W_out"], two, labels=False)
    figure.canvas.draw()
    named = [[entry[1] for entry in labels(ax).entries] for ax in (one, two)]
    assert named == [["5%", weight_words("W_E"), weight_words("W_out")], ["5%"]]


def test_a_label_entropy_that_no_loss_comes_near_is_not_shown(both):
    ax = plt.figure().subplots()
    ax.set_ylim(0.0, 1.0)
    _plateau(ax, 5.0, "C0")
    assert not ax.lines
    _plateau(ax, 0.5, "C0")
    assert len(ax.lines) == 1


def test_a_label_entropy_that_all_groups_share_has_the_colour_of_none():
    data = Dataset([[1, 2], [3, 2], [4, 5], [6, 5]], [0, 1, 2, 3], 7, groups=["a", "a", "b", "b"])
    pairs = EmbMLP(7, 6, 6)
    run = train(pairs, data, pairs.init(0.5, 0), learning_rate=0.3, steps=60)
    ax = plot_losses(run)
    (line,) = [
        line for line in ax.lines if line.get_transform() != ax.transData and len(line.get_xdata()) == 2
    ]
    assert line.get_color() == GREY
    assert line.get_ydata()[0] == pytest.approx(np.log(2.0))


@pytest.mark.parametrize("n", [1, 2, 3, 31, 32, 41, 61, 62, 98, 101, 102, 503, 1001])
def test_markers_of_a_training_leave_no_gap(n):
    few = evenly(n, 30)
    assert few[0] == 0
    assert few[-1] == n - 1
    assert len(few) <= 32
    steps = np.diff(few)
    assert (steps[:-1] == steps[:1]).all()
    assert (steps[-1:] <= steps[:1]).all()
    assert n < 31 or len(few) > 15


def test_a_legend_tells_theories_and_trainings_apart(both):
    figure, axes = plt.subplots(1, 4)
    plot_losses(both, ax=axes[0])
    plot_norms(both.theory, both.training, ax=axes[1])
    plot_errors(both, ["loss"], axes[2])
    plot_norms(both.training, ax=axes[3])
    figure.canvas.draw()
    theory, training = f"theory: {both.theory.label}", f"training: {both.training.label}"
    for ax, words in zip(axes, ([theory, training], [theory, training], [theory], [training]), strict=True):
        assert [text.get_text() for text in ax.legend().get_texts()] == words
    line, marker = axes[0].get_legend().legend_handles
    assert (line.get_linestyle(), marker.get_linestyle(), marker.get_marker()) == ("-", "None", "o")


def test_black_curves_are_white_on_a_dark_ground(both):
    for style, expected in (("default", "#000000"), ("dark_background", "#FFFFFF")):
        with plt.style.context(style):
            for draw in (plot_norms, plot_errors):
                ax = draw(both, ax=plt.subplots()[1])
                inks = {text.get_text(): text.get_color() for text in labels(ax).texts()}
                assert inks[weight_words("W_E")] == expected
                assert expected in {line.get_color() for line in ax.get_lines()}
    transparent = plt.subplots()[1]
    transparent.set_facecolor((0.0, 0.0, 0.0, 0.0))
    assert on_panel(transparent, {"W_E": "#000000"}) == {"W_E": "#000000"}


def test_labels_keep_the_font_of_the_panel_that_they_stand_at(both):
    with plt.rc_context({"font.family": "serif"}):
        figure, ax = plt.subplots()
        plot_losses(both, ax=ax)
    figure.canvas.draw()
    assert {text.get_fontfamily()[0] for text in labels(ax).texts()} == {ax.xaxis.label.get_fontfamily()[0]}
    with plt.rc_context({"font.family": "serif"}):
        assert {text.get_fontfamily()[0] for text in labels(both.plot().axes[0]).texts()} == {"sans-serif"}


def test_errors_are_of_the_weights_unless_one_or_more_are_named(both):
    alone, named, all_of_them = (plt.subplots()[1] for _ in range(3))
    plot_errors(both, "W_E", alone)
    plot_errors(both, ["W_E"], named)
    plot_errors(both, ax=all_of_them)
    assert [text.get_text() for text in labels(alone).texts()] == ["5%", weight_words("W_E")]
    assert [text.get_text() for text in labels(named).texts()] == ["5%", weight_words("W_E")]
    shown = {text.get_text() for text in labels(all_of_them).texts()}
    assert shown == {"5%", *(weight_words(name) for name in both.training.weights)}
    assert len(labels(plot_norms(both, weights="W_E", ax=plt.subplots()[1])).texts()) == 1
