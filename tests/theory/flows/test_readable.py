"""What is printed is what is computed: every printed form of every flow, read by an independent reader."""

from dataclasses import dataclass, fields, replace
from functools import lru_cache

import numpy as np
import pytest
import sympy as sp
from helpers import MODELS, data_for, random_data, random_weights, relative
from random_models import make
from reader import Latex, Text, letter, read_latex, read_text

from smallinit.theory import Decoder, Model, RowSoftmax, apply, derive, weight
from smallinit.theory.algebra.evaluate import evaluate
from smallinit.theory.algebra.matrices import hadamard, product, total
from smallinit.theory.algebra.nodes import free_symbols
from smallinit.theory.algebra.rebuild import Rebuild, canonical
from smallinit.theory.data.inputs import C_MEAN, COUNTS, P_LAST, ROWS, X_LAST
from smallinit.theory.flows import readable as readable_module
from smallinit.theory.flows.flow import Flow
from smallinit.theory.flows.powers import last_start, leading_order, start_powers
from smallinit.theory.language.claimed_motion import parse
from smallinit.theory.language.vocabulary import Vocabulary
from smallinit.theory.printing.intermediates import WrittenOut
from smallinit.theory.printing.latex import latex
from smallinit.theory.printing.substitution import Naming
from smallinit.theory.printing.writer import Writer

LOSSES = ("cross_entropy", "exponential", "logistic", "mse")
CLOSURES = ("drive", "leading", "order", "softmax", "activation=3,attention=1", "exact")
EVERY_LOSS = ("emb-mlp", "embed-unembed", "two-token", "classifier", "transformer", "attention-only")
CASES = [
    (name, loss)
    for name, (model, _) in MODELS.items()
    for loss in (LOSSES if name in EVERY_LOSS else [model.loss])
    if not (model.outputs == 1 and loss == "cross_entropy")
]

# A model's own loss under every closure, its other losses under the exact one and one more by turns.
PRINTED = [
    (name, loss, closure)
    for i, (name, loss) in enumerate(CASES)
    for j, closure in enumerate(CLOSURES)
    if loss == MODELS[name][0].loss or closure == "exact" or j == i % 5
]


def dense(value):
    return value.toarray() if hasattr(value, "toarray") else np.asarray(value)


@lru_cache(maxsize=4)
def prepared(name, loss):
    """Model, data with repeated tokens and unequal weights, weights, and everything that a reader may look up."""
    model = replace(MODELS[name][0], loss=loss)
    data, weights = data_for(name), random_weights(model)
    matrices = {k: dense(v) for k, v in model.data_matrices(data).items()}
    sizes = {str(d): float(size) for d, size in model.sizes.items()} | {"n": float(len(matrices["omega"]))}
    return model, data, weights, matrices | weights | sizes


def flow_of(model, closure):
    """The flow, printed without its search for invariants, which is tested elsewhere."""
    lowest = leading_order(model)
    order = f"order={min(max(2 * lowest, 4), max(last_start(model), 6))}"
    flow = derive(model, order if closure == "order" else closure)
    flow.__dict__["invariants"] = ()
    return flow


def worst(found, expected):
    """Largest error of an equation, relative to its norm."""
    assert set(found) == set(expected)
    sizes = {w: np.linalg.norm(e) or 1.0 for w, e in expected.items()}
    return max(np.linalg.norm(found[w] - expected[w]) / sizes[w] for w in expected)


def evaluated(equations, definitions, model, matrices):
    """Equations with their definitions put in, on explicit matrices."""
    values = dict(matrices)
    sizes = {**model.sizes, ROWS: len(values["omega"])}
    sizes |= {sp.Symbol("eps", positive=True): 1}
    for s in set().union(*map(free_symbols, (*equations.values(), *definitions.values()))):
        if isinstance(s, sp.MatrixSymbol) and s.name in values:
            sizes |= {
                d: n for d, n in zip(s.shape, values[s.name].shape, strict=True) if isinstance(d, sp.Symbol)
            }
    for name, definition in definitions.items():
        values[name] = dense(evaluate(definition, values, sizes))
    shapes = model.weights
    return {w: np.broadcast_to(dense(evaluate(e, values, sizes)), shapes[w]) for w, e in equations.items()}


