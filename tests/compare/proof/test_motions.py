"""Claims about what is made of weights: conserved quantities, products of layers, norms, each with its verdict."""

import numpy as np
import pytest
import sympy as sp
from helpers import MODELS, data_for, random_data, random_weights

from smallinit.compare import check
from smallinit.compare.proof import motion as module
from smallinit.compare.proof.check import EXACT, FACTOR, LEADING, REST, UNDECIDED, WRONG, measured_motion
from smallinit.compare.proof.residuals import measure_residual
from smallinit.theory import Decoder, EmbedUnembed, EmbMLP, OneLayerTransformer, derive
from smallinit.theory.algebra.matrices import terms_of
from smallinit.theory.algebra.tangent import tangent
from smallinit.theory.printing.text import text

TANH, LINEAR = EmbMLP(7, 5, 6), EmbMLP(7, 5, 6, activation="identity")
TRANSFORMER = OneLayerTransformer(7, 7, 3, 4, 3, unembed=False)
SMALL = {"d_model": 4, "d_head": 2, "d_mlp": 3, "n_ctx": 3, "n_layers": 1}
HIDDEN = "d(W_in.T @ W_in - W_out @ W_out.T)"
LAYERS = "d(W_in @ W_out)"
FIRST, SECOND = "W_E.T @ M @ W_out.T @ W_out", "W_in @ W_in.T @ W_E.T @ M"
IMBALANCE = """F + F.T
with z = C*W_E*W_in
with G = diag(omega)*(Y - softmax(tanh(z)*W_out))*W_out.T
with F = z.T*([1 - tanh(z)^2] o G) - tanh(z).T*G"""
CUBIC = """(F + F.T)/3
with z = C*W_E*W_in
with G = diag(omega)*Y*Pi*W_out.T
with F = z^o3.T*G - 3*z.T*(z^o2 o G)"""
CASES = [
    (TANH, "d(W_E.T @ W_E - W_in @ W_in.T) = 0", EXACT, np.inf),
    (TANH, "d(W_E.T @ W_E + W_in @ W_in.T) = 0", WRONG, 0),
    (TANH, "d(W_E.T @ W_E - 2 * W_in @ W_in.T) = 0", WRONG, 0),
    (TANH, "d(W_E.T @ W_E - W_in @ W_in.T) = W_E.T @ W_E", WRONG, -1),
    (LINEAR, f"{HIDDEN} = 0", EXACT, np.inf),
    (TANH, f"{HIDDEN} = 0", LEADING, 4),
    (EmbMLP(7, 5, 6, activation="gelu"), f"{HIDDEN} = 0", LEADING, 2),
    (TANH, f"{HIDDEN}/dt = {IMBALANCE}", EXACT, np.inf),
    (TANH, f"{HIDDEN} = {CUBIC}", LEADING, 3),
    (TANH, f"{HIDDEN} = -{CUBIC}", FACTOR, 0),
    (TANH, f"{HIDDEN} = {CUBIC.replace('- 3', '- 2')}", WRONG, 0),
    (TANH, f"{LAYERS} = {FIRST} + {SECOND}", LEADING, 3),
    (TANH, f"{LAYERS} = {FIRST} - {SECOND}", WRONG, 0),
    (TANH, f"{LAYERS} = {FIRST}", WRONG, 0),
    (TANH, f"{LAYERS} = 2*({FIRST} + {SECOND})", FACTOR, 0),
    (TANH, "d(W_out @ 1) = 0", EXACT, np.inf),
    (TANH, "d(tr(W_in.T @ W_in)) = 2*tr(W_E.T @ M @ W_out.T @ W_in.T)", LEADING, 3),
    (TANH, "d(tr(W_in.T @ W_in)) = tr(W_E.T @ M @ W_out.T @ W_in.T)", FACTOR, 0),
    (TANH, "d(tr(W_E.T @ W_E) - tr(W_in.T @ W_in)) = 0", EXACT, np.inf),
    (TANH, "d(W_E.^3) = 3 * W_E.^2 .* (M @ W_out.T @ W_in.T)", LEADING, 3),
    (TANH, "d(diag(W_E @ 1)) = diag(M @ W_out.T @ W_in.T @ 1)", LEADING, 3),
    (TANH, "d(C @ W_E @ W_in) = C @ (M @ W_out.T @ W_in.T @ W_in + W_E @ W_E.T @ M @ W_out.T)", LEADING, 3),
    (
        EmbedUnembed(7, 5, loss="mse"),
        "d(W_E @ W_U) = R @ W_U.T @ W_U + W_E @ W_E.T @ R\nwith R = M - K @ W_E @ W_U",
        EXACT,
        np.inf,
    ),
    (TRANSFORMER, "d(W_Q.T @ W_Q - W_K.T @ W_K) = 0", EXACT, np.inf),
    (TRANSFORMER, "d(W_V.T @ W_V - W_O @ W_O.T) = 0", EXACT, np.inf),
    (TRANSFORMER, "d(W_Q.T @ W_Q + W_K.T @ W_K) = 0", WRONG, 0),
    (TRANSFORMER, "d(W_Q.T @ W_K - W_K.T @ W_Q) = 0", WRONG, 0),
    (
        TRANSFORMER,
        "d(OV) = W_E.T @ M_mean @ W_O.T @ W_O + W_V @ W_V.T @ W_E.T @ M_mean\nwith OV = W_V @ W_O",
        LEADING,
        1,
    ),
    (TRANSFORMER, "d(W_Q @ W_K.T) = 0", REST, 0),
    (TRANSFORMER, "d(W_Q @ W_K.T + I) = 0", REST, 0),
    (TRANSFORMER, "d((W_Q - W_K).T @ (W_Q + W_K)) = 0", WRONG, 0),
    (TANH, "d(W_E.^12 .* W_E.^12) = 0", WRONG, 0),  # it underflows where weights are small
]


