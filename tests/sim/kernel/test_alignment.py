"""Arrays that begin with a line of the cache, and who has them."""

import numpy as np
import pytest
from helpers import random_data, random_weights

from smallinit.sim.compile.compiler import compile_flow
from smallinit.sim.kernel.alignment import aligned, whole_lines
from smallinit.sim.ode.methods import find_method
from smallinit.sim.ode.stepper import StepControl
from smallinit.theory import EmbMLP, derive


def begins_with_a_line(x):
    return x.ctypes.data % 64 == 0


@pytest.mark.parametrize("shape", [(1,), (7,), (8, 8), (2, 5, 7), (100_001,), (1000, 1000)])
def test_new_arrays(shape):
    for x in (aligned(*shape), aligned(*shape, zero=True)):
        assert begins_with_a_line(x)
        assert x.shape == shape
        assert x.dtype == np.float64
        assert x.flags.c_contiguous
        assert x.flags.writeable
    assert not aligned(*shape, zero=True).any()


def test_numbers_of_lines():
    assert [whole_lines(n) for n in (0, 1, 8, 9, 16, 17)] == [0, 8, 8, 16, 16, 24]


def test_states_slopes_and_scratch_memory_of_a_flow():
    model, data = EmbMLP(7, 4, 4), random_data()
    start = random_weights(model)
    problem = compile_flow(derive(model, "leading"), data, start)
    again = compile_flow(derive(model, "leading"), data, start)
    assert problem.n % 8 == 0
    for work in (problem.work, again.work, problem.with_own_memory().work):
        assert begins_with_a_line(work)
    y = problem.pack(start)
    assert begins_with_a_line(y)
    stepper = find_method("dop853", 1e-8).begin(problem, y, 0.0, 1.0, StepControl(1e-8, 1e-12))
    for _ in range(2):
        assert begins_with_a_line(stepper.y)
        assert all(begins_with_a_line(k) for k in stepper._k)
        stepper.advance(1.0, 1, 10)
        stepper.dense(np.array([(stepper.t_before + stepper.t) / 2]), np.empty((1, problem.n)))
    assert len(stepper._k) > find_method("dop853", 1e-8).stages + 1
