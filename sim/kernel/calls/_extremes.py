"""The lesser and the greater of two numbers, as `min` and `max` find them, for which numba compiles functions."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic


def _chosen(comparison: str) -> Any:
    """The second number where it stands so to the first, else the first: which one of two matters where one is nan."""

    @intrinsic
    def choose(typing_context, a, b):
        kind = typing_context.unify_types(types.unliteral(a), types.unliteral(b))

        def build(context, builder, signature, args):
            compare = builder.fcmp_ordered if isinstance(kind, types.Float) else builder.icmp_signed
            return builder.select(compare(comparison, args[1], args[0]), args[1], args[0])

        return kind(kind, kind), build

    return choose


lesser: Any = _chosen("<")
greater: Any = _chosen(">")
