"""Invariants: the known ones, all of the family against a brute-force search, and constant along integrated flows."""

import re
import time
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pytest
import sympy as sp
from helpers import MODELS, data_for, random_weights

from smallinit.sim import integrate
from smallinit.sim.compile.compiler import compile_flow
from smallinit.theory import (
    AttentionOnly,
    Dataset,
    Decoder,
    EmbMLP,
    Model,
    OneLayerTransformer,
    ScalarClassifier,
    TwoTokenMLP,
    derive,
)
from smallinit.theory.algebra.adjoint import gradients
from smallinit.theory.algebra.evaluate import evaluate
from smallinit.theory.algebra.matrices import apply, diagonal, hadamard, product, total, transpose
from smallinit.theory.algebra.nodes import RowSoftmax
from smallinit.theory.algebra.rebuild import factored
from smallinit.theory.data.inputs import C_MEAN, COUNTS, D_MODEL, ROWS, X_LAST, weight
from smallinit.theory.flows.symmetry.invariants import find_invariants


@lru_cache
def flow_of(name, closure):
    return derive(MODELS[name][0], closure)


CLOSURES = ("drive", "leading", "softmax", "exact", "activation=3,attention=1")


def names(model, closure):
    return {str(i) for i in derive(model, closure).invariants}


# --- The known ones -------------------------------------------------------------------------------------------------

HEAD = {"W_Q.T*W_Q - W_K.T*W_K", "W_V.T*W_V - W_O*W_O.T"}
STREAM = "W_E.T*W_E - W_Q*W_Q.T - W_K*W_K.T - W_V*W_V.T + W_O.T*W_O - W_in*W_in.T + W_out.T*W_out - W_U*W_U.T"
KNOWN = [
    (OneLayerTransformer(6, 4, 3, 5, 3), "exact", {*HEAD, STREAM, "W_U*1"}),
    (OneLayerTransformer(6, 7, 3, 4, 3, "gelu", unembed=False), "exact", {*HEAD, "W_out*1"}),
    (
        OneLayerTransformer(6, 7, 3, 4, 3, unembed=False),
        "leading",
        {*HEAD, "W_in.T*W_in - W_out*W_out.T", "W_O*1", "W_out*1"},
    ),
    (
        OneLayerTransformer(6, 4, 3, 5, 3, positions=True),
        "exact",
        {*HEAD, f"{STREAM} + W_pos.T*W_pos", "W_U*1", "1.T*W_E - 1.T*W_pos"},
    ),
    (AttentionOnly(5, 3), "exact", {"W_QK_1*1", "1.T*w_pos_1", "W_U*1"}),
    (AttentionOnly(5, 3), "softmax", {"W_U*1"}),
    (AttentionOnly(5, 3), "drive", {"W_U*1"}),
    (AttentionOnly(4, 3, 2), "exact", {"W_QK_1*1", "1.T*w_pos_1", "1.T*w_pos_2", "W_U*1"}),
    (
        ScalarClassifier(6, 5, 3, 4),
        "exact",
        {"1.T*W_K", "W_Q.T*W_Q - W_K.T*W_K", "W_V.T*W_V - W_in*W_in.T"},
    ),
    (
        TwoTokenMLP(6, 5),
        "exact",
        {"1.T*W_E1 - 1.T*W_E2", "W_out*1", "diag(W_E1.T*W_E1 + W_E2.T*W_E2 - 2*W_out*W_out.T)"},
    ),
    (EmbMLP(6, 5, 4, loss="mse"), "exact", {"W_E.T*W_E - W_in*W_in.T"}),
]


@pytest.mark.parametrize(("model", "closure", "expected"), KNOWN)
def test_known_invariants_are_found_and_proved(model, closure, expected):
    assert names(model, closure) == expected


def test_the_trace_of_embedding_and_unembedding_follows_under_the_softmax_closure():
    """tr(W_E^T W_E) - tr(W_U W_U^T) is the sum of the traces of three reported matrices, hence not listed itself."""
    matrix = "W_E.T*W_E - W_V*W_V.T + W_O.T*W_O - W_in*W_in.T + W_out.T*W_out - W_U*W_U.T"
    found = names(OneLayerTransformer(6, 4, 3, 5, 3), "softmax")
    assert found == {matrix, "W_V.T*W_V - W_O*W_O.T", "W_in.T*W_in - W_out*W_out.T", "W_U*1"}


