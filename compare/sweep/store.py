"""The directory of a sweep: a manifest, shards of finished points, what failed, what was damaged.

A shard is an .npz file written under another name, synced, then renamed: it is there whole or not at all. A point is
done if a sound shard holds it; there are no locks and no index to fall out of step. Claims (see
`point_claims`) only spare work.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ...theory.base.errors import InputError
from ...theory.base.files import write_whole
from ...theory.base.npz import open_npz
from .surroundings import Surroundings

Arrays = dict[str, np.ndarray]
SHARD_BYTES = 2**31
ACCEPTED = "accepted_changes"  # of a point: what was not as when the sweep was begun, with the user's consent
PLAN = (
    "sweep.json"  # axes and experiment of the last run, for readers; what must not change is in the manifest
)


class UnsoundShard(ValueError):
    """A shard that is not what was written under its name."""


class Store:
    """Reads and writes the directory of one sweep.

    Parameters
    ----------
    folder : Path
        Created if it is not there.
    fixed : dict
        What all points share; see `SweepPlan.fixed`. None to open what is there.
    surroundings : Surroundings or None
        What the points to be computed depend on besides; None for readers, who change nothing: they make no folder
        and move no file.

    Raises
    ------
    InputError
        If the directory holds another sweep, or anything else.
    """

    def __init__(
        self, folder: Path, fixed: Mapping[str, Any] | None = None, surroundings: Surroundings | None = None
    ) -> None:
        self.folder = folder
        self.shards, self.failed, self.damaged = (folder / name for name in ("shards", "failed", "damaged"))
        self.places: dict[str, str] = {}  # point -> shard
        self._seen: set[str] = set()
        self.unsound: set[str] = set()  # shards that a reader has found damaged, and leaves where they are
        self.surroundings, self.accepted = surroundings, ""
        self._open(None if fixed is None else dict(fixed))
        for part in (self.shards, self.failed) if surroundings is not None else ():
            part.mkdir(exist_ok=True)
        self.refresh()

    def _open(self, wanted: dict[str, Any] | None) -> None:
        path = self.folder / "manifest.json"
        if wanted is None and not path.is_file():
            raise InputError(f"{str(self.folder)!r} holds no sweep: there is no manifest.json.")
        if path.is_file():
            self._compare(path, self._read_manifest(path), wanted)
            return
        if self.surroundings is None:
            raise InputError(f"{str(self.folder)!r} holds no sweep: there is no manifest.json.")
        if self.folder.is_dir() and any(p.name[0] != "." for p in self.folder.iterdir()):
            raise InputError(f"{str(self.folder)!r} holds other files and no sweep: choose another --out.")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write_manifest(path, (wanted or {}) | self.surroundings.to_dict())

    def _compare(self, path: Path, found: dict[str, Any], wanted: dict[str, Any] | None) -> None:
        """Hold a manifest against what is to be computed; what drivers add to it is written."""
        then = Surroundings.taken_from(found)
        if wanted is not None and found != wanted:
            raise InputError(self._difference(found, wanted))
        if (now := self.surroundings) is None:
            return
        if (changed := then.changes(now)) and not now.accept:
            raise InputError(
                f"{str(self.folder)!r} was begun with other inputs, sources or versions: {'; '.join(changed)}. Choose "
                "another --out, go back to those, or go on with --accept-changes (accept_changes=True)."
            )
        merged = then.followed_by(now)
        self.accepted = "; ".join(merged.accepted)
        if merged.to_dict() != then.to_dict():
            self._write_manifest(path, found | merged.to_dict())

    def _write_manifest(self, path: Path, content: Mapping[str, Any]) -> None:
        write_whole(path, json.dumps(content, indent=1, sort_keys=True) + "\n")

    def _read_manifest(self, path: Path) -> dict[str, Any]:
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(
                f"{str(path)!r} is damaged ({error}): restore it, or choose another --out."
            ) from None
        if not isinstance(found, dict):
            raise InputError(f"{str(path)!r} is not the manifest of a sweep: choose another --out.")
        return found

    def _difference(self, found: dict[str, Any], wanted: dict[str, Any]) -> str:
        keys = sorted(k for k in found.keys() | wanted.keys() if found.get(k) != wanted.get(k))
        shown = "; ".join(f"{k} was {found.get(k)!r} and is {wanted.get(k)!r}" for k in keys[:4])
        more = f"; and {len(keys) - 4} more" if len(keys) > 4 else ""
        return f"{str(self.folder)!r} was made by another sweep: {shown}{more}. Choose another --out."

    def record(self, plan: Mapping[str, Any]) -> None:
        """Keep the axes and the experiment beside the results."""
        content = (json.dumps(plan, indent=1, sort_keys=True) + "\n").encode()
        path = self.folder / PLAN
        if not path.is_file() or path.read_bytes() != content:
            write_whole(path, content)

    def recorded(self) -> dict[str, Any]:
        """What `record` kept.

        Raises
        ------
        InputError
            If there is nothing, or it is damaged.
        """
        path = self.folder / PLAN
        if not path.is_file():
            raise InputError(
                f"{str(self.folder)!r} does not say what its axes are: "
                "run `smallinit sweep FILE --out` with it once more."
            )
        return self._read_manifest(path)

    def refresh(self) -> None:
        """Take note of shards written since, by whomever; drivers put damaged ones aside.

        Raises
        ------
        OSError, MemoryError
            If a shard cannot be read, which says nothing about it.
        """
        try:
            entries = list(os.scandir(self.shards))
        except FileNotFoundError:  # a driver has got no further
            return
        for entry in entries:
            if entry.name.endswith(".npz") and entry.name not in self._seen and entry.name[0] != ".":
                try:
                    self.places |= dict.fromkeys(self._points_of(Path(entry.path)), entry.name)
                except FileNotFoundError:
                    continue  # another driver has put it aside
                except UnsoundShard:
                    self._put_aside(Path(entry.path))
                self._seen.add(entry.name)

    def _points_of(self, path: Path) -> list[str]:
        """Points of a shard, every byte of which is what was written under that name."""
        try:
            with open_npz(path, SHARD_BYTES) as archive:
                archive.check()
                points = json.loads(archive["points.json"].tobytes())
            if _shard_name(points) == path.name:
                return points
        except (LookupError, TypeError, ValueError):  # no shard of ours, or damaged
            pass
        raise UnsoundShard(path.name)

    def _put_aside(self, path: Path) -> None:
        if self.surroundings is None:
            self.unsound.add(path.name)
            return
        self.damaged.mkdir(exist_ok=True)
        target = self.damaged / path.name
        while target.exists():
            target = target.with_name("again-" + target.name)
        with suppress(FileNotFoundError):  # another driver was quicker
            path.replace(target)

    def write(self, found: Mapping[str, Arrays]) -> None:
        """Keep the arrays of some points in one shard."""
        buffer = io.BytesIO()
        points = sorted(found)
        with zipfile.ZipFile(buffer, "w") as archive:
            _add(archive, "points.json", json.dumps(points).encode())
            told = {ACCEPTED: np.array(self.accepted)} if self.accepted else {}
            for i, point in enumerate(points):
                for name, value in sorted((found[point] | told).items()):
                    raw = io.BytesIO()
                    np.lib.format.write_array(raw, np.asarray(value), allow_pickle=False)
                    _add(archive, f"{i}|{name}.npy", raw.getvalue())
        name = _shard_name(points)
        write_whole(self.shards / name, buffer.getvalue())
        self._seen.add(name)
        self.places |= dict.fromkeys(points, name)
        for point in points:
            (self.failed / f"{point}.json").unlink(missing_ok=True)

    def write_failure(self, point: str, reason: str) -> None:
        """Record that a point could not be computed."""
        write_whole(self.failed / f"{point}.json", json.dumps({"reason": reason}))

    def failure_stamps(self) -> dict[str, int]:
        """Point -> when it was last recorded as failed, by the clock of the files."""
        return {path.stem: path.stat().st_mtime_ns for path in self.failed.glob("[0-9a-f]*.json")}

    def failure_stamp(self, point: str) -> int | None:
        """When a point was last recorded as failed."""
        try:
            return (self.failed / f"{point}.json").stat().st_mtime_ns
        except FileNotFoundError:
            return None

    def failures(self) -> dict[str, str]:
        """Point -> why it could not be computed."""
        return {
            path.stem: str(json.loads(path.read_text())["reason"])
            for path in sorted(self.failed.glob("[0-9a-f]*.json"))
            if path.stem not in self.places
        }

    def read(self, points: list[str]) -> dict[str, Arrays]:
        """Arrays of some finished points, shard by shard."""
        wanted = set(points)
        found: dict[str, Arrays] = {}
        for shard in sorted({self.places[p] for p in points}):
            with open_npz(self.shards / shard, SHARD_BYTES) as arrays:
                names = json.loads(arrays["points.json"].tobytes())
                for key in arrays:
                    index, _, name = key.partition("|")
                    if name and names[int(index)] in wanted:
                        found.setdefault(names[int(index)], {})[name] = arrays[key]
        return found

    @property
    def n_damaged(self) -> int:
        """Number of damaged shards: those put aside, and those that a reader has found in their place."""
        return len(self.unsound) + len(list(self.damaged.glob("*.npz")))


def _shard_name(points: list[str]) -> str:
    return hashlib.sha256("".join(points).encode()).hexdigest()[:32] + ".npz"


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    """Add a member with no time stamp: equal results are equal files."""
    archive.writestr(zipfile.ZipInfo(name), content)
