"""What numba is asked again and again while it compiles, answered once.

At every operator numba asks dozens of templates, most of them for arrays, times, strings and sets, though ``a * b`` of
two numbers is the same everywhere, and so is what one of our own intrinsics makes of the same types. It asks them when
it looks for types, and once more when it writes code. Where it finds no code it looks through all its registries
for what is new, and of every variable it asks LLVM how large it is.
"""

from __future__ import annotations

import builtins
import operator
from collections.abc import Callable
from functools import cache
from types import BuiltinFunctionType
from typing import Any

from numba import types
from numba.core.typing import templates

# Numbers and places in memory: what operators do with them is no function of anybody's, and depends on nobody who asks.
# Of arrays, that is so of their entries.
_PLAIN = types.Number, types.Boolean, types.CPointer
_ENTRIES = {operator.getitem, operator.setitem}
_SIGNS = {getattr(operator, name) for name in operator.__all__}
_OPERATORS = _SIGNS | {builtins.abs, builtins.bool, builtins.float, builtins.int, builtins.range}
_INTRINSIC: Any = getattr(templates, "_IntrinsicTemplate", None)  # a name that numba does not promise
_FOUND: dict[tuple[Any, tuple[Any, ...]], Any] = {}
_TYPES: dict[Any, Any] = {}


def _once(func: Any, args: tuple[Any, ...], kws: Any, ask: Callable[[], Any]) -> Any:
    """Signature of a call: what `ask` says of it, the first time where that depends on types alone."""
    if kws or not _depends_on_types_alone(func, args):
        return ask()
    call = func, args
    if call not in _FOUND:
        _FOUND[call] = ask()
    return _FOUND[call]


def _depends_on_types_alone(func: Any, args: tuple[Any, ...]) -> bool:
    """Whether a call is one of an intrinsic, or of an operator and what is plain."""
    sign = func
    if isinstance(func, types.Function):  # another once somebody has extended it
        if _INTRINSIC is not None and all(issubclass(each, _INTRINSIC) for each in func.templates):
            return True
        sign = func.typing_key
    if sign in _ENTRIES and isinstance(args[0], types.Array):
        args = args[1:]
    return sign in _OPERATORS and all(isinstance(each, _PLAIN) for each in args)


class _Operator(types.Function):
    """Numba's type of an operator, for whoever asks it and not a context: what writes code."""

    def __init__(self, own: Any) -> None:
        super().__init__(own.templates)
        self._own = own

    def get_call_type(self, context: Any, args: Any, kws: Any) -> Any:
        """Signature of a call, by the types of its arguments."""
        return _once(self._own, args, kws, lambda: self._own.get_call_type(context, args, kws))

    def get_impl_key(self, sig: Any) -> Any:
        """What says where the code of a signature is."""
        return self._own.get_impl_key(sig)


class RememberedTypes:
    """A typing context of numba that remembers what it finds of operators and intrinsics, for all of a process.

    Parameters
    ----------
    context : numba typing context
        What is asked, and stays what it was.
    """

    def __init__(self, context: Any) -> None:
        self._context = context

    def __getattr__(self, name: str) -> Any:
        """All else, as it is there."""
        return getattr(self._context, name)

    def resolve_value_type(self, val: Any) -> Any:
        """Numba's type of what a name stands for."""
        found = self._context.resolve_value_type(val)
        if not isinstance(val, BuiltinFunctionType) or val not in _SIGNS:
            return found
        if found not in _TYPES:
            _TYPES[found] = _Operator(found)
        return _TYPES[found]

    def resolve_setitem(self, target: Any, index: Any, value: Any) -> Any:
        """Signature of an assignment to an entry."""
        return self.resolve_value_type(operator.setitem).get_call_type(self, (target, index, value), {})

    def resolve_function_type(self, func: Any, args: tuple[Any, ...], kws: dict[str, Any]) -> Any:
        """Signature of a call, by the types of its function and arguments."""
        return _once(func, args, kws, lambda: self._context.resolve_function_type(func, args, kws))


@cache
def contexts(typing: Any, target: Any) -> tuple[Any, Any]:
    """The two contexts of numba that a compiler is given, as ours are: the same for all, as they remember.

    Parameters
    ----------
    typing, target
        Numba's own, which stay what they were.
    """
    remembered, quiet = RememberedTypes(typing), target.subtarget()
    seen: list[int] = []

    def refresh() -> None:
        """Look for what is new where anything is."""
        if seen != _entered(typing, target):
            target.refresh()
            seen[:] = _entered(typing, target)

    quiet.refresh, quiet.typing_context = refresh, remembered
    # LLVM is asked by a text that it has to parse, for every variable
    quiet.get_abi_sizeof = cache(target.get_abi_sizeof)
    return remembered, quiet


def _entered(typing: Any, target: Any) -> list[int]:
    """How much stands in each list of the registries of the two contexts."""
    lists = [
        each
        for where in (typing, target)
        for registry in where._registries
        for each in vars(registry).values()
    ]
    return [len(each) for each in lists if isinstance(each, list)]
