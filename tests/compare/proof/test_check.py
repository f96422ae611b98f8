"""Claims held against the derived equations: every verdict, with its term, its factor and its measured order."""

import re

import numpy as np
import pytest
import sympy as sp
from helpers import MODELS, data_for, random_data, random_weights
from reader import read_line

from smallinit.compare import check
from smallinit.compare.proof import draws
from smallinit.compare.proof.check import EXACT, FACTOR, LEADING, REST, WRONG
from smallinit.theory import Dataset, Decoder, EmbedUnembed, EmbMLP, OneLayerTransformer, derive
from smallinit.theory.algebra.matrices import terms_of
from smallinit.theory.algebra.rebuild import normal
from smallinit.theory.flows.powers import start_powers
from smallinit.theory.language.grammar import ClaimError

TRANSFORMER = OneLayerTransformer(7, 7, 3, 4, 3, unembed=False)
CASES = [
    (EmbedUnembed(7, 5), "dW_E = C.T @ diag(omega) @ (Y - softmax(C@W_E@W_U)) @ W_U.T", EXACT, np.inf),
    (EmbedUnembed(7, 5), "dW_E = (M - 1/V * K @ W_E @ W_U @ Pi) @ W_U.T", LEADING, 4),
    (EmbedUnembed(7, 5, loss="mse"), "dW_E = (M - K @ W_E @ W_U) @ W_U.T", EXACT, np.inf),
    (EmbMLP(7, 5, 6), "dW_E = diag(r) @ (P - 1/V) @ W_out.T @ W_in.T", LEADING, 3),
    (EmbMLP(7, 5, 6), "dW_in = W_E.T @ M @ W_out.T", LEADING, 3),
    (EmbMLP(7, 5, 6), "dW_in = 3/2 * W_E.T @ M @ W_out.T", FACTOR, 0),
    (EmbMLP(7, 5, 6), "dW_out/dt = -W_in.T @ W_E.T @ M", FACTOR, 0),
    (EmbMLP(7, 5, 6), "dW_in = W_E.T @ M @ M.T @ W_out.T", WRONG, 0),
    (EmbMLP(7, 5, 6), "dW_in = W_E.T @ M @ W_out.T + W_in", WRONG, -1),
    (
        EmbMLP(7, 5, 6),
        "dW_out = s(C @ W_E @ W_in).T @ diag(omega) @ (Y - softmax(s(C@W_E@W_in)@W_out))",
        EXACT,
        np.inf,
    ),
    (TRANSFORMER, "dW_E = M_last @ (W_in @ W_out + I).T", LEADING, 1),
    (TRANSFORMER, "dW_E = 1/L * M_bag @ (W_in@W_out + I).T @ (W_V@W_O + I).T", WRONG, 0),
    (TRANSFORMER, "dW_V = W_E.T @ M_mean @ W_O.T", LEADING, 1),
]


@pytest.mark.parametrize(
    ("name", "claim", "status", "order"),
    [
        ("classifier", "dW_V = M_mean @ W_out.T @ W_in.T", LEADING, 2),
        ("classifier, logistic", "dW_V = M_mean @ W_out.T @ W_in.T", FACTOR, 0),
        ("classifier, logistic", "dW_V = 1/2 * M_mean @ W_out.T @ W_in.T", LEADING, 2),
        ("two-token", "dW_out = (X_1@W_E1 + X_2@W_E2).^2.T @ diag(omega) @ Y @ Pi", LEADING, 3),
        ("attention-only", "dW_U = M", LEADING, 1),
        ("attention-only", "dW_OV_1 = (A_causal @ X).T @ diag(omega) @ Y @ Pi @ W_U.T", LEADING, 1),
    ],
)
def test_verdicts_on_other_models(name, claim, status, order):
    verdict = check(claim, MODELS[name][0], data_for(name))
    assert (verdict.status, verdict.predicted_order) == (status, order)
    assert verdict.measured_order == pytest.approx(order, abs=0.1)
    assert verdict.factor is None or verdict.factor == pytest.approx(2.0)


PASTED = [
    (name, closure)
    for name, closures in {
        "emb-mlp": ("leading", "order=6", "softmax", "activation=3,attention=1", "exact"),
        "emb-mlp, mse": ("order=4", "exact"),
        "emb-mlp, logistic": ("softmax",),
        "embed-unembed": ("exact",),
        "two-token": ("leading", "exact"),
        "classifier": ("leading", "exact"),
        "classifier, logistic": ("softmax", "exact"),
        "transformer": ("leading", "softmax", "exact"),
        "attention-only": ("leading", "exact"),
    }.items()
    for closure in closures
]


