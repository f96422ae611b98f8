"""The stages that are left out, and the types that are remembered, change nothing about what is compiled."""

import math
import operator
import re

import numpy as np
import pytest
from numba import boolean, float32, float64, int64, njit, types
from numba.core.errors import TypingError
from numba.core.registry import cpu_target

from smallinit.sim.kernel.kernel_compiler import KernelCompiler, RememberedTypes


def newton(x, steps):
    y, done = x, False
    for _ in range(steps):
        if not y > 0.0:
            return math.nan
        old, y = y, 0.5 * (y + x / y)
        if abs(y - old) <= 1e-15 * y:
            done = True
            break
    return y if done else -y


def row_sums(x, out):
    total = 0
    for i in range(x.shape[0]):
        part = 0.0
        for j in range(x.shape[1]):
            value = x[i, j] ** 2 if (i + j) % 2 == 0 else -x[i, j]
            part += value
        out[i] = part / (i + 1)
        total += i // 2
    return total


def code_of(function, signature, **options):
    """Text of the code that numba makes of a function, without the numbers that it gives to all that it compiles."""
    dispatcher = njit(signature, error_model="numpy", **options)(function)
    (text,) = dispatcher.inspect_llvm().values()
    return re.sub(
        r'B\d+v\d+|v\d+|\[\d+ x i8\](?: c".*")?', "", text
    )  # names, texts that hold them and their lengths


@pytest.mark.parametrize(
    ("function", "signature"),
    [(newton, float64(float64, int64)), (row_sums, int64(float64[:, ::1], float64[::1])),
     (row_sums, int64(float32[:, ::1], float32[::1]))],
)  # fmt: skip
def test_the_code_is_that_of_all_stages(function, signature):
    plain, ours = code_of(function, signature), code_of(function, signature, pipeline_class=KernelCompiler)
    assert len(plain.splitlines()) > 50
    assert plain == ours


def test_what_is_compiled_computes_what_python_does():
    f = njit(float64(float64, int64), pipeline_class=KernelCompiler)(newton)
    assert [f(2.0, 50), f(2.0, 1)] == [newton(2.0, 50), newton(2.0, 1)]
    assert math.isnan(f(-1.0, 5))
    g, x = njit(pipeline_class=KernelCompiler)(row_sums), np.arange(12.0).reshape(3, 4)
    out, expected = np.empty(3), np.empty(3)
    assert g(x, out) == row_sums(x, expected)
    np.testing.assert_array_equal(out, expected)


class Counting:
    """numba's own context, and how often it is asked."""

    def __init__(self):
        self.context, self.asked = cpu_target.typing_context, 0

    def __getattr__(self, name):
        return getattr(self.context, name)

    def resolve_function_type(self, *call):
        self.asked += 1
        return self.context.resolve_function_type(*call)


PLACE = types.CPointer(float64)
NUMBERS = float64, float32, int64, boolean, types.literal(3)


@pytest.mark.parametrize("sign", [operator.add, operator.truediv, operator.lt, operator.eq, operator.pow])
def test_remembered_types_are_numbas_own(sign):
    counting = Counting()
    remembered = RememberedTypes(counting)
    function = remembered.resolve_value_type(sign)
    for a in NUMBERS:
        for b in NUMBERS:
            found = [remembered.resolve_function_type(function, (a, b), {}) for _ in range(2)]
            own = counting.context.resolve_function_type(function, (a, b), {})
            assert found[0] == found[1] == own
    assert counting.asked <= len(NUMBERS) ** 2  # fewer if another test has asked before


@pytest.mark.parametrize("args", [(float64[::1], float64[::1]), (types.unicode_type, types.unicode_type)])
def test_of_arrays_and_strings_numba_is_always_asked(args):
    counting = Counting()
    remembered = RememberedTypes(counting)
    function = remembered.resolve_value_type(operator.add)
    for _ in range(2):
        assert remembered.resolve_function_type(function, args, {}) is not None
    assert counting.asked == 2


def test_what_has_no_type_is_refused_each_time():
    remembered = RememberedTypes(Counting())
    function = remembered.resolve_value_type(operator.add)
    for _ in range(2):
        with pytest.raises(TypingError):
            remembered.resolve_function_type(function, (PLACE, PLACE), {})
