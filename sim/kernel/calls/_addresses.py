"""Operations by address: each is compiled, or loaded, when a table has it for the first time.

The interpreter calls operations through a table of addresses of this process. Its code on disk knows the table by a
name that is looked up when the code is loaded, so that no address is ever stored. Number 0 of the table is what to
call for an operation that is missing yet.
"""

from __future__ import annotations

import ctypes
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import float32, float64, int64, types
from numba.extending import intrinsic

from ..cache import LOCK, compiled, source_hash
from ..inner import INNER, inlined
from ..operations import FUNCTIONS, MAP, OUT
from ._operands import TABLE, address_of, buffers_of, call_at, is_lost, lose

SYMBOL = f"smallinit_addresses_{source_hash()}"
FIRST_FUNCTION = 32  # functions stand behind the operations, which are fewer
SLOTS = FIRST_FUNCTION + len(FUNCTIONS)
DOUBLE, SINGLE = 1, 1 + SLOTS  # where the addresses of each precision begin
_SIGNATURES = {real: types.void(buffers_of(real), TABLE, int64) for real in (float64, float32)}
_SOURCES: dict[int, tuple[Callable, dict[str, Any]]] = {}
_LOADED: dict[int, Any] = {}  # what the addresses are of, which must not be given back


def _table() -> np.ndarray:
    """The table of this process; it outlives this module, for loaded code knows where it lies."""
    size = 1 + 2 * SLOTS
    if place := binding.address_of_symbol(SYMBOL):
        return np.ctypeslib.as_array((ctypes.c_int64 * size).from_address(place))
    table = np.zeros(size, np.int64)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(table))
    binding.add_symbol(SYMBOL, table.ctypes.data)
    return table


_ADDRESSES = _table()


def operation(code: int, *functions: str, **options: Any) -> Callable[[Callable], Callable]:
    """What carries out an operation, ``f(buffers, ints, p)``; with options of `numba.njit`.

    Parameters
    ----------
    code : int
        The operation.
    functions : str
        Of `MAP`: the scalar functions that this one carries out.
    """

    def register(function: Callable) -> Callable:
        for slot in [FIRST_FUNCTION + FUNCTIONS.index(name) for name in functions] or [code]:
            _SOURCES[slot] = function, options
        return function

    return register


def make_ready(operations: Iterable[tuple[int, int]], single: bool = False) -> None:
    """Compile or load what a table needs and this process lacks.

    Parameters
    ----------
    operations : iterable of (int, int)
        Operations, and the function of each that is a `MAP`.
    single : bool, default False
        Whether in float32.
    """
    first = SINGLE if single else DOUBLE
    for slot in {
        first + (FIRST_FUNCTION + function if code == MAP else code) for code, function in operations
    }:
        if not _ADDRESSES[slot]:
            _load(slot)


def _load(slot: int) -> None:
    real, own = (float32, slot - SINGLE) if slot >= SINGLE else (float64, slot - DOUBLE)
    function, options = _SOURCES[own]
    signature = _SIGNATURES[real]
    with LOCK:
        if not _ADDRESSES[slot]:
            _LOADED[slot] = compiled(signature, **INNER, **options)(function)
            found = address_of(_LOADED[slot], signature)
            for other, (same, _) in _SOURCES.items():
                if same is function:
                    _ADDRESSES[slot - own + other] = found


@ctypes.CFUNCTYPE(None, ctypes.c_int64)
def _missing(slot: int) -> None:
    """Called from compiled code: a table was carried out that nobody made ready."""
    try:
        _load(slot)
    except Exception as error:  # the interpreter sees that there is none
        warnings.warn(f"an operation could not be compiled ({error!r}).", RuntimeWarning, stacklevel=2)


_ADDRESSES[0] = ctypes.cast(_missing, ctypes.c_void_p).value


def _entry(builder: Any, slot: Any) -> Any:
    """Code that reads the table of addresses."""
    module, kind = builder.module, ir.ArrayType(ir.IntType(64), len(_ADDRESSES))
    table = module.globals.get(SYMBOL) or ir.GlobalVariable(module, kind, SYMBOL)
    return builder.load(builder.gep(table, [ir.IntType(64)(0), slot]))


@intrinsic
def _address(typing_context, slot):
    """Address of an operation; 0 if there is none."""

    def build(context, builder, signature, args):
        word = ir.IntType(64)
        found = _entry(builder, args[0])
        with builder.if_then(builder.icmp_signed("==", found, word(0)), likely=False):
            kind = ir.FunctionType(ir.VoidType(), [word])
            builder.call(builder.inttoptr(_entry(builder, word(0)), kind.as_pointer()), [args[0]])
        return _entry(builder, args[0])

    return int64(int64), build


@intrinsic
def _call(typing_context, address, buffers, ints, p):
    """Carry out the operation at an address."""
    kinds = buffers, ints, int64

    def build(context, builder, signature, args):
        return call_at(context, builder, kinds, args)

    return types.none(int64, *kinds), build


address: Any = _address
call: Any = _call


# So many operations of a table, one after another, from place p on; the addresses of their precision begin at `first`.
# If one has no code, the result is no number; `size` says how many of its numbers are written here (none by a part).
@inlined()
def carry_out(buffers, ints, p, count, first, size):
    for _ in range(count):
        code, q = ints[p], p + 2
        found = address(first + (FIRST_FUNCTION + ints[q] if code == MAP else code))
        if found == 0:
            lose(buffers)
            break
        call(found, buffers, ints, q)
        p += ints[p + 1]
    if is_lost(buffers):
        for i in range(size):
            buffers[OUT][i] = np.nan
