"""A mapping that nobody can change, and that travels."""

from __future__ import annotations

from typing import Any, NoReturn, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class FrozenDict(dict[K, V]):
    """A dict that cannot be changed; ``{**it}`` and ``it | other`` are plain dicts again. It can be pickled."""

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(
            "this mapping is part of a finished result and cannot be changed: copy it, dict(...)."
        )

    __setitem__ = __delitem__ = __ior__ = update = setdefault = pop = popitem = clear = _refuse  # pyright: ignore

    def __reduce__(self) -> tuple[type, tuple[dict[K, V]]]:
        """Restore in one go: entries cannot be set one by one."""
        return type(self), (dict(self),)
