"""check_flow: every rule of the contract, broken one at a time."""

import numpy as np
import pytest
from helpers import MODELS, data_for, random_weights
from numba import njit

from smallinit.sim import check_flow
from smallinit.sim.kernel.problem import RHS_SIGNATURE, Problem
from smallinit.theory import derive


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("closure", ["leading", "softmax", "exact"])
def test_derived_flows_keep_the_contract(name, closure):
    model = MODELS[name][0]
    check_flow(derive(model, closure), random_weights(model, scale=0.3), data_for(name))


def skips(t, y, out):
    out[0] = y[0]


def adds(t, y, out):
    out[0] = y[0]
    out[1] = 2.0 * out[1] + 1.0


def not_finite(t, y, out):
    out[0], out[1] = y[0], np.log(y[1] - 2.0)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (skips, "leaves entry 1 of `out` unwritten"),
        (adds, "other numbers at entry 1 when it is called again"),
        (not_finite, "nan or inf at entry 1"),
    ],
)
def test_broken_rules_are_named(function, message):
    with pytest.raises(ValueError, match=message):
        check_flow(Problem.from_function(function, 2), np.ones(2))


@njit(RHS_SIGNATURE)
def writes_state(t, y, out, floats, ints, work):
    y[1] = 0.0
    out[0], out[1] = y[0], y[1]


def test_a_kernel_that_writes_to_the_state_is_named():
    """A plain function cannot: it is given a copy."""
    with pytest.raises(ValueError, match="changes entry 1 of the state"):
        check_flow(Problem(writes_state, {"y": (0, (2, 1))}), np.ones(2))


def test_shapes_and_data():
    problem = Problem.from_function(skips, 2)
    with pytest.raises(ValueError, match=r"`start` must have shape \(2,\)"):
        check_flow(problem, np.ones(3))
    model = MODELS["emb-mlp"][0]
    with pytest.raises(ValueError, match="`data` must be given"):
        check_flow(derive(model), random_weights(model))
