import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from smallinit.compare.figures import figure_7
from smallinit.compare.figures.parts.text_runs import CORPORA, Prediction, generated, what_decides
from smallinit.compare.figures.parts.text_training import TextTraining
from smallinit.theory.base.arrays import cosine_matrix

TINY = TextTraining(
    documents=60, held_out=12, vocabulary=500, n_ctx=16, d_model=16, d_head=8, d_mlp=16, epochs=6, saved=9,
    learning_rate=1e-2, batch_size=15,
)  # fmt: skip


@pytest.fixture(scope="module")
def computed():
    """The figure in a tiny size, and what it told."""
    told = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(figure_7.SIZES, "small", TINY)
        return figure_7.run("small", (3, 4), told.append), told


@pytest.fixture(scope="module")
def theory():
    return Prediction.of(TINY.data(generated(72)))


@pytest.fixture(scope="module")
def trained(theory):
    return TINY.train(theory.data, 0.8, 4)


def pairs_mean(matrix):
    return (matrix.sum() - np.trace(matrix)) / (len(matrix) * (len(matrix) - 1))


def test_curves_have_an_entry_for_every_gamma_seed_and_time(computed):
    result, told = computed
    assert len(told) == 8
    assert told[-1] == "figure 7: gamma 0.8, seed 4"
    for name in (
        *(f"{kind}/{corpus}" for kind in ("loss", "held out", "cosine") for corpus in CORPORA),
        "bias",
    ):
        assert result.arrays[name].shape == (4, 2, 9)
        assert np.isfinite(result.arrays[name]).all()
    windows = sum(n for name, n in result.settings["windows"].items() if name.endswith("train"))
    assert result.arrays["step"][-1] == round(6 * windows / 15)
    assert result.arrays["epoch"][-1] == pytest.approx(6.0, abs=0.1)
    assert (result.arrays["loss/reasoning"][:, :, -1] < result.arrays["loss/reasoning"][:, :, 0]).all()
    json.dumps(result.settings)


def test_a_run_on_its_own_gives_the_same_numbers(computed, theory, trained):
    result, _ = computed
    data = theory.data
    weights = [data.weights[data.groups == f"{name}-train"].sum() for name in CORPORA]
    assert weights[0] == pytest.approx(weights[1])
    np.testing.assert_array_equal(result.arrays["loss/narrative"][3, 1], trained["loss/narrative-train"])
    c = cosine_matrix(trained.weights["W_E"][-1][data.token_groups["reasoning"]])
    assert result.arrays["cosine/reasoning"][3, 1, -1] == pytest.approx(pairs_mean(c))


def test_the_statistics_follow_from_the_curves(computed):
    result, _ = computed
    window, rises, *equal, cosine, predicted = result.statistics
    a, b = result.arrays["loss/reasoning"], result.arrays["loss/narrative"]
    epoch, dl = result.arrays["epoch"], (b - a) / a
    np.testing.assert_allclose(result.arrays["bias"], dl)
    for k, (opens, closes) in enumerate(result.arrays["window"]):
        at = [np.interp((opens + closes) / 2, epoch, dl[i, k]) for i in range(4)]
        assert window.values[k] == pytest.approx(at[3] - at[0], nan_ok=True)
        assert rises.values[k] == pytest.approx(np.diff(at).min(), nan_ok=True)
    assert window.reproduced == all(v > 0.1 for v in window.values)
    for statistic, loss in zip(equal, (a, (a + b) / 2), strict=True):
        level = loss.min(axis=-1).max()
        i, k = np.unravel_index(loss.min(axis=-1).argmax(), loss.shape[:2])
        name = "reasoning" if loss is a else "mean"
        found = result.arrays[f"bias at equal {name} loss"]
        assert found[i, k] == pytest.approx(dl[i, k, loss[i, k].argmin()])  # the training that sets the level
        j = np.flatnonzero(loss[3, 0] <= level)[0]
        assert dl[3, 0, j - 1 : j + 1].min() <= found[3, 0] <= dl[3, 0, j - 1 : j + 1].max()
        assert statistic.values == pytest.approx(found[3] - found[0])
    middles = result.arrays["window"].mean(axis=1)
    cosines = [
        [np.interp(m, epoch, result.arrays[f"cosine/{name}"][3, k]) for k, m in enumerate(middles)]
        for name in CORPORA
    ]
    assert cosine.values == pytest.approx(np.subtract(cosines[1], cosines[0]), nan_ok=True)
    at_end = [
        [
            result.arrays[f"correlation/{name}"][i, result.arrays["step"] == end].item()
            for i, end in enumerate(result.arrays["stage end"])
        ]
        for name in ("signature", "co-occurrence")
    ]
    assert predicted.values == pytest.approx(np.subtract(*at_end))