def pasted(flow, weight):
    """An equation of a page with all definitions, as somebody would copy it."""
    flow.__dict__["invariants"] = ()
    lines = str(flow).splitlines()
    (equation,) = [line for line in lines if line.startswith(f"  d{weight}/dt")]
    return "\n".join([equation, *(line for line in lines if line.startswith("  with"))])


def negated(claim):
    """The same with minus its right-hand side."""
    equation, *definitions = claim.splitlines()
    head, _, side = equation.partition(" = ")
    return "\n".join([f"{head} = -({side})", *definitions])


@pytest.mark.parametrize(("name", "closure"), PASTED)
def test_a_printed_equation_is_confirmed_and_with_another_sign_refuted(name, closure):
    model, data = MODELS[name][0], data_for(name)
    weight = list(model.weights)[-1]
    flow = derive(model, closure)
    claim = pasted(flow, weight)
    verdict = check(claim, model, data)
    assert verdict.status == (EXACT if closure == "exact" else LEADING)
    assert verdict.predicted_order == flow.residual_order[weight]
    assert check(negated(claim), model, data).status == FACTOR
    if "with R = diag(omega)*(Y - p)" in claim:
        assert check(claim.replace("(Y - p)", "(Y + p)"), model, data).status == WRONG


SMALL = {"d_model": 3, "d_head": 2, "d_mlp": 3, "n_ctx": 3, "n_layers": 1}
DECODERS = [
    ({"norm": None}, "leading", "blocks.0.W_V"),
    ({"norm": "pre"}, "leading", "blocks.0.W_Q"),
    ({"norm": "pre"}, "softmax", "blocks.0.W_in"),
    ({"norm": "pre", "norm_kind": "rms", "norm_eps": 0.0}, "order=2", "W_U"),
    ({"norm": "pre"}, "norm=linear", "W_U"),
    ({"norm": "pre"}, "leading,norm=linear", "blocks.0.W_in"),
    ({"norm": "pre"}, "exact", "W_U"),
    ({"norm": "post"}, "leading", "W_E"),
    ({"norm": "post", "norm_kind": "rms", "gains": False}, "softmax", "blocks.0.W_in"),
    ({"norm": "post"}, "exact", "blocks.0.W_Q"),
]


@pytest.mark.parametrize(("kind", "closure", "weight"), DECODERS)
def test_a_printed_equation_of_a_decoder_is_confirmed_and_with_another_sign_refuted(kind, closure, weight):
    """Each in the regime of its closure: norms far above their eps, though it is 1e-5, or near zero."""
    model, data = Decoder(5, **SMALL, **kind), random_data(d_vocab=5, n=12)
    flow = derive(model, closure)
    claim = pasted(flow, weight)
    verdict = check(claim, model, data)
    assert verdict.status == (EXACT if closure == "exact" else LEADING)
    assert verdict.norm == ("linear" if closure.endswith("linear") else "exact")
    assert verdict.predicted_order == flow.residual_order[weight]
    assert verdict.measured_order == pytest.approx(verdict.predicted_order, abs=0.1)
    assert check(negated(claim), model, data).status == FACTOR


@pytest.mark.parametrize(
    ("closure", "weight"), [("leading,norm=linear", "blocks.0.W_Q"), ("norm=linear", "W_E")]
)
def test_two_layers_of_linear_norms_are_confirmed_without_multiplying_differences_out(
    closure, weight, monkeypatch
):
    """Multiplied out, what the first drops has 16,384 terms. Random weights saturate the second: all is rounding."""
    model, data = Decoder(5, **SMALL | {"n_layers": 2}, norm="pre"), random_data(d_vocab=5, n=12)
    most = []
    monkeypatch.setattr(draws, "normal", lambda gap: most.append(normal(gap)) or most[-1])
    verdict = check(pasted(derive(model, closure), weight), model, data)
    assert (verdict.status, verdict.norm) == (LEADING, "linear")
    assert verdict.measured_order == pytest.approx(verdict.predicted_order, abs=0.1)
    assert max(len(terms_of(gap)) for gap in most) <= 1


