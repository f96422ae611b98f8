"""The interpreter in single precision: the same tables, with arrays and products in float32.

The state and its derivative stay float64 outside. Memory is handed over as the one type that right-hand sides have:
`floats` and `work` hold two float32 numbers in the place of each float64, and `work` begins with the state and its
derivative. Importing compiles the loop or loads it.
"""

from . import _interpreter  # noqa: F401  operations, by their registration
from .cache import compiled
from .calls._addresses import SINGLE, carry_out
from .calls._operands import buffers, in_single, numbers, part
from .inner import inlined
from .problem import RHS_SIGNATURE


# One array into another, in the precision of that
@inlined()
def _copy(source, target):
    for i in range(target.size):
        target[i] = source[i]


@compiled(RHS_SIGNATURE, _nrt=False)
def rhs(t, y, out, floats, ints, work):
    n, memory = y.size, in_single(work)
    state, slope, rest = part(memory, 0, n), part(memory, n, 2 * n), part(memory, 2 * n, 2 * work.size)
    _copy(y, state)
    places = buffers(state, part(in_single(floats), 0, 2 * floats.size), rest, slope)
    carry_out(places, numbers(ints), 2, ints[0], SINGLE, slope.size)
    _copy(slope, out)
