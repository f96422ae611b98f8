"""Lines of text and LaTeX: every form unambiguous to a reader, brackets and signs in their place."""

import numpy as np
import pytest
import sympy as sp
from reader import read_latex_line, read_line

from smallinit.theory.algebra.evaluate import evaluate
from smallinit.theory.algebra.matrices import (
    apply,
    diagonal,
    hadamard,
    hadamard_power,
    product,
    total,
    transpose,
)
from smallinit.theory.algebra.nodes import Centering, RowSoftmax, StochasticSymbol
from smallinit.theory.printing.latex import latex
from smallinit.theory.printing.letters import free_name, letters
from smallinit.theory.printing.text import text

N, V = (sp.Symbol(name, integer=True, positive=True) for name in ("n", "d_vocab"))
SIZES = {N: 5, V: 4}
F, G = sp.MatrixSymbol("F", N, V), sp.MatrixSymbol("G", N, V)
Q, W = sp.MatrixSymbol("Q", V, V), sp.MatrixSymbol("W_E", V, V)
B, C = StochasticSymbol("C_mean", N, V), sp.MatrixSymbol("c", N, 1)
X = sp.Symbol("x", real=True)
ONE, ROW = sp.OneMatrix(V, 1), sp.OneMatrix(1, N)
ALL = product(sp.OneMatrix(N, 1), sp.OneMatrix(1, V))

LINES = [
    (product(F, ONE), "F*1", r"F \mathbf{1}"),
    (product(ROW, F), "1.T*F", r"\mathbf{1}^{T} F"),
    (total(F, product(-1, G, ONE, sp.OneMatrix(1, V))), "F - G*1*1.T", r"F - G \mathbf{1} \mathbf{1}^{T}"),
    (total(F, product(sp.Rational(1, 4), ALL)), None, None),
    (total(ALL, product(-2, F)), None, None),
    (product(F, transpose(W)), "F*W_E.T", r"F \left(W^{E}\right)^{T}"),
    (product(-1, hadamard(F, G)), "-F o G", r"-F \circ G"),
    (product(sp.Rational(-3, 2), F, Q), "-(3/2)*F*Q", r"-\frac{3}{2} F Q"),
    (product(1 / sp.sqrt(V), F), "1/sqrt(d_vocab)*F", r"\frac{1}{\sqrt{V}} F"),
    (product(1 / (2 * V), total(F, G)), "(1/(2*d_vocab))*(F + G)", None),
    (product(hadamard(F, G), Q), "(F o G)*Q", None),
    (hadamard(product(F, Q), G), None, None),
    (hadamard_power(product(F, Q), sp.Integer(3)), "(F*Q)^o3", r"\left(F Q\right)^{\circ {3}}"),
    (hadamard_power(total(F, G), sp.Integer(2)), "(F + G)^o2", None),
    (hadamard_power(W, sp.Integer(2)), "W_E^o2", r"\left(W^{E}\right)^{\circ {2}}"),
    (sp.HadamardPower(B, sp.Rational(-1, 2)), "C_mean^o(-1/2)", None),
    (transpose(RowSoftmax(F, B)), "softmax(F; C_mean).T", None),
    (RowSoftmax(product(F, Q)), "softmax(F*Q)", r"\operatorname{softmax}\left(F Q\right)"),
    (product(diagonal(C), F, Centering(V)), "diag(c)*F*Pi", r"\operatorname{diag}\left(c\right) F \Pi"),
    (total(Q, sp.Identity(V)), "Q + I", r"Q + \mathbb{I}"),
    (total(Q, product(-1, Centering(V))), "Q - Pi", r"Q - \Pi"),
    (apply("tanh", product(F, Q)), "tanh(F*Q)", r"\tanh{\left(F Q \right)}"),
    (apply("tanh", transpose(F)), "tanh(F.T)", None),
    (apply(sp.Lambda(X, 1 - sp.tanh(X) ** 2), F), "[1 - tanh(F)^2]", None),
    (apply(sp.Lambda(X, 1 - sp.tanh(X) ** 2), product(F, Q)), "[1 - tanh(x)^2](F*Q)", None),
    (apply(sp.Lambda(X, sp.exp(-X)), F), "exp(-F)", "e^{- F}"),
    (apply(sp.Lambda(X, sp.exp(-(X**2) / 2)), F), "[exp(-F^2/2)]", None),
    (apply("gelu", hadamard(F, G)), "[x*(erf(sqrt(2)*x/2) + 1)](F o G)", None),
    (product(apply("gelu", F), total(Q, W)), None, None),
    (sp.ZeroMatrix(N, V), "0", "0"),
]


def arrays():
    rng = np.random.default_rng(0)
    values = {s.name: rng.normal(size=[int(SIZES.get(d, d)) for d in s.shape]) for s in (F, G, Q, W, C)}
    return values | {"C_mean": rng.dirichlet(np.ones(4), 5)}


@pytest.mark.parametrize(("expr", "plain", "typeset"), LINES, ids=lambda x: x if isinstance(x, str) else "")
def test_lines_say_what_they_mean(expr, plain, typeset):
    assert plain is None or text(expr) == plain
    assert typeset is None or latex(expr) == typeset
    values, shape = arrays(), [int(SIZES.get(d, d)) for d in expr.shape]
    expected = evaluated(expr, values)
    known = values | {str(d): float(size) for d, size in SIZES.items()}
    assert read_line(text(expr), known, shape) == pytest.approx(expected, rel=1e-13)
    assert read_latex_line(latex(expr), known, shape) == pytest.approx(expected, rel=1e-13)


def evaluated(expr, values):
    if isinstance(expr, sp.HadamardPower) and not expr.exp.is_Integer:
        return values[expr.base.name] ** float(expr.exp)
    found = evaluate(expr, values, SIZES)
    return found.toarray() if hasattr(found, "toarray") else found


def test_the_variable_of_a_function_is_no_ones_name():
    x = sp.MatrixSymbol("x", N, V)
    assert text(apply("silu", product(x, Q))) == "[x_1*(tanh(x_1/2) + 1)](x*Q)"


def test_names_are_free():
    assert free_name("S", {"A"}) == "S"
    assert free_name("S", {"S", "S_1"}) == "S_2"
    assert free_name("S", set(), first=1) == "S_1"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["W_E", "d_vocab"], {"W_E": "W^{E}", "d_vocab": "V"}),
        (["V", "d_vocab"], {"V": "V", "d_vocab": "d_{vocab}"}),
        (["W1", "W_1"], {"W1": "W_{1}", "W_1": r"\mathtt{W\_1}"}),
        (["gain", "g", "gain_1"], {"gain": r"\mathrm{gain}", "g": "g", "gain_1": r"\mathrm{gain}_{1}"}),
        (["e", "Pi"], {"e": r"\mathtt{e}", "Pi": r"\mathtt{Pi}"}),
        (["d_m", "d_model"], {"d_m": "d_{m}", "d_model": "d_{model}"}),
    ],
)
def test_no_two_names_print_alike(names, expected):
    assert letters(map(sp.Symbol, names)) == expected
