from dataclasses import replace

import numpy as np
import pytest

from smallinit.compare import plot_similarity, similarity_overlay, train
from smallinit.compare.overlays.similarity_overlay import first_stage_end, frequent_tokens
from smallinit.sim import integrate
from smallinit.theory import (
    Dataset,
    Decoder,
    EmbMLP,
    Lexicon,
    OneLayerTransformer,
    ScalarClassifier,
    bigrams,
    cooccurrence_similarity,
    derive,
    read_text,
    signature_similarity,
)
from smallinit.theory.base.arrays import cosine_matrix
from smallinit.theory.data.corpora.reasoning import reasoning_corpus
from smallinit.theory.data.corpora.stories import story_corpus


@pytest.fixture(scope="module")
def problem():
    """Reasoning text, a small model, its training and its softmax closure."""
    text = reasoning_corpus(60)
    lexicon = Lexicon.of(text)
    data = lexicon.dataset(text, 3, max_sequences=600)
    model = EmbMLP(len(lexicon), 24, 24)
    return data, model, *run_both(data, model, 40.0, 0.5)


def run_both(data, model, t1, rate):
    start = model.init(0.8, seed=0)
    run = train(model, data, start, learning_rate=rate, steps=int(t1 / rate), save_at=21)
    return run, integrate(derive(model, "softmax"), data, start, t1=t1, save_at=run.t, rtol=1e-4)


def definition(data, left, right):
    rows = zip(data.sequences, data.labels, data.training_weights, strict=True)
    total = np.zeros((data.d_vocab, data.d_vocab))
    for sequence, label, weight in rows:
        total += weight * np.outer(left(sequence), right(sequence, label))
    return total


def test_similarities_of_the_corpus_equal_their_definitions(weighted):
    one = np.eye(weighted.d_vocab)

    def centred(sequence, label):
        return one[label] - 1 / weighted.d_vocab

    bag = definition(weighted, lambda x: one[x].sum(0), centred)
    last = definition(weighted, lambda x: one[x[-1]], centred)
    pairs = definition(weighted, lambda x: one[x].sum(0), lambda x, _: one[x].sum(0))
    pairs -= np.diag(definition(weighted, lambda x: one[x].sum(0), lambda x, _: np.ones(6))[:, 0])
    np.testing.assert_allclose(signature_similarity(weighted), cosine_matrix(bag), atol=1e-12)
    np.testing.assert_allclose(signature_similarity(weighted, "X_last"), cosine_matrix(last), atol=1e-12)
    np.testing.assert_allclose(cooccurrence_similarity(weighted), cosine_matrix(pairs), atol=1e-12)


def test_bigrams_are_what_a_model_of_every_position_is_driven_by(weighted):
    """Against the definition position by position, and against the drive of a model that has just that path."""
    one, v = np.eye(weighted.d_vocab), weighted.d_vocab
    total = np.zeros((v, v))
    for sequence, label, weight in zip(
        weighted.sequences, weighted.labels, weighted.training_weights, strict=True
    ):
        for here, following in zip(sequence, [*sequence[1:], label], strict=True):
            total += weight / len(sequence) * np.outer(one[here], one[following] - 1 / v)
    pairs = bigrams(weighted)
    assert pairs.n_ctx == 1
    np.testing.assert_allclose(pairs.signature(), total, atol=1e-12)
    np.testing.assert_allclose(signature_similarity(pairs, "X_last"), cosine_matrix(total), atol=1e-12)
    # the gradient of the full decoder at a small start, every position's loss: along M W_U^T, row by row
    model = Decoder(v, 400, 8, 8, weighted.n_ctx, 1, norm=None, positions=None, predict="all")
    start = model.init(2.0, seed=0)
    run = train(model, weighted, start, learning_rate=1e-3, steps=1, save_at=2, dtype="float64")
    moved = (run.weights["W_E"][1] - start["W_E"]) / 1e-3
    expected = total @ start["W_U"].T
    assert np.linalg.norm(moved - expected) < 1e-3 * np.linalg.norm(expected)


def test_a_wide_random_start_keeps_the_angles_of_the_signature(weighted):
    model = EmbMLP(weighted.d_vocab, 2000, 2000)
    wide = model.init(0.5, seed=0)
    drive = weighted.signature() @ wide["W_out"].T @ wide["W_in"].T
    np.testing.assert_allclose(cosine_matrix(drive), signature_similarity(weighted), atol=4 / np.sqrt(2000))
    # and the drive is what the derived flow begins with
    model = EmbMLP(weighted.d_vocab, 40, 30)
    start = model.init(0.8, seed=1)
    path = integrate(derive(model, "drive"), weighted, start, t1=2.0, save_at=2)
    moved = (path.weights["W_E"][-1] - start["W_E"]) / 2.0
    np.testing.assert_allclose(moved, weighted.signature() @ start["W_out"].T @ start["W_in"].T, rtol=1e-6)


def texts(name, request):
    if name == "novel":
        return read_text(request.getfixturevalue("novel")), 100
    return {"reasoning": reasoning_corpus, "stories": story_corpus}[name](300), None


@pytest.mark.parametrize(("name", "t1"), [("novel", 30.0), ("reasoning", 40.0), ("stories", 90.0)])
def test_the_trained_similarities_of_a_corpus_are_predicted(name, t1, request):
    text, size = texts(name, request)
    lexicon = Lexicon.of(text, size)
    data = lexicon.dataset(text, 4, max_sequences=1000)
    run, theory = run_both(data, EmbMLP(len(lexicon), 48, 48), t1, 0.5)
    found = similarity_overlay(run, {"softmax": theory}).at_stage_end
    assert found["softmax"] > 0.9
    assert found["softmax"] > found["co-occurrence"] + 0.3


