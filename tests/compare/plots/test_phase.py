"""Phase diagrams: escape times read off the losses, and a picture that shows what is missing."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray
from matplotlib.colors import to_rgb

from smallinit.compare import (
    escape_times,
    plot_escapes,
    plot_first,
    plot_horizons,
    plot_phase_map,
    plot_phases,
    run_sweep,
)
from smallinit.compare.plots.marks.palette import group_colours
from smallinit.theory.base.errors import FieldError

SWEEP = """
[axes]
"init.gamma" = {start = 0.4, stop = 0.8, num = 5}
"init.seed" = "0-3"
[sweep]
run = ["simulate", "train"]
[task]
keys = "5-9"
memory_anchors = "1-2"
reasoning_anchors = "3-4"
[model]
d_model = 12
d_mlp = 10
[theory]
closures = ["leading", "softmax"]
t1 = 40.0
points = 81
"""


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phase")
    (folder / "sweep.toml").write_text(SWEEP)
    return run_sweep(folder / "sweep.toml", folder / "out").to_xarray()


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def made_up(losses, t=(0.0, 1.0, 2.0, 4.0)):
    dims = ("init.gamma", "init.seed", "run", "time")
    arrays = {f"loss/{name}": (dims, [[[row]]]) for name, row in losses.items()}
    arrays["t"] = (dims, [[[t]]])
    return xarray.Dataset(arrays, {"init.gamma": [0.5], "init.seed": [0], "run": ["softmax"]})


def test_escape_times_by_hand():
    nan = np.nan
    lost = (4.0, 1.0, nan, nan)
    data = made_up({"a": (4.0, 3.9, 2.5, 1.5), "b": (4.0, 4.0, 3.0, 2.9), "c": (nan,) * 4, "d": lost})
    found = escape_times(data, part=0.5)[0, 0, 0].values
    np.testing.assert_allclose(found, [3.0, np.inf, nan, 2.0 / 3.0])
    assert escape_times(data).sel(group="b").item() == pytest.approx(2.0)
    assert escape_times(data).name == "escape_time"  # of all groups, so that of none


def test_reasoning_escapes_first_and_training_agrees(swept):
    times = escape_times(swept, part=0.05)
    assert times.dims == ("init.gamma", "init.seed", "run", "group")
    theory, training = times.sel(run="softmax"), times.sel(run="training")
    both = np.isfinite(theory) & np.isfinite(training)
    ratio = (theory / training).where(both).sel({"init.gamma": [0.7, 0.8]}, method="nearest")
    assert float(abs(ratio - 1.0).median()) < 0.1
    horizon = swept["horizon"]
    assert (horizon.sel(run="softmax").median("init.seed").diff("init.gamma") > 0).all()
    assert np.isnan(horizon.sel(run="training")).all()


def test_the_picture(swept, tmp_path):
    broken = swept.copy(deep=True)
    for name in broken.data_vars:
        if broken[name].dtype.kind == "f":
            broken[name][1, 2] = np.nan
    figure = plot_phases(broken, "init.gamma", "init.seed", tmp_path / "phase.png")
    assert (tmp_path / "phase.png").stat().st_size > 20_000
    assert len(figure.axes) == 9 if np.isfinite(escape_times(broken).sel(run="leading")).any() else 6
    legends = [legend for axis in figure.axes if axis.get_visible() and (legend := axis.get_legend())]
    labels = [text.get_text() for legend in legends for text in legend.get_texts()]
    assert "failed or missing" in labels
    assert figure.axes[0].get_xlabel().startswith(r"$\gamma$")
    assert figure.axes[1].get_ylabel() == "share of seeds"
    plot_phases(broken, "init.gamma", "init.seed", tmp_path / "again.png")
    assert (tmp_path / "phase.png").read_bytes() == (tmp_path / "again.png").read_bytes()


def test_refusals(swept):
    with pytest.raises(ValueError, match="holds no losses of groups"):
        escape_times(swept[["t", "loss"]])
    with pytest.raises(ValueError, match="`part` must lie between"):
        escape_times(swept, part=0.0)
    with pytest.raises(
        ValueError, match=r"`axis` 'init.gama' is no axis of the sweep: did you mean 'init\.gamma'\?"
    ):
        plot_phases(swept, "init.gama", "init.seed")
    with pytest.raises(ValueError, match="`over` 'run' is no axis of the sweep"):
        plot_phases(swept, "init.gamma", "run")
    with pytest.raises(ValueError, match="`over` must be another axis than `axis`"):
        plot_phases(swept, "init.gamma", "init.gamma")
    with pytest.raises(ValueError, match="`sweep` must be a Dataset, got str"):
        escape_times("out")
    with pytest.raises(ValueError, match="make it smaller"):
        plot_phases(swept, "init.gamma", "init.seed", part=0.9999)
    with pytest.raises(ValueError, match="lies in a folder that does not exist"):
        plot_phases(swept, "init.gamma", "init.seed", "missing/phase.png")


def test_values_of_a_third_axis_are_written_as_python_reads_them(swept):
    wide = swept.expand_dims({"model.activation": ["tanh", "relu"]})
    with pytest.raises(ValueError, match=r"as in sweep\.sel\(\{'model\.activation': 'tanh'\}\)"):
        plot_phases(wide, "init.gamma", "init.seed")


@pytest.mark.parametrize("draw", [plot_phases, plot_escapes, plot_first, plot_horizons])
def test_what_is_said_of_a_third_axis_draws(swept, draw):
    wide = swept.expand_dims({"model.d_model": [12, 24]})
    run = () if draw is plot_phases else ("softmax",)
    with pytest.raises(ValueError, match=r"got also model\.d_model: choose a value of each") as refusal:
        draw(wide, "init.gamma", "init.seed", *run)
    advice = str(refusal.value).rpartition("as in sweep")[2].removesuffix(".")
    assert advice == ".sel({'model.d_model': 12})"
    assert draw(wide.sel({"model.d_model": 12}), "init.gamma", "init.seed", *run)


def test_horizons_need_a_training_beside_the_theory(swept):
    with pytest.raises(ValueError, match='let it train too, with run = \\["simulate", "train"\\]'):
        plot_horizons(swept.drop_vars("horizon"), "init.gamma", "init.seed", "softmax")


def test_the_axis_of_horizons_states_their_tolerance(swept):
    ax = plot_horizons(swept, "init.gamma", "init.seed", "softmax", plt.figure().subplots())
    percent = 100 * swept["horizon"].attrs["tolerance"]
    assert ax.get_ylabel() == f"theory holds to {percent:g} % up to (flow time)"
    silent = swept.assign(horizon=swept["horizon"].drop_attrs())  # as of a dataset put together by hand
    ax = plot_horizons(silent, "init.gamma", "init.seed", "softmax", plt.figure().subplots())
    assert ax.get_ylabel() == "theory holds up to (flow time)"


@pytest.mark.parametrize("axis", [np.array("init.gamma"), np.ones(2), None, 5])
def test_what_names_no_axis_is_refused(swept, axis):
    with pytest.raises(ValueError, match=r"`axis` .* is no axis of the sweep"):
        plot_first(swept, axis, "init.seed", "softmax")


def drawn_map(times):
    """A map over two gammas and three widths of escape times (width, gamma, seed, group) in steps of one."""
    t = np.arange(9.0)
    losses = np.where(t < np.asarray(times)[..., None], 4.0, 1.0)  # (width, gamma, seed, group, time)
    losses[np.isnan(times)] = np.nan
    dims = ("model.d_model", "init.gamma", "init.seed", "run", "time")
    arrays = {f"loss/{name}": (dims, losses[..., k, None, :]) for k, name in enumerate("ab")}
    arrays["t"] = (dims, np.broadcast_to(t, losses[..., 0, None, :].shape))
    named = {
        "init.gamma": [0.5, 0.7],
        "model.d_model": [8, 16, 2048],
        "init.seed": [0, 1],
        "run": ["softmax"],
    }
    ax = plot_phase_map(xarray.Dataset(arrays, named), "init.gamma", "model.d_model", "init.seed", "softmax")
    return ax, np.asarray(ax.images[0].get_array())


def test_a_map_has_the_colour_of_the_group_that_is_first():
    inf, nan = np.inf, np.nan
    both = [[2, 4], [2, 4]]
    one = [[2, 4], [nan, nan]]  # of the seed that is known
    half = [[2, 4], [inf, inf]]
    other, never, missing = [[5, 3], [5, 3]], [[inf, inf]] * 2, [[nan, nan]] * 2
    ax, cells = drawn_map([[both, one], [half, other], [never, missing]])
    first, second = (np.array(to_rgb(colour)) for colour in group_colours(["a", "b"]).values())
    np.testing.assert_allclose(cells[0], [first, first])
    np.testing.assert_allclose(cells[1], [(1.0 + first) / 2.0, second])
    np.testing.assert_allclose(cells[2], np.ones((2, 3)))
    crosses = ax.lines[0]
    assert (crosses.get_xdata().tolist(), crosses.get_ydata().tolist()) == ([1], [2])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a first", "b first"]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["8", "16", "2048"]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0.5", "0.7"]
    assert ax.get_ylabel().startswith("width")
    ax, _ = drawn_map([[both, both], [half, never], [never, missing]])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a first"]


def test_a_map_needs_three_axes(swept):
    with pytest.raises(ValueError, match=r"`y` must be another axis than `x`, got 'init\.gamma' twice"):
        plot_phase_map(swept, "init.gamma", "init.gamma", "init.seed", "softmax")
    with pytest.raises(
        ValueError, match=r"`y` 'model\.d_model' is no axis of the sweep: choose one of init\.gamma"
    ):
        plot_phase_map(swept, "init.gamma", "model.d_model", "init.seed", "softmax")


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([512, 1024], ["512", "1024"]),
        ([0.1, 0.25, 1.0], ["0.1", "0.25", "1"]),
        ([1e-12, 1.0 / 3.0], ["1e-12", "0.333"]),
        ([1.0001, 1.0002, 1.1], ["1.0001", "1.0002", "1.1"]),
        (["tanh", "relu"], ["tanh", "relu"]),
    ],
)
def test_cells_of_a_map_have_names_that_differ(values, names):
    ground = made_up({"a": (4.0, 3.0, 2.0, 1.0)}).expand_dims({"other": values, "model.d_mlp": [4]})
    ax = plot_phase_map(
        ground.isel({"init.gamma": 0}, drop=True), "other", "model.d_mlp", "init.seed", "softmax"
    )
    assert [text.get_text() for text in ax.get_xticklabels()] == names


@pytest.mark.parametrize("dim", ["init.gamma", "init.seed", "run", "time"])
@pytest.mark.parametrize(
    "draw",
    [
        lambda sweep: plot_phases(sweep, "init.gamma", "init.seed"),
        lambda sweep: plot_escapes(sweep, "init.gamma", "init.seed", "softmax"),
        lambda sweep: plot_first(sweep, "init.gamma", "init.seed", "softmax"),
        lambda sweep: plot_phase_map(sweep, "init.gamma", "model.d_mlp", "init.seed", "softmax"),
        escape_times,
    ],
)
def test_a_selection_that_leaves_nothing_is_refused(draw, dim):
    sweep = made_up({"memory": [1.0, 0.5, 0.2, 0.1]}).isel({dim: slice(0, 0)})
    with pytest.raises(FieldError, match=f"`sweep` has no values along '{dim}': select at least one"):
        draw(sweep)