@pytest.mark.parametrize(("model", "claim", "status", "order"), CASES)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_verdicts(model, claim, status, order):
    verdict = check(claim, model, random_data())
    assert (verdict.status, verdict.predicted_order) == (status, order)
    assert verdict.measured_order == pytest.approx(order, abs=0.1)
    assert (verdict.first_missing is None) == (status == EXACT)


Q = "blocks.0."
BIASED = f"{Q}W_in.T @ {Q}W_in + {Q}b_in.T @ {Q}b_in"
DECODERS = [
    ({"norm": None}, f"{Q}W_Q.T @ {Q}W_Q - {Q}W_K.T @ {Q}W_K", EXACT, np.inf),
    ({"norm": "pre"}, f"{Q}W_Q.T @ {Q}W_Q - {Q}W_K.T @ {Q}W_K", EXACT, np.inf),
    ({"norm": "pre"}, f"{Q}W_V.T @ {Q}W_V - {Q}W_O @ {Q}W_O.T", EXACT, np.inf),
    ({"norm": "pre"}, f"{Q}W_in.T @ {Q}W_in - {Q}W_out @ {Q}W_out.T", LEADING, 2),
    ({"norm": "post"}, "tr(W_E.T @ W_E) + tr(W_pos.T @ W_pos)", LEADING, 6),
    ({"norm": "post"}, "tr(W_E.T @ W_E) - tr(W_pos.T @ W_pos)", WRONG, 0),
    ({"norm": "post", "norm_kind": "rms"}, f"{Q}W_in.T @ {Q}W_in - {Q}W_out @ {Q}W_out.T", LEADING, 2),
    ({"biases": True, "activation": "identity"}, f"{BIASED} - {Q}W_out @ {Q}W_out.T", EXACT, np.inf),
    ({"biases": True}, f"{BIASED} + {Q}W_out @ {Q}W_out.T", WRONG, 0),
    ({"biases": True}, "b_U @ 1", EXACT, np.inf),
    ({"norm": "pre", "norm_kind": "rms"}, "ln_final.w.T.^2 - (W_U.^2) @ 1", EXACT, np.inf),
]


@pytest.mark.parametrize(("kind", "moving", "status", "order"), DECODERS)
def test_balances_of_decoders(kind, moving, status, order):
    verdict = check(f"d({moving}) = 0", Decoder(5, **SMALL, **kind), random_data(d_vocab=5, n=12))
    assert (verdict.status, verdict.predicted_order) == (status, order)
    assert verdict.measured_order == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize("name", MODELS)
def test_what_a_flow_conserves_is_confirmed_and_with_another_sign_refuted(name):
    model, data = MODELS[name][0], data_for(name)
    found = derive(model, "exact").invariants
    assert found
    for invariant in found:
        rest = sp.ZeroMatrix(*invariant.expression.shape)
        verdict = check({invariant.expression: rest}, model, data)
        assert (verdict.status, verdict.measured_order) == (EXACT, np.inf), invariant.name
        first, *others = terms_of(invariant.expression)
        if others:
            turned = sp.MatAdd(first, *(sp.MatMul(-1, t) for t in others))
            assert check({turned: rest}, model, data).status == WRONG, invariant.name


@pytest.mark.parametrize("moving", ["W_in @ W_out", "W_E.T @ W_E", "W_in.T @ W_in - W_out @ W_out.T"])
def test_a_printed_term_reads_back_as_a_claim(moving):
    """The derived leading term of a verdict, claimed in turn, is confirmed."""
    data = random_data()
    term = check(f"d({moving}) = 0", TANH, data).derived
    verdict = check(f"d({moving}) = {text(term.expression)}", TANH, data)
    assert verdict.status == LEADING
    assert verdict.predicted_order == pytest.approx(verdict.measured_order, abs=0.1)
    assert not verdict.of_parts