@pytest.mark.parametrize(("name", "loss", "closure"), PRINTED)
def test_every_printed_form_is_the_kernel(name, loss, closure):
    model, data, weights, values = prepared(name, loss)
    flow = flow_of(model, closure)
    expected = flow.rhs(data, weights)
    matrices = {k: v for k, v in values.items() if np.ndim(v)}
    assert worst(evaluated(flow.equations, flow.statistics, model, matrices), expected) < 1e-12
    assert worst(evaluated(flow.readable, flow.definitions, model, matrices), expected) < 1e-12
    assert worst(read_text(str(flow), values), expected) < 1e-12
    assert worst(read_latex(flow.latex(), values), expected) < 1e-12
    assert worst(read_claims(str(flow), model, matrices), expected) < 1e-12


def read_claims(page, model, matrices):
    """Name -> value of every equation on a page, each read as a claim with the definitions of the page."""
    words, targets = Vocabulary.of(model), {w.name: w for w in model.weight_symbols}
    lines = [line for line in page.splitlines() if line.startswith("  with")]
    equations = [line for line in page.splitlines() if "/dt = " in line]
    claims = [parse("\n".join([e, *lines]), words.names, targets, words.functions) for e in equations]
    return evaluated({c.target: words.define(c.expression) for c in claims}, {}, model, matrices)


@pytest.mark.parametrize("seed", range(40))
def test_printed_forms_of_random_models_are_their_kernels(seed):
    model, data = make(seed)
    weights = random_weights(model, seed)
    values = {k: dense(v) for k, v in model.data_matrices(data).items()} | weights
    values |= {str(d): float(s) for d, s in model.sizes.items()} | {"n": float(len(values["omega"]))}
    flow = derive(model, ("leading", "exact")[seed % 2])
    flow.__dict__["invariants"] = ()
    expected = flow.rhs(data, weights)
    assert worst(read_text(str(flow), values), expected) < 1e-11
    assert worst(read_latex(flow.latex(), values), expected) < 1e-11


DECODERS = {
    "pre": {"norm": "pre", "norm_eps": 0.1, "biases": True},
    "post": {
        "norm": "post",
        "norm_kind": "rms",
        "norm_eps": 0.0,
        "tied": True,
        "positions": "rotary",
        "predict": "all",
    },
    "none": {"norm": None, "n_layers": 2},
}


@pytest.mark.parametrize("closure", ["exact", "softmax", "leading", "order=2", "softmax,norm=linear"])
@pytest.mark.parametrize("name", DECODERS)
def test_printed_forms_of_decoders_are_their_kernels(name, closure):
    model = Decoder(7, 5, 4, 6, 3, **({"n_layers": 1, "n_heads": 2} | DECODERS[name]))
    if closure.endswith("linear") and not model.norm_eps:
        return
    data, weights = random_data(d_vocab=7), random_weights(model)
    values = {k: dense(v) for k, v in model.data_matrices(data).items()} | weights
    values |= {str(d): float(s) for d, s in model.sizes.items()} | {"n": float(len(values["omega"]))}
    flow = derive(model, closure)
    flow.__dict__["invariants"] = ()
    assert len(str(flow)) < 7_500
    expected = flow.rhs(data, weights)
    assert worst(read_text(str(flow), values), expected) < 1e-12
    blocks = {w: at_block(w) for w in weights if "." in w}
    words = {"turn": r"\mathrm{turn}"} | {
        f"{word}_{end}": rf"\mathrm{{{word}}}_{{{end}}}"
        for word, end in (("head", 0), ("head", 1), ("cos", "all"), ("sin", "all"))
    }
    assert worst(read_latex(flow.latex(), values, blocks | words), expected) < 1e-12
    matrices = {k: v for k, v in values.items() if np.ndim(v)}
    assert worst(read_claims(str(flow), model, matrices), expected) < 1e-12


