"""Functions of one variable: every function and every form in numpy, in kernels and in torch, against many digits."""

import mpmath
import numpy as np
import pytest
import sympy as sp
import torch

from smallinit.compare.training.torch_function import UNARY, torch_function
from smallinit.sim.compile.graph import Graph
from smallinit.sim.compile.scalar import apply_function
from smallinit.sim.compile.table.emit import Emitter
from smallinit.sim.kernel._interpreter import rhs
from smallinit.sim.kernel.operations import FUNCTIONS, PARAMETRIC
from smallinit.theory.algebra.scalars.functions import KNOWN, RECIPROCAL, X, expit, softplus
from smallinit.theory.algebra.scalars.numpy_values import numpy_function
from smallinit.theory.algebra.scalars.pieces import joined, pieces
from smallinit.theory.algebra.scalars.series_at_zero import taylor
from smallinit.theory.algebra.scalars.singular import singularity
from smallinit.theory.algebra.scalars.stable import stable_pieces
from smallinit.theory.algebra.traversal import UnknownNodeError


def in_numpy(expr, points):
    with np.errstate(over="ignore", invalid="ignore"):
        return np.broadcast_to(numpy_function(sp.Lambda(X, expr))(points), points.shape)


def in_torch(expr, points):
    return torch_function(expr, X)(torch.from_numpy(points)).detach().numpy()


def in_kernel(expr, points):
    graph = Graph()
    ref = graph.add("weight", (), (1, points.size), "x")
    coefficient, out = apply_function(graph, sp.Lambda(X, expr), 1.0, ref)
    layout = {"x": (0, (1, points.size)), "f": (0, (1, points.size))}
    kernel = Emitter(graph, layout, {"f": [(coefficient, out)]}).run()
    result = np.empty(points.size)
    rhs(0.0, points, result, kernel.floats, kernel.ints, np.empty(kernel.work_size))
    return result


EVALUATIONS = {"numpy": in_numpy, "torch": in_torch, "kernel": in_kernel}
OWN = {"expit": lambda x: 1 / (1 + mpmath.exp(-x)), "softplus": lambda x: mpmath.log(1 + mpmath.exp(x))}


def expected(expr, points):
    with mpmath.workdps(600):
        value = sp.lambdify(X, expr, [OWN, "mpmath"])
        return np.array([float(value(mpmath.mpf(float(p)))) for p in points])


# A place at which each function is as itself; where its argument must lie within 1, or beyond.
INNER = {
    sp.log: 2 + X**2, sp.asin: X / 9, sp.acos: X / 9, sp.atanh: X / 9, sp.acosh: 2 + X**2,
    sp.gamma: X / 3 - sp.Rational(1, 5), sp.loggamma: 2 + X**2, sp.sec: X / 9, sp.csc: 2 + X / 9,
    sp.cot: 2 + X / 9, sp.csch: 2 + X / 9, sp.coth: 2 + X / 9,
}  # fmt: skip
POINTS = np.random.default_rng(0).uniform(-4.0, 4.0, 40)


def test_kernels_and_twins_know_the_same_functions():
    assert (
        {kind.__name__ for kind in KNOWN} == set(FUNCTIONS) - set(PARAMETRIC) == {f.__name__ for f in UNARY}
    )
    assert set(UNARY) == set(KNOWN)


