"""Arrays as the table of a kernel names them; see `_interpreter`.

Operations get bare pointers: to the places of the buffers, and to the table. What stands here makes arrays of
them without a call, a reference count or the care that slices take of places counted from the end, all of which is
slow to compile.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import boolean, float32, int64, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array

from ..operations import LOST, OUT

OPERAND = 5  # numbers that name an array
BUFFERS = LOST + 1
TABLE = types.CPointer(int64)


def buffers_of(real: Any) -> Any:
    """Type of a pointer to the buffers' places, whose numbers are of type `real`."""
    return types.CPointer(types.CPointer(real))


class _Reader:
    """Writes the code that reads an operand at place p of a table."""

    def __init__(self, context: Any, builder: Any, ints: Any, p: Any) -> None:
        self.context, self.builder, self.ints, self.p = context, builder, ints, p

    def number(self, k: int) -> Any:
        """The number k places on."""
        place = self.builder.add(self.p, self.p.type(k))
        return self.builder.load(self.builder.gep(self.ints, [place]))

    def array(self, kind: Any, data: Any, shape: list[Any]) -> Any:
        """An array of type `kind` in memory that it does not own."""
        context, builder = self.context, self.builder
        size = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(kind.dtype)))
        array = make_array(kind)(context, builder)
        strides = [size] if len(shape) == 1 else [builder.mul(shape[1], size), size]
        populate_array(array, data=data, shape=shape, strides=strides, itemsize=size, meminfo=None)
        return array._getvalue()

    def start(self, buffers: Any) -> Any:
        """Where the array begins that the operand names."""
        base = self.builder.load(self.builder.gep(buffers, [self.number(0)]))
        return self.builder.gep(base, [self.number(1)])


def _reading(dimensions: int) -> Any:
    """An intrinsic that makes an array of an operand."""

    @intrinsic
    def read(typing_context, buffers, ints, p):
        kind = types.Array(buffers.dtype.dtype, dimensions, "C")

        def build(context, builder, signature, args):
            reader = _Reader(context, builder, *args[1:])
            shape = [reader.number(2), reader.number(3)]
            if dimensions == 1:
                shape = [builder.mul(*shape)]
            return reader.array(kind, reader.start(args[0]), shape)

        return kind(buffers, ints, p), build

    return read


view: Any = _reading(2)  # the array that the five numbers at p name, as it is stored
flat: Any = _reading(1)  # the same as one row of numbers


@intrinsic
def _start(typing_context, buffers, ints, p):
    def build(context, builder, signature, args):
        return _Reader(context, builder, *args[1:]).start(args[0])

    return buffers.dtype(buffers, ints, p), build


start: Any = _start  # where the array begins that the five numbers at p name


@intrinsic
def _csr(typing_context, floats, ints, p):
    values, whole = types.Array(floats.dtype, 1, "C"), types.Array(int64, 1, "C")
    kind = types.Tuple((values, whole, whole))

    def build(context, builder, signature, args):
        data, table, p = args
        reader, one = _Reader(context, builder, table, p), ir.Constant(p.type, 1)
        first, rows, nnz = _Reader(context, builder, table, one).number(0), reader.number(3), reader.number(4)
        indices, indptr = (builder.gep(table, [builder.add(first, reader.number(k))]) for k in (1, 2))
        parts = [
            reader.array(values, builder.gep(data, [reader.number(0)]), [nnz]),
            reader.array(whole, indices, [nnz]),
            reader.array(whole, indptr, [builder.add(rows, one)]),
        ]
        return context.make_tuple(builder, kind, parts)

    return kind(floats, ints, p), build


csr: Any = _csr  # values, column indices and row pointers of the sparse matrix at p


@intrinsic
def _row(typing_context, x, i):
    kind = types.Array(x.dtype, 1, "C")

    def build(context, builder, signature, args):
        array = make_array(x)(context, builder, args[0])
        cols = cgutils.unpack_tuple(builder, array.shape)[1]
        data = builder.gep(array.data, [builder.mul(args[1], cols)])
        return _Reader(context, builder, None, None).array(kind, data, [cols])

    return kind(x, int64), build


