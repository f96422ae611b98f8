"""Where compiled code is kept between processes, and a decorator that keeps it there.

numba's own `cache=True` writes next to the source (which may be read-only), misses edits in imported
helpers, and a damaged file breaks every later run. Here the directory's name holds the version and a hash
of this package's sources, and every file carries a checksum: a damaged one counts as missing and is written
anew.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import os
import shutil
import stat
import tempfile
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from ...theory.base.errors import InputError
from ...theory.base.package.first_use import no_collections
from ...theory.base.package.version import package_version
from .compile_clock import COMPILING

LOCK = threading.RLock()
# Settings of numba that say what code is made of a function; numba's own cache takes one's for another's.
_SETTINGS = "OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK", "DEBUGINFO_DEFAULT"


@functools.cache
def source_hash() -> str:
    """Hash of all sources of this layer that have to do with compiled code (12 hex digits)."""
    layer, digest = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted(layer.rglob("*.py")):
        text = path.read_bytes()
        if _is_compiled(path, text):  # an edited observable must not recompile the step loop
            digest.update(path.relative_to(layer).as_posix().encode() + b"\0" + text)
    return digest.hexdigest()[:12]


def _is_compiled(path: Path, text: bytes) -> bool:
    """Whether a source has a part in compiled code: all of this folder, and what names numba or a decorator of ours."""
    marks = b"numba", b"kernel.inner", b"compiled("
    return Path(__file__).parent in path.parents or any(mark in text for mark in marks)


def _base() -> Path:
    """Directory above all versions; ``SMALLINIT_CACHE`` overrides the per-user default."""
    if chosen := os.environ.get("SMALLINIT_CACHE"):
        return Path(chosen)
    default = user_cache_path("smallinit", appauthor=False)
    if not default.is_absolute():  # of a user without a home
        raise RuntimeError("there is no home directory")
    return default


def _usable(path: Path) -> None:
    """Create `path` and make sure that this user alone decides what lies in it: its files are executed."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if hasattr(os, "getuid"):
        for folder in (path, path.parent):
            if folder.stat().st_uid != os.getuid():
                raise PermissionError(f"{folder} belongs to another user")
        for folder in (path, *path.resolve().parents):
            if _others_write(folder.stat()):
                raise PermissionError(f"others may write to {folder}, whose files are run: chmod go-w")
    tempfile.TemporaryFile(dir=path).close()


def _others_write(found: os.stat_result) -> bool:
    """Whether others may put files of theirs, or a folder of theirs, in the place of ours."""
    if found.st_mode & stat.S_ISVTX and found.st_uid in (0, os.getuid()):
        return False  # such as /tmp: nobody renames what is another's
    shared_group = found.st_mode & stat.S_IWGRP and not _own_group(found.st_gid)
    return bool(shared_group or found.st_mode & stat.S_IWOTH)


def _own_group(gid: int) -> bool:
    """Whether a group is this user's own and has no other members: many systems give everyone such a one."""
    import grp

    try:
        others = [name for name in grp.getgrgid(gid).gr_mem if name != os.environ.get("USER")]
    except KeyError:
        return False
    return gid == os.getgid() and not others


@functools.cache
def cache_dir() -> Path:
    """Return the directory for compiled code of exactly this version of the sources.

    ``$SMALLINIT_CACHE`` or the user's cache directory; if that cannot be written, a temporary directory that
    is removed at exit, with one warning.
    """
    try:
        path = _base() / f"{package_version()}-{source_hash()}"
        _usable(path)
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home directory
        path = Path(tempfile.mkdtemp(prefix="smallinit-"))
        atexit.register(shutil.rmtree, path, ignore_errors=True)
        warnings.warn(
            f"compiled code is kept for this process only, the cache directory is not usable ({error});"
            " set SMALLINIT_CACHE to a writable directory.",
            RuntimeWarning,
            stacklevel=2,
        )
    return path


def _checked_file_class() -> type:
    from numba.core.caching import IndexDataCacheFile

    class CheckedFile(IndexDataCacheFile):
        """Index and data files that end with the SHA-256 of what stands before it."""

        def _load_index(self) -> dict:
            try:
                return super()._load_index()
            except Exception:  # a truncated or altered pickle can raise nearly anything
                Path(self._index_path).unlink(missing_ok=True)
                return {}

        def _load_data(self, name: str) -> Any:
            raw = Path(self._data_path(name)).read_bytes()
            if hashlib.sha256(raw[:-32]).digest() != raw[-32:]:
                raise OSError(f"{name} is damaged")  # numba takes this for a missing file and compiles
            return super()._load_data(name)  # the checksum stands behind the pickle's end mark

        def _save_data(self, name: str, data: Any) -> None:
            raw = self._dump(data)
            with self._open_for_write(self._data_path(name)) as file:
                file.write(raw + hashlib.sha256(raw).digest())

    return CheckedFile


def _attach_cache(dispatcher: Any, signature: Any) -> None:
    """Give `dispatcher` a cache in `cache_dir`, leaving numba's global setting as it was.

    Each signature has files of its own: in shared ones, two processes that save at once mistake each other's code. So
    has each level of optimisation.
    """
    import numba

    settings: Any = numba.config
    previous = settings.CACHE_DIR
    settings.CACHE_DIR = str(cache_dir())
    try:
        dispatcher.enable_caching()
    finally:
        settings.CACHE_DIR = previous
    file: Any = dispatcher._cache._cache_file
    file.__class__ = _checked_file_class()
    what = [str(signature), *(repr(getattr(settings, name, None)) for name in _SETTINGS)]
    mark = hashlib.sha256("\0".join(what).encode()).hexdigest()[:8]
    file._index_path = file._index_path.removesuffix(".nbi") + f"-{mark}.nbi"
    file._data_name_pattern = file._data_name_pattern.replace(".{number", f"-{mark}.{{number")


def _check_compiles(settings: Any) -> None:
    if settings.DISABLE_JIT:
        raise InputError(
            "NUMBA_DISABLE_JIT is set, but kernels call each other by address, which only compiled code can: unset it"
            " (NUMBA_JIT_COVERAGE=1 counts the lines of compiled code without it)."
        )


def compiled(signature: Any, **options: Any) -> Callable[[Callable], Any]:
    """Compile a function for one explicit signature now, or load it from the cache on disk.

    Parameters
    ----------
    signature : numba signature
        The one type that the function is compiled for; explicit, because only then a second process hits
        the cache.
    **options
        Further options of `numba.njit`; ``nogil=True, error_model="numpy", no_cfunc_wrapper=True`` are the defaults.

    Raises
    ------
    InputError
        If NUMBA_DISABLE_JIT tells numba to compile nothing.
    """
    import numba

    from .parts import WholeCompiler

    _check_compiles(numba.config)

    def build(function: Callable, cached: bool) -> Any:
        defaults = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
        dispatcher = numba.njit(pipeline_class=WholeCompiler, **(defaults | options))(function)
        if cached:
            _attach_cache(dispatcher, signature)
        dispatcher.compile(signature)
        dispatcher.disable_compile()
        return dispatcher

    def decorate(function: Callable) -> Any:
        with LOCK, COMPILING.running(), no_collections():
            try:
                return build(function, cached=True)
            except OSError as error:  # a full disk must not stop a computation
                warnings.warn(f"compiled code could not be cached ({error}).", RuntimeWarning, stacklevel=2)
                return build(function, cached=False)

    return decorate
