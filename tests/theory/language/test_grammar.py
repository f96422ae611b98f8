"""The grammar of claims: what it reads, and what it refuses with a finger on the character."""

from contextlib import suppress

import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from smallinit.theory.algebra.evaluate import evaluate
from smallinit.theory.algebra.matrices import diagonal, hadamard, product, total, transpose
from smallinit.theory.algebra.nodes import Centering, RowSoftmax
from smallinit.theory.algebra.rebuild import canonical
from smallinit.theory.data.inputs import weight
from smallinit.theory.language.claimed_motion import parse
from smallinit.theory.language.grammar import ClaimError, parse_expression

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
    "": ("`claim` is empty: it starts with one of dA", ""),
    r"\dot{A} = A": ("write plain text, as `print(flow)` does, and no LaTeX", "\\"),
    "dA = A @ A": ("multiplies shapes", "@"),
    "dA = A + B": ("adds shapes", "+"),
    "dA = A + Bx": ("did you mean 'B'", "Bx"),
    "dQ = A": ("no weight's motion", "dQ"),
    "dA = A +": ("needs a name", ""),
    "dA = (A": ("needs ')'", ""),
    "dA = A ; B": ("cannot go on with ';'", ";"),
    "dA = __import__('os')": ("does not know", "'"),
    "dA = A.shape": ("unknown name 'A.shape'", "A.s"),
    "dA = A / S": ("divides by a matrix", "/"),
    "dA = A / 0": ("divides by zero", "/"),
    "dA = exq(A)": ("unknown function 'exq': did you mean 'exp'", "exq"),
    "dA = A o B": ("one shape", "o"),
    "dA = A o": ("needs a name", ""),
    "dA = [1 - A*u]": ("one square bracket", "u"),
    "dA = [tanq(A)]": ("unknown function 'tanq' of an entry", "tanq"),
    "dA = [1/0*A]": ("divides by zero", "/"),
    "dA = [A^1001]": ("power of at most", "^"),
    "dA = [x]": ("needs '('", ""),
    "dA = softmax(A; A; A)": ("3 arguments, it takes 1 or 2", "softmax"),
    "dA = softmax(A; B)": ("against a base of shape", "softmax"),
    "dA = norm(A; A)": ("to the mean squares", "norm"),
    "dA = norm(A; c)": ("to the mean squares", "norm"),
    "dA = [log(0)*A]": ("no number", "log"),
    "dA = 0^(0-1)*A": ("divides by zero", "^"),
    "dA = A^(1/2)": ("power of at most", "("),
    "dA = 1.T*1": ("multiplies shapes", "*"),
    "dA = [" + "(" * 200 + "A" + ")" * 200 + "]": ("nested deeper", "("),
    "dA = [" + "tanh(" * 200 + "A" + ")" * 200 + "]": ("nested deeper", "tanh"),
    "dA = [--A]": ("needs a name", "-A"),
    "dA = [" + "9" * 50 + "*A]": ("digits", "9"),
    "dA = 1e9999999*A": ("exponents of at most 300", "1e9"),
    "dA = 10^12^12^12^12*A": ("too long", "^"),
    "dA = [A/1e-999999]": ("exponents of at most 300", "1e-9"),
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
    "dA = [" + "9" * 5_000 + "*A]": ("digits", "9"),
    "dA = 1e999999999*A": ("exponents of at most 300", "1e9"),
    "dA = [1e-999999999*A]": ("exponents of at most 300", "1e-9"),
    "dA = [" + "(" * 5_000 + "A" + ")" * 5_000 + "]": ("nested deeper", "("),
    "dA = [" + "exp(" * 500 + "A" + ")" * 500 + "]": ("nested deeper", "exp"),
    "dA = [gamma(99999999)*A]": ("gamma of a number beyond", "gamma"),
    "dA = [A*A.T]": ("'A.T' and 'A'", "A.T"),
    "dA = [((2*A)^100)^1000]": ("power of at most", "^1000"),
    "dA = [(0-1)^(1/3)*A]": ("no number", "("),
    "dA = [sqrt(0-1)*A]": ("no number", "sqrt"),
    "dA = sqrt(0-c)*A": ("root of a negative", "sqrt"),
    "dA = (0-2)^(1/2)*A": ("root of a negative", "^"),
    "dA = 9^12^12^12^12^12^12^12*A": ("too long for it", "^12^12"),
    "dS = S^12^12^12^12": ("more than 400 matrices", "^12"),
    "dS = (I - 2*Pi)^12^12^12^12*S": ("more than 400 matrices", "*S"),
    "dA = A" + "@B@A" * 8_000: ("more than 400 matrices", "@"),
    "dA = A" + " + A" * 40_000: ("characters", ""),
    "d(A @ B = A": ("needs ')' here", "= A"),
    "d(A @ B) @ A = A": ("needs '=' here", "@ A ="),
    "d(A @ B)/dx = A": ("needs 'dt' here", "dx"),
    "d() = A": ("needs a name", ") ="),
    "d(A @ Bx) = A": ("did you mean 'B'", "Bx"),
    "d(A @ A) = A": ("multiplies shapes", "@"),
    "d(I) = S": ("unknown size", "(I"),
    "d(2) = S": ("a number", "(2"),
    "d(B) = B": ("moves what holds no weight", "(B"),
    "d(A - A) = A": ("or none that does not cancel", "(A"),
    "d(tanh(A)) = A": ("holds a function of weights", "(tanh"),
    "d(s(A)) = A": ("holds a function of weights", "(s"),
    "d(S + softmax(A @ B)) = S": ("holds a function of weights", "(S"),
    "d((S + S.T + A@B + B.T@A.T)^12) = S": ("more than 100 terms", "((S"),
    "d((A + B.T - 2*A.^2).^12) = A": ("more than 100 terms", "((A"),
    "d((A + B.T).*(A - B.T).*(A + 2*B.T).*(A - 3*B.T).*(A + 4*B.T).*(A - 5*B.T).*(A - 6*B.T)) = A": (
        "more than 100 terms",
        "((A",
    ),
    "d((S^12)^3) = S": ("product of more than 24 weights", "((S"),
    "d(A.^12 .* A.^12 .* A) = A": ("product of more than 24 weights", "(A"),
    "d(A @ B) = d(A) @ B": ("it stands alone on the left", "d(A) @ B"),
    "d(d(A)) = A": ("it stands alone on the left", "d(A))"),
    "d(A @ B) = A": ("gives d(A @ B) the shape (p, q), it must be (p, p)", " A"),
    "d = A": ("or with d(..) of an expression", "d"),
    "d A = A": ("no weight's motion", "d"),
}