def at_block(name):
    """LaTeX of a weight of a block or of a normalisation, as docs/notation.md has it."""
    *above, own = name.split(".")
    head, _, within = own.partition("_")
    words = " ".join(
        [*([within] if within else []), *above[2:], *(above[0].split("_") if len(above) == 1 else [])]
    )
    letter = head + (f"_{{{words}}}" if words else "")
    return letter + (f"^{{({above[1]})}}" if len(above) > 1 else "")


FAULTS = {
    "base measure": (Writer, "own", lambda self, node: self.call(node.word, self(node.args[0])), "exact"),
    "base measure of a run": (Naming, "__call__", lambda self, node: RowSoftmax(node.args[0])
        if isinstance(node, RowSoftmax) else Rebuild.__call__(self, node), "equations"),
    "transpose": (Writer, "transposed", lambda self, node: self.within(node.arg, 3), "exact"),
    "diagonal": (Writer, "diag", lambda self, node: self.call("diag", "1*omega"), "leading"),
    "Hadamard power": (Writer, "power", lambda self, node: self(node.base), "activation=3,attention=1"),
    "coefficient": (Writer, "mat_mul", lambda self, node: self.SIGNS["*"].join(
        self.within(f, 2) for f in node.as_coeff_matrices()[1]), "leading"),
    "sign": (Writer, "mat_add", lambda self, node: " + ".join(map(self, node.args)).replace("+ -", "+ "), "exact"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_seen(fault, monkeypatch):
    owner, method, wrong, closure = FAULTS[fault]
    model, data, weights, values = prepared("transformer", "cross_entropy")
    monkeypatch.setattr(owner, method, wrong)
    flow = flow_of(model, "exact" if closure == "equations" else closure)
    expected = flow.rhs(data, weights)
    if closure == "equations":
        matrices = {k: v for k, v in values.items() if np.ndim(v)}
        assert worst(evaluated(flow.equations, flow.statistics, model, matrices), expected) > 1e-3
        return
    for read, page in ((read_text, str(flow)), (read_latex, flow.latex())):
        try:
            error = worst(read(page, values), expected)
        except (AssertionError, ValueError, KeyError):  # shapes that do not fit
            error = np.inf
        assert error > 1e-3


@pytest.mark.parametrize("name", ["transformer", "classifier", "attention-only", "emb-mlp, mse"])
@pytest.mark.parametrize("closure", ["leading", "order"])
def test_powers_of_eps_are_those_of_the_weight_scale(name, closure):
    model, data, weights, values = prepared(name, MODELS[name][0].loss)
    flow, eps = flow_of(model, closure), 0.3
    scaled = flow.rhs(data, {w: eps * x for w, x in weights.items()})
    page = str(flow).replace("with eps = 1:", f"with eps = {eps}:")
    assert closure == "order" or name == "emb-mlp, mse" or "eps^2*" in page
    for w, found in read_text(page, values).items():
        first = eps ** (start_powers(model)[w] - 1)
        assert relative(first * found, scaled[w]) < 1e-12 if scaled[w].any() else not found.any()


@pytest.mark.parametrize("name", ["emb-mlp", "two-token", "classifier", "transformer", "attention-only"])
@pytest.mark.parametrize("closure", ["leading", "order", "softmax"])
def test_the_dropped_term_is_what_the_loss_lacks(name, closure):
    model, data, _, _ = prepared(name, MODELS[name][0].loss)
    flow = flow_of(model, closure)
    if not flow.dropped:
        return
    power, line = dropped_line(str(flow))
    eps = 1e-10 ** (1 / power)
    matrices = {k: dense(v) for k, v in model.data_matrices(data).items()}
    sizes = {str(d): float(s) for d, s in model.sizes.items()}
    whole, kept = model.loss_function.whole(canonical(model.logits)), flow.kept.loss(model)
    for seed in (3, 4):
        weights = random_weights(model, seed, 0.9)
        term = Text(line, matrices | weights | sizes).read().item()
        missing = [
            loss_at(whole, model, matrices, weights, scale) - loss_at(kept, model, matrices, weights, scale)
            for scale in (eps, 0.0)
        ]
        assert missing[0] - missing[1] == pytest.approx(eps**power * term, rel=0.2)
        letters = {letter(name): value for name, value in (matrices | weights | sizes).items()}
        assert Latex(latex(flow.dropped[0][1]), letters).read().item() == pytest.approx(term, rel=1e-12)


def loss_at(expr, model, matrices, weights, scale):
    values = matrices | {w: scale * x for w, x in weights.items()}
    return dense(evaluate(expr, values, model.sizes | {ROWS: len(matrices["omega"])})).item()


def dropped_line(page):
    """Power and term of the line that says what is dropped."""
    (line,) = [x for x in page.splitlines() if "drops of the loss" in x]
    power, term = line.split("eps^", 1)[1].split(": ", 1)
    return int(power), term.removesuffix(", and higher powers")


@dataclass(frozen=True)
class Named(Model):
    """Weights with the names that a page gives to intermediates, to its own symbols and to the paper's letters."""

    d_model: int
    d_head: int
    d_mlp: int

    @property
    def weight_symbols(self):
        return (
            weight("A", "d_vocab", "d_model"),
            *(weight(w, "d_model", "d_head") for w in ("S", "R_S")),
            weight("V", "d_model", "d_model"),
            weight("W1", "d_model", "d_mlp"),
            weight("W_1", "d_mlp", "d_model"),
            *(weight(w, "d_model", "d_model") for w in ("R", "e", "x", "u")),
            weight("eps", "d_model", "d_vocab"),
        )

    @property
    def logits(self):
        A, S, R_S, V, W1, W_1, R, e, x, u, eps = self.weight_symbols
        scores = X_LAST * A * S * R_S.T * A.T
        stream = RowSoftmax(scores, C_MEAN) * A * V + X_LAST * A * (R * e + x)
        return (apply("gelu", stream * W1) * W_1 + stream * u) * eps


LETTERS = {"W1": "W_{1}", "W_1": r"\mathtt{W\_1}", "d_vocab": r"d_{vocab}", "e": r"\mathtt{e}"}


@pytest.mark.parametrize("closure", ["leading", "softmax", "exact"])
def test_names_of_the_users_own_are_kept_apart(closure):
    model = Named(5, 3, 2, 4)
    data, weights = random_data(d_vocab=5), random_weights(model)
    values = {k: dense(v) for k, v in model.data_matrices(data).items()} | weights
    values |= {str(d): float(s) for d, s in model.sizes.items()} | {"n": float(len(values["omega"]))}
    flow = derive(model, closure)
    flow.__dict__["invariants"] = ()
    expected = flow.rhs(data, weights)
    assert not set(flow.definitions) & {*values, "C", "Y"}
    assert worst(read_text(str(flow), values), expected) < 1e-12
    assert worst(read_latex(flow.latex(), values, LETTERS), expected) < 1e-12


@dataclass(frozen=True)
class TokensAndPosition(Model):
    """Sums of embeddings and the last position's: two data matrices, one without a suffix."""

    d_model: int
    n_ctx: int

    @property
    def weight_symbols(self):
        return (
            weight("E", "d_vocab", "d_model"),
            weight("W_pos", "n_ctx", "d_model"),
            weight("U", "d_model", "d_vocab"),
        )

    @property
    def logits(self):
        E, P, U = self.weight_symbols
        return (COUNTS * E + P_LAST * P) * U


def test_two_statistics_never_share_a_name():
    model = TokensAndPosition(6, 4, 3)
    data, weights = random_data(d_vocab=6), random_weights(model)
    values = {k: dense(v) for k, v in model.data_matrices(data).items()} | weights
    flow = derive(model, "order=4")
    assert {"K", "K_C_P_last", "K_P_last", "M", "M_P_last"} == set(flow.statistics)
    expected = flow.rhs(data, weights)
    assert worst(evaluated(flow.equations, flow.statistics, model, values), expected) < 1e-12
    values |= {str(d): float(s) for d, s in model.sizes.items()}
    assert worst(read_text(str(flow), values), expected) < 1e-12
    assert worst(read_latex(flow.latex(), values), expected) < 1e-12


def test_a_flow_written_by_hand_is_printed_as_it_is():
    model, data, weights, values = prepared("classifier", "exponential")
    exact = derive(model, "exact")
    sides = dict(exact.right_hand_sides) | {"W_V": -model.weight_symbols[2]}
    flow = Flow(model, "exact", sides, exact.moving)
    flow.__dict__["invariants"] = ()
    assert not flow.definitions
    assert worst(read_text(str(flow), values), flow.rhs(data, weights)) < 1e-12
    assert worst(read_latex(flow.latex(), values), flow.rhs(data, weights)) < 1e-12


def test_intermediates_are_evaluated_before_they_are_printed(monkeypatch):
    model, data, weights, values = prepared("emb-mlp", "cross_entropy")

    def wrong(*arguments):
        written = write_out(*arguments)
        return WrittenOut(written.equations, written.definitions | {"z": 2 * written.definitions["z"]})

    write_out = readable_module.write_out
    monkeypatch.setattr(readable_module, "write_out", wrong)
    flow = derive(model, "exact")
    assert "with" not in str(flow)
    assert worst(read_text(str(flow), values), flow.rhs(data, weights)) < 1e-12


def test_the_transformer_reads_like_the_papers():
    """A9 with its attention, residual stream and feed-forward layer, and the gradient as it is computed."""
    flow = derive(MODELS["transformer"][0], "exact")
    flow.__dict__["invariants"] = ()
    lines = [
        "dW_V/dt = W_E.T*A.T*R_u*W_O.T",
        "dW_out/dt = h.T*R",
        "with S = 1/sqrt(d_head)*X_last*W_E*W_Q*W_K.T*W_E.T",
        "with A = softmax(S; C_mean)",
        "with u = A*W_E*W_V*W_O + X_last*W_E",
        "with z = u*W_in",
        "with h = tanh(z)",
        "with f = h*W_out + u",
        "with p = softmax(f)",
        "with R = diag(omega)*(Y - p)",
        "with R_z = (R*W_out.T) o [1 - tanh(z)^2]",
        "with R_u = R + R_z*W_in.T",
    ]
    page = str(flow)
    assert [line for line in lines if f"  {line}\n" not in page] == []
    assert max(map(len, page.splitlines())) < 200
    assert len(fields(WrittenOut)) == 2


def test_a_page_does_not_repeat_itself():
    """Two layers with LayerNorm, multiplied out 350 kB; and first terms are not multiplied out either."""
    for layers, norm, closure, most in ((2, "pre", "order=2", 6_000), (2, None, "leading", 5_000)):
        flow = derive(Decoder(51, 64, 32, 64, 9, n_layers=layers, n_heads=2, norm=norm), closure)
        flow.__dict__["invariants"] = ()
        page = str(flow)
        assert len(page) < most
        assert (
            max(page.count(line.partition(" = ")[2]) for line in page.splitlines() if "with B" in line) == 1
        )


A, B = (weight(name, "m", "m") for name in "AB")


@pytest.mark.parametrize("side", [A, A.T, hadamard(A, B), product(2, A, A.T), total(A, B)], ids=str)
def test_any_side_is_marked_with_a_power(side):
    eps, rng = sp.Symbol("eps"), np.random.default_rng(0)
    values, sizes = {"A": rng.normal(size=(3, 3)), "B": rng.normal(size=(3, 3))}, {A.rows: 3}
    found = evaluate(readable_module.at_power(side, eps**2), values, sizes | {eps: 0.5})
    np.testing.assert_allclose(found, evaluate(side, values, sizes) / 4)
    assert readable_module.at_power(side, eps**0) is side


def test_layers_are_numbered():
    flow = derive(MODELS["attention-only, two layers"][0], "exact")
    assert {"S_1", "S_2", "A_1", "A_2", "u_1", "u_2", "f", "p", "R"} < set(flow.definitions)
