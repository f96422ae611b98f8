"""Test problems with closed forms, each compiled once per session; a small trajectory."""

import math
from functools import cache

import numpy as np
import pytest

from smallinit.sim import Outcome, Status, Trajectory
from smallinit.sim.kernel.problem import Problem
from smallinit.theory import Dataset, EmbMLP


def van_der_pol(t, y, out):
    out[0] = y[1]
    out[1] = 200.0 * (1.0 - y[0] ** 2) * y[1] - y[0]


def climb(t, y, out):
    out[0] = y[0] ** 2 * (1.0 - 1e-4 * y[0])


def square(t, y, out):
    for i in range(y.size):
        out[i] = y[i] * y[i]


def cube(t, y, out):
    out[0] = y[0] ** 3


def power_1_5(t, y, out):
    out[0] = y[0] ** 1.5


def power_1_1(t, y, out):
    out[0] = y[0] ** 1.1


def power_8(t, y, out):
    out[0] = y[0] ** 8


def tangent(t, y, out):
    out[0] = 1.0 + y[0] * y[0]


def quartic_of_time(t, y, out):
    out[0] = t**4


def stiff_beside_a_pole(t, y, out):
    out[0] = y[0] * y[0]
    out[1] = -1e3 * (y[1] - math.cos(t))


def three_factors(t, y, out):
    out[0], out[1], out[2] = y[1] * y[2], y[0] * y[2], y[0] * y[1]


def grow(t, y, out):
    out[0] = 50.0 * y[0]


def grow_twice(t, y, out):
    out[0] = y[0] * math.log(y[0])


def relax(t, y, out):
    out[0] = -1e4 * (y[0] - math.cos(t))


def root(t, y, out):
    out[0] = -0.5 / y[0]


def jumpy(t, y, out):
    """Steps that come upon the jumps are rejected again and again."""
    out[0] = 1.0 if math.floor(1e3 * t) % 2 == 0 else -1e6


def chatter(t, y, out):
    """Drives y to zero and stays: the slope jumps there by a million times the state."""
    out[0] = -np.sign(y[0]) if abs(y[0]) > 1e-7 else -1e7 * y[0]


def turns_nan(t, y, out):
    out[0] = y[0] * y[0] if y[0] < 1e3 else np.nan


def always_nan(t, y, out):
    out[0] = np.nan


def oscillator(t, y, out):
    out[0], out[1] = y[1], -y[0]


def forced(t, y, out):
    out[0] = y[0] * math.cos(t)
    out[1] = -2.0 * t * y[1] * y[1]


def forced_solution(t):
    return np.stack([np.exp(np.sin(t)), 1.0 / (1.0 + np.asarray(t) ** 2)], axis=-1)


def logistic(t, y, out):
    out[0] = y[0] * (1.0 - y[0])


def spread(t, y, out):
    for i in range(y.size):
        out[i] = -y[i] * (1.0 + i / y.size) + math.sin(t + i)


def depth_2(t, y, out):
    out[0] = y[0] * (2.0 - y[0] ** 2)


def depth_3(t, y, out):
    out[0] = y[0] ** 2 * (2.0 - y[0] ** 3)


def depth_4(t, y, out):
    out[0] = y[0] ** 3 * (2.0 - y[0] ** 4)


def strength_2(t, y, out):
    out[0] = 2.0 * y[0] * (2.0 - y[0])


@cache
def _compiled(f):
    """The right-hand side alone, which is the same for states of all sizes."""
    return Problem.from_function(f, 1).rhs


@cache
def _problem(f, n):
    return Problem(_compiled(f), {"y": (0, (n, 1))})


@pytest.fixture(scope="session")
def exact_forced():
    """Solution of `forced`, (m,) -> (m, 2)."""
    return forced_solution


@pytest.fixture(scope="session")
def problem():
    """``problem(name, n=1)``: the compiled right-hand side of that name in this file."""
    return lambda name, n=1: _problem(globals()[name], n)


TIMES = np.array([0.0, 0.5, 2.0])


@pytest.fixture
def data():
    return Dataset(
        np.array([[1, 2], [2, 3], [3, 1], [1, 1]]),
        np.array([0, 1, 2, 3]),
        d_vocab=5,
        weights=np.array([1.0, 2.0, 1.0, 4.0]),
        groups=np.array(["memory", "memory", "reasoning", "test"]),
        held_out=np.array([False, False, False, True]),
        token_groups={"keys": np.array([1, 2, 3])},
    )


@pytest.fixture
def model():
    return EmbMLP(d_vocab=5, d_model=4, d_mlp=6, activation="tanh")


@pytest.fixture
def trajectory(model, data):
    rng = np.random.default_rng(0)
    return Trajectory(
        t=TIMES,
        weights={name: rng.standard_normal((3, *shape)) for name, shape in shapes(model).items()},
        outcome=Outcome(Status.BLOW_UP, 2.5),
        kind="training",
        label="gd",
        statistics={"accepted": np.int64(3), "seconds": 0.25},
        provenance={"seed": 1, "nested": {"numpy": "2"}},
        steps=np.array([0, 5, 20]),
        model=model,
        data=data,
        events={"half": np.array([0.7])},
    )


def shapes(model):
    return {name: array.shape for name, array in model.init(gamma=0.8, seed=0).items()}
