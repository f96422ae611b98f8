"""Operations counted from the table of a right-hand side."""

import numpy as np
import pytest
from helpers import random_data, random_weights
from numba import njit
from threadpoolctl import threadpool_limits

from smallinit.sim import solve
from smallinit.sim.compile.compiler import compile_flow
from smallinit.sim.kernel import operations
from smallinit.sim.kernel.problem import RHS_SIGNATURE, Problem
from smallinit.sim.kernel.work import flops, in_parts, largest_product, operations_of
from smallinit.theory import EmbedUnembed, derive


def test_products_of_a_flow_written_by_hand():
    """E' = M U^T and U' = E^T M, M dense (7, 7), E (7, 4), U (4, 7)."""
    model, data = EmbedUnembed(7, 4), random_data()
    problem = compile_flow(derive(model, "leading"), data, random_weights(model))
    assert flops(problem) == 2 * (2.0 * 7 * 7 * 4)
    assert largest_product(problem) == 2.0 * 7 * 7 * 4


def test_a_function_has_no_table():
    def f(t, y, out):
        out[0] = -y[0]

    problem = Problem.from_function(f, 1)
    assert flops(problem) == largest_product(problem) == 0.0


@njit(RHS_SIGNATURE)
def scaled_decay(t, y, out, floats, ints, work):
    out[:] = -y * ints[2]


@pytest.mark.parametrize("ints", [[1, 100, 2, 0, 0, 0], [1, 3, operations.TEAM, 0, 0, 0, 0, 2]])
def test_whole_numbers_of_a_function_are_no_table(ints):
    """As a table, the first would have operations without end, and the second parts for threads."""
    problem = Problem(scaled_decay, {"y": (0, (1, 1))}, ints=np.array(ints))
    assert list(operations_of(problem)) == []
    assert not in_parts(problem)
    with threadpool_limits(2, user_api="blas"):
        found = solve(problem, [1.0], t1=0.1)
    np.testing.assert_allclose(found.y[-1], np.exp(-0.1 * ints[2]), rtol=1e-5)
