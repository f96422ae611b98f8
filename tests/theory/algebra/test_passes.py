"""Every kind of node crossed with every pass: handled rightly, or refused by name."""

import numpy as np
import pytest
import sympy as sp
import torch
from reader import read_latex_line, read_line
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction
from sympy.matrices.expressions.diagonal import DiagMatrix

from smallinit.compare.training.torch_expression import evaluate as torch_value
from smallinit.sim.compile.compiler import compile_sides
from smallinit.sim.compile.lower import Lowering
from smallinit.sim.compile.ordering import multiplied_out
from smallinit.sim.compile.sampled import Sampler
from smallinit.theory import AttentionOnly, EmbMLP
from smallinit.theory.algebra.adjoint import gradients
from smallinit.theory.algebra.evaluate import at_places, evaluate, evaluate_all
from smallinit.theory.algebra.matrices import (
    apply,
    diagonal,
    hadamard,
    hadamard_power,
    product,
    total,
    transpose,
)
from smallinit.theory.algebra.monomials import Monomials
from smallinit.theory.algebra.nodes import (
    Centering,
    MatrixFunction,
    RowLogSumExp,
    RowNorm,
    RowSoftmax,
    StochasticSymbol,
)
from smallinit.theory.algebra.rebuild import Rebuild, Substitution, canonical, distribute, factored, normal
from smallinit.theory.algebra.scale.cost import ExpansionCost
from smallinit.theory.algebra.scale.counting import Count, members
from smallinit.theory.algebra.scale.cuts import Truncation
from smallinit.theory.algebra.scale.expansion import expand, truncated
from smallinit.theory.algebra.scale.selection import Selection
from smallinit.theory.algebra.tangent import tangent
from smallinit.theory.algebra.terms import CountTerms
from smallinit.theory.algebra.traversal import NODES, UnknownNodeError, parts
from smallinit.theory.language.vocabulary import Vocabulary
from smallinit.theory.printing.latex import latex
from smallinit.theory.printing.roles import upright
from smallinit.theory.printing.substitution import Degree, substitute_runs
from smallinit.theory.printing.text import text

N, V, D = (sp.Symbol(name, integer=True, positive=True) for name in ("n", "v", "d"))
SIZES = {N: 5, V: 4, D: 3}
X, E, W = sp.MatrixSymbol("X", N, V), sp.MatrixSymbol("E", V, D), sp.MatrixSymbol("W", D, V)
A, B = StochasticSymbol("A", N, V), sp.MatrixSymbol("B", N, V)
OTHER = sp.MatrixSymbol("B_2", N, V)
WEIGHTS = {"E": (4, 3), "W": (3, 4)}
Z = product(X, E, W)  # (n, v), of power 2

# Kind of node -> an expression of that kind that holds weights where the kind can.
SAMPLES = {
    sp.MatrixSymbol: E,
    sp.Identity: sp.Identity(D),
    sp.ZeroMatrix: sp.ZeroMatrix(V, D),
    sp.OneMatrix: sp.OneMatrix(V, D),
    Centering: Centering(V),
    sp.MatMul: product(2, X, E, W, Centering(V)),
    sp.MatAdd: total(Z, product(-3, B)),
    sp.Transpose: transpose(W),
    sp.HadamardProduct: hadamard(Z, B),
    sp.HadamardPower: hadamard_power(Z, sp.Integer(3)),
    ElementwiseApplyFunction: apply("tanh", Z),
    DiagMatrix: diagonal(product(Z, sp.OneMatrix(V, 1))),
    RowSoftmax: RowSoftmax(Z, A),
    RowLogSumExp: RowLogSumExp(Z),
    RowNorm: RowNorm(Z, sp.Rational(1, 10)),
}


def arrays(scale=0.15):
    rng = np.random.default_rng(3)
    values = {str(s): rng.normal(0.0, scale, [SIZES.get(d, d) for d in s.shape]) for s in (E, W)} | {
        str(s): rng.normal(0.0, 1.0, [int(SIZES.get(d, d)) for d in s.shape]) for s in (X, B)
    }
    values["A"] = rng.dirichlet(np.ones(4), 5)
    values["A"][:, 1] = 0.0
    values["A"] /= values["A"].sum(axis=1, keepdims=True)
    return values


def dense(value):
    return value.toarray() if hasattr(value, "toarray") else np.asarray(value)


def value_of(expr, values=None):
    return dense(evaluate(expr, values or arrays(), SIZES))