# --- Models of one's own --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Own(Model):
    d_model: int = 4
    d_mlp: int = 5
    d_head: int = 3

    @property
    def weight_symbols(self):
        return WEIGHTS[type(self)]

    @property
    def logits(self):
        return LOGITS[type(self)](*self.weight_symbols)


class Gated(Own):
    """(silu(x W1) o x W2) W_out."""


class Gain(Own):
    """A gain followed by a matrix."""


class Biased(Own):
    """Biases of the hidden layer and of the logits."""


class Heads(Own):
    """Two heads with residual."""


class Twice(Own):
    """Two weights that act as their sum."""


class Normed(Own):
    """Embeddings divided by their norm: logits that do not see its size."""


W_E, W_U = weight("W_E", "d_vocab", "d_model"), weight("W_U", "d_model", "d_vocab")
W_1, W_2 = weight("W_1", "d_model", "d_mlp"), weight("W_2", "d_model", "d_mlp")
W_OUT, COLUMN = weight("W_out", "d_mlp", "d_vocab"), sp.OneMatrix(ROWS, 1)


def head(i):
    return [weight(f"W_{l}_{i}", "d_model", "d_head") for l in "QKV"] + [
        weight(f"W_O_{i}", "d_head", "d_model")
    ]


def attended(Q, K, V, O):
    scores = product(X_LAST, W_E, Q, transpose(K), transpose(W_E))
    return product(RowSoftmax(scores, C_MEAN), W_E, V, O)


def normed(E, U):
    x = product(C_MEAN, E)
    square = product(hadamard(x, x), sp.OneMatrix(D_MODEL, 1))
    inverse = apply(sp.Lambda(sp.Symbol("x"), sp.Symbol("x") ** sp.Rational(-1, 2)), square)
    return product(diagonal(inverse), x, U)


WEIGHTS = {
    Gated: (W_E, W_1, W_2, W_OUT),
    Gain: (W_E, weight("g", "d_model", 1), W_1, W_OUT),
    Biased: (W_E, W_1, weight("b", 1, "d_mlp"), W_OUT, weight("b_U", 1, "d_vocab")),
    Heads: (W_E, *head(1), *head(2), W_U),
    Twice: (W_E, W_1, W_2, W_OUT),
    Normed: (W_E, W_U),
}
LOGITS = {
    Gated: lambda E, A, B, O: product(
        hadamard(apply("silu", product(COUNTS, E, A)), product(COUNTS, E, B)), O
    ),
    Gain: lambda E, g, A, O: product(apply("tanh", product(C_MEAN, E, diagonal(g), A)), O),
    Biased: lambda E, A, b, O, c: total(
        product(apply("tanh", total(product(C_MEAN, E, A), product(COLUMN, b))), O), product(COLUMN, c)
    ),
    Heads: lambda E, *W: product(total(product(X_LAST, E), attended(*W[:4]), attended(*W[4:8])), W[8]),
    Twice: lambda E, A, B, O: product(apply("tanh", product(COUNTS, E, total(A, B))), O),
    Normed: normed,
}
OWN = [
    (
        Gated,
        "exact",
        {"W_E.T*W_E - W_1*W_1.T - W_2*W_2.T", "diag(W_2.T*W_2 - W_out*W_out.T)", "W_out*1"},
    ),
    (
        Gated,
        "leading",
        {
            "W_E.T*W_E - W_1*W_1.T - W_2*W_2.T",
            "diag(W_1.T*W_1 - W_out*W_out.T)",
            "diag(W_2.T*W_2 - W_out*W_out.T)",
            "W_out*1",
        },
    ),
    (Gain, "exact", {"diag(W_E.T*W_E - W_1*W_1.T)", "diag(g*g.T - W_1*W_1.T)", "W_out*1"}),
    (Biased, "exact", {"W_E.T*W_E - W_1*W_1.T", "W_out*1", "b_U*1"}),
    (
        Biased,
        "leading",
        {"W_E.T*W_E - W_1*W_1.T", "W_1.T*W_1 + b.T*b - W_out*W_out.T", "W_out*1", "b_U*1"},
    ),
    (Twice, "exact", {"W_1 - W_2", "W_E.T*W_E - W_1*W_1.T - W_2*W_2.T", "W_out*1"}),
]


