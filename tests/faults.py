"""A disk that fails on purpose: every call of every writer in turn, as SQLite's tests do it.

`Disk` counts the calls that change a folder, or open, write or sync a file in it, and makes one of them fail: by an
error of the system, or by a crash, after which no call does anything any more (so that no clean-up runs) and whatever
was not synced is lost by half. `survive` then asks what a reader sees, and whether the next run puts everything right.

    python tests/fault_table.py            the whole table, with real kills and 2,000 bit flips: some minutes
"""

import builtins
import errno
import io
import os
from contextlib import contextmanager
from pathlib import Path

from smallinit.sim.trajectory import netcdf
from smallinit.theory.base.disk import exchange as exchange_module
from smallinit.theory.base.disk import owner

FAULTS = ("crash", "ENOSPC", "EIO", "EMFILE")
DEAD = 2**22 + 1  # above the largest number that Linux gives to a process
PATCHED = ("open", "mkdir", "fsync", "replace", "rename", "unlink", "remove", "rmdir", "chmod")


class Crash(BaseException):
    """The process has ended here; no `except Exception` of the code under test sees it."""


class Disk:
    """Patches the calls while a block runs; see `failing`.

    Parameters
    ----------
    root : Path
        Calls elsewhere are not counted.
    at : int or None
        Number of the call that fails; None to count only.
    fault : str
        One of `FAULTS`.
    can_exchange : bool
        Whether the system can swap two names in one step.
    kill : bool
        Whether a crash is a real one.
    """

    def __init__(self, root, at=None, fault="crash", can_exchange=True, kill=False):
        self.root, self.at, self.fault, self.can_exchange, self.kill = root, at, fault, can_exchange, kill
        self.calls, self.crashed = [], False
        self._unsynced, self._handles = {}, {}

    def ours(self, path):
        return isinstance(path, str | bytes | os.PathLike) and os.fspath(path).startswith(str(self.root))

    def call(self, name, path, half=lambda: None):
        """Count a call, and fail if it is its turn; `half` is what a crash leaves of it."""
        if self.crashed:
            raise Crash
        self.calls.append((name, str(path)))
        if len(self.calls) - 1 != self.at:
            return
        if self.fault == "crash":
            half()
            if self.kill:
                os._exit(77)
            self.crashed = True
            raise Crash
        if self.fault == "EMFILE" and name != "open":
            return
        code = getattr(errno, self.fault)
        raise OSError(code, os.strerror(code), str(path))

    def lose(self):
        """What a crash of the machine does: what was not synced is not there, or half."""
        for path in self._unsynced:
            if os.path.isfile(path):
                os.truncate(path, os.path.getsize(path) // 2)

    # -- the calls ----------------------------------------------------------------------------------------------------

    def patched(self, name):
        real = getattr(os, name)

        def one_path(path, *args, **kwargs):
            if self.ours(path):
                self.call("unlink" if name == "remove" else name, path)
            result = real(path, *args, **kwargs)
            if name == "open" and self.ours(path):
                self._handles[result] = str(path)
            return result

        def two_paths(source, target, *args, **kwargs):
            if not self.ours(target):
                return real(source, target, *args, **kwargs)
            self.call("rename", target)
            real(source, target, *args, **kwargs)
            moved = [path for path in self._unsynced if path == str(source) or path.startswith(f"{source}/")]
            for path in moved:
                self._unsynced[str(target) + path[len(str(source)) :]] = self._unsynced.pop(path)

        def fsync(handle):
            path = self._handles.get(handle)
            if path is not None:
                self.call("fsync", path)
                self._unsynced.pop(path, None)
            real(handle)

        return {"fsync": fsync, "replace": two_paths, "rename": two_paths}.get(name, one_path)

    def opened(self, real):
        def open_file(file, mode="r", *args, **kwargs):
            writes = set(mode) & set("wax+")
            if not writes or not self.ours(file):
                return real(file, mode, *args, **kwargs)
            self.call("open", file)
            self._unsynced[str(file)] = None
            return Watched(self, real(file, mode, *args, **kwargs), file)

        return open_file

    def write_netcdf(self, real):
        """HDF5 writes by itself: as one call, of which a crash or an error leaves half."""

        def write(dataset, path, *args, **kwargs):
            self._unsynced[str(path)] = None
            real(dataset, path, *args, **kwargs)
            half = lambda: os.truncate(path, os.path.getsize(path) // 2)  # noqa: E731
            try:
                self.call("write", path, half)
            except OSError:
                half()
                raise

        return write

    def exchange(self, real):
        def call(one, first, other, second, flags):
            self.call("exchange", os.fsdecode(second))
            return real(one, first, other, second, flags)

        return lambda: call if self.can_exchange and real is not None else None


class Watched:
    """A file whose writes count."""

    def __init__(self, disk, file, path):
        self._disk, self._file, self._path = disk, file, path

    def write(self, content):
        def half():
            self._file.write(content[: len(content) // 2])
            self._file.flush()

        self._disk.call("write", self._path, half)
        return self._file.write(content)

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    def __iter__(self):
        return iter(self._file)


@contextmanager
def failing(root, at=None, fault="crash", can_exchange=True, kill=False):
    """Give a `Disk` whose call number `at` fails; errors of the faults end here, others do not."""
    disk = Disk(root, at, fault, can_exchange, kill)
    saved = {(os, name): getattr(os, name) for name in PATCHED}
    saved |= {(builtins, "open"): builtins.open, (io, "open"): io.open}
    saved |= {(netcdf, "_write"): netcdf._write}
    saved |= {(exchange_module, "_renameat2"): exchange_module._renameat2}
    saved |= {(os, "getpid"): os.getpid}  # the next run is another process
    real_exchange = exchange_module._renameat2()
    new = {(os, name): disk.patched(name) for name in PATCHED}
    new |= {(builtins, "open"): disk.opened(builtins.open), (io, "open"): disk.opened(io.open)}
    new |= {(netcdf, "_write"): disk.write_netcdf(netcdf._write)}
    new |= {(exchange_module, "_renameat2"): disk.exchange(real_exchange)}
    new |= {} if kill else {(os, "getpid"): lambda: DEAD}
    try:
        for (place, name), value in new.items():
            setattr(place, name, value)
        yield disk
    except Crash:
        pass
    except OSError as error:
        if fault == "crash" or error.errno != getattr(errno, fault):
            raise
    finally:
        for (place, name), value in saved.items():
            setattr(place, name, value)
        if disk.crashed:
            disk.lose()


def content(root):
    """Every file under a folder with its bytes, and every empty folder."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(root.rglob("*"))
    }


def survive(writer, folder, at, fault):
    """Let one call fail and hold what is there against what is promised; the sentence that says what was broken.

    Parameters
    ----------
    writer : writers.Writer
        What is tried.
    folder : Path
        An empty one.
    at, fault : int, str
        Which call, and how.

    Returns
    -------
    str
        Empty if all is well.
    """
    root = prepared(writer, folder)
    old = writer.read(root)
    with failing(root, at, fault, writer.can_exchange) as disk:
        writer.write(root)
    where = f"{writer.name}, call {at} ({disk.calls[-1][0] if disk.calls else 'none'}), {fault}"
    seen = writer.read(root)
    if seen not in (old, writer.new, *writer.between):
        return f"{where}: a reader sees {seen!r}"
    later = [name for name, _ in writer.calls[at:]]  # what cannot be removed stays for the next run
    cleaning = later[0] == "unlink" or not any(k in ("write", "fsync", "rename", "exchange") for k in later)
    left = [name for name in content(root) if owner.is_temporary(Path(name).name)]
    if fault != "crash" and left and not cleaning:
        return f"{where}: {left} is left behind"
    return next_run(writer, root, where)


def prepared(writer, folder):
    """A folder with the old state in it."""
    root = folder / "root"
    root.mkdir()
    writer.begin(root)
    return root


def next_run(writer, root, where):
    """Run again without faults: the new state, bit for bit, and nothing else."""
    writer.write(root)
    if writer.read(root) != writer.new:
        return f"{where}: the next run does not finish"
    other = {name: value for name, value in content(root).items() if writer.clean.get(name, 0) != value}
    missing = writer.clean.keys() - content(root).keys()
    return f"{where}: after the next run {sorted({*other, *missing})} differ" if other or missing else ""


def unsafe(calls):
    """What is renamed without having been synced, or whose folder is not synced afterwards."""
    bad, synced = [], [path for name, path in calls if name == "fsync"]
    for i, (name, path) in enumerate(calls):
        later = [p for n, p in calls[i:] if n == "fsync"]
        if name in ("rename", "exchange") and str(Path(path).parent) not in later:
            bad.append(f"the folder of {path} is not synced after the {name}")
        if name == "write" and owner.is_temporary(Path(path).name) and path not in synced:
            bad.append(f"{path} is never synced")
    return bad