def independent(node):
    """The sample's value written out by hand, entry by entry, from nothing but numpy."""
    v = arrays()
    z = v["X"] @ v["E"] @ v["W"]
    exp = np.exp(z)
    return {
        sp.MatrixSymbol: v["E"],
        sp.Identity: np.eye(3),
        sp.ZeroMatrix: np.zeros((4, 3)),
        sp.OneMatrix: np.ones((4, 3)),
        Centering: np.eye(4) - 0.25,
        sp.MatMul: 2 * (z - z.mean(axis=1, keepdims=True)),
        sp.MatAdd: z - 3 * v["B"],
        sp.Transpose: v["W"].T,
        sp.HadamardProduct: z * v["B"],
        sp.HadamardPower: z**3,
        ElementwiseApplyFunction: np.tanh(z),
        DiagMatrix: np.diag(z.sum(axis=1)),
        RowSoftmax: v["A"] * exp / (v["A"] * exp).sum(axis=1, keepdims=True),
        RowLogSumExp: np.log(exp.sum(axis=1, keepdims=True)),
        RowNorm: z / np.sqrt((z**2).mean(axis=1, keepdims=True) + 0.1),
    }[node]


def series_value(expr):
    """Sum of a long series, by its own powers of the scale."""
    series = expand(expr, (E, W), 24)
    return sum((value_of(t) for t in series.values()), 0.0)


def kernel_value(expr):
    """The interpreter's value: the expression as the motion of a weight of its shape."""
    values, rows = arrays(), [int(SIZES.get(d, d)) for d in expr.shape]
    shapes = WEIGHTS | {"T": tuple(rows)}
    data = {k: v for k, v in values.items() if k not in WEIGHTS}
    problem = compile_sides(
        {"E": sp.ZeroMatrix(V, D), "W": sp.ZeroMatrix(D, V), "T": expr}, data, shapes, SIZES, {}
    )
    out = np.zeros(problem.n)
    problem(0.0, problem.pack({"E": values["E"], "W": values["W"], "T": np.zeros(rows)}), out)
    return problem.unpack(out)["T"]


def sampled_value(expr):
    """Entries at all places of the pattern of A, through the sampler."""
    import scipy.sparse as sparse

    if tuple(expr.shape) != (N, V):
        return None
    values = arrays()
    data = {k: v for k, v in values.items() if k not in WEIGHTS} | {"A": sparse.csr_array(values["A"])}
    product_at = hadamard(A, expr)
    problem = compile_sides(
        {"E": sp.ZeroMatrix(V, D), "W": sp.ZeroMatrix(D, V), "T": product_at},
        data,
        WEIGHTS | {"T": (5, 4)},
        SIZES,
        {},
    )
    out = np.zeros(problem.n)
    problem(0.0, problem.pack({"E": values["E"], "W": values["W"], "T": np.zeros((5, 4))}), out)
    return problem.unpack(out)["T"] / np.where(values["A"] == 0, 1.0, values["A"]), values["A"] != 0


def gradient_error(expr):
    """Adjoint of <R, expr> against central differences, for every weight that it holds."""
    rng = np.random.default_rng(1)
    R = sp.MatrixSymbol("R", *expr.shape)
    r = rng.normal(size=[int(SIZES.get(d, d)) for d in expr.shape])
    ones = (sp.OneMatrix(1, expr.rows), sp.OneMatrix(expr.cols, 1))
    scalar = product(ones[0], hadamard(R, expr), ones[1])
    found = gradients(scalar, (E, W))
    worst = 0.0
    for symbol, gradient in found.items():
        values = arrays() | {"R": r}
        direction = rng.normal(size=values[symbol.name].shape)
        step = 1e-5
        ends = [
            (r * value_of(expr, values | {symbol.name: values[symbol.name] + s * step * direction})).sum()
            for s in (1, -1)
        ]
        expected = (ends[0] - ends[1]) / (2 * step)
        worst = max(
            worst, abs((value_of(gradient, values) * direction).sum() - expected) / (1 + abs(expected))
        )
    return worst


def read(reader, write):
    """A printed line, read by somebody who knows the notation alone."""

    def value(expr):
        known = arrays() | {str(d): float(size) for d, size in SIZES.items()}
        return reader(write(expr), known, [int(SIZES.get(d, d)) for d in expr.shape])

    return value


def right_way_up(expr):
    turned = upright(expr)
    return value_of(turned) if turned == expr else value_of(turned).T


