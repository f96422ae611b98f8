"""Embeddings that move: the numbers by hand, the page in a browser, the animation, and the command that writes both."""

import json
import re

import browser
import numpy as np
import pytest
from helpers import TINY, as_theory
from PIL import Image

from smallinit.cli import run
from smallinit.compare import embedding_motion, train
from smallinit.sim.ode.outcome import Outcome, Status
from smallinit.sim.trajectory.trajectory import Trajectory
from smallinit.theory import Dataset

T = np.array([0.0, 1.0, 2.0])


def made_up(t=T, scale=1.0, kind="training", data=None):
    """Four tokens that part along two directions of six."""
    corners = np.array([[3.0, 1.0], [3.0, -1.0], [-3.0, 1.0], [-3.0, -1.0]])
    W = np.zeros((len(t), 4, 6))
    W[:, :, [1, 4]] = scale * (1.0 + np.asarray(t))[:, None, None] * corners
    return Trajectory(np.asarray(t), {"W_E": W}, Outcome(Status.REACHED_END, t[-1]), kind, kind, data=data)


@pytest.fixture(scope="module")
def motion():
    groups = {"memory-anchors": [0, 1], "reasoning-anchors": [2, 3]}
    names = ("cat", "</script>", "sun", "moon")
    data = Dataset([[0], [1], [2], [3]], [0, 1, 2, 3], 4, token_groups=groups, vocabulary=names)
    theories = {"short": made_up([0.0, 1.0], kind="theory"), "whole": made_up(scale=2.0, kind="theory")}
    return embedding_motion(theories, made_up(data=data))


def test_tokens_are_seen_where_they_are_apart(motion):
    np.testing.assert_allclose(motion.training[-1], [[9, 3], [9, -3], [-9, 3], [-9, -3]], atol=1e-12)
    np.testing.assert_allclose(motion.theories["whole"], 2.0 * motion.training)
    np.testing.assert_allclose(motion.theories["short"][:2], motion.training[:2])
    assert np.isnan(motion.theories["short"][2]).all()
    assert list(motion.theories) == ["whole", "short"]
    assert motion.share == pytest.approx(1.0)
    assert motion.cosines["training"][0, 0, 2] == pytest.approx(-0.8)
    assert (motion.names[2], motion.groups) == ("sun", ("memory-anchors",) * 2 + ("reasoning-anchors",) * 2)


def test_which_tokens_are_shown():
    rare = Dataset([[0, 3], [3, 1], [3, 3]], [0, 1, 2], 4)
    shown = embedding_motion([], made_up(data=rare))
    assert shown.names[0] == "3"
    assert set(shown.groups) == {"tokens"}
    assert embedding_motion([], made_up(), {"two": [1, 2]}, frames=2).training.shape == (2, 2, 2)
    with pytest.raises(ValueError, match="`tokens` must be two or more"):
        embedding_motion([], made_up(), {"one": [1]})
    other = Trajectory(T, {"W_V": np.zeros((3, 2, 2))}, Outcome(Status.REACHED_END, 2.0), "training")
    with pytest.raises(ValueError, match="`W_E` is not among the weights"):
        embedding_motion([], other)


@pytest.mark.parametrize(
    ("theories", "tokens", "said"),
    [
        ([], {"a": [1, 9]}, r"`tokens\['a'\]` must lie in"),
        ([], {"a": [1, -1]}, r"`tokens\['a'\]` must lie in"),
        ([], {}, "`tokens` must be two or more"),
        ([], [1, 2], "`tokens` must map names to tokens"),
        ([made_up(), made_up()], None, "`theories` has two of one label"),
        ({"training": made_up()}, None, "`theories` must not be named 'training'"),
        ({"wide": "wide"}, None, r"`W_E` of 'wide' has the shape \(4, 7\), that of the training \(4, 6\)"),
    ],
)
def test_what_cannot_be_shown_is_refused(theories, tokens, said):
    if theories == {"wide": "wide"}:
        wide = Trajectory(T, {"W_E": np.zeros((3, 4, 7))}, Outcome(Status.REACHED_END, 2.0), "theory", "wide")
        theories = {"wide": wide}
    with pytest.raises(ValueError, match=said):
        embedding_motion(theories, made_up(), tokens)


def test_a_training_that_diverges_is_shown_while_it_is_finite():
    run = made_up()
    W = np.array(run.weights["W_E"])
    W[2:] = np.nan
    lost = Trajectory(T, {"W_E": W}, Outcome(Status.NON_FINITE, 2.0), "training", "GD")
    np.testing.assert_array_equal(embedding_motion([], lost).t, T[:2])
    with pytest.raises(ValueError, match="`training` 'GD' has no finite W_E"):
        embedding_motion([], Trajectory(T, {"W_E": W * np.nan}, lost.outcome, "training", "GD"))