@pytest.mark.parametrize(("kind", "closure", "expected"), OWN)
def test_models_of_ones_own(kind, closure, expected):
    assert names(kind(6), closure) == expected


def test_every_head_has_its_own():
    found = names(Heads(6), "exact")
    for i in (1, 2):
        assert f"W_Q_{i}.T*W_Q_{i} - W_K_{i}.T*W_K_{i}" in found
        assert f"W_V_{i}.T*W_V_{i} - W_O_{i}*W_O_{i}.T" in found
    assert len(found) == 6  # and the residual stream's basis, and W_U*1


def test_the_norm_of_what_the_logits_see_no_size_of():
    model = Normed(6)
    loss = model.loss_function.whole(model.logits)
    ascent = gradients(total(product(-1, loss)), model.weight_symbols)
    equations = {w.name: factored(g) for w, g in ascent.items()}
    assert {str(i) for i in find_invariants(model, equations, loss)} == {"tr(W_E.T*W_E)", "W_U*1"}


# --- Proved or observed, and what is left out -----------------------------------------------------------------------


def test_without_the_loss_whose_gradient_they_are_they_are_observed():
    flow = derive(EmbMLP(6, 5, 4), "exact")
    other = derive(EmbMLP(6, 5, 4), "softmax").kept.loss(flow.model)
    found = find_invariants(flow.model, flow.right_hand_sides, other)
    assert not any(i.proved for i in found)
    assert {str(i) for i in found} == {f"observed, not proved: {i}" for i in flow.invariants}


def test_what_is_no_gradient_flow_of_the_model_conserves_what_it_conserves():
    """With weight decay nothing stays; with one right-hand side doubled, a balance with other coefficients."""
    flow = derive(EmbMLP(6, 5, 4), "leading")
    decayed = {
        w.name: total(flow.right_hand_sides[w.name], product(-1, w)) for w in flow.model.weight_symbols
    }
    assert replace(flow, right_hand_sides=decayed).invariants == ()
    doubled = flow.right_hand_sides | {"W_E": product(2, flow.right_hand_sides["W_E"])}
    assert {str(i) for i in replace(flow, right_hand_sides=doubled).invariants} == {
        "observed, not proved: W_out*1",
        "observed, not proved: W_E.T*W_E - 2*W_in*W_in.T",
        "observed, not proved: W_in.T*W_in - W_out*W_out.T",
    }


@pytest.mark.parametrize("name", MODELS)
def test_weights_at_rest_are_in_none(name):
    for closure in ("drive", "softmax"):
        flow = flow_of(name, closure)
        resting = {w for w, e in flow.right_hand_sides.items() if isinstance(e, sp.ZeroMatrix)}
        held = {str(s) for i in flow.invariants for s in i.expression.free_symbols}
        assert not resting & held


def test_printing_takes_no_longer_for_them():
    began = time.perf_counter()
    assert derive(OneLayerTransformer(201, 400, 64, 1200, 9, positions=True), "exact").invariants
    assert time.perf_counter() - began < 6.0  # half a second on a quiet machine


# --- Against a brute-force search -----------------------------------------------------------------------------------