@pytest.mark.parametrize("text", REFUSED, ids=range(len(REFUSED)))
def test_refusals_point_at_the_character(text):
    reason, at = REFUSED[text]
    with pytest.raises(ClaimError, match="`claim`") as caught:
        parse(text, NAMES, {"A": A, "S": S}, FUNCTIONS)
    assert reason in caught.value.reason
    if at:
        assert text[caught.value.position :].startswith(at)
    line, caret = str(caught.value).split("\n")[-2:]
    assert caret.strip() == "^"
    if at:
        assert line[caret.index("^")] == at[0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("dA = C\nwith C = A @ Bx", "unknown name 'Bx'"),
        ("dA = C\nwith D = C\nwith C = A", "unknown name 'C'"),
        ("dA = C\nwith A = 2*A", "defines 'A', which is a weight"),
        ("dA = A\nwith 3 = A", "defines '3', which is no name"),
        ("dA = C\nwith C", "needs '='"),
        ("dA = C\nwith C = A\ndA = A", "cannot go on with 'dA'"),
    ],
)
def test_definitions_that_cannot_be_read_are_refused(text, reason):
    with pytest.raises(ClaimError, match="`claim`") as caught:
        parse(text, NAMES, {"A": A}, FUNCTIONS)
    assert reason in caught.value.reason


def column_of_row_sums(v):
    return v["A"].sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A*1*1.T", lambda v: column_of_row_sums(v) * np.ones_like(v["A"])),
        ("A - 1*1.T*A", lambda v: v["A"] - v["A"].sum(axis=0)),
        ("A o (1*1.T*A)", lambda v: v["A"] * v["A"].sum(axis=0)),
        ("A o (2*1*(u.T*A))", lambda v: 2 * v["A"] * (v["u"].T @ v["A"])),
        ("(u*1.T) o A", lambda v: v["u"] * v["A"]),
        ("diag((A o A)*1)*A", lambda v: (v["A"] ** 2).sum(axis=1, keepdims=True) * v["A"]),
        ("1/V*A*1*1.T", lambda v: v["A"].mean(axis=1, keepdims=True) * np.ones_like(v["A"])),
        ("1*A", lambda v: v["A"]),
        ("A^o3 - (2/V)*A", lambda v: v["A"] ** 3 - 2 / v["A"].shape[1] * v["A"]),
        ("[1 - tanh(A)^2]", lambda v: 1 - np.tanh(v["A"]) ** 2),
        ("[A.T*exp(-A.T^2/2)].T", lambda v: v["A"] * np.exp(-(v["A"] ** 2) / 2)),
        ("[(x^2 + 1/4)^(-3/2)](S*A)", lambda v: ((v["S"] @ v["A"]) ** 2 + 0.25) ** -1.5),
        ("tanh(S*A)", lambda v: np.tanh(v["S"] @ v["A"])),
        ("softmax(A)", lambda v: np.exp(v["A"]) / np.exp(v["A"]).sum(axis=1, keepdims=True)),
        ("softmax(A; [A^2])", lambda v: based_softmax(v["A"], v["A"] ** 2)),
        ("norm(A; (1/10))", lambda v: v["A"] / np.sqrt((v["A"] ** 2).mean(axis=1, keepdims=True) + 0.1)),
        (
            "logsumexp(A)*1.T*A^o2",
            lambda v: np.log(np.exp(v["A"]).sum(axis=1, keepdims=True)) * (v["A"] ** 2).sum(0),
        ),
        ("(1/(2*c^(3/2)))*A", lambda v: v["A"] / 2 / 1.7**1.5),
        ("sqrt(2)/sqrt(pi)*A", lambda v: np.sqrt(2 / np.pi) * v["A"]),
    ],
)
def test_what_printed_equations_hold_is_what_they_say(text, expected):
    rng = np.random.default_rng(0)
    values = {"A": rng.normal(size=(3, 4)), "S": rng.normal(size=(3, 3)), "u": rng.normal(size=(3, 1))}
    expr = parse(f"dA/dt = {text}", NAMES, {"A": A}, FUNCTIONS).expression
    found = evaluate(expr, values, {A.rows: 3, A.cols: 4, c: 1.7})
    assert np.broadcast_to(found, (3, 4)) == pytest.approx(expected(values), rel=1e-12)


