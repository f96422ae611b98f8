"""Functions compiled as parts of others: what they compute, what is made of them, and what they are called with."""

import math

import pytest
from numba import float64, njit

from smallinit.sim.kernel.cache import compiled
from smallinit.sim.kernel.calls._extremes import greater, lesser
from smallinit.sim.kernel.inner import helper, inlined, subroutine


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


@pytest.mark.parametrize(("kind", "stays"), [(inlined, 0), (subroutine, 1)])
def test_what_becomes_of_a_part_within_its_caller(kind, stays):
    @kind()
    def _third_of(x):
        return x / 3.0

    @njit(float64(float64))
    def whole(x):
        return _third_of(x) + _third_of(x + 1.0)

    assert whole(3.0) == 1.0 + 4.0 / 3.0
    (text,) = whole.inspect_llvm().values()
    assert sum(line.startswith("define") and "_third_of" in line for line in text.splitlines()) == stays


def test_a_subroutine_stays_one_where_a_part_calls_it_that_does_not():
    @subroutine()
    def _third_of(x):
        return x / 3.0

    @inlined()
    def _both_thirds(
        x,
    ):  # the first to call it, and compiled with options that go over to those who have none
        return _third_of(x) + _third_of(x + 1.0)

    @njit(float64(float64))
    def whole(x):
        return _both_thirds(x)

    assert whole(3.0) == 1.0 + 4.0 / 3.0
    (text,) = whole.inspect_llvm().values()
    defined = [line for line in text.splitlines() if line.startswith("define")]
    assert sum("9_third_of" in line for line in defined) == 1
    assert sum("12_both_thirds" in line for line in defined) == 0


@pytest.mark.parametrize(
    "numbers", [(1.0, 2.0), (2.0, 1.0), (0.0, -0.0), (-0.0, 0.0), (math.nan, 1.0), (1.0, math.nan), (3, -4)]
)
def test_extremes_are_pythons(numbers):
    @njit
    def found(a, b):
        return lesser(a, b), greater(a, b)

    assert repr(found(*numbers)) == repr((min(numbers), max(numbers)))
