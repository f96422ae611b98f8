"""Series of smooth functions: every coefficient against series by mpmath, at fifty digits."""

import mpmath as mp
import numpy as np
import pytest
import sympy as sp
from scipy.special import softmax
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction

from smallinit.sim.compile.compiler import compile_sides
from smallinit.sim.ode.taylor.series_lanes import SeriesLanes
from smallinit.sim.ode.taylor.series_program import series_program
from smallinit.sim.ode.taylor.series_steps import LANES, SCALE
from smallinit.theory.algebra.nodes import RowSoftmax
from smallinit.theory.algebra.scalars.functions import KNOWN, X, expit, softplus

ORDER = 14
PLACES = {
    sp.acosh: (1.4, 2.0),
    sp.log: (0.6, 1.3),
    sp.asin: (-0.4, 0.3),
    sp.acos: (-0.4, 0.3),
    sp.atanh: (-0.4, 0.3),
}
OF_MPMATH = {
    expit: lambda x: 1 / (1 + mp.exp(-x)),
    softplus: lambda x: mp.log1p(mp.exp(x)),
    sp.asinh: mp.asinh,
}
WITHOUT = (sp.gamma, sp.loggamma)
SHAPES = {"x": (1, 2), "v": (1, 2)}


def moving_along(expr):
    """The flow x' = 1, v' = expr(x), whose v holds the series of the expression along x + t."""
    sides = {"x": sp.OneMatrix(1, 2), "v": expr}
    return compile_sides(sides, {}, SHAPES, {}, {})


def coefficients(problem, y0):
    """Coefficients (n, ORDER + 1) of all states in unscaled time."""
    lanes = SeriesLanes(problem, ORDER, 1e-10, y0[None], np.array([[0.0, 1.0, 1e-12]]), np.empty((1, 0)))
    lanes.run(10, budget=1)
    stride = (ORDER + 1) * LANES
    found = lanes.work[: len(y0) * stride].reshape(len(y0), ORDER + 1, LANES)[:, :, 0]
    return found / lanes.lane[SCALE, 0] ** np.arange(ORDER + 1)


def expected(function, x):
    """Coefficients 1 .. ORDER of the integral of a function along x + t."""
    with mp.workdps(50):
        taylor = mp.taylor(function, mp.mpf(float(x)), ORDER - 1)
        return np.array([float(c / (k + 1)) for k, c in enumerate(taylor)])


def check(expr, function, points, tolerance=2e-13):
    found = coefficients(moving_along(expr), np.concatenate([points, [0.0, 0.0]]))
    for row, x in zip(found[2:], points, strict=True):
        reference = expected(function, x)
        np.testing.assert_allclose(row[1:], reference, rtol=0.0, atol=tolerance * np.abs(reference).max())
        large = np.abs(reference) > 1e-3 * np.abs(reference).max()
        np.testing.assert_allclose(row[1:][large], reference[large], rtol=1e-11)


@pytest.mark.parametrize("kind", [k for k in KNOWN if k not in WITHOUT], ids=lambda k: k.__name__)
def test_every_function_of_the_kernel(kind):
    expr = ElementwiseApplyFunction(sp.Lambda(X, kind(X)), sp.MatrixSymbol("x", 1, 2))
    function = OF_MPMATH.get(kind) or getattr(mp, kind.__name__)
    check(expr, function, np.array(PLACES.get(kind, (-0.7, 0.9))))


@pytest.mark.parametrize("power", [-3, -1, -0.5, 0.5, 1.7, 2, 5])
def test_powers(power):
    shifted = sp.MatrixSymbol("x", 1, 2) + sp.OneMatrix(1, 2)
    expr = ElementwiseApplyFunction(sp.Lambda(X, X ** sp.nsimplify(power)), shifted)
    check(expr, lambda x: (1 + x) ** mp.mpf(power), np.array([0.3, 1.1]))


@pytest.mark.parametrize(
    "expr",
    [
        X * sp.exp(-X) * sp.cos(2 * X),
        X / (1 + X**2),
        sp.tanh(X) ** 3 - 2 / sp.cosh(X) ** 2,
        X * (1 + sp.erf(X)),
        3 * X * expit(2 * X) + 1,
    ],
    ids=str,
)
def test_what_functions_are_made_of(expr):
    own = {"expit": OF_MPMATH[expit]}
    function = sp.lambdify(X, expr, [own, "mpmath"])
    check(
        ElementwiseApplyFunction(sp.Lambda(X, expr), sp.MatrixSymbol("x", 1, 2)),
        function,
        np.array([-0.4, 0.8]),
    )


def test_functions_whose_slope_is_none_of_ours_are_refused():
    for kind in WITHOUT:
        expr = ElementwiseApplyFunction(sp.Lambda(X, kind(X)), sp.MatrixSymbol("x", 1, 2))
        with pytest.raises(ValueError, match=f"applies {kind.__name__}, whose Taylor series is not known"):
            series_program(moving_along(expr))


@pytest.mark.parametrize("size", [1.0, 800.0])  # of logits whose exponentials are no numbers
def test_softmax(size):
    rates = np.array([0.5, -1.0, 2.0])
    start = np.array([0.2, 0.7, -0.3]) + size * np.array([1.0, 1.0, 0.0])
    sides = {
        "x": sp.MatrixSymbol("D", 1, 3),
        "v": RowSoftmax(sp.MatrixSymbol("x", 1, 3)),
    }
    problem = compile_sides(sides, {"D": rates[None]}, {"x": (1, 3), "v": (1, 3)}, {}, {})
    found = coefficients(problem, np.concatenate([start, np.zeros(3)]))
    shifted = start - start.max()
    for i in range(3):

        def share(t, i=i):
            terms = [
                mp.exp(mp.mpf(float(x)) + mp.mpf(float(r)) * t) for x, r in zip(shifted, rates, strict=True)
            ]
            return terms[i] / mp.fsum(terms)

        reference = expected(share, 0.0)
        np.testing.assert_allclose(
            found[3 + i, 1:], reference, rtol=1e-11, atol=1e-14 * np.abs(reference).max()
        )
    assert found[3:, 1] == pytest.approx(softmax(start), rel=1e-14)