def test_a_norm_of_another_eps_is_refuted():
    model, data = Decoder(5, **SMALL, norm="pre"), random_data(d_vocab=5, n=12)
    claim = pasted(derive(model, "leading"), "W_U")
    assert "1/100000" in claim
    assert check(claim.replace("1/100000", "1/1000"), model, data).status.startswith("wrong")


@pytest.mark.parametrize(
    ("model", "weight", "under"),
    [
        (TRANSFORMER, "W_Q", ("drive", "softmax")),
        (TRANSFORMER, "W_V", ("drive",)),
        (Decoder(5, **SMALL), "blocks.0.W_K", ("drive", "softmax")),
    ],
)
def test_an_equation_of_a_weight_at_rest_is_confirmed_as_that(model, weight, under):
    verdict = check(f"d{weight}/dt = 0", model, random_data(d_vocab=model.d_vocab))
    assert (verdict.status, verdict.rests_under) == (REST, under)
    assert f"not under the closure {' or '.join(under)}" in str(verdict)
    for closure in ("drive", "softmax"):
        assert isinstance(derive(model, closure).equations[weight], sp.ZeroMatrix) == (closure in under)


def test_a_weight_that_moves_under_every_closure_is_not_at_rest():
    assert check("dW_E = 0", TRANSFORMER, random_data()).status == WRONG


@pytest.mark.parametrize(("model", "claim", "status", "order"), CASES)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_verdicts(model, claim, status, order):
    verdict = check(claim, model, random_data())
    assert verdict.status == status
    assert not verdict.on_data
    assert verdict.predicted_order == order
    assert verdict.measured_order == pytest.approx(order, abs=0.1)
    assert (verdict.first_missing is None) == (status == EXACT)


def test_a_leading_claim_names_what_it_drops_and_what_lies_beyond():
    verdict = check("dW_E = M_last @ (W_in @ W_out + I).T", TRANSFORMER, random_data())
    assert str(verdict.first_missing) == "eps^1: -1/d_model*K_last*W_E*Pi"
    assert [term.power for term in verdict.beyond] == [2]
    assert "M_last*W_out.T*W_in.T" in str(verdict)


def test_a_constant_factor_is_found():
    verdict = check("dW_in = 3/2 * W_E.T @ M @ W_out.T", EmbMLP(7, 5, 6), random_data())
    assert verdict.factor == pytest.approx(1.5, rel=1e-12)
    assert np.allclose(verdict.row_factors, 1.5)


def test_a_factor_per_row_is_told_from_a_wrong_form():
    claim = "dW_E = diag(r) @ diag(r) @ (P - 1/V) @ W_out.T @ W_in.T"
    data = random_data()
    verdict = check(claim, EmbMLP(7, 5, 6), data)
    assert verdict.status == WRONG
    np.testing.assert_allclose(verdict.row_factors, data.occurrences, rtol=1e-9)
    assert verdict.row_misfit.max() < 1e-9


def test_agreement_on_this_data_alone_is_said():
    tokens = np.array([[0, 1, 2], [1, 2, 0], [2, 0, 1], [3, 4, 5], [4, 5, 3], [5, 3, 4]])
    even = Dataset(tokens, np.array([1, 1, 1, 2, 2, 2]), 7)  # every token equally often at every position
    claim = "dW_E = 1/L * M_bag @ (W_in @ W_out + I).T"
    assert check(claim, TRANSFORMER, even).on_data
    assert not check(claim, TRANSFORMER, random_data()).on_data


@pytest.mark.parametrize(
    ("claim", "status", "order"),
    [
        ("dW_E = M @ W_out.T @ W_in.T", LEADING, 3),
        ("dW_E = 2 * M @ W_out.T @ W_in.T", FACTOR, 0),
        ("dW_E = 0", WRONG, 0),
        ("d(W_E.T @ W_E - W_in @ W_in.T) = 0", EXACT, np.inf),
        ("d(W_in.T @ W_in - W_out @ W_out.T) = 0", LEADING, 4),
        ("d(W_in @ W_out) = W_E.T @ M @ W_out.T @ W_out + W_in @ W_in.T @ W_E.T @ M", LEADING, 3),
    ],
)
def test_powers_are_those_of_random_data_where_the_gradient_has_no_leading_term(claim, status, order):
    """What was measured was the rounding of a gradient that vanishes: eps^-3.09 for eps^3, of a true claim too."""
    pairs = np.divmod(np.arange(25), 5)
    even = Dataset(pairs[0][:, None], pairs[1], 5)  # every label equally often after every token: M = 0
    verdict = check(claim, EmbMLP(5, 4, 6, activation="tanh"), even)
    assert (verdict.status, verdict.predicted_order) == (status, order)
    assert verdict.measured_order == pytest.approx(order, abs=0.1)
    assert "on this data the leading term of the gradient vanishes" in str(verdict)
    assert str(verdict).endswith("(measured on random data)")
    other = check(claim, EmbMLP(5, 4, 6, activation="tanh"), random_data(d_vocab=5))
    assert other.general is None
    assert str(other).endswith("(measured)")