SAME = {  # passes that keep the value
    "rebuild": lambda e: value_of(Rebuild()(e)),
    "substitution": lambda e: value_of(Substitution({B: OTHER})(e), arrays() | {"B_2": arrays()["B"]}),
    "canonical": lambda e: value_of(canonical(e)),
    "transposition": lambda e: value_of(transpose(e)).T,
    "multiplying out": lambda e: value_of(distribute(e)),
    "factoring": lambda e: value_of(factored(e)),
    "monomials": lambda e: value_of(Monomials()(e)),
    "monomials, powers whole": lambda e: value_of(Monomials(powers=False)(e)),
    "normal form": lambda e: value_of(normal(e)),
    "collection": lambda e: value_of(multiplied_out({"E": e}, {"E", "W"})["E"]),
    "claims": lambda e: value_of(Vocabulary.of(EmbMLP(4, 3, 3)).define(e)),
    "truncation": lambda e: value_of(truncated(e, Truncation())),
    "long truncation": lambda e: value_of(truncated(e, Truncation(31, 14))),
    "evaluation": value_of,
    "evaluation at once": lambda e: dense(evaluate_all({"e": e}, arrays(), SIZES)["e"]),
    "places": lambda e: at_places(
        e, *(i.ravel() for i in np.indices([int(SIZES.get(d, d)) for d in e.shape])), arrays(), SIZES
    ).reshape([int(SIZES.get(d, d)) for d in e.shape]),
    "expansion": series_value,
    "torch": lambda e: torch_value(e, {k: torch.as_tensor(v) for k, v in arrays().items()}, SIZES).numpy(),
    "compilation": kernel_value,
    "text": read(read_line, text),
    "LaTeX": read(read_latex_line, latex),
    "naming products": lambda e: value_of(
        substitute_runs(e, {OTHER: product(2, X, E)}), arrays() | {"B_2": 2 * arrays()["X"] @ arrays()["E"]}
    ),
    "upright": right_way_up,
}
REFUSED = {("compilation", RowLogSumExp)}
LOOSE = {"expansion": 1e-6, "long truncation": 1e-6}


def test_every_kind_has_a_sample():
    assert set(SAMPLES) == set(NODES)
    assert all(isinstance(expr, kind) for kind, expr in SAMPLES.items())


@pytest.mark.parametrize("kind", NODES, ids=lambda k: k.__name__)
@pytest.mark.parametrize("name", SAME)
def test_every_pass_keeps_the_value_or_refuses_by_name(name, kind):
    expr = SAMPLES[kind]
    if (name, kind) in REFUSED:
        with pytest.raises(UnknownNodeError, match=kind.__name__):
            SAME[name](expr)
        return
    found, expected = SAME[name](expr), independent(kind)
    assert np.broadcast_to(found, expected.shape) == pytest.approx(
        expected, rel=1e-12, abs=LOOSE.get(name, 1e-12)
    )


@pytest.mark.parametrize("kind", NODES, ids=lambda k: k.__name__)
def test_adjoints_against_differences(kind):
    assert gradient_error(SAMPLES[kind]) < 1e-8


