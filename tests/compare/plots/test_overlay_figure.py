import json
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pytest
from helpers import as_theory
from PIL import Image

from smallinit.compare import overlay, train
from smallinit.compare.plots.marks.flow_axes import steps_on_top
from smallinit.compare.plots.overlay_figure import plot_overlays
from smallinit.compare.plots.panels import finish
from smallinit.sim import AdamW, WarmupCosine, integrate
from smallinit.sim.ode.outcome import Outcome, Status
from smallinit.theory import Dataset, derive


def drawn(overlays, path, **options):
    """The file that the figure was written to."""
    plot_overlays(overlays, path, **options)
    return path


@pytest.fixture(scope="module")
def overlays(model, data, start):
    """Two stand-in theories, the second of which ends in a blow-up, over one training."""
    run = train(model, data, start, steps=60)
    slow = train(model, data, start, learning_rate=0.05, steps=120)
    fast = train(model, data, start, learning_rate=0.2, steps=10, save_at=11)
    object.__setattr__(fast, "outcome", Outcome(Status.BLOW_UP, 2.1))
    return [overlay(as_theory(slow), run), overlay(as_theory(fast), run)]


def test_equal_figures_are_equal_files(overlays, tmp_path):
    paths = [drawn(overlays, tmp_path / f"{name}.png", dpi=60) for name in "ab"]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.png"]


@pytest.mark.parametrize("suffix", [".svg", ".pdf"])
def test_vector_formats_are_reproducible(overlays, tmp_path, suffix):
    paths = [drawn(overlays[0], tmp_path / f"{name}{suffix}") for name in "ab"]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_png_carries_provenance(overlays, tmp_path):
    with Image.open(drawn(overlays, tmp_path / "a.png", dpi=60)) as image:
        record = json.loads(image.text["Description"])
    assert [theory["outcome"] for theory in record["theories"]][1] == str(overlays[1].theory.outcome)
    assert record["training"][0]["provenance"]["learning_rate"] == 0.1


def test_the_callers_settings_do_not_matter(overlays, tmp_path):
    import matplotlib as mpl

    plain = drawn(overlays[0], tmp_path / "a.png", dpi=60).read_bytes()
    with mpl.rc_context({"font.size": 30, "axes.grid": True}):
        assert drawn(overlays[0], tmp_path / "b.png", dpi=60).read_bytes() == plain
        assert mpl.rcParams["font.size"] == 30


def test_an_existing_figure_is_replaced(overlays, tmp_path):
    (tmp_path / "a.png").write_text("old")
    assert drawn(overlays[0], tmp_path / "a.png", dpi=60).read_bytes().startswith(b"\x89PNG")


def test_data_without_groups_or_anchors_gives_a_smaller_figure(overlays, model, data, start, tmp_path):
    plain = Dataset(data.sequences, data.labels, data.d_vocab)
    run = train(model, plain, start, steps=5)
    small = drawn(overlay(as_theory(run), run), tmp_path / "a.png", dpi=60)
    full = drawn(overlays[0], tmp_path / "b.png", dpi=60)
    with Image.open(small) as a, Image.open(full) as b:
        assert a.width == b.width
        assert a.height < b.height


def test_diverged_training_is_drawn(weighted, tmp_path):
    from smallinit.theory import EmbMLP

    model = EmbMLP(6, 4, 5, "identity")
    run = train(
        model, weighted, model.init(0.0, 0), learning_rate=1e6, steps=9, save_at=range(10), throw=False
    )
    assert drawn(overlay(as_theory(run), run), tmp_path / "a.png", dpi=60).exists()


def test_bad_arguments_are_named(overlays, model, data, start, tmp_path):
    path = tmp_path / "a.png"
    with pytest.raises(ValueError, match="`overlays` must hold 1 to 4 overlays, got 0"):
        plot_overlays([], path)
    other = train(model, data, start, steps=1)
    mixed = [overlays[0], overlay(as_theory(other), other)]
    with pytest.raises(ValueError, match="must share one training run"):
        plot_overlays(mixed, path)
    with pytest.raises(ValueError, match=r"must end in one of .png, .pdf, .svg"):
        overlays[0].plot(tmp_path / "a.bmp")
    with pytest.raises(ValueError, match="folder that does not exist"):
        overlays[0].plot(tmp_path / "none" / "a.png")
    with pytest.raises(ValueError, match="`tolerance` must be positive"):
        overlays[0].plot(path, tolerance=0)
    with pytest.raises(ValueError, match="`times` must be 3 flow times, got 1"):
        overlays[0].plot(path, times=[1])
    with pytest.raises(ValueError, match="`dpi` must be an integer of at least 10, got 1"):
        overlays[0].plot(path, dpi=1)
    assert not path.exists()


def test_figures_drawn_on_two_threads_leave_matplotlib_as_it_was():
    import threading

    from matplotlib import rcParams

    from smallinit.compare.plots.saving import STYLE, drawing

    before, inside, leave, second = dict(rcParams), threading.Event(), threading.Event(), threading.Event()

    def draw(note, wait):
        with drawing("default", STYLE):
            note.set()
            wait.wait(60)

    one = threading.Thread(target=draw, args=(inside, leave), daemon=True)
    two = threading.Thread(target=draw, args=(second, inside), daemon=True)
    one.start()
    assert inside.wait(60)
    two.start()
    assert not second.wait(0.2)
    leave.set()
    one.join(60)
    two.join(60)
    assert dict(rcParams) == before


def test_steps_stand_over_their_flow_times_whatever_the_schedule(model, data, start):
    adam = AdamW(1e-2, schedule=WarmupCosine(40, 80, 0.05))
    run = train(model, data, start, optimizer=adam, steps=80, save_at=81)
    theory = integrate(derive(model, "softmax"), data, start, optimizer=adam, steps=80, save_at=81)
    figure, (above, below) = plt.subplots(2)
    above.plot(run.t, run["loss"])
    below.plot(run.t[1:], run.t[1:])
    finish(above, below, [overlay(theory, run)])
    figure.canvas.draw()
    top = above.child_axes[0]
    for tick in (10, 20, 40, 60, 80):
        here = top.transData.transform((tick, 0))[0]
        np.testing.assert_allclose(above.transData.inverted().transform((here, 0))[0], run.t[tick], atol=1e-9)
    assert "sum of the learning rates" in below.get_xlabel()
    plt.close(figure)


def test_counts_of_steps_do_not_lie_on_each_other(model, data, start):
    adam = AdamW(1e-3, schedule=WarmupCosine(20, 200))
    run = train(model, data, start, optimizer=adam, steps=200, save_at=41)
    figure, above = plt.subplots(figsize=(2.8, 2.0))
    above.plot(run.t[1:], run["loss"][1:])
    steps_on_top(above, run)
    figure.canvas.draw()
    labels = [text for text in above.child_axes[0].get_xticklabels() if text.get_text()]
    boxes = [text.get_window_extent() for text in labels]
    inside = [box for box in boxes if box.x1 > above.bbox.x0 and box.x0 < above.bbox.x1]
    assert len(inside) >= 2
    assert all(left.x1 < right.x0 for left, right in pairwise(inside))
    plt.close(figure)