@pytest.mark.parametrize(
    ("more", "claim", "status", "order"),
    [
        (1e-9, "dW_E = 2 * M @ W_out.T @ W_in.T", FACTOR, 0),
        (1e-9, "dW_E = W_E", WRONG, -1),
        (1e-6, "dW_E = M @ W_out.T @ W_in.T", LEADING, 3),
        (1e-2, "dW_E = M @ W_out.T @ W_in.T", LEADING, 3),
    ],
)
def test_powers_are_those_of_random_data_where_the_leading_term_is_small(more, claim, status, order):
    """Of labels that follow tokens almost equally often eps^-0.06 was said, for eps^3."""
    tokens, labels = np.divmod(np.arange(25), 5)
    data = Dataset(tokens[:, None], labels, 5, weights=np.r_[1.0 + more, np.ones(24)])
    verdict = check(claim, EmbMLP(5, 4, 6, activation="tanh"), data)
    assert (verdict.status, verdict.predicted_order, verdict.vanishes) == (status, order, False)
    assert abs(verdict.proof.measured["W_E"] - order) > 0.3
    assert verdict.measured_order == pytest.approx(order, abs=0.1)
    assert "the leading term of the gradient is small, and later terms hide the power" in str(verdict)


def test_where_the_leading_term_is_not_small_the_power_is_that_of_the_data():
    tokens, labels = np.divmod(np.arange(25), 5)
    data = Dataset(tokens[:, None], labels, 5, weights=np.r_[2.0, np.ones(24)])
    verdict = check("dW_E = M @ W_out.T @ W_in.T", EmbMLP(5, 4, 6, activation="tanh"), data)
    assert verdict.general is None
    assert verdict.measured_order == verdict.proof.measured["W_E"] == pytest.approx(3.0, abs=0.1)


def test_sympy_claims():
    model = EmbMLP(7, 5, 6)
    W_E, W_in, W_out = model.weight_symbols
    M = sp.MatrixSymbol("M", W_E.rows, W_out.cols)
    assert check({"W_E": M * W_out.T * W_in.T}, model, random_data()).status == LEADING


def test_bad_claims_are_refused():
    model = EmbMLP(7, 5, 6)
    with pytest.raises(ClaimError, match="did you mean 'W_in'"):
        check("dW_E = M @ W_out.T @ W_im.T", model, random_data())
    with pytest.raises(
        ValueError,
        match=r"`claim` must be text .* or one of W_E, W_in, W_out, or a matrix of them, -> expression",
    ):
        check({"W_Q": sp.MatrixSymbol("A", 2, 2)}, model, random_data())
    with pytest.raises(ValueError, match="`claim` for W_E must be a matrix expression of shape"):
        check({"W_E": model.weight_symbols[1]}, model, random_data())
    with pytest.raises(ValueError, match="unknown symbol"):
        check({"W_E": sp.MatrixSymbol("Q", *model.weight_symbols[0].shape)}, model, random_data())


@pytest.mark.parametrize("factor", ["n/40", "n/20", "(1 + 1/2000000000)", "L/3"])
def test_a_factor_that_the_data_could_hide_is_found(factor):
    """40 rows were once the size of all random data, and 1e-9 the tolerance."""
    model = EmbMLP(6, 5, 4)
    data = random_data(d_vocab=6, n=40, n_ctx=3)
    assert check("dW_E = M @ W_out.T @ W_in.T", model, data).status == "leading order"
    assert check(f"dW_E = {factor} * M @ W_out.T @ W_in.T", model, data).status.startswith("wrong")


def test_a_verdict_falls_when_its_own_measurement_contradicts_it(monkeypatch):
    from smallinit.compare.proof import check as module

    model, data = EmbMLP(6, 5, 4), random_data(d_vocab=6)
    monkeypatch.setattr(
        module.Draws, "equal", lambda self, a, b: True
    )  # an algebra that agrees to everything
    verdict = check("dW_E = 2 * M @ W_out.T @ W_in.T", model, data)
    assert verdict.status == "undecided"


