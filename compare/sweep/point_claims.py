"""Who computes what, where several drivers share a sweep's directory: a point is claimed before it is computed.

A claim is a file named by its point that cannot be made twice; it names its driver, whose own file says by its time
that the driver is alive. Claims of the dead are void: of a process that is gone from this host at once, of any other
driver once its file is older than `EXPIRY`. Results never depend on claims; they only spare work.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from ...theory.base.disk.owner import leftovers, temporary

BEAT = 2.0  # seconds between signs of life
EXPIRY = 120.0  # without one, a driver on another host counts as dead


class PointClaims:
    """The claims of one driver; it is alive from its first claim until it closes.

    Parameters
    ----------
    folder : Path
        Where all drivers of the sweep keep theirs; made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.mine, self._living = folder, set[str](), set[str]()
        self.driver = temporary(folder / "driver", "tmp")
        self._beaten = float("-inf")
        self._making: str | None = None

    def beat(self) -> None:
        """Show that this driver is alive, and forget whom it took for alive."""
        while time.monotonic() - self._beaten > BEAT:
            self._living.clear()
            self.folder.mkdir(exist_ok=True)
            with suppress(FileNotFoundError):  # the last of the others has just removed the folder
                self.driver.touch()  # anew if it was taken away: a process that slept for long counted as dead
                self._beaten = time.monotonic()

    def take(self, point: str) -> bool:
        """Claim a point; False if a driver that lives has claimed it."""
        if point in self.mine:
            return True
        self.beat()
        path = self.folder / point
        if not self._make(path) and not (self._put_away(path) and self._make(path)):
            return False
        self.mine.add(point)
        return True

    def release(self, point: str) -> None:
        """Give a claim back: the point is done, or recorded as failed."""
        if point in self.mine:
            self.mine.discard(point)
            (self.folder / point).unlink(missing_ok=True)

    def close(self) -> None:
        """Give all back, also what an interrupt kept from being counted as ours."""
        for path in self.folder.glob("[!.]*"):
            with suppress(FileNotFoundError):
                name = path.read_text(encoding="utf-8")
                if name == self.driver.name or (not name and path.name == self._making):
                    path.unlink()
        self.mine.clear()
        self.driver.unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()  # only if nobody else is at work

    def _make(self, path: Path) -> bool:
        self._making = path.name  # an interrupt may fall between making and signing it
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            self._making = None
            return False
        with os.fdopen(handle, "w") as file:
            file.write(self.driver.name)
        return True

    def _put_away(self, path: Path) -> bool:
        """Put a void claim out of the way; False if it is not void, or somebody else was quicker."""
        if not self._void(path):
            return False
        aside = path.with_name(f".{path.name}.{uuid4().hex[:12]}")
        try:
            path.rename(aside)
            if self._void(aside):
                return True
            with suppress(OSError):  # a claim made in between: it goes back
                os.link(aside, path)
            return False
        except FileNotFoundError:
            return False
        finally:
            aside.unlink(missing_ok=True)

    def _void(self, path: Path) -> bool:
        try:
            written, name = path.stat().st_mtime, path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return False
        if not name:  # its driver is between making and signing it, or was killed there
            return self._now() - written > EXPIRY
        if name not in self._living:
            self._living = self._look()
        return name not in self._living

    def _look(self) -> set[str]:
        """Drivers that live."""
        now, dead = self._now(), {path.name for _, path in leftovers(self.folder)}
        found = set()
        for entry in os.scandir(self.folder):
            if entry.name.startswith(".driver.") and entry.name not in dead:
                with suppress(FileNotFoundError):
                    if now - Path(entry.path).stat().st_mtime <= EXPIRY:
                        found.add(entry.name)
        return found

    def _now(self) -> float:
        """Time by the clock that stamps the files, which may be another host's."""
        self.driver.touch()
        self._beaten = time.monotonic()
        return self.driver.stat().st_mtime