def _first(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """Where an array begins, or the place that it is."""
    return value if isinstance(kind, types.CPointer) else make_array(kind)(context, builder, value).data


@intrinsic
def _part(typing_context, x, start, stop):
    kind = types.Array(x.dtype, 1, "C")

    def build(context, builder, signature, args):
        data = builder.gep(_first(context, builder, x, args[0]), [args[1]])
        return _Reader(context, builder, None, None).array(kind, data, [builder.sub(args[2], args[1])])

    return kind(x, int64, int64), build


@intrinsic
def _shaped(typing_context, x, rows, cols):
    kind = types.Array(x.dtype, 2, "C")

    def build(context, builder, signature, args):
        data = _first(context, builder, x, args[0])
        return _Reader(context, builder, None, None).array(kind, data, list(args[1:]))

    return kind(x, int64, int64), build


# the first numbers of an array, or after a place, as a matrix of so many rows and columns
shaped: Any = _shaped
row: Any = _row  # row i of a matrix
part: Any = _part  # places start .. stop - 1 of a row of numbers, of a matrix as one, or after a place


@intrinsic
def _place(typing_context, x, i):
    def build(context, builder, signature, args):
        return builder.gep(_first(context, builder, x, args[0]), [args[1]])

    return types.CPointer(x.dtype)(x, int64), build


place: Any = _place  # where number i of an array, or after a place, lies


@intrinsic
def _buffers(typing_context, y, floats, work, out):
    kind = buffers_of(y.dtype)

    def build(context, builder, signature, args):
        pointer = context.get_value_type(kind.dtype)
        places = cgutils.alloca_once(builder, pointer, size=BUFFERS)
        for k in range(OUT + 1, BUFFERS):
            builder.store(pointer(None), builder.gep(places, [ir.IntType(64)(k)]))
        for k, array in enumerate(args):
            data = make_array(signature.args[k])(context, builder, array).data
            builder.store(data, builder.gep(places, [ir.IntType(64)(k)]))
        return places

    return kind(y, floats, work, out), build


@intrinsic
def _lose(typing_context, places):
    def build(context, builder, signature, args):
        place = builder.gep(args[0], [ir.IntType(64)(LOST)])
        builder.store(args[0], builder.bitcast(place, args[0].type.as_pointer()))  # any place that is one
        return context.get_dummy_value()

    return types.none(places), build


@intrinsic
def _is_lost(typing_context, places):
    def build(context, builder, signature, args):
        found = builder.load(builder.gep(args[0], [ir.IntType(64)(LOST)]))
        return builder.icmp_unsigned("!=", found, found.type(None))

    return boolean(places), build


@intrinsic
def _numbers(typing_context, ints):
    def build(context, builder, signature, args):
        return make_array(ints)(context, builder, args[0]).data

    return types.CPointer(ints.dtype)(ints), build


@intrinsic
def _in_single(typing_context, x):
    def build(context, builder, signature, args):
        return builder.bitcast(make_array(x)(context, builder, args[0]).data, context.get_value_type(places))

    places = types.CPointer(float32)
    return places(x), build


in_single: Any = _in_single  # where an array's memory begins, taken for that of numbers in float32
buffers: Any = _buffers  # where the buffers begin, in the order of `operations`; the others have no place yet
lose: Any = _lose  # note in the buffers that an operation had no code
is_lost: Any = _is_lost  # whether that is so
numbers: Any = _numbers  # where an array's numbers begin


def address_of(dispatcher: Any, signature: Any) -> int:
    """Where the code of a compiled function begins in this process."""
    made = dispatcher.get_compile_result(signature)
    return made.library.get_pointer_to_function(made.fndesc.llvm_func_name)


def call_at(context: Any, builder: Any, kinds: tuple[Any, ...], args: Any) -> Any:
    """Code that calls what is compiled at the address ``args[0]``, takes arguments of `kinds` and returns nothing."""
    convention = context.call_conv
    kind = convention.get_function_type(types.none, kinds)
    code = builder.inttoptr(args[0], kind.as_pointer())
    status, _ = convention.call_function(builder, code, types.none, kinds, args[1:])
    with builder.if_then(status.is_error, likely=False):
        convention.return_status_propagate(builder, status)
    return context.get_dummy_value()
