"""What a package makes public, loaded on first use, and without searches for reference cycles meanwhile."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import lazy_loader


@contextmanager
def no_collections(stay: bool = False) -> Iterator[None]:
    """No search for reference cycles meanwhile: many small objects set off hundreds that find nothing.

    Parameters
    ----------
    stay : bool, default False
        Whether what is made meanwhile stays for good, as modules do: it is then counted among old objects, which are
        searched seldom, without one search more.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            if stay and not gc.get_freeze_count():
                gc.freeze()
                gc.unfreeze()  # to the oldest
            gc.enable()


def attach(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """What loads the names of a package on first use: its ``__getattr__``, ``__dir__`` and ``__all__``.

    Parameters
    ----------
    package, file : str
        Its ``__name__`` and ``__file__``, beside which ``__init__.pyi`` says what is public.
    """
    find, names, public = lazy_loader.attach_stub(package, file)

    def load(name: str) -> Any:
        with no_collections(stay=True):
            found = find(name)
        # Older releases of lazy_loader leave it to be asked for each time.
        vars(sys.modules[package])[name] = found
        return found

    return load, names, public
