"""What a picture is given: anything else than what it draws is refused in a sentence, whichever picture it is."""

import inspect

import matplotlib.pyplot as plt
import numpy as np
import pytest
from helpers import as_theory

import smallinit.compare
from smallinit.compare import (
    SimilarityOverlay,
    overlay,
    plot_correlations,
    plot_part_sizes,
    plot_similarity,
    train,
)
from smallinit.compare.overlays.decomposition import Decomposition
from smallinit.theory.base.errors import FieldError

PICTURES = sorted(name for name in dir(smallinit.compare) if name.startswith("plot_"))
NOTHING = [None, 3, "overlay.png", [], {}, [None], {"a": None}, {"a": {"b": None}}, {"a": []}, np.zeros(3)]


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def needed(draw):
    """One word for each argument that a picture needs beside its first."""
    some = list(inspect.signature(draw).parameters.values())[1:]
    return [{"t": 1.0}.get(p.name, "W_E") for p in some if p.default is p.empty]


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_say_what_they_draw(name, model, data, start):
    draw = getattr(smallinit.compare, name)
    run = train(model, data, start, steps=2)
    for given in [*NOTHING, model, data, *([] if name in ("plot_losses", "plot_norms") else [run])]:
        with pytest.raises(FieldError, match=r"must (be|hold|map) .*(, got|: )"):
            draw(given, *needed(draw))


def alike(seed):
    rng = np.random.default_rng(seed)
    square = np.eye(4)
    known = {"softmax": rng.uniform(size=3), "co-occurrence": rng.uniform(size=3)}
    predicted = dict.fromkeys(known, square)
    return SimilarityOverlay(
        np.arange(3.0), np.ones(3), 1, np.arange(4), known, np.zeros(3), square, predicted
    )  # fmt: skip


def test_one_seed_is_drawn_like_a_list_of_one(tmp_path):
    one = alike(0)
    plot_similarity({"mine": one}, tmp_path / "one.png")
    plot_similarity({"mine": [one]}, tmp_path / "list.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "list.png").read_bytes()
    left, right = plt.subplots(1, 2)[1]
    plot_correlations(one, left)
    plot_correlations([one, alike(1)], right)
    assert (len(left.lines), len(right.lines)) == (3, 6)


def split_of(sizes):
    """Parts of these sizes of one distance of 1, beside a training that moves by 1."""
    parts = {name: {"loss": np.full(3, size)} for name, size in sizes.items()}
    return Decomposition(
        np.arange(3.0), parts, {"loss": np.ones(3)}, {"loss": np.ones(3)}, halvings=0, seconds=0.0
    )  # fmt: skip


def test_rounding_is_no_part_of_a_distance():
    found = split_of({"closure": 1.0, "discretisation": 1e-15, "optimiser": 1e-3, "sampling": 0.0})
    ax = plot_part_sizes(found, "loss", plt.subplots()[1])
    drawn = [line.get_label() for line in ax.lines]
    assert drawn == ["theory to training", "closure", "optimiser", "not explained"]
    assert min(np.nanmin(np.asarray(line.get_ydata(), dtype=float)) for line in ax.lines) > 1e-6
    assert ax.get_xlabel() == r"flow time $t$ = sum of the learning rates"


def test_several_theories_are_named_where_one_is_wanted(model, data, start):
    run = train(model, data, start, steps=4)
    theory = as_theory(train(model, data, start, steps=4))
    with pytest.raises(FieldError, match=r"`theory` must be a Trajectory, got dict.*`plot_overlays`"):
        overlay({"softmax": theory}, run)
