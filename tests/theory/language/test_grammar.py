"""The grammar of claims: what it reads, and what it refuses with a finger on the character."""

from contextlib import suppress

import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from smallinit.theory.algebra.evaluate import evaluate
from smallinit.theory.algebra.matrices import diagonal, hadamard, product, total, transpose
from smallinit.theory.algebra.nodes import Centering
from smallinit.theory.algebra.rebuild import canonical
from smallinit.theory.data.inputs import weight
from smallinit.theory.language.grammar import ClaimError, parse, parse_expression

A, B, S = weight("A", "p", "q"), weight("B", "q", "p"), weight("S", "p", "p")
u, c = weight("u", "p", 1), sp.Symbol("c", positive=True)
NAMES = {"A": A, "B": B, "S": S, "u": u, "c": c, "V": A.cols}
FUNCTIONS = {"s": sp.Lambda(sp.Symbol("x", real=True), sp.tanh(sp.Symbol("x", real=True)))}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A @ B", product(A, B)),
        ("A * B", product(A, B)),
        ("2*A@B - S", total(product(2, A, B), product(-1, S))),
        ("-A@B.T.T", product(-1, A, B)),
        ("(A@B + I).T", total(product(transpose(B), transpose(A)), sp.Identity(A.rows))),
        ("S @ Pi", product(S, Centering(A.rows))),
        ("(I - Pi) @ S", product(total(sp.Identity(A.rows), product(-1, Centering(A.rows))), S)),
        ("A - 1/V", total(A, product(-1 / A.cols, sp.OneMatrix(*A.shape)))),
        ("A .* B.T", hadamard(A, transpose(B))),
        ("A o B.T", hadamard(A, transpose(B))),  # as equations are printed
        ("A.^3", hadamard(A, A, A)),
        ("S^2 / 4", product(sp.Rational(1, 4), S, S)),
        ("diag(u) @ A", product(diagonal(u), A)),
        ("0.5 * sqrt(c) * A", product(sp.sqrt(c) / 2, A)),
        ("rowsum(A)", product(A, sp.OneMatrix(A.cols, 1))),
    ],
)
def test_reads(text, expected):
    assert parse_expression(text, NAMES) == expected


def test_precedence_and_association():
    assert parse_expression("A@B@A", NAMES) == product(A, B, A)
    assert parse_expression("S - S - S", NAMES) == product(-1, S)
    assert parse_expression("2*S^2", NAMES) == product(2, S, S)


def test_reads_left_side_and_functions():
    read = parse("dA/dt = s(A)", NAMES, {"A": A}, FUNCTIONS)
    assert read.target == "A"
    assert read.expression.has(sp.tanh)


REFUSED = {
    "dA = A @ A": ("multiplies shapes", "@"),
    "dA = A + B": ("adds shapes", "+"),
    "dA = A + Bx": ("did you mean 'B'", "Bx"),
    "dQ = A": ("no weight's motion", "dQ"),
    "dA = A +": ("needs a name", ""),
    "dA = (A": ("needs ')'", ""),
    "dA = A ; B": ("does not know: ';'", ";"),
    "dA = __import__('os')": ("does not know", "'"),
    "dA = A.shape": ("unknown name 'A.shape'", "A.s"),
    "dA = A / S": ("divides by a matrix", "/"),
    "dA = A / 0": ("divides by zero", "/"),
    "dA = exp(A)": ("unknown function 'exp'", "exp"),
    "dA = A^99": ("power of at most 12", "99"),
    "dA = A^2": ("only squares", "^"),
    "dA = A .* B": ("one shape", ".*"),
    "dA = I": ("unknown size", "I"),
    "dA = 3": ("a number", ""),
    "dA = B": ("gives dA the shape", ""),
    "dA = diag(A)": ("only of a column", "diag"),
    "dA = A B": ("cannot go on with 'B'", "B"),
    "dA = \u0410": ("does not know", "\u0410"),
    "dA = " + "(" * 200 + "A" + ")" * 200: ("nested deeper", ""),
    "dA = " + "9" * 50 + "*A": ("digits", "9"),
    "dA = A" + " + A" * 4000: ("characters", ""),
}


@pytest.mark.parametrize("text", REFUSED, ids=range(len(REFUSED)))
def test_refusals_point_at_the_character(text):
    reason, at = REFUSED[text]
    with pytest.raises(ClaimError, match="`claim`") as caught:
        parse(text, NAMES, {"A": A}, FUNCTIONS)
    assert reason in caught.value.reason
    if at:
        assert text[caught.value.position :].startswith(at)
    line, caret = str(caught.value).split("\n")[-2:]
    assert caret.strip() == "^"
    if at:
        assert line[caret.index("^")] == at[0]


@given(st.text(alphabet="dA=BSIPu(+-*@/.^T, 12)cxtr", max_size=40))
def test_any_text_is_read_or_refused(text):
    with suppress(ClaimError):
        parse("dA = " + text, NAMES, {"A": A}, FUNCTIONS)


TERMS = st.recursive(
    st.sampled_from([("S", S), ("A@B", product(A, B)), ("3*S", product(3, S))]),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda p: (f"({p[0][0]}) + ({p[1][0]})", total(p[0][1], p[1][1]))),
        st.tuples(inner, inner).map(lambda p: (f"({p[0][0]}) @ ({p[1][0]})", product(p[0][1], p[1][1]))),
        inner.map(lambda p: (f"({p[0]}).T", transpose(p[1]))),
    ),
    max_leaves=6,
)


@given(TERMS)
def test_printed_expressions_read_back(pair):
    text, expected = pair
    assert parse_expression(text, NAMES) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tr(S) * A", lambda v: np.trace(v["S"]) * v["A"]),
        ("A / V * tr(A @ B)", lambda v: v["A"] / v["A"].shape[1] * np.trace(v["A"] @ v["B"])),
        ("A + tr(S)", lambda v: v["A"] + np.trace(v["S"])),
        ("tr(S) * tr(S) * A - A", lambda v: (np.trace(v["S"]) ** 2 - 1) * v["A"]),
        ("S @ Pi^2", lambda v: v["S"] - v["S"].mean(axis=1, keepdims=True)),
        (
            "S @ (Pi + I)^2",
            lambda v: v["S"] @ np.linalg.matrix_power(2 * np.eye(len(v["S"])) - 1 / len(v["S"]), 2),
        ),
    ],
)
def test_traces_and_powers_of_open_size_are_what_they_say(text, expected):
    rng = np.random.default_rng(0)
    expr = parse_expression(text, NAMES)
    sizes = {d: k + 3 for k, d in enumerate(sorted({d for m in (A, B, S) for d in m.shape}, key=str))}
    values = {m.name: rng.normal(size=[sizes[d] for d in m.shape]) for m in (A, B, S)}
    assert evaluate(expr, values, sizes) == pytest.approx(expected(values), rel=1e-12)


def test_names_of_weights_of_blocks_hold_dots():
    W = weight("blocks.0.W_T", "p", "q")
    claim = parse("dblocks.0.W_T/dt = 2*blocks.0.W_T@B@blocks.0.W_T.T.T", NAMES | {W.name: W}, {W.name: W})
    assert claim.target == W.name
    assert canonical(claim.expression) == canonical(product(2, W, B, W))
    with pytest.raises(ClaimError, match=r"blocks\.1\.W_T"):
        parse_expression("blocks.1.W_T.T", NAMES | {W.name: W})
