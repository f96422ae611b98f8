"""Functions compiled as parts of others: what they compute, and that nothing is made of them alone."""

import math

from numba import float64

from smallinit.sim.kernel.cache import compiled
from smallinit.sim.kernel.inner import helper


@helper()
def _halves(x):
    total = 0.0
    while x > 1.0:
        x *= 0.5
        total += x
    return total


@helper()
def _both(x):
    return _halves(x) + math.sqrt(_halves(4.0 * x))


def test_a_part_of_a_part_computes_what_python_does():
    @compiled(float64(float64))
    def whole(x):
        return _both(x) - _halves(x + 1.0)

    halves = _halves.py_func
    for x in (0.5, 3.0, 1000.0):
        assert whole(x) == halves(x) + math.sqrt(halves(4.0 * x)) - halves(x + 1.0)


def test_no_machine_code_is_made_of_a_part():
    @compiled(float64(float64))
    def whole(x):
        return _halves(x)

    _halves.compile((float64,))  # where `whole` came from the cache, nothing else has
    part, made = (f.overloads[(float64,)] for f in (_halves, whole))
    assert not part.library.get_pointer_to_function(part.fndesc.llvm_func_name)
    assert made.library.get_pointer_to_function(made.fndesc.llvm_func_name)