def rates(model, w, dw):
    """(level, space) -> name of a term -> its time derivative: the family written out by hand."""
    found = {}

    def add(level, space, name, value):
        found.setdefault((level, *map(str, space)), {})[name] = np.ravel(value)

    for s in model.weight_symbols:
        n, a, d = s.name, w[s.name], dw[s.name]
        add("whole", s.shape, n, d)
        add("axis", s.shape[:1], n if s.cols == 1 else f"{n}*1", d.sum(axis=1))
        add("axis", s.shape[1:], n if s.rows == 1 else f"1.T*{n}", d.sum(axis=0))
        add("sum", (), f"1.T*{n}*1", d.sum())
        add("gram", s.shape[1:], f"{n}.T*{n}", a.T @ d + d.T @ a)
        add("gram", s.shape[:1], f"{n}*{n}.T", a @ d.T + d @ a.T)
        add("diag", s.shape[1:], f"{n}.T*{n}", (a * d).sum(axis=0))
        add("diag", s.shape[:1], f"{n}*{n}.T", (a * d).sum(axis=1))
        add("tr", (), f"tr({n}.T*{n})", (a * d).sum())
    return found


def coefficients(name):
    """(level, term -> coefficient) of a printed invariant."""
    name = name.removeprefix("observed, not proved: ")
    level = "diag" if name.startswith("diag(") else "tr" if "tr(" in name else None
    if level == "diag":
        name = name[len("diag(") : -1]
    out = {}
    for sign, number, term in re.findall(r"(^|\s[+-]\s)(\d+\*)?(\S+)", name):
        out[term] = (-1 if "-" in sign else 1) * int((number or "1*")[:-1])
    first = next(iter(out))
    if level is None and re.fullmatch(r"(\w+)(\.T)?\*\1(\.T)?", first):
        level = "gram"
    elif level is None:
        level = (
            "sum" if re.fullmatch(r"1\.T\*\w+\*1", first) else "axis" if re.search(r"1", first) else "whole"
        )
    return level, out


def implied(level, terms):
    """Vectors on the same and the lower levels, by the name of each term there."""
    yield level, terms
    if level in ("gram", "diag"):
        if level == "gram":
            yield "diag", terms
        traces = {}
        for term, c in terms.items():
            n = term.split("*")[0].removesuffix(".T")
            traces[f"tr({n}.T*{n})"] = traces.get(f"tr({n}.T*{n})", 0) + c
        yield "tr", traces
    if level == "whole":
        yield "axis", {f"{n}*1": c for n, c in terms.items()}
        yield "axis", {f"1.T*{n}": c for n, c in terms.items()}
    if level in ("whole", "axis"):
        yield "sum", {f"1.T*{t.removeprefix('1.T*').removesuffix('*1')}*1": c for t, c in terms.items()}


def absolute(arrays):
    return {name: np.abs(x) for name, x in arrays.items()}


# The whole loss of every model, and two of the other closures by turns.
CELLS = [
    (name, closure)
    for i, name in enumerate(MODELS)
    for j, closure in enumerate(CLOSURES)
    if closure == "exact" or (i + j) % 2
]


@pytest.mark.parametrize(("name", "closure"), CELLS)
def test_nothing_conserved_in_the_family_is_missed_and_nothing_false_is_said(name, closure):
    flow = flow_of(name, closure)
    model, points = flow.model, []
    kernels = [
        compile_flow(flow, data_for(name, seed), random_weights(model), fold=False) for seed in range(2)
    ]
    for seed in range(len(model.weights) + 4):
        w, kernel = random_weights(model, seed), kernels[seed % 2]
        kernel(0.0, kernel.pack(w), out := np.zeros(kernel.n))
        points.append((w, kernel.unpack(out)))
    moving = {n for n in model.weights if any(np.any(dw[n]) for _, dw in points)}
    family = [rates(model, *p) for p in points]
    sizes = [rates(model, *map(absolute, p)) for p in points]
    said = [v for i in flow.invariants for v in implied(*coefficients(str(i)))]
    for space, terms in family[0].items():
        kept = [t for t in terms if set(re.findall(r"[A-Za-z]\w*", t)) & moving]
        if not kept:
            continue
        columns = [np.concatenate([f[space][t] for f in family]) for t in kept]
        scale = [np.linalg.norm(np.concatenate([f[space][t] for f in sizes])) for t in kept]
        singular = np.linalg.svd(np.stack(columns, axis=1) / scale, compute_uv=False)
        rows = [[v.get(t, 0) for t in kept] for level, v in said if level == space[0] and set(v) <= set(kept)]
        rank = np.linalg.matrix_rank(np.array(rows)) if rows else 0
        assert rank == np.sum(singular < 1e-9), (space, kept, rows)
        for row in rows:
            assert np.linalg.norm(row @ np.array(columns)) < 1e-11 * (np.abs(row) @ scale)


