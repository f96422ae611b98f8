"""Names of temporary files and folders: who made them, so that what the dead leave behind is found and taken away.

``.<target>.<host>-<pid>-<start>-<random>.<kind>``: `host` stands for the machine's name, its boot and its space of
process numbers, so that names never collide across machines that share a disk; `start` tells a process from a later one
of the same number.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from uuid import uuid4

WEEK = (
    7 * 24 * 3600.0
)  # of other hosts nobody can say who is alive; nothing of ours takes a week to be written
_LONGEST = 120  # of a target's name within a temporary one: names end at 255 bytes
_NAME = re.compile(
    r"(?P<prefix>\..*)\.(?P<host>[0-9a-f]{12})-(?P<pid>\d+)-(?P<start>\d+)-[0-9a-f]{12}\.(?P<kind>tmp|new|old)"
)


@cache
def host() -> str:
    """Twelve hex digits that stand for this machine since its boot, and for its space of process numbers."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts += [Path("/proc/sys/kernel/random/boot_id").read_text(), os.readlink("/proc/self/ns/pid")]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def temporary(target: Path, kind: str) -> Path:
    """Return a name beside `target` that nobody else has; `kind` is "tmp", "new" or "old"."""
    pid = os.getpid()
    token = f"{host()}-{pid}-{_start(pid)}-{uuid4().hex[:12]}"
    return target.with_name(f"{_prefix(target)}.{token}.{kind}")


def is_temporary(name: str) -> bool:
    """Whether `temporary` made a name."""
    return _NAME.fullmatch(name) is not None


def leftovers(folder: Path, target: Path | None = None) -> Iterator[tuple[str, Path]]:
    """Yield kind and path of what dead processes left in a folder; what anybody may still use is left out.

    Parameters
    ----------
    folder : Path
        Where to look.
    target : Path, optional
        Only what was to become this.
    """
    prefix = "." if target is None else _prefix(target)
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.name.startswith(prefix))
    except OSError:
        return
    for name in names:
        found = _NAME.fullmatch(name)
        if found and (target is None or found["prefix"] == prefix) and _dead(folder / name, found):
            yield found["kind"], folder / name


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files that dead processes left in a folder; what cannot be removed stays."""
    for kind, path in leftovers(folder):
        if kind == "tmp":
            with suppress(OSError):
                path.unlink()


def remove_tree(path: Path) -> None:
    """Remove a folder of ours as far as that can be done; what stays is found by the next run."""
    shutil.rmtree(path, ignore_errors=True)


def _prefix(target: Path) -> str:
    """A dot and the target's name, cut between two characters, whether that is text or bytes of another encoding."""
    name = target.name
    while len(os.fsencode(name)) > _LONGEST:
        name = name[:-1]
    return f".{name}"


def _dead(path: Path, found: re.Match[str]) -> bool:
    if found["host"] == host():
        return not _alive(int(found["pid"]), int(found["start"]))
    with suppress(OSError):
        return time.time() - path.stat().st_mtime > WEEK
    return False


def _alive(pid: int, start: int) -> bool:
    if os.name != "posix":
        return True  # to ask would be to send it a signal
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it is another user's
    return _start(pid) in (start, 0)


def _start(pid: int) -> int:
    """Clock ticks from the boot to the start of a process; 0 where the system does not say."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
        return int(text.rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0
