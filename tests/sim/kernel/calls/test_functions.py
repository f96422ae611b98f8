"""Exponential and hyperbolic tangent of the kernels: two units in the last place everywhere, extremes as usual."""

import mpmath
import numpy as np
import pytest
from numba import njit

from smallinit.sim.compile.graph import Graph
from smallinit.sim.compile.table.emit import Emitter
from smallinit.sim.kernel._interpreter import rhs
from smallinit.sim.kernel.calls import _functions
from smallinit.sim.kernel.problem import Problem
from smallinit.sim.kernel.single_precision import in_single_precision

WHOLE_LINE = [-np.inf, -1e308, -800.0, -746.0, -745.2, -745.1, -709.0, -40.0, -20.0, -1e-300, -5e-324, -0.0]
SPECIAL = np.array(
    [np.nan, *WHOLE_LINE, *(-x for x in WHOLE_LINE), 709.78, 709.79, 708.4, 22.0, 19.06, 19.07]
)


def applied(name, x, scale=1.0, single=False):
    """A function of the kernel, by its table; in float32 if `single`."""
    graph = Graph()
    ref = graph.map(graph.add("weight", (), (1, x.size), "x"), name, scale)
    layout = {"x": (0, (1, x.size)), "f": (0, (1, x.size))}
    kernel = Emitter(graph, layout, {"f": [(1.0, ref)]}).run()
    out = np.empty(x.size)
    problem = Problem(
        rhs, {"x": (0, (1, x.size))}, kernel.floats, kernel.ints, np.empty(kernel.work_size), compiled=True
    )
    (in_single_precision(problem) if single else problem)(0.0, x, out)
    return out


def units_off(found, x, function, real=np.float64):
    """Largest distance from 50 digits, in units of the last place."""
    with mpmath.workdps(50):
        exact = [function(mpmath.mpf(float(v))) for v in x]
        units = [np.spacing(abs(real(float(v)))) for v in exact]
        return max(
            float(abs(mpmath.mpf(float(f)) - e) / mpmath.mpf(float(u)))
            for f, e, u in zip(found, exact, units, strict=True)
        )


def grids():
    """Dense where the two parts of a formula meet, random elsewhere, and down to denormal numbers."""
    rng = np.random.default_rng(0)
    small = 10.0 ** rng.uniform(-323, 0, 1500)
    halves = np.arange(-40, 41) * np.log(2) / 4
    meeting = np.concatenate([halves * (1 + k * 1e-15) for k in range(-3, 4)])
    return np.concatenate([rng.uniform(-20, 20, 3000), rng.uniform(-1, 1, 4000), small, -small, meeting])


@pytest.mark.parametrize(("name", "function"), [("exp", mpmath.exp), ("tanh", mpmath.tanh)])
def test_two_units_in_the_last_place(name, function):
    x = grids()
    assert units_off(applied(name, x), x, function) < 2.0


def test_exponentials_down_to_denormal_and_up_to_the_largest():
    x = np.random.default_rng(1).uniform(-745.1, 709.7, 6000)
    assert units_off(applied("exp", x), x, mpmath.exp) < 2.0


@pytest.mark.parametrize(("name", "function"), [("exp", mpmath.exp), ("tanh", mpmath.tanh)])
def test_two_units_in_the_last_place_of_float32(name, function):
    x = grids().astype(np.float32)
    if name == "exp":
        x = np.append(x, np.random.default_rng(1).uniform(-103.2, 88.7, 3000).astype(np.float32))
    found = applied(name, x.astype(float), single=True)
    assert units_off(found, x, function, np.float32) < 2.0
    assert units_off(found, x, function) > 1e5  # it is no float64 that was rounded nowhere


@pytest.mark.parametrize("name", ["exp", "tanh"])
def test_extremes_of_float32_are_numpys(name):
    x = np.float32(
        [np.nan, np.inf, 89.1, 88.8, 20.0, 9.1, 0.0, -0.0, -9.1, -87.4, -103.9, -104.1, -1e38, -np.inf]
    )
    with np.errstate(over="ignore", under="ignore"):
        expected = getattr(np, name)(x)
    found = applied(name, x.astype(float), single=True)
    np.testing.assert_allclose(found, expected, rtol=3e-7, atol=1.5e-45)


@pytest.mark.parametrize("name", ["exp", "tanh"])
def test_extremes_are_numpys(name):
    with np.errstate(over="ignore", under="ignore"):
        expected = getattr(np, name)(SPECIAL)
    np.testing.assert_allclose(applied(name, SPECIAL), expected, rtol=4e-16, atol=5e-324)


@pytest.mark.parametrize("name", ["exp", "tanh"])
def test_bits_do_not_depend_on_the_neighbours(name):
    """Vectors and what is left over after them give the same."""
    x = np.random.default_rng(2).normal(size=67)
    whole = applied(name, x, 0.7)
    assert all(applied(name, x[i : i + 1], 0.7)[0] == whole[i] for i in range(x.size))


def test_tanh_is_odd_and_never_leaves_its_bounds():
    x = np.random.default_rng(3).uniform(0, 25, 5000)
    values = applied("tanh", x)
    np.testing.assert_array_equal(values, -applied("tanh", -x))
    assert (values <= 1.0).all()
    assert np.signbit(njit(lambda x: _functions.tanh(x))(-0.0))
