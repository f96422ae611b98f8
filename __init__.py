"""Derive, integrate and check the gradient-flow theory of small initialisation.

``smallinit.theory`` derives equations (sympy), ``smallinit.sim`` integrates them (numba),
``smallinit.compare`` trains the matching torch model and lays the two over each other.
Each loads on first use: ``import smallinit`` itself imports nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import compare as compare
    from . import sim as sim
    from . import theory as theory

    __version__: str

_SUBPACKAGES = ("compare", "sim", "theory")


def _version() -> str:
    """Return the installed version; a bare source tree on the path has none and says so."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("smallinit")
    except PackageNotFoundError:
        return "0+uninstalled"


def __getattr__(name: str) -> object:
    """Import a subpackage, or look up the version, when it is first asked for."""
    if name == "__version__":
        globals()["__version__"] = _version()
        return globals()["__version__"]
    if name in _SUBPACKAGES:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *_SUBPACKAGES, "__version__"})