@pytest.mark.parametrize("kind", NODES, ids=lambda k: k.__name__)
def test_tangents_against_differences(kind):
    rng = np.random.default_rng(2)
    along = {s: sp.MatrixSymbol(f"d{s}", *s.shape) for s in (E, W)}
    steps = {s: rng.normal(size=arrays()[s.name].shape) for s in along}
    values = arrays() | {along[s].name: step for s, step in steps.items()}
    ends = [
        value_of(SAMPLES[kind], values | {s.name: values[s.name] + h * steps[s] for s in along})
        for h in (1e-5, -1e-5)
    ]
    expected = (ends[0] - ends[1]) / 2e-5
    found = np.broadcast_to(value_of(tangent(SAMPLES[kind], along), values), expected.shape)
    assert found == pytest.approx(expected, rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("kind", NODES, ids=lambda k: k.__name__)
def test_nonzeros_are_sampled_rightly(kind):
    if tuple(SAMPLES[kind].shape) != (N, V):
        return  # not of the pattern's shape
    found, places = sampled_value(SAMPLES[kind])
    assert found[places] == pytest.approx(independent(kind)[places], rel=1e-12)


@pytest.mark.parametrize("kind", NODES, ids=lambda k: k.__name__)
def test_terms_are_counted_and_parts_named(kind):
    assert CountTerms()(SAMPLES[kind]) == (2 if kind is sp.MatAdd else 1)
    assert all(part.shape for part in parts(SAMPLES[kind]))


DEGREES = {
    **{sp.MatrixSymbol: 1, sp.MatMul: 2, sp.MatAdd: 0, sp.Transpose: 1, sp.HadamardProduct: 2},
    **{sp.HadamardPower: 6, ElementwiseApplyFunction: 2, DiagMatrix: 2},
}


@pytest.mark.parametrize("kind", NODES, ids=lambda k: k.__name__)
def test_powers_of_the_weight_scale(kind):
    assert Degree((E, W))(SAMPLES[kind]) == DEGREES.get(kind, 0)


@pytest.mark.parametrize("kind", NODES, ids=lambda k: k.__name__)
def test_powers_of_terms_are_counted_found_and_taken_out(kind):
    """Without terms that cancel, and whatever the order in which weights are asked for."""
    expr, order = SAMPLES[kind], 6
    passes = (
        Count((E, W), (E, W), Truncation(), order),
        ExpansionCost((E, W), order),
    )
    counted, degrees = (one(expr) for one in passes)
    series = expand(expr, (E, W), order)
    assert set(series) <= set(members(counted.whole.every))
    assert set(series) <= degrees
    selection = Selection(passes[0], (E,))
    found = {True: selection.term(expr, min(series), True), False: selection.term(expr, min(series), False)}
    first = sum(value_of(term) for term in found.values() if term is not None)
    assert first == pytest.approx(value_of(series[min(series)]), rel=1e-12)


class Unknown(sp.MatrixExpr):
    """A kind of node that no pass was told of."""

    shape = property(lambda self: self.args[0].shape)


def unknown_passes():
    node = Unknown(Z)
    return {
        "parts": lambda: parts(node),
        "rebuild": lambda: Rebuild()(node),
        "substitution": lambda: Substitution({})(node),
        "canonical": lambda: canonical(node),
        "transposition": lambda: transpose(node),
        "multiplying out": lambda: distribute(node),
        "factoring": lambda: factored(node),
        "normal": lambda: normal(node),
        "monomials": lambda: Monomials()(node),
        "tangent": lambda: tangent(node, {E: E}),
        "collection": lambda: multiplied_out({"E": node}, {"E"}),
        "counting": lambda: CountTerms()(node),
        "claims": lambda: Vocabulary.of(EmbMLP(4, 3, 3)).define(node),
        "truncation": lambda: truncated(node, Truncation(1, 0)),
        "expansion": lambda: expand(node, (E, W), 3),
        "counting powers": lambda: Count((E, W), (E, W), Truncation(), 8)(node),
        "taking terms out": lambda: Selection(Count((E, W), (E, W), Truncation(), 8), (E,)).rule_of(node),
        "adjoint": lambda: gradients(product(sp.OneMatrix(1, N), node, sp.OneMatrix(V, 1)), (E,)),
        "evaluation": lambda: value_of(node),
        "torch": lambda: torch_value(node, {"E": torch.zeros(2, 2)}, SIZES),
        "compilation": lambda: kernel_value(node),
        "patterns": lambda: Sampler(Lowering({}, WEIGHTS, SIZES, {})).pattern_of(node),
        "text": lambda: text(node),
        "LaTeX": lambda: latex(node),
        "naming products": lambda: substitute_runs(node, {OTHER: Z}),
        "powers": lambda: Degree((E, W))(node),
        "upright": lambda: upright(total(node, Z)),
        "sampling": lambda: Sampler(Lowering({}, WEIGHTS, SIZES, {}))._sample(node, A),
    }


@pytest.mark.parametrize("name", unknown_passes())
def test_an_unknown_kind_is_refused_by_name(name):
    with pytest.raises(UnknownNodeError, match="Unknown"):
        unknown_passes()[name]()


def test_a_node_of_our_own_needs_no_rule_to_be_rebuilt():
    class Doubled(MatrixFunction):
        shape = property(lambda self: self.args[0].shape)

    assert Rebuild()(Doubled(total(Z, Z))) == Doubled(product(2, Z))


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (lambda: sp.MatMul(X, E, sp.Inverse(product(W, E)), W), "no inverse"),
        (lambda: sp.MatMul(sp.Trace(product(W, E)), X), "holds the matrix"),
        (lambda: sp.MatMul(E[0, 0], X), "holds the matrix"),
        (lambda: sp.MatPow(product(W, E), sp.Rational(1, 2)), "only whole powers"),
        (lambda: sp.HadamardPower(Z, sp.Symbol("p")), "powers must be numbers"),
    ],
)
def test_what_has_no_rule_is_refused_where_it_is_written(written, words):
    with pytest.raises(UnknownNodeError, match=words):
        canonical(written())


@pytest.mark.parametrize("power", [sp.Integer(-1), sp.Rational(-1, 2), sp.Rational(1, 2)])
def test_other_entrywise_powers_are_functions(power):
    positive = arrays() | {"B": np.abs(arrays()["B"])}
    expr = canonical(sp.HadamardPower(B, power))
    assert value_of(expr, positive) == pytest.approx(positive["B"] ** float(power))
    assert torch_value(expr, {"B": torch.as_tensor(positive["B"])}, SIZES).numpy() == pytest.approx(
        positive["B"] ** float(power)
    )


def test_a_base_that_is_no_average_has_no_series():
    with pytest.raises(ValueError, match="not known to sum to one"):
        expand(RowSoftmax(Z, B), (E, W), 2)


def test_a_softmax_base_must_be_data():
    with pytest.raises(ValueError, match="must be data"):
        gradients(product(sp.OneMatrix(1, N), hadamard(B, RowSoftmax(Z, Z)), sp.OneMatrix(V, 1)), (E,))


def test_attention_models_have_rules_all_the_way():
    assert AttentionOnly(5, 3).logits
    assert text(SAMPLES[sp.MatMul])
