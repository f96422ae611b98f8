"""The stages that are left out change nothing about what is compiled."""

import math
import re

import numpy as np
import pytest
from numba import float32, float64, int64, njit

from smallinit.sim.kernel.compiling.kernel_compiler import KernelCompiler
from smallinit.sim.kernel.parts import WholeCompiler


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
    """Text of the code that numba makes of a function, values and blocks named in the order in which they stand."""
    dispatcher = njit(signature, error_model="numpy", **options)(function)
    (text,) = dispatcher.inspect_llvm().values()
    # names of all that numba compiles, which hold numbers, texts that hold them and their lengths; remarks
    text = re.sub(r'B\d+v\d+|v\d+|\[\d+ x i8\](?: c".*")?|;.*', "", text)
    names = {}
    return re.sub(
        r"%[\w.$]+|^[\w.$]+(?=:)",
        lambda m: names.setdefault(m[0].strip("%"), f"%{len(names)}"),
        text,
        flags=re.M,
    )


@pytest.mark.parametrize("counts_arrays", [True, False])
@pytest.mark.parametrize(
    ("function", "signature"),
    [(newton, float64(float64, int64)), (row_sums, int64(float64[:, ::1], float64[::1])),
     (row_sums, int64(float32[:, ::1], float32[::1]))],
)  # fmt: skip
def test_the_code_is_that_of_all_stages(function, signature, counts_arrays):
    options = {"_nrt": counts_arrays}
    plain = code_of(function, signature, **options)
    ours = code_of(function, signature, pipeline_class=KernelCompiler, **options)
    assert len(plain.splitlines()) > 50
    assert plain == ours


def total(x):
    found = 0.0
    for i in range(x.size):
        found += x[i] * x[i]
    return found


def test_where_llvm_has_a_choice_of_order_it_is_led_as_numba_leads_it():
    options = {"_nrt": False, "fastmath": {"reassoc", "contract"}}
    plain, ours = (
        code_of(total, float64(float64[::1]), **options, **more)
        for more in ({}, {"pipeline_class": WholeCompiler})
    )
    assert "reassoc" in plain
    assert plain == ours


def test_what_is_compiled_computes_what_python_does():
    f = njit(float64(float64, int64), pipeline_class=KernelCompiler)(newton)
    assert [f(2.0, 50), f(2.0, 1)] == [newton(2.0, 50), newton(2.0, 1)]
    assert math.isnan(f(-1.0, 5))
    g, x = njit(pipeline_class=KernelCompiler)(row_sums), np.arange(12.0).reshape(3, 4)
    out, expected = np.empty(3), np.empty(3)
    assert g(x, out) == row_sums(x, expected)
    np.testing.assert_array_equal(out, expected)
