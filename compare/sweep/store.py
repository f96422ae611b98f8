"""The directory of a sweep: a manifest, shards of finished points, what failed, what was damaged.

A shard is a sealed .npz file written under another name, synced, then renamed: it is there whole or not at all. A point
is done if a sound shard holds it; there are no locks and no index to fall out of step. Claims (see `point_claims`) only
spare work.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ...theory.base.disk.destination import folder_destination
from ...theory.base.disk.files import make_folder, write_whole
from ...theory.base.disk.npz import open_sealed_npz, write_npz
from ...theory.base.disk.owner import remove_leftovers
from ...theory.base.disk.regular import read_regular
from ...theory.base.disk.sealed import UnsoundFile
from ...theory.base.errors import InputError
from ...theory.base.records import read_record, record_bytes, write_record
from .surroundings import Surroundings

Arrays = dict[str, np.ndarray]
SHARD_BYTES = 2**31
ACCEPTED = "accepted_changes"  # of a point: what was not as when the sweep was begun, with the user's consent
POINTS = "points.json"  # member of a shard: its points, in the order of the arrays' numbers
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
        folder = self.folder = folder_destination(folder)
        self.shards, self.failed, self.damaged = (folder / name for name in ("shards", "failed", "damaged"))
        self.places: dict[str, str] = {}  # point -> shard
        self._seen: set[str] = set()
        self.unsound: set[str] = set()  # shards that a reader has found damaged, and leaves where they are
        self.surroundings, self.accepted = surroundings, ""
        self._open(None if fixed is None else dict(fixed))
        for part in (self.shards, self.failed) if surroundings is not None else ():
            make_folder(part)
            remove_leftovers(part)
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
        make_folder(self.folder)
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
        write_record(path, dict(sorted(content.items())), allow_nan=True)

    def _read_manifest(self, path: Path) -> dict[str, Any]:
        try:
            return read_record(path)
        except UnsoundFile as error:
            raise UnsoundFile(path, error.reason, "restore it, or choose another --out") from None

    def _difference(self, found: dict[str, Any], wanted: dict[str, Any]) -> str:
        keys = sorted(k for k in found.keys() | wanted.keys() if found.get(k) != wanted.get(k))
        shown = "; ".join(f"{k} was {found.get(k)!r} and is {wanted.get(k)!r}" for k in keys[:4])
        more = f"; and {len(keys) - 4} more" if len(keys) > 4 else ""
        return f"{str(self.folder)!r} was made by another sweep: {shown}{more}. Choose another --out."

    def record(self, plan: Mapping[str, Any]) -> None:
        """Keep the axes and the experiment beside the results."""
        content, path = record_bytes(plan, allow_nan=True), self.folder / PLAN
        try:
            known = path.is_file() and read_regular(path, len(content)) == content
        except InputError:
            known = False
        if not known:
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
            with os.scandir(self.shards) as found:
                entries = list(found)
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
            with open_sealed_npz(path, SHARD_BYTES) as archive:
                points = json.loads(archive[POINTS].tobytes())
                named = isinstance(points, list) and all(isinstance(point, str) for point in points)
                sound = named and _shard_name(points) == path.name
                for key in archive:
                    sound = sound and (key == POINTS or _place(key)[0] < len(points))
            if sound:
                return points
        except (ValueError, LookupError, RecursionError):  # no shard of ours, or damaged
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
        points = sorted(found)
        told = {ACCEPTED: np.array(self.accepted)} if self.accepted else {}
        members: dict[str, np.ndarray | bytes] = {POINTS: json.dumps(points).encode()}
        for i, point in enumerate(points):
            arrays = sorted((found[point] | told).items())
            members |= {f"{i}|{name}": np.asarray(value) for name, value in arrays}
        name = _shard_name(points)
        write_npz(self.shards / name, members)
        self._seen.add(name)
        self.places |= dict.fromkeys(points, name)
        for point in points:
            (self.failed / f"{point}.json").unlink(missing_ok=True)

    def write_failure(self, point: str, reason: str) -> None:
        """Record that a point could not be computed."""
        write_record(self.failed / f"{point}.json", {"reason": reason})

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
        """Point -> why it could not be computed; what is damaged says so."""
        return {
            path.stem: _reason(path)
            for path in sorted(self.failed.glob("[0-9a-f]*.json"))
            if path.stem not in self.places
        }

    def read(self, points: list[str]) -> dict[str, Arrays]:
        """Arrays of some finished points, shard by shard."""
        wanted = set(points)
        found: dict[str, Arrays] = {}
        for shard in sorted({self.places[p] for p in points}):
            with open_sealed_npz(self.shards / shard, SHARD_BYTES) as arrays:
                names = json.loads(arrays[POINTS].tobytes())
                for key in arrays:
                    if key != POINTS and names[(place := _place(key))[0]] in wanted:
                        found.setdefault(names[place[0]], {})[place[1]] = arrays[key]
        return found

    @property
    def n_damaged(self) -> int:
        """Number of damaged shards: those put aside, and those that a reader has found in their place."""
        return len(self.unsound) + len(list(self.damaged.glob("*.npz")))


def _shard_name(points: list[str]) -> str:
    return hashlib.sha256("".join(points).encode()).hexdigest()[:32] + ".npz"


def _place(key: str) -> tuple[int, str]:
    """Index of the point and name of the array that a member holds."""
    index, _, name = key.partition("|")
    if not index.isdecimal() or not name:
        raise ValueError(f"member {key!r} belongs to no point")
    return int(index), name


def _reason(path: Path) -> str:
    try:
        return str(read_record(path).get("reason", "it is not said why"))
    except (InputError, FileNotFoundError) as error:
        return f"it is not known why: {error}"