def test_the_list_is_minimal():
    """No coefficient vector follows from the others, on any level."""
    for name in MODELS:
        for closure in CLOSURES:
            found = [coefficients(str(i)) for i in flow_of(name, closure).invariants]
            for i, (level, terms) in enumerate(found):
                others = [v for j, f in enumerate(found) if j != i for l, v in implied(*f) if l == level]
                keys = sorted({t for v in [terms, *others] for t in v})
                rows = np.array([[v.get(t, 0) for t in keys] for v in [*others, terms]])
                assert np.linalg.matrix_rank(rows) > (np.linalg.matrix_rank(rows[:-1]) if others else 0)


# --- Along integrated flows -----------------------------------------------------------------------------------------


INTEGRATED = [
    ("emb-mlp", "exact", {"W_in.T*W_in - W_out*W_out.T"}),
    ("transformer, unembed", "exact", {"W_E.T*W_E - W_U*W_U.T", "W_in.T*W_in - W_out*W_out.T"}),
    ("transformer, positions", "softmax", {"W_E.T*W_E - W_U*W_U.T"}),
    ("attention-only, two layers", "exact", {"W_QK_2*1"}),
    ("classifier", "activation=3,attention=1", {"W_in.T*W_in - W_out*W_out.T"}),
    ("two-token", "exact", {"W_E1.T*W_E1 - W_E2.T*W_E2"}),
]


def expression(name, model):
    """The matrix of a printed sum of Gram matrices or row sums."""
    symbols = {w.name: w for w in model.weight_symbols}
    terms = []
    for term, c in coefficients(name)[1].items():
        left, right = term.split("*")
        factors = [transpose(symbols[f[:-2]]) if f.endswith(".T") else symbols.get(f) for f in (left, right)]
        if right == "1":
            factors[1] = sp.OneMatrix(symbols[left].cols, 1)
        terms.append(product(c, *factors))
    return total(*terms)


@pytest.mark.parametrize(("name", "closure", "broken"), INTEGRATED)
def test_they_are_constant_along_the_flow_and_others_are_not(name, closure, broken):
    flow = flow_of(name, closure)
    model = flow.model
    start = random_weights(model, seed=2)
    path = integrate(flow, data_for(name), start, t1=3.0, save_at=7, rtol=1e-11)
    moved = max(np.abs(path.weights[w][-1] - start[w]).max() for w in model.weights)
    assert moved > 0.1

    def drift(expr):
        at = [
            np.asarray(evaluate(expr, {w: x[k] for w, x in path.weights.items()}, model.sizes))
            for k in range(len(path.t))
        ]
        return max(np.abs(x - at[0]).max() for x in at)

    for invariant in flow.invariants:
        assert invariant.proved
        assert drift(invariant.expression) < 1e-9, str(invariant)
    for other in broken:
        assert drift(expression(other, model)) > 1e-4, other


def test_first_terms_of_a_decoder_with_whole_normalisations():
    """Their slopes hold squares to the power -1, which are no products."""
    model = Decoder(5, 4, 2, 3, 3, n_layers=1, norm="pre", norm_eps=0.0, gains=False)
    rng = np.random.default_rng(0)
    data = Dataset(rng.integers(0, 5, (6, 3)), rng.integers(0, 5, 6), 5)
    flow, start = derive(model, "leading"), random_weights(model, seed=2)
    path = integrate(flow, data, start, t1=0.02, save_at=2, rtol=1e-11)
    first, last = ({w: x[k] for w, x in path.weights.items()} for k in (0, -1))
    assert len(flow.invariants) > 5
    assert np.abs(last["W_U"] - first["W_U"]).max() > 1e-3
    for invariant in flow.invariants:
        a, b = (np.asarray(evaluate(invariant.expression, at, model.sizes)) for at in (first, last))
        assert np.abs(b - a).max() < 1e-9, str(invariant)
