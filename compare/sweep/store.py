"""The directory of a sweep: a manifest, shards of finished points, what failed, what was damaged.

A shard is an .npz file written under another name, synced, then renamed: it is there whole or not at all. A point is
done if a sound shard holds it; there are no locks and no index to fall out of step.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...theory.base.errors import InputError
from ...theory.base.files import write_whole
from ...theory.base.npz import open_npz
from .identity import code_hash

Arrays = dict[str, np.ndarray]
SHARD_BYTES = 2**31
PLAN = (
    "sweep.json"  # axes and experiment of the last run, for readers; what must not change is in the manifest
)


class Store:
    """Reads and writes the directory of one sweep.

    Parameters
    ----------
    folder : Path
        Created if it is not there.
    fixed : dict
        What all points share; see `SweepPlan.fixed`. None to open what is there.

    Raises
    ------
    InputError
        If the directory holds another sweep, or anything else.
    """

    def __init__(self, folder: Path, fixed: Mapping[str, Any] | None = None) -> None:
        self.folder = folder
        self.shards, self.failed, self.damaged = (folder / name for name in ("shards", "failed", "damaged"))
        self.places: dict[str, str] = {}  # point -> shard
        self._seen: set[str] = set()
        self._open(None if fixed is None else dict(fixed) | {"code": code_hash()})
        for part in (self.shards, self.failed):
            part.mkdir(exist_ok=True)
        self.refresh()

    def _open(self, wanted: dict[str, Any] | None) -> None:
        path = self.folder / "manifest.json"
        if wanted is None and not path.is_file():
            raise InputError(f"{str(self.folder)!r} holds no sweep: there is no manifest.json.")
        if path.is_file():
            found = self._read_manifest(path)
            if wanted is not None and found != wanted:
                raise InputError(self._difference(found, wanted))
            return
        if self.folder.is_dir() and any(p.name[0] != "." for p in self.folder.iterdir()):
            raise InputError(f"{str(self.folder)!r} holds other files and no sweep: choose another --out.")
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(wanted, indent=1, sort_keys=True) + "\n")

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
        what = "other code (the package's sources have changed)" if keys == ["code"] else "another sweep"
        return f"{str(self.folder)!r} was made by {what}: {shown}{more}. Choose another --out."

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
        """Take note of shards written since, by whomever; damaged ones are put aside."""
        for entry in os.scandir(self.shards):
            if entry.name.endswith(".npz") and entry.name not in self._seen and entry.name[0] != ".":
                self._seen.add(entry.name)
                if (points := self._sound(Path(entry.path))) is None:
                    self._put_aside(Path(entry.path))
                else:
                    self.places |= dict.fromkeys(points, entry.name)

    def _sound(self, path: Path) -> list[str] | None:
        """Points of a shard, or None unless every byte of it is what was written under that name."""
        try:
            with open_npz(path, SHARD_BYTES) as archive:
                archive.check()
                points = json.loads(archive["points.json"].tobytes())
            return points if _shard_name(points) == path.name else None
        except (FileNotFoundError, LookupError, TypeError, ValueError):  # gone, no shard of ours, or damaged
            return None

    def _put_aside(self, path: Path) -> None:
        self.damaged.mkdir(exist_ok=True)
        target = self.damaged / path.name
        while target.exists():
            target = target.with_name("again-" + target.name)
        if path.exists():
            path.replace(target)

    def write(self, found: Mapping[str, Arrays]) -> None:
        """Keep the arrays of some points in one shard."""
        buffer = io.BytesIO()
        points = sorted(found)
        with zipfile.ZipFile(buffer, "w") as archive:
            _add(archive, "points.json", json.dumps(points).encode())
            for i, point in enumerate(points):
                for name, value in sorted(found[point].items()):
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
        """Number of shards put aside."""
        return len(list(self.damaged.glob("*.npz"))) if self.damaged.is_dir() else 0


def _shard_name(points: list[str]) -> str:
    return hashlib.sha256("".join(points).encode()).hexdigest()[:32] + ".npz"


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    """Add a member with no time stamp: equal results are equal files."""
    archive.writestr(zipfile.ZipInfo(name), content)
