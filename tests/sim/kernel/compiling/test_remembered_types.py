"""What is remembered of types is what numba says, and what it might say otherwise another time it is asked."""

import operator

import numpy as np
import pytest
from numba import boolean, float32, float64, int64, njit, types
from numba.core.errors import TypingError
from numba.core.registry import cpu_target
from numba.extending import intrinsic, overload

from smallinit.sim.kernel.compiling.kernel_compiler import KernelCompiler
from smallinit.sim.kernel.compiling.remembered_types import RememberedTypes, contexts


class Counting:
    """numba's own context, and how often it is asked."""

    def __init__(self):
        self.context, self.asked = cpu_target.typing_context, 0
        self.context.refresh()  # which is empty until something is compiled

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


@pytest.mark.parametrize(
    ("sign", "args"),
    [(operator.add, (float64[::1], float64[::1])), (operator.add, (types.unicode_type, types.unicode_type)),
     (operator.getitem, (float64[::1], types.slice2_type)), (operator.getitem, (float64[::1], int64[::1]))],
)  # fmt: skip
def test_of_arrays_and_strings_numba_is_always_asked(sign, args):
    counting = Counting()
    remembered = RememberedTypes(counting)
    function = counting.context.resolve_value_type(sign)
    for _ in range(2):
        assert remembered.resolve_function_type(function, args, {}) is not None
    assert counting.asked == 2


def test_what_has_no_type_is_refused_each_time():
    remembered = RememberedTypes(Counting())
    function = remembered.resolve_value_type(operator.add)
    for _ in range(2):
        with pytest.raises(TypingError):
            remembered.resolve_function_type(function, (PLACE, PLACE), {})


@pytest.mark.parametrize("array", [float64[::1], float32[:, ::1], int64[:, :, :]])
def test_entries_of_arrays_are_remembered_as_numba_types_them(array):
    counting = Counting()
    remembered, index = (
        RememberedTypes(counting),
        types.UniTuple(int64, array.ndim) if array.ndim > 2 else int64,
    )
    own = counting.context.resolve_value_type(operator.getitem).get_call_type(
        counting.context, (array, index), {}
    )
    for _ in range(2):
        assert remembered.resolve_function_type(operator.getitem, (array, index), {}) == own
        assert (
            remembered.resolve_value_type(operator.getitem).get_call_type(remembered, (array, index), {})
            == own
        )
    assert remembered.resolve_setitem(float64[::1], int64, float32) == counting.context.resolve_setitem(
        float64[::1], int64, float32
    )


def test_an_intrinsic_is_asked_once_for_the_same_types():
    asked = []

    @intrinsic
    def doubled(typing_context, x):
        asked.append(x)

        def build(context, builder, signature, args):
            return builder.fadd(args[0], args[0])

        return x(x), build

    def f(x):
        return doubled(x) + doubled(x + x)

    def g(x):
        return doubled(x)

    for function, expected in ((f, 9.0), (g, 3.0)):
        assert njit(pipeline_class=KernelCompiler)(function)(1.5) == expected
    assert asked == [float64]
    assert njit(pipeline_class=KernelCompiler)(g)(np.float32(1.5)) == 3.0
    assert asked == [float64, float32]


def test_what_is_new_is_found_after_a_first_function_was_compiled():
    def g(x):
        return x + 1.0

    assert njit(pipeline_class=KernelCompiler)(g)(1.0) == 2.0

    def named(x):
        raise NotImplementedError

    @overload(named)
    def choose(x):
        return lambda x: 3.0 * x

    def f(x):
        return named(x)

    assert njit(pipeline_class=KernelCompiler)(f)(2.0) == 6.0


def test_all_compilers_are_given_the_same_contexts_and_numbas_own_stay():
    typing, target = cpu_target.typing_context, cpu_target.target_context
    first, second = (contexts(typing, target) for _ in range(2))
    assert first[0] is second[0]
    assert first[1] is second[1]
    assert target.typing_context is typing
    assert "refresh" not in vars(target)