def test_claims_of_expressions_are_those_of_their_text():
    W_E, W_in, W_out = TANH.weight_symbols
    rest = sp.ZeroMatrix(W_in.cols, W_in.cols)
    verdict = check({W_in.T * W_in - W_out * W_out.T: rest}, TANH, random_data())
    assert verdict.claim == "d(W_in.T*W_in - W_out*W_out.T) = 0"
    assert str(check(verdict.claim, TANH, random_data())) == str(verdict)
    assert check({W_E: sp.ZeroMatrix(*W_E.shape)}, TANH, random_data()).claim == "dW_E = 0"
    assert check("d(W_in) = W_E.T @ M @ W_out.T", TANH, random_data()).weight == "W_in"


def test_expressions_that_cannot_move_are_refused():
    W_E, W_in, W_out = TANH.weight_symbols
    data = random_data()
    with pytest.raises(ValueError, match="`claim` moves what holds no weight"):
        check({W_E - W_E: W_E}, TANH, data)
    for claim in ("d(W_E.T @ M @ 1) = 0", "d(W_E.T @ M @ 1) = W_in @ W_out @ M.T @ M @ 1"):  # M @ 1 vanishes
        with pytest.raises(ValueError, match="`claim` moves what holds no weight"):
            check(claim, TANH, data)
    with pytest.raises(ValueError, match="or one of W_E, W_in, W_out, or a matrix of them, -> expression"):
        check({sp.Trace(W_E * W_E.T): W_E}, TANH, data)
    with pytest.raises(ValueError, match="uses the unknown symbol Q"):
        check({sp.MatrixSymbol("Q", *W_E.shape) + W_E: W_E}, TANH, data)
    with pytest.raises(ValueError, match=r"`claim` for \(W_in\*W_out\) must be a matrix expression of shape"):
        check({W_in * W_out: W_in}, TANH, data)
    with pytest.raises(ValueError, match=r"holds the scalar k"):
        check({sp.Symbol("k") * W_in * W_out: W_in * W_out}, TANH, data)


BY_HAND = {
    "W_in @ W_out": lambda w, d: d["W_in"] @ w["W_out"] + w["W_in"] @ d["W_out"],
    "W_E.T @ W_E - 2*W_in @ W_in.T": lambda w, d: (
        d["W_E"].T @ w["W_E"]
        + w["W_E"].T @ d["W_E"]
        - 2 * (d["W_in"] @ w["W_in"].T + w["W_in"] @ d["W_in"].T)
    ),
    "W_E.^3": lambda w, d: 3 * w["W_E"] ** 2 * d["W_E"],
    "tr(W_in.T @ W_in)": lambda w, d: np.array([[2 * np.sum(w["W_in"] * d["W_in"])]]),
}


@pytest.mark.parametrize("moving", BY_HAND)
def test_motions_in_numbers_are_those_by_hand(moving):
    data = random_data()
    w, d = random_weights(TANH, 1), random_weights(TANH, 2)
    measured = measured_motion(check(f"d({moving}) = 0", TANH, data), TANH, data)
    np.testing.assert_allclose(measured.slope(w, d), BY_HAND[moving](w, d), rtol=1e-13, atol=1e-15)
    above = {k: np.abs(v) for k, v in w.items()}, {k: np.abs(v) for k, v in d.items()}
    plus = moving.replace(" - ", " + ")
    sizes = measured_motion(check(f"d({plus}) = 0", TANH, data), TANH, data).slope(*above)
    assert measured.parts(w, d) == pytest.approx(np.linalg.norm(sizes), rel=1e-13)


def test_a_product_rule_that_forgets_a_factor_is_found_out(monkeypatch):
    """Symbols alone would confirm what it says; autodiff does not."""

    def forgetful(expr, directions):
        return tangent(expr, {w: d for w, d in directions.items() if w.name != "W_out"})

    monkeypatch.setattr(module, "tangent", forgetful)
    monkeypatch.setattr(module.Motion, "_before", lambda self, weight: 1)
    verdict = check(f"{LAYERS} = {FIRST}", TANH, random_data())
    assert verdict.status == UNDECIDED
    assert verdict.measured_order == pytest.approx(0.0, abs=0.1)


def test_closures_are_measured_beside_a_claim():
    """All closures but the whole loss have a hidden layer that is linear, and conserve what it would."""
    data = random_data()
    verdict = check(f"{HIDDEN} = 0", TANH, data)
    motion = measured_motion(verdict, TANH, data)
    measured = {
        name: measure_residual(derive(TANH, name), data, verdict.proof.direction, motion).measured
        for name in ("leading", "softmax", "exact")
    }
    name = verdict.weight
    powers = [found[name] for found in measured.values()]
    assert powers == [pytest.approx(4.0, abs=0.1), pytest.approx(4.0, abs=0.1), np.inf]