def test_the_transformer_too():
    text = reasoning_corpus(200)
    lexicon = Lexicon.of(text)
    data = lexicon.dataset(text, 4, max_sequences=600)
    run, theory = run_both(data, OneLayerTransformer(len(lexicon), 32, 16, 32, 4), 60.0, 0.5)
    found = similarity_overlay(run, {"softmax": theory}, statistic="X_last").at_stage_end
    assert found["softmax"] > 0.99
    assert found["signature"] > found["co-occurrence"]


def test_the_first_stage_ends_where_the_label_frequencies_are_learnt(problem):
    data, _, run, _ = problem
    end = first_stage_end(run)
    law = np.bincount(data.labels, data.weights)
    entropy = -(law[law > 0] * np.log(law[law > 0])).sum()
    part = (run["loss"][0] - run["loss"]) / (run["loss"][0] - entropy)
    assert part[end] >= 0.9 > part[end - 1]
    assert first_stage_end(run, 0.5) < end


def test_an_overlay_holds_what_it_says(problem):
    data, _, run, theory = problem
    found = similarity_overlay(run, {"softmax": theory}, least_share=0.01)
    end, kept = found.stage_end, found.tokens
    assert (data.occurrences[kept] >= 0.03).all()
    assert (np.delete(data.occurrences, kept) < 0.03).all()
    w, v = (x.weights["W_E"][end, kept] for x in (run, theory))
    upper = np.triu_indices(len(kept), 1)
    expected = np.corrcoef(cosine_matrix(w)[upper], cosine_matrix(v)[upper])[0, 1]
    assert found.at_stage_end["softmax"] == pytest.approx(expected)
    np.testing.assert_allclose(found.trained, cosine_matrix(w))
    assert found.mean_cosine[end] == pytest.approx(cosine_matrix(w)[upper].mean())
    assert found.correlation["softmax"][0] == pytest.approx(1.0)
    assert "softmax" in repr(found)


def test_a_theory_that_ends_early_is_compared_up_to_there(problem):
    _, _, run, theory = problem
    short = replace(theory, t=theory.t[:3], weights={k: w[:3] for k, w in theory.weights.items()})
    found = similarity_overlay(run, {"short": short})
    assert np.isnan(found.correlation["short"][3:]).all()
    assert np.isfinite(found.correlation["short"][:3]).all()
    assert "short" not in found.predicted


def test_what_cannot_be_compared_is_refused(problem):
    data, _, run, theory = problem
    shifted = replace(theory, t=theory.t + 0.1)
    for arguments, message in [
        (dict(theories={"late": shifted}), "'late' has none of the training's times"),
        (dict(theories={"signature": theory}), "`theories` must not use the name 'signature'"),
        (dict(theories={}, least_share=0.2), "`least_share` = 0.2 leaves . tokens"),
        (dict(theories={}, part=1.0), "`part` must lie between 0 and 1, got 1.0"),
        (dict(theories={}, part=0.9999), "`training` ends at a loss of .* train on"),
        (dict(theories={}, statistic="Z"), "`statistic` 'Z' is unknown: choose one of C, C_mean, X_last"),
    ]:
        cut = run if "part" not in arguments else replace(
            run, t=run.t[:5], weights={k: w[:5] for k, w in run.weights.items()}, steps=None
        )  # fmt: skip
        with pytest.raises(ValueError, match=message):
            similarity_overlay(cut, **arguments)
    with pytest.raises(ValueError, match="`trajectory` lacks its model or data"):
        similarity_overlay(replace(run, data=None), {})
    with pytest.raises(ValueError, match="`training` lacks its model or data"):
        first_stage_end(replace(run, data=None, measured={"loss": run["loss"]}))
    classifier = replace(run, weights={"W_V": run.weights["W_E"]}, model=ScalarClassifier(70, 2, 2, 2))
    with pytest.raises(ValueError, match="'training' has no embedding W_E"):
        similarity_overlay(classifier, {})
    assert len(frequent_tokens(data, 1e-9)) == (data.occurrences > 0).sum()


def test_the_picture_is_the_same_every_time(problem, tmp_path):
    _, _, run, theory = problem
    found = similarity_overlay(run, {"softmax": theory})
    paths = [tmp_path / name for name in ("a.png", "b.png")]
    for path in paths:
        figure = plot_similarity({"reasoning": [found, found], "again": [found]}, path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert [len(axes.lines) for axes in figure.axes[:2]] == [8, 4]
    for name in ("a.svg", "a.pdf"):
        plot_similarity({"reasoning": [found]}, tmp_path / name)
        first = (tmp_path / name).read_bytes()
        plot_similarity({"reasoning": [found]}, tmp_path / name)
        assert (tmp_path / name).read_bytes() == first
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.pdf", "a.png", "a.svg", "b.png"]


def test_a_picture_is_written_whole_or_not_at_all(problem, tmp_path, monkeypatch):
    def torn(_, path, **__):
        path.write_bytes(b"half")
        raise OSError("disk full")

    found = similarity_overlay(problem[2], {"softmax": problem[3]})
    path = tmp_path / "a.png"
    path.write_bytes(b"former")
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", torn)
    with pytest.raises(OSError, match="disk full"):
        plot_similarity({"reasoning": [found]}, path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    assert path.read_bytes() == b"former"
    with pytest.raises(ValueError, match=r"must end in one of \.png, \.pdf, \.svg"):
        plot_similarity({"reasoning": [found]}, tmp_path / "a.jpg")


def test_bigrams_keep_the_names_of_tokens():
    data = Dataset([[0, 1], [1, 2]], [2, 0], 3, vocabulary=("a", "b", "c"))
    assert bigrams(data).vocabulary == data.vocabulary