def test_predictors_are_held_against_the_trained_embedding(theory, trained):
    found = theory.against(trained)
    kept = np.ix_(theory.tokens, theory.tokens)
    upper = np.triu_indices(len(theory.tokens), 1)
    last = cosine_matrix(trained.weights["W_E"][-1])
    np.testing.assert_allclose(found["trained"], last)
    expected = np.corrcoef(theory.laws[kept][upper], last[kept][upper])[0, 1]
    assert found["correlation/signature"][-1] == pytest.approx(expected)
    assert found["correlation/flow"][0] == pytest.approx(1.0)  # the flow starts from the same W_E
    assert found["correlation/flow"][1:4].min() > 0.3
    k = int(np.flatnonzero(trained.steps == found["stage end"]).item())
    assert found["at stage end/flow"] == pytest.approx(found["correlation/flow"][k], nan_ok=True)
    assert found["correlation/signature"][k:].max() > 0.2
    short = replace(trained, t=trained.t[:2], steps=trained.steps[:2], weights={k: w[:2] for k, w in
                    trained.weights.items()}, measured={k: v[:2] for k, v in trained.measured.items()})  # fmt: skip
    never = theory.against(short)
    assert np.isnan([never["stage end"], never["at stage end/signature"]]).all()


def test_words_are_shown_by_corpus(theory):
    order, ends = theory.order()
    assert sorted(order) == sorted(theory.tokens)
    for name, words in zip(CORPORA, np.split(order, ends[:-1]), strict=False):
        assert set(words) <= set(theory.data.token_groups[name])
    laws = theory.laws[np.ix_(order, order)]
    neighbours = np.diagonal(laws[: ends[0], : ends[0]], 1).mean()  # alike words stand side by side
    assert neighbours > pairs_mean(laws[: ends[0], : ends[0]]) + 0.1


def test_the_share_of_interchangeable_words_and_their_cosines_are_told(theory):
    said = what_decides(theory, theory.laws)
    laws = theory.own(theory.laws, "reasoning")
    assert (
        f"reasoning, {(laws > 0.9).mean():.0%} of the pairs, trained cosine {laws[laws > 0.9].mean():.2f}"
        in said
    )
    assert f"pairs {laws[laws <= 0.9].mean():.2f}; narrative" in said


@pytest.fixture
def proofs(tmp_path):
    path = tmp_path / "proofs.txt"
    lines = (" ".join(f"Word{(3 * i + j) % 40} and" for j in range(10)) + "." for i in range(80))
    path.write_text("\n".join(lines) + "\n")
    return path


def test_files_take_the_place_of_the_generated_corpora(proofs, tmp_path, monkeypatch):
    monkeypatch.setitem(figure_7.SIZES, "small", replace(TINY, epochs=1, saved=2))
    monkeypatch.setattr(figure_7, "GAMMAS", figure_7.GAMMAS[:: len(figure_7.GAMMAS) - 1])
    monkeypatch.setattr(figure_7, "SMALLEST", 1)
    story = tmp_path / "story.txt"
    story.write_text("\n\n".join(f"Once there was\na cat {i} and a dog {i % 7} ." * 2 for i in range(90)))
    result = figure_7.run("small", (0,), reasoning=proofs, narrative=story)
    told = result.settings["corpora"]["reasoning"]
    digest = hashlib.sha256(proofs.read_bytes()).hexdigest()
    assert told == {"file": "proofs.txt", "sha256": digest, "documents": 80}
    assert result.settings["corpora"]["narrative"]["documents"] == 90
    assert str(tmp_path) not in json.dumps(result.settings)
    assert result.settings["windows"]["narrative-train"] == pytest.approx(60, abs=3)
    one = figure_7.run("small", (0,), reasoning=proofs)
    assert one.settings["corpora"]["narrative"] == "story_corpus"


def test_a_file_that_cannot_be_used_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(figure_7, "generated", None)
    small = tmp_path / "small.txt"
    small.write_text("once upon a time")
    for name in CORPORA:
        with pytest.raises(ValueError, match=r"small.txt has 1 documents, separated by line breaks"):
            figure_7.run("small", (0,), **{name: small})
        with pytest.raises(FileNotFoundError, match="there is no file"):
            figure_7.run("small", (0,), **{name: tmp_path / "none.txt"})


def test_one_corpus_is_no_two(proofs, tmp_path, monkeypatch):
    monkeypatch.setattr(figure_7, "generated", None)
    (tmp_path / "same.txt").write_text(proofs.read_text())
    with pytest.raises(ValueError, match="`narrative` has the same documents as `reasoning`"):
        figure_7.run("small", (0,), reasoning=proofs, narrative=tmp_path / "same.txt")


def test_corpora_without_words_of_their_own_are_drawn(proofs, tmp_path, monkeypatch):
    monkeypatch.setitem(figure_7.SIZES, "small", replace(TINY, epochs=1, saved=2))
    (tmp_path / "alike.txt").write_text("\n".join(proofs.read_text().splitlines()[::-1]))
    result = figure_7.run("small", (0,), reasoning=proofs, narrative=tmp_path / "alike.txt")
    assert result.arrays["block ends"].tolist()[:2] == [0, 0]
    figure = Figure()
    result.draw(figure)
    figure.draw_without_rendering()


def test_the_drawing_has_eight_panels(computed, tmp_path):
    result, _ = computed
    figure = Figure()
    result.draw(figure)
    assert [axes.get_title()[0] for axes in figure.axes[:8]] == list("abcdefgh")
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes[:7])
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
