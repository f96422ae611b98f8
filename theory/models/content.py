"""What is kept of a model is kept by what its equations say, not by its class and fields.

Two objects of one class and equal fields can have other logits: a notebook cell changed a number that they read, or a
subclass has attributes that are no fields. What was derived for the one must not be taken for the other's.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import lru_cache, wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from ..base.frozen_dict import FrozenDict

if TYPE_CHECKING:
    from .model import Model

P = ParamSpec("P")
R = TypeVar("R")


class Content:
    """A model as a key: equal to another one if its equations are."""

    def __init__(self, model: Model) -> None:
        self.model = model
        _ = model.weights  # refuses names that would clash, before anything is derived
        sizes = tuple(model.sizes.items())
        said = (model.logits, model.weight_symbols, model.loss, model.driven, sizes)
        self._said: Hashable = (type(model), *said)
        self._hash = hash(self._said)

    def __hash__(self) -> int:
        """Hash of the equations, computed once."""
        return self._hash

    def __eq__(self, other: object) -> bool:
        """Whether the equations are the same."""
        return self is other or (isinstance(other, Content) and self._said == other._said)


def kept_by_content(most: int) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Keep the last `most` results of a function of models; a dict is handed out frozen.

    Parameters
    ----------
    most : int
        Number of results.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @lru_cache(maxsize=most)
        def kept(*keys: Any) -> Any:
            plain: Any = [key.model if isinstance(key, Content) else key for key in keys]
            found = function(*plain)  # pyright: ignore[reportCallIssue]
            return FrozenDict(found) if type(found) is dict else found

        @wraps(function)
        def wrapper(*args: Any) -> Any:
            return kept(*(getattr(arg, "content", arg) for arg in args))

        return wrapper  # pyright: ignore[reportReturnType]

    return decorate
