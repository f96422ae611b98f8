"""The version of this package that is installed, for modules inside; `smallinit.__version__` needs no room for it."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version


@cache
def package_version() -> str:
    """Return the installed version; a bare source tree on the path has none and says so."""
    try:
        return version("smallinit")
    except PackageNotFoundError:
        return "0+uninstalled"
