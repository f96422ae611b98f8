import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from smallinit.compare.figures import figure_7
from smallinit.compare.figures.parts.text_runs import CORPORA, Narrative, Prediction, mixture, what_decides
from smallinit.theory.base.arrays import cosine_matrix

TINY = figure_7.DecoderStudy(
    documents=60, vocabulary=500, n_ctx=16, d_model=16, d_head=8, d_mlp=16, steps=48, warmup=4, saved=9,
    learning_rate=1e-2, batch_size=16,
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
    return Prediction.of(mixture(TINY.documents, TINY.n_ctx, TINY.vocabulary))


@pytest.fixture(scope="module")
def trained(theory):
    return TINY.train(theory.data, 0.8, 4)


def pairs_mean(matrix):
    return (matrix.sum() - np.trace(matrix)) / (len(matrix) * (len(matrix) - 1))


def test_curves_have_an_entry_for_every_gamma_seed_and_time(computed):
    result, told = computed
    assert len(told) == 8
    assert told[-1] == "figure 7: gamma 0.8, seed 4"
    for name in ("loss/reasoning", "loss/narrative", "cosine/reasoning", "cosine/narrative", "bias"):
        assert result.arrays[name].shape == (4, 2, 9)
        assert np.isfinite(result.arrays[name]).all()
    assert result.arrays["step"].tolist() == [0, 1, 3, 7, 12, 19, 27, 37, 48]
    assert (result.arrays["loss/reasoning"][:, :, -1] < result.arrays["loss/reasoning"][:, :, 0]).all()
    json.dumps(result.settings)


def test_a_run_on_its_own_gives_the_same_numbers(computed, theory, trained):
    result, _ = computed
    data = theory.data
    weights = {name: data.weights[data.groups == f"{name}-train"].sum() for name in CORPORA}
    assert weights == pytest.approx({"reasoning": 0.5, "narrative": 0.5})
    np.testing.assert_array_equal(result.arrays["loss/narrative"][3, 1], trained["loss/narrative-train"])
    c = cosine_matrix(trained.weights["W_E"][-1][data.token_groups["reasoning"]])
    assert result.arrays["cosine/reasoning"][3, 1, -1] == pytest.approx(pairs_mean(c))


def test_the_statistics_follow_from_the_curves(computed):
    result, _ = computed
    rises, larger, equal, cosine, predicted = result.statistics
    a, b = result.arrays["loss/reasoning"], result.arrays["loss/narrative"]
    step, dl = result.arrays["step"], (b - a) / a
    bias = ((dl[..., 1:] + dl[..., :-1]) / 2 * np.diff(step)).sum(
        axis=-1
    ) / 48  # mean over steps, saved unevenly
    assert rises.values == pytest.approx(np.minimum.reduce([bias[i + 1] - bias[i] for i in range(3)]))
    assert larger.values == pytest.approx(bias[3] - bias[1])
    ends = [result.arrays[f"cosine/{name}"][3, :, -1] for name in CORPORA]
    assert cosine.values == pytest.approx(ends[1] - ends[0])
    at_end = [
        [
            result.arrays[f"correlation/{name}"][i, step == end].item()
            for i, end in enumerate(result.arrays["stage end"])
        ]
        for name in ("signature", "co-occurrence")
    ]
    assert predicted.values == pytest.approx(np.subtract(*at_end))
    for s in (rises, larger, cosine, predicted):
        assert s.reproduced == (min(s.values) > 0.0)
    below = ((a + b) / 2).min(axis=-1) <= np.log(result.settings["model"]["d_vocab"]) / 2
    assert np.isfinite(equal.values).tolist() == (below[3] & below[1]).tolist()


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
def book(tmp_path):
    path = tmp_path / "book.txt"
    path.write_text(" ".join(f"Word{i % 40} and" for i in range(600)) + ".\n")
    return path


def test_a_text_of_ones_own_takes_the_place_of_the_stories(book, monkeypatch):
    monkeypatch.setitem(figure_7.SIZES, "small", replace(TINY, steps=2, warmup=1, saved=2))
    result = figure_7.run("small", (0,), text=book)
    told = result.settings["corpora"]["narrative"]
    assert told == {
        "file": "book.txt",
        "sha256": hashlib.sha256(book.read_bytes()).hexdigest(),
        "words": 1201,
    }
    assert np.isnan(result.statistics[-1].values).all()  # two steps do not end the first stage
    figure = Figure()
    result.draw(figure)
    figure.draw_without_rendering()
    data = mixture(60, 16, 90, Narrative.read(book))
    assert data.d_vocab == 90  # the most frequent words
    assert (data.groups == "narrative-train").sum() == 60  # of 70 passages of 17 words
    assert len(data.token_groups["narrative"]) > 20


def test_passages_are_spread_over_the_text():
    text = Narrative("a", "b", tuple(f"w{i}" for i in range(100)))
    assert text.passages(7, 3) == "".join(
        " ".join(f"w{i}" for i in range(start, start + 7)) + "\n" for start in (0, 28, 63)
    )
    assert text.passages(7, 99).split() == [f"w{i}" for i in range(98)]


def test_a_text_that_cannot_be_used_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(figure_7, "mixture", None)
    small, binary = tmp_path / "small.txt", tmp_path / "binary.txt"
    small.write_text("once upon a time")
    binary.write_bytes(b"a\0b")
    for path, error, message in (
        (small, ValueError, r"small.txt has 4 words, too few to train on: give a text of 1000 or more"),
        (binary, ValueError, "is binary"),
        (tmp_path / "none.txt", FileNotFoundError, "there is no file"),
    ):
        with pytest.raises(error, match=message):
            figure_7.run("small", (0,), text=path)


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


def test_the_drawing_has_six_panels(computed, tmp_path):
    result, _ = computed
    figure = Figure()
    result.draw(figure)
    assert [axes.get_title()[0] for axes in figure.axes[:6]] == list("abcdef")
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes[:5])
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
