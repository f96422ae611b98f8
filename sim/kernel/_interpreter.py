"""The one compiled right-hand side: it carries out a table of operations, so that no flow has to be compiled.

`ints` starts with the number of operations and the place where sparse index arrays begin; the operations follow, each
as (code, length, numbers). An array is five numbers: buffer, start, rows and columns as stored, and whether its
transpose is meant. A sparse matrix is five numbers too: starts of its values (in `floats`), of its column indices and
of its row pointers (counted from the first index array), rows, nonzeros. `emit` writes such tables.

Operations are called by address, see `_addresses`: a process compiles, or loads, those that its tables have.
"""

from .cache import compiled
from .calls import _array_operations, _elementwise, _products, _team  # noqa: F401  operations, by their registration
from .calls._addresses import DOUBLE, carry_out
from .calls._operands import buffers, numbers
from .problem import RHS_SIGNATURE


@compiled(RHS_SIGNATURE, _nrt=False)
def rhs(t, y, out, floats, ints, work):
    carry_out(buffers(y, floats, work, out), numbers(ints), 2, ints[0], DOUBLE, out.size)