@pytest.mark.parametrize("kind", [*KNOWN, *RECIPROCAL], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("way", EVALUATIONS)
def test_every_function_in_every_way(kind, way):
    expr = kind(INNER.get(kind, X))
    np.testing.assert_allclose(EVALUATIONS[way](expr, POINTS), expected(expr, POINTS), rtol=2e-13)


@pytest.mark.parametrize("kind", KNOWN, ids=lambda kind: kind.__name__)
def test_every_function_has_a_series(kind):
    large = kind in (sp.log, sp.gamma, sp.loggamma, sp.acosh)
    expr = kind(2 + X if large else sp.Rational(1, 3) + X / 2)
    with mpmath.workdps(60):
        exact = mpmath.taylor(sp.lambdify(X, expr, [OWN, "mpmath"]), 0, 8)
        found = [mpmath.mpf(sp.N(c, 40)) for c in taylor(sp.Lambda(X, expr), 8)]
        assert all(mpmath.almosteq(a, b, 1e-20, 1e-20) for a, b in zip(found, exact, strict=True))


@pytest.mark.parametrize("inner", [X, 3 * X - X**2, sp.sin(X) / 2], ids=str)
def test_the_logistic_function_has_the_series_of_tanh_to_any_order(inner):
    """expit(x) = (1 + tanh(x / 2)) / 2, coefficient by coefficient, as fractions."""
    assert taylor(sp.Lambda(X, expit(inner)), 25) == taylor(sp.Lambda(X, (1 + sp.tanh(inner / 2)) / 2), 25)


FAR = np.array([-1e5, -900.0, -40.0, -1.0, 0.0, 0.5, 40.0, 900.0, 1e5])
OVERFLOWING = [
    1 / (1 + sp.exp(-X)),
    1 / (2 + 3 * sp.exp(X)) ** 2,
    sp.log(1 + sp.exp(-X)),
    sp.log(3 + 2 * sp.exp(X)),
    2 * X / (1 + sp.exp(-X)),
    4 / (1 + sp.exp(-X)) - 2,
    (sp.exp(X) - sp.exp(-X)) / (sp.exp(X) + sp.exp(-X)),
    (1 - sp.exp(-X)) / (1 + sp.exp(-X)),
    sp.exp(X) / (1 + sp.exp(X)) ** 2,
    sp.exp(X / 2) / (1 + sp.exp(X)),
    X / sp.cosh(X),
    X * sp.tanh(sp.log(1 + sp.exp(X))),
]


@pytest.mark.parametrize("expr", OVERFLOWING, ids=str)
@pytest.mark.parametrize("way", EVALUATIONS)
def test_nothing_overflows_before_its_value_does(expr, way):
    for derivative in (expr, expr.diff(X), expr.diff(X, 2)):
        np.testing.assert_allclose(
            EVALUATIONS[way](derivative, FAR), expected(derivative, FAR), rtol=1e-12, atol=1e-15
        )


def test_small_values_keep_their_digits():
    for expr in (sp.log(1 + sp.exp(-X)), 1 / (1 + sp.exp(X)), -sp.exp(-X) / (1 + sp.exp(-X))):
        for way in EVALUATIONS.values():
            at = np.array([40.0, 300.0, 700.0])
            np.testing.assert_allclose(way(expr, at), expected(expr, at), rtol=1e-13)


def test_own_functions_are_their_slopes():
    assert softplus(X).diff(X) == expit(X)
    plain = (1 / (1 + sp.exp(-X))).diff(X)
    np.testing.assert_allclose(in_numpy(expit(X).diff(X), POINTS), expected(plain, POINTS), rtol=1e-12)


BENT = sp.Piecewise(
    (X, X < 1), (X - (X - 1) ** 3 / (1 + X), True)
)  # its last piece has a pole where the first holds
PIECES = [
    BENT,
    X + X**2 * sp.Abs(X),
    sp.Piecewise(
        (sp.sin(X + 1) - 1, X <= -1),
        (X + X**3 / 3 + sp.Rational(1, 3), (X > -1) & (X < 2)),
        (sp.log(X), True),
    ),
    sp.Max(X, -1) ** 3,
    sp.Piecewise((0, X < 0), (1, True)) * X**3,
    sp.Heaviside(X - 1) * (X - 1) ** 3 + X,
    sp.Piecewise((2, 2 * X - 1 > 0), (3, True)),
]


@pytest.mark.parametrize("expr", PIECES, ids=str)
@pytest.mark.parametrize("way", EVALUATIONS)
def test_pieces(expr, way):
    points = np.concatenate([POINTS, [-1e3, -3.0, 0.25, 1.5, 1e3]])
    for derivative in (expr, joined(pieces(expr, X), X).diff(X)):
        found = EVALUATIONS[way](derivative, points)
        np.testing.assert_allclose(found, expected(derivative, points), rtol=1e-12, atol=1e-300)
    assert np.isnan(EVALUATIONS[way](expr, np.array([np.nan]))).all()


def test_torch_takes_no_gradient_from_another_piece():
    z = torch.tensor([-1.0, 0.5, 1.0, 3.0], dtype=torch.float64, requires_grad=True)
    value = torch_function(BENT, X)(z)
    (slope,) = torch.autograd.grad(value.sum(), z, create_graph=True)
    (bend,) = torch.autograd.grad(slope.sum(), z)
    np.testing.assert_allclose(slope.detach(), expected(BENT.diff(X), z.detach().numpy()), rtol=1e-13)
    np.testing.assert_allclose(bend, expected(BENT.diff(X, 2), z.detach().numpy()), rtol=1e-13)


def test_series_of_pieces():
    assert taylor(sp.Lambda(X, BENT), 5) == (0, 1, 0, 0, 0, 0)
    both = sp.Lambda(X, X + X**2 * sp.Abs(X))
    assert taylor(both, 2) == (0, 1, 0)
    with pytest.raises(ValueError, match=r"no Taylor series at 0.*its pieces differ there in order 3"):
        taylor(both, 3)
    with pytest.raises(ValueError, match=r"no Taylor series at 0.*no value at 0"):
        taylor(sp.Lambda(X, sp.sqrt(X)), 2)


@pytest.mark.parametrize(
    ("expr", "word"),
    [
        (sp.Mod(X, 1), "Mod"),
        (sp.sinc(X), "sinc"),
        (sp.floor(X), "floor"),
        (sp.Si(X), "Si"),
        (sp.Function("f")(X), "f"),
    ],
)
def test_what_is_not_known_is_named(expr, word):
    for way in EVALUATIONS.values():
        with pytest.raises(
            ValueError, match=f"no numerical form is known of the function {word}: build it from"
        ):
            way(expr, POINTS)
    with pytest.raises(UnknownNodeError, match=word):
        stable_pieces(expr, X)


@pytest.mark.parametrize(
    "expr",
    [
        sp.Piecewise((X, sp.sin(X) < 1), (2, True)),
        sp.Piecewise((X, sp.Ne(X, 0)), (1, True)),
        sp.Abs(sp.sin(X)),
    ],
)
def test_conditions_compare_with_a_number(expr):
    with pytest.raises(ValueError, match="does more than compare x with a number"):
        numpy_function(sp.Lambda(X, expr))


def test_a_gap_between_pieces_is_refused():
    with pytest.raises(ValueError, match="undefined between 1 and 2"):
        numpy_function(sp.Lambda(X, sp.Piecewise((X, X < 1), (2, X > 2))))


@pytest.mark.parametrize(
    ("expr", "place"),
    [
        (sp.tan(X), -np.pi / 2),
        (1 / (1 - X / sp.sqrt(2)), np.sqrt(2)),
        (1 / (X - sp.sqrt(3)) ** 2, np.sqrt(3)),  # it touches zero between the points of the grid
        (1 / (X - 1) ** 4, 1.0),
        (sp.log(X + 2), -2.0),
        (sp.sqrt(X + sp.Rational(7, 2)), -3.5),
        (5 * sp.asin(X / 2), -2.0),
        (sp.acosh(X + 3), -2.0),
        (sp.cot(X + 5), -5 + np.pi),
        (sp.exp(1 / (X - 3)), 3.0),
        (X + 1 / (1 + sp.exp(X) - sp.E), np.log(np.e - 1)),
    ],
)
def test_poles_and_branch_points_are_found(expr, place):
    found = singularity(expr, -4.0, 4.0)
    assert found is not None
    at = float(found.rpartition("=")[2])
    assert at == pytest.approx(place, abs=2e-3) or at == -4.0  # not positive at the edge already


@pytest.mark.parametrize(
    "expr", [5 * sp.asin(X / 5), X / (1 + X**2), 1 / (X**2 + 1e-6), sp.tan(X / 3), sp.log(5 + X)]
)
def test_what_is_smooth_is_left_alone(expr):
    assert singularity(expr, -4.0, 4.0) is None
