"""What notebooks show and complete."""

import re
from base64 import b64decode
from html.parser import HTMLParser

import numpy as np
import pytest
from helpers import random_data, small_case

from smallinit.compare import check, overlay, train
from smallinit.sim import integrate, integrate_ensemble
from smallinit.theory import Dataset, EmbMLP, derive


@pytest.fixture(scope="module")
def nouns():
    data, model, _ = small_case()
    start = model.init(gamma=0.8, seed=0)
    flow = derive(model, "softmax")
    theory = integrate(flow, data, start, t1=2.0, save_at=5)
    run = train(model, data, start, learning_rate=0.1, steps=20, save_at=5)
    return flow, theory, run, overlay(theory, run), data, model


class Balanced(HTMLParser):
    """Refuses markup whose tags do not close in order."""

    def __init__(self, text):
        super().__init__()
        self.open = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag != "img":  # has no end
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def words(shown):
    Balanced(shown)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", shown))


def test_a_flow_shows_its_equations(nouns):
    flow = nouns[0]
    shown = flow._repr_html_()
    assert "<math" in shown
    assert "closure &#x27;softmax&#x27;" in words(shown)
    assert all(str(invariant).split()[0] in shown for invariant in flow.invariants)
    assert flow._repr_latex_().startswith("$$\n\\begin{aligned}")
    assert f"drops of the loss: eps^{flow.dropped[0][0]}" in words(shown)


def test_a_verdict_shows_its_terms():
    shown = check("dW_E = 2 * M @ W_out.T @ W_in.T", EmbMLP(7, 5, 6), random_data())._repr_html_()
    assert "wrong by a constant factor" in words(shown)
    assert "2 times the derived one" in words(shown)
    assert "<math" in shown


def test_a_trajectory_shows_what_is_known(nouns):
    _, theory, *_ = nouns
    before = words(theory._repr_html_())
    norm = np.linalg.norm(theory.weights["W_E"][-1])
    assert f"{norm:.4g}" in before
    assert "computed when asked for" in before
    last = theory["loss"][-1]
    assert f" {last:.4g} " in words(theory._repr_html_())
    assert str(theory.outcome) in before


def test_an_overlay_shows_its_errors(nouns):
    both = nouns[3]
    shown = both._repr_html_()
    assert f"{both.relative_error['W_in'][-1]:.2%}" in words(re.sub("<img[^>]*>", "", shown))
    picture = b64decode(re.search(r'src="data:image/png;base64,([^"]*)"', shown)[1])
    assert picture.startswith(b"\x89PNG")
    assert 'alt="Overlay(softmax over GD' in shown


def test_data_model_and_weights_show_themselves(nouns):
    data, model = nouns[4:]
    shown = words(data._repr_html_())
    assert f"{len(data):,} distinct sequences of {data.n_ctx} tokens" in shown
    assert f"{data.label_matrix.shape[0]:,}" in shown
    named = Dataset([[0, 1]], [1], 3, vocabulary=("<b>", "dog"), groups=["pets"])
    assert "&lt;b&gt; dog" in named._repr_html_()
    assert "pets" in words(named._repr_html_())
    shown = model._repr_html_()
    assert "<math" in shown
    assert f"d_vocab x d_model {model.d_vocab} x {model.d_model} embed" in words(shown)
    start = model.init(gamma=0.8, seed=0)
    assert f"{np.linalg.norm(start['W_E']):.4g}" in words(start._repr_html_())
    assert list(start) == list(model.weights)


def test_names_are_completed(nouns):
    _, theory, _, both, data, model = nouns
    assert theory._ipython_key_completions_() == list(theory.observable_names)
    for name in both.relative_error._ipython_key_completions_():
        assert len(both.relative_error[name]) == len(both.t)
    starts = {n: w[None] for n, w in model.init(gamma=0.8, seed=1).items()}
    runs = integrate_ensemble(derive(model, "leading"), data, starts, t1=1.0, save_at=3, observables=["loss"])
    assert runs._ipython_key_completions_() == ["loss"]
    with pytest.raises(KeyError, match=r"loss were"):
        runs["los"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("los", "did you mean 'loss'"),
        ("W_E", r"is a weight: use `.weights\[\"W_E\"\]`"),
        ("xyz", "observable_names"),
    ],
)
def test_a_wrong_name_of_an_observable(nouns, name, words):
    with pytest.raises(KeyError) as caught:
        nouns[1][name]
    assert re.search(words, caught.value.args[0])


def test_a_wrong_name_of_an_error(nouns):
    with pytest.raises(KeyError, match=r"did you mean 'W_in'"):
        nouns[3].relative_error["W_i"]
    with pytest.raises(KeyError, match=r"there are W_E, W_in"):
        nouns[3].relative_error["zzz"]


def test_cards_have_no_colours_of_their_own(nouns):
    """Dark or light: what a notebook shows takes the colours of the page around it."""
    flow, theory, _, both, data, model = nouns
    for thing in (flow, theory, both, data, model, check("dW_E = M @ W_out.T @ W_in.T", model, data)):
        assert re.findall(r"(?:[;\"\s]color|background[-\w]*|fill|bgcolor)\s*[:=]", thing._repr_html_()) == []
