"""Words of memory that several threads read and write, and the locks of Python's own that they sleep by.

What one thread wrote before it changed a word is seen by another that has read the change: every access here is in one
order that all threads agree on. Locks are called by their addresses, see `team`, and need no interpreter.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import float64, int64, types
from numba.core import cgutils
from numba.extending import intrinsic

from ..operations import OUT, OWN
from ._operands import BUFFERS, TABLE, buffers_of

_ORDER, _ALIGNED = "seq_cst", 8
_WORD, _CODE = ir.IntType(64), ir.IntType(32)
PLACES = buffers_of(float64)  # whatever the precision: nothing is read through them but where buffers begin


def _changing(how: str) -> Any:
    """Change word k of memory, and return what it was."""

    @intrinsic
    def change(typing_context, words, k, value):
        def build(context, builder, signature, args):
            return builder.atomic_rmw(how, builder.gep(args[0], [args[1]]), args[2], _ORDER)

        return int64(TABLE, int64, int64), build

    return change


added: Any = _changing("add")
exchanged: Any = _changing("xchg")


@intrinsic
def _now(typing_context, words, k):
    def build(context, builder, signature, args):
        return builder.load_atomic(builder.gep(args[0], [args[1]]), _ORDER, _ALIGNED)

    return int64(TABLE, int64), build


@intrinsic(prefer_literal=True)
def _room(typing_context, size):
    """Words of the caller's own, as many as a literal says."""
    count = size.literal_value

    def build(context, builder, signature, args):
        return cgutils.alloca_once(builder, _WORD, size=count)

    return TABLE(size), build


@intrinsic
def _words_at(typing_context, address):
    def build(context, builder, signature, args):
        return builder.inttoptr(args[0], _WORD.as_pointer())

    return TABLE(int64), build


@intrinsic
def _begin_of(typing_context, pointer):
    def build(context, builder, signature, args):
        return builder.ptrtoint(args[0], _WORD)

    return int64(pointer), build


@intrinsic
def _with_own(typing_context, place, own):
    """A copy of the buffers whose places begin at an address, with one of the thread's own; nothing is lost yet."""

    def build(context, builder, signature, args):
        word = _WORD.as_pointer()
        source, copy = builder.inttoptr(args[0], word), cgutils.alloca_once(builder, _WORD, size=BUFFERS)
        for k in range(BUFFERS):
            at = [_WORD(k)]
            place = builder.load(builder.gep(source, at)) if k <= OUT else args[1] if k == OWN else _WORD(0)
            builder.store(place, builder.gep(copy, at))
        return builder.bitcast(copy, context.get_value_type(PLACES))

    return PLACES(int64, int64), build


@intrinsic
def _acquire(typing_context, function, lock):
    """Sleep until a lock is released; the function is ``PyThread_acquire_lock``."""

    def build(context, builder, signature, args):
        kind = ir.FunctionType(_CODE, [_WORD, _CODE])
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), [args[1], _CODE(1)])
        return context.get_dummy_value()

    return types.none(int64, int64), build


@intrinsic
def _release(typing_context, function, lock):
    """Wake who sleeps by a lock, or is about to; the function is ``PyThread_release_lock``."""

    def build(context, builder, signature, args):
        kind = ir.FunctionType(ir.VoidType(), [_WORD])
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), [args[1]])
        return context.get_dummy_value()

    return types.none(int64, int64), build


now: Any = _now  # word k of memory
room: Any = _room
words_at: Any = _words_at  # words that begin at an address
begin_of: Any = _begin_of  # the address of a place
with_own: Any = _with_own
acquire: Any = _acquire
release: Any = _release