@pytest.mark.parametrize(
    ("factor", "word"), [(sp.Symbol("k"), "k"), (sp.I, "I"), (sp.oo, "oo"), (sp.nan, "nan")]
)
def test_a_strange_scalar_is_named(factor, word):
    model, data = EmbMLP(6, 5, 4), random_data(d_vocab=6)
    W_E = model.weight_symbols[0]
    with pytest.raises(ValueError, match=rf"`claim` for W_E holds the scalar {word}"):
        check({"W_E": sp.MatMul(factor, W_E)}, model, data)


@pytest.mark.parametrize(
    "claim",
    [
        "dW_E = C.T @ diag(omega) @ (Y - softmax(s(C @ W_E @ W_in) @ W_out + 1)) @ W_out.T @ W_in.T .* 1",
        "dW_in = W_E.T @ C.T @ (ds(C @ W_E @ W_in) .* "
        "(diag(omega) @ (Y - softmax(s(C @ W_E @ W_in) @ W_out)) @ W_out.T))",
        "dW_E = tr(W_in @ W_in.T) * M @ W_out.T @ W_in.T",
        "dW_E = M @ Pi^2 @ W_out.T @ W_in.T",
    ],
)
def test_the_documented_grammar_works(claim):
    model, data = EmbMLP(6, 5, 4), random_data(d_vocab=6)
    claim = claim.replace(" .* 1", "")
    verdict = check(claim, model, data)
    expected = {
        "dW_in": "exact",
        "dW_E = M": "leading order",
        "dW_E = tr": "wrong",
        "dW_E = C": "leading order",
    }
    assert verdict.status == next(v for k, v in expected.items() if claim.startswith(k))


READ = [
    (EmbMLP(7, 5, 6), "dW_in = W_E.T @ M @ W_out.T", lambda v: v["W_E"].T @ v["M"] @ v["W_out"].T),
    (EmbedUnembed(7, 5), "dW_E = M @ W_U.T", lambda v: v["M"] @ v["W_U"].T),
    (
        TRANSFORMER,
        "dW_E = M_last @ (W_in @ W_out + I).T",
        lambda v: v["M_last"] @ (v["W_in"] @ v["W_out"] + np.eye(7)).T,
    ),
    (TRANSFORMER, "dW_Q = 0 * W_Q", lambda v: 0 * v["W_Q"]),
]


@pytest.mark.parametrize(("model", "claim", "claimed"), READ)
def test_terms_of_a_verdict_evaluate_to_what_they_say(model, claim, claimed):
    """The printed leading term and first difference, read as text, against the true gradient at small weights."""
    data, eps = random_data(), 1e-3
    weights = random_weights(model, 1)
    values = {k: v.toarray() if hasattr(v, "toarray") else v for k, v in model.data_matrices(data).items()}
    sizes = {str(d): float(s) for d, s in model.sizes.items()}
    centred = values["Y"] - values["Y"].mean(axis=1, keepdims=True)
    for suffix, name in (("", "C"), ("_last", "X_last"), ("_mean", "C_mean")):
        if name in values:
            weighted = values[name].T * values["omega"].T
            values |= {f"M{suffix}": weighted @ centred, f"K{suffix}": weighted @ values[name]}
    page = str(check(claim, model, data))
    weight = claim.split()[0][1:]
    small = {w: eps * x for w, x in weights.items()}
    true = derive(model, "exact").rhs(data, small)[weight]
    start, shape = start_powers(model)[weight] - 1, true.shape
    derived = re.search(r"derived leading term, eps\^0: (.*)", page)[1]
    assert true / eps**start == pytest.approx(read_line(derived, values | weights | sizes, shape), abs=0.01)
    power, line = re.search(r"relative power eps\^(\d+): (.*)", page).groups()
    gap = (true - claimed(values | small)) / eps ** (start + int(power))
    term = read_line(line, values | weights | sizes, shape)
    assert np.abs(gap - term).max() < 0.02 * np.abs(term).max()


def test_a_factor_close_to_one_is_told_from_one():
    verdict = check("dW_in = 1.0000001 * W_E.T @ M @ W_out.T", EmbMLP(7, 5, 6), random_data())
    assert "is 1.0000001 times the derived one" in str(verdict)