def test_the_page_holds_the_numbers_and_loads_nothing(motion, tmp_path):
    page = motion.save(tmp_path / "a.html").read_text()
    data = json.loads(re.search(r'type="application/json">(.*?)</script>', page, re.S)[1])
    assert data["points"]["training"][-1] == [[1.0, 0.3333], [1.0, -0.3333], [-1.0, 0.3333], [-1.0, -0.3333]]
    assert data["points"]["short"][2] is None
    assert data["names"][1] == "</script>"
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    assert motion.html() in page
    assert "srcdoc=" in motion._repr_html_()
    assert "<option>whole</option>" in page
    with pytest.raises(ValueError, match=r"must end in \.html or \.gif"):
        motion.save(tmp_path / "a.png")


def test_the_page_draws_every_token_on_both_sides(motion, tmp_path):
    page = motion.save(tmp_path / "a.html")
    assert browser.console(page, tmp_path) == []
    script = """<script>addEventListener("load", () => setTimeout(() => {
      const slider = document.getElementById("time"); slider.value = 2; slider.dispatchEvent(new Event("input"));
      const at = id => document.getElementById(id);
      const x = side => [...document.querySelectorAll(`#${side} circle`)].map(c => +c.getAttribute("cx"));
      const first = {theory: x("theory"), training: x("training"), now: at("now").textContent};
      const closure = at("closure"); closure.value = "short"; closure.dispatchEvent(new Event("change"));
      document.querySelector("#training circle").dispatchEvent(new Event("pointerenter"));
      first.side = at("side-theory").textContent; first.told = at("told").textContent;
      document.title = JSON.stringify(first); }, 50));</script>"""
    probed = tmp_path / "probed.html"
    probed.write_text(page.read_text().replace("<head>", "<head>" + script, 1))
    done = browser._start(
        tmp_path, probed.resolve().as_uri(), 1000, "--dump-dom", "--virtual-time-budget=3000"
    )
    told = json.loads(re.search(r"<title>(\{.*?\})</title>", done.stdout)[1])
    assert told["training"] == [1, 1, -1, -1]
    assert told["theory"] == [2, 2, -2, -2]
    assert told["now"] == "t = 2"
    assert "has ended" in told["side"]
    assert "training: cat is most like" in told["told"]
    assert "(cosine 0.80)" in told["told"]


def test_an_animation_moves_and_is_the_same_every_time(motion, tmp_path):
    one, two = (motion.save(tmp_path / name).read_bytes() for name in ("a.gif", "b.gif"))
    assert one == two
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames == 3
        first = image.convert("RGB").tobytes()
        image.seek(2)
        assert image.convert("RGB").tobytes() != first


def test_the_report_of_a_run_has_the_page_and_the_animation(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(TINY)
    assert run(["overlay", "tiny.toml", "--out", "out"]) == 0
    assert run(["report", "out", "--gif"]) == 0
    said = capsys.readouterr().out
    for name in ("report.html", "report-embeddings.html", "report-embeddings.gif"):
        assert f"wrote out/{name}" in said
    assert 'href="report-embeddings.html"' in (tmp_path / "out" / "report.html").read_text()
    assert "memory-anchors" in (tmp_path / "out" / "report-embeddings.html").read_text()
    assert run(["report", "out"]) == 2
    assert run(["verify", "out"]) == 0
    assert run(["simulate", "tiny.toml", "--out", "theory"]) == 0
    capsys.readouterr()
    assert run(["report", "theory", "--gif"]) == 2
    assert "no training with an embedding" in capsys.readouterr().err


def trained_on(tmp_path, monkeypatch, table):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text(table)
    sizes = ("--model.d-model", "3", "--model.d-mlp", "3", "--t1", "1", "--preset", "demo")
    assert run(["train", "--data", "a.csv", *sizes, "--out", "out"]) == 0


def test_data_that_have_changed_name_no_tokens(tmp_path, monkeypatch):
    table = "a,label\ncat,sat\ndog,ran\n"
    trained_on(tmp_path, monkeypatch, table)
    assert run(["report", "out"]) == 0
    assert '"cat"' in (tmp_path / "out" / "report-embeddings.html").read_text()
    (tmp_path / "a.csv").write_text(table.replace("cat", "zebra"))  # the last token now, the first one then
    assert run(["report", "out", "--overwrite"]) == 0
    page = (tmp_path / "out" / "report-embeddings.html").read_text()
    assert "zebra" not in page
    assert '["0", "1", "2", "3"]' in page


def test_one_token_does_not_move(tmp_path, monkeypatch, capsys):
    trained_on(tmp_path, monkeypatch, "a,label\n0,0\n")
    assert run(["report", "out"]) == 0
    capsys.readouterr()
    assert run(["report", "out", "--gif", "--overwrite"]) == 2
    assert "holds no training with an embedding" in capsys.readouterr().err


def test_theory_and_training_of_a_run_go_together(model, data, start):
    training = train(model, data, start, steps=20)
    motion = embedding_motion({"exact": as_theory(training)}, training)
    np.testing.assert_array_equal(motion.theories["exact"], motion.training)
    assert set(motion.groups) == {"memory-anchors", "reasoning-anchors"}