def based_softmax(x, base):
    mass = base * np.exp(x)
    return mass / mass.sum(axis=1, keepdims=True)


def test_definitions_stand_for_what_they_say():
    text = "  dA/dt = eps*D*D.T*A\n  with C = A o A\n  with D = 2*C\n  with eps = 1: marks powers (of eps)"
    square = hadamard(A, A)
    expected = product(4, square, transpose(square), A)
    assert parse(text, NAMES, {"A": A}).expression == expected


@given(st.text(alphabet="dA=BSIPu(+-*@/.^T, 12)cxtro[];", max_size=40))
def test_any_text_is_read_or_refused(text):
    for claim in (f"dA = {text}", f"d({text}) = 0", f"d{text}"):
        with suppress(ClaimError):
            parse(claim, NAMES, {"A": A}, FUNCTIONS)


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


@pytest.mark.parametrize(
    ("text", "target", "moving"),
    [
        ("d(A @ B) = 0", "(A @ B)", product(A, B)),
        ("d(A @ B  -\tS)/dt = 2*S", "(A @ B - S)", total(product(A, B), product(-1, S))),
        ("d((A.T)) = B", "((A.T))", transpose(A)),
        ("d(A) = A", "A", A),
        ("d(D) = S\nwith D = 2*A@B", "(D)", product(2, A, B)),
        ("d(softmax(B) @ A) = 0", "(softmax(B) @ A)", product(RowSoftmax(B), A)),
    ],
)
def test_what_moves_may_be_made_of_weights(text, target, moving):
    read = parse(text, NAMES, {"A": A, "S": S}, FUNCTIONS)
    assert (read.target, read.moving) == (target, moving)
    assert read.expression.shape == moving.shape


def test_names_of_weights_of_blocks_hold_dots():
    W = weight("blocks.0.W_T", "p", "q")
    claim = parse("dblocks.0.W_T/dt = 2*blocks.0.W_T@B@blocks.0.W_T.T.T", NAMES | {W.name: W}, {W.name: W})
    assert claim.target == W.name
    assert canonical(claim.expression) == canonical(product(2, W, B, W))
    with pytest.raises(ClaimError, match=r"blocks\.1\.W_T"):
        parse_expression("blocks.1.W_T.T", NAMES | {W.name: W})


PAGE = """Gradient flow of Own, closure 'exact' (t: flow time = learning rate x step)
  dA/dt = D
  with D = 2*A
  drops of the loss: eps^6: (1/2)*A, and higher powers
  predicted relative error: A eps^3
  conserved: A*1
  conserved: A.T*A

where
  C  the data
"""


def test_a_page_is_read_with_its_remarks():
    assert parse(PAGE, NAMES, {"A": A}, FUNCTIONS).expression == parse("dA = 2*A", NAMES, {"A": A}).expression


def test_a_transpose_may_be_written_as_papers_do():
    assert parse_expression("B^T*A^T", NAMES) == parse_expression("B.T*A.T", NAMES)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("dA = A B", "'B' here: write a product with '*' or '@'."),
        ("dA = A (S)", "'(' here: write a product with '*' or '@'."),
        ("dA = A\ndB = B", "'dB' here: one equation is checked at a time"),
        ("dA = u_1*A", "needs its line 'with u_1 = ..' below the claim"),
        ("dA = u * A", "diag(..) of the column multiplies the rows"),
        ("dA = A + u * A", "diag(..) of the column multiplies the rows"),
    ],
)
def test_refusals_say_the_remedy(text, remedy):
    column = sp.MatrixSymbol("u", A.rows, 1)
    with pytest.raises(ClaimError, match="`claim`") as caught:
        parse(text, {**NAMES, "u": column}, {"A": A}, FUNCTIONS)
    assert remedy in caught.value.reason
