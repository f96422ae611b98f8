"""Operations counted from the table of a right-hand side."""

from helpers import random_data, random_weights

from smallinit.sim.compile.compiler import compile_flow
from smallinit.sim.kernel.problem import Problem
from smallinit.sim.kernel.work import flops, largest_product
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
