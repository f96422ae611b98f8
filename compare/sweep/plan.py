"""A sweep as it is written: an experiment, axes over its keys, and what to do at every point."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from ...theory.base.errors import InputError
from ...theory.base.frozen import FrozenRecord
from ...theory.base.validate import path_of
from ..experiment.layers import (
    Loaded,
    anchored,
    nested,
    read_preset,
    read_toml,
    refuse_idle_end,
    stack,
    write_tables,
)
from .alternatives import lost_keys, together, without
from .input_files import FILES
from .sweep_axes import flat, values_of, zipped

RUNS = ("simulate", "train")
OBSERVABLES = ("loss", "loss/*", "norm/*")
MOST_POINTS = 10**7
SWEEP_KEYS = {"preset", "zip", "run", "observables", "max_seconds"}


@dataclass(frozen=True)
class SweepPoint(FrozenRecord):
    """One setting of the axes.

    Attributes
    ----------
    id : str
        sha256 of everything that its result depends on but the code; never its place in the sweep.
    values : dict
        "section.key" -> value on each axis.
    config : dict
        The whole experiment, JSON-able.
    loaded : Loaded
        The same with its sources.
    """

    id: str
    values: Mapping[str, Any]
    config: Mapping[str, Any]
    loaded: Loaded = field(repr=False, compare=False)


@dataclass(frozen=True)
class SweepPlan(FrozenRecord):
    """What a sweep file says.

    Attributes
    ----------
    layers : tuple
        Layers of the experiment below the axes, with their places.
    axes : dict
        "section.key" -> values.
    zipped : tuple of tuple of str
        Axes that move together; all others form a product.
    run : tuple of str
        "simulate", "train" or both.
    observables : tuple of str
        Names or patterns of what is kept of each trajectory.
    max_seconds : float or None
        Wall-clock limit of one point; no part of what the sweep is, so that slow points may be given more.
    """

    layers: tuple[tuple[dict[str, Any], str], ...]
    axes: Mapping[str, tuple[Any, ...]]
    zipped: tuple[tuple[str, ...], ...] = ()
    run: tuple[str, ...] = ("simulate",)
    observables: tuple[str, ...] = OBSERVABLES
    max_seconds: float | None = field(default=None, compare=False)
    place: str = field(default="in the sweep", compare=False)

    @cached_property
    def dimensions(self) -> tuple[tuple[str, ...], ...]:
        """Names of the axes along each dimension of the sweep: one, or those zipped together."""
        together = {name: group for group in self.zipped for name in group}
        return tuple(dict.fromkeys(together.get(name, (name,)) for name in self.axes))

    @property
    def axes_place(self) -> str:
        """The words for where the axes are."""
        return f"on the axes {self.place}"

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of values along each dimension."""
        return tuple(len(self.axes[names[0]]) for names in self.dimensions)

    @cached_property
    def points(self) -> tuple[SweepPoint, ...]:
        """All points, the last dimension fastest; every one validated.

        Raises
        ------
        InputError
            For the first point that is no valid experiment, or the same as one before.
        """
        points = tuple(self._points())
        known: dict[str, SweepPoint] = {}
        for point in points:
            other = known.setdefault(point.id, point)
            lost = lost_keys(self.axes, point.values)  # of axes that mean nothing to either
            if any(other.values[name] != value for name, value in point.values.items() if name not in lost):
                same = [f"{name} = {a!r} and {point.values[name]!r}" for name, a in other.values.items()]
                raise InputError(
                    f"two points are the same experiment, {'; '.join(same)} ({self.place}): leave one out."
                )
        return points

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a JSON file; kept beside the results, so that they say what they are of."""
        return {
            "layers": [list(layer) for layer in self.layers],
            "axes": {name: list(values) for name, values in self.axes.items()},
            "zip": [list(group) for group in self.zipped],
            "run": list(self.run),
            "observables": list(self.observables),
        }

    def to_toml(self) -> str:
        """Write a sweep file that has the same points; presets and flags are resolved in it."""
        tables: dict[str, Any] = {"axes": {name: _written(values) for name, values in self.axes.items()}}
        spec: dict[str, Any] = {"run": self.run, "observables": self.observables}
        if self.zipped:
            spec["zip"] = self.zipped
        tables["sweep"] = spec
        for section, part in self._whole.items():
            kept = {
                k: v for k, v in (part or {}).items() if v is not None and f"{section}.{k}" not in self.axes
            }
            tables[section] = kept
        if self._idle_end:
            del tables["theory"]["t1"]
        return "# A resolved sweep of smallinit; run it again with this file.\n\n" + write_tables(tables)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any], place: str) -> SweepPlan:
        """Restore what `to_dict` wrote.

        Raises
        ------
        InputError
            For anything that it cannot have written.
        """
        try:
            return cls(
                layers=tuple((dict(layer), str(words)) for layer, words in record["layers"]),
                axes={
                    str(name): tuple(tuple(v) if isinstance(v, list) else v for v in values)
                    for name, values in record["axes"].items()
                },
                zipped=tuple(tuple(group) for group in record["zip"]),
                run=tuple(record["run"]),
                observables=tuple(record["observables"]),
                place=place,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{place.removeprefix('in ')} is no record of a sweep ({error!r}).") from error

    def _points(self) -> Iterator[SweepPoint]:
        below: dict[
            frozenset[str], list[Any]
        ] = {}  # the layers without what is lost, which is mostly nothing
        for index in product(*(range(n) for n in self.shape)):
            values = {
                name: self.axes[name][i]
                for names, i in zip(self.dimensions, index, strict=True)
                for name in names
            }
            lost = frozenset(lost_keys(self.axes, values))
            if lost not in below:
                below[lost] = [(without(layer, lost), place) for layer, place in self.layers]
            loaded = stack([*below[lost], (without(nested(values), lost), self.axes_place)])
            config = loaded.experiment.model_dump(mode="json")
            yield SweepPoint(self._identity(config), values, config, loaded)

    @property
    def _idle_end(self) -> bool:
        """Whether t1 plays no part at any point."""
        return all(point.loaded.experiment.counts_steps for point in self.points)

    @cached_property
    def _whole(self) -> dict[str, Any]:
        """The first experiment, with the keys of every model and optimizer on the axes."""
        return together(self.points)

    def _identity(self, config: Mapping[str, Any]) -> str:
        what = {"experiment": config, "run": self.run, "observables": self.observables}
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()

    @cached_property
    def fixed(self) -> dict[str, Any]:
        """What all points share: the experiment but for its axes, and what is done; the manifest holds it."""
        config = json.loads(json.dumps(self._whole))
        for name in self.axes:
            section, key = name.split(".")
            config[section].pop(key, None)
        flat = {
            f"{s}.{k}": v for s, part in config.items() if isinstance(part, dict) for k, v in part.items()
        }
        return flat | {
            "axes": sorted(self.axes),
            "run": list(self.run),
            "observables": list(self.observables),
        }


def read_sweep(file: str | Path, flags: Mapping[str, Any] | None = None) -> SweepPlan:
    """Read a sweep file: an experiment with two more tables, ``[axes]`` and, optionally, ``[sweep]``.

    Parameters
    ----------
    file : path
        TOML. ``[axes]`` maps "section.key" to a list, to a range ``"0-99"``, or to ``{start, stop, num}`` (even, or
        with ``log = true`` in ratio). ``[sweep]`` may hold ``preset``, ``zip`` (lists of axes that move together),
        ``run`` ("simulate", "train"), ``max_seconds`` (limit of one point) and ``observables`` (names or patterns).
    flags : dict, optional
        "section.key" -> value; overrides the file's experiment.

    Raises
    ------
    InputError
        If the file cannot be read or says something that is no sweep.
    """
    file = path_of("file", file)
    table, place = read_toml(file, "sweep", "or write one: an experiment with [axes]"), f"in {file}"
    listed = flat(_table(table, "axes", place)).items()
    folder = file.absolute().parent
    axes = {name: _placed(name, values_of(name, value, place), folder) for name, value in listed}
    spec = _table(table, "sweep", place, needed=False)
    if unknown := sorted(set(spec) - SWEEP_KEYS):
        raise InputError(
            f"[sweep] has an unknown key {unknown[0]!r} ({place}): it may hold {', '.join(sorted(SWEEP_KEYS))}."
        )
    layers = [(read_preset(spec["preset"]), f"in preset {spec['preset']}")] if "preset" in spec else []
    layers.append((anchored(table, folder), place))
    layers.append((anchored(nested(flags or {}), Path.cwd()), "on the command line"))
    _refuse_fixed_axes(axes, flags or {}, place)
    for layer, words in [*layers, (nested(axes), f"on the axes {place}")]:
        if "checkpoint" in layer.get("training", {}):
            raise InputError(
                f"`training.checkpoint` does not go with a sweep, whose points would share the file ({words}): "
                "leave it out, the sweep keeps every point that is done."
            )
    plan = SweepPlan(
        layers=tuple(layers),
        axes=axes,
        zipped=zipped(spec.get("zip", []), axes, place),
        run=_words("run", spec.get("run", ["simulate"]), place, RUNS),
        observables=_words("observables", spec.get("observables", list(OBSERVABLES)), place),
        max_seconds=_seconds(spec.get("max_seconds"), place),
        place=place,
    )
    if (total := prod(plan.shape)) > MOST_POINTS:
        raise InputError(f"[axes] give {total:,} points ({place}): at most {MOST_POINTS:,}; leave some out.")
    if plan._idle_end:
        refuse_idle_end(plan.points[0].loaded, [*(words for _, words in layers), plan.axes_place])
    return plan


def _refuse_fixed_axes(axes: Mapping[str, Any], flags: Mapping[str, Any], place: str) -> None:
    """Refuse a flag for a key that is an axis: no point would take notice of it."""
    for name in flags:
        if name in axes:
            raise InputError(
                f"`{name}` is an axis of the sweep ({place}), so one value for it means nothing (on the command "
                "line): leave it out, or take the key off [axes]."
            )


def _table(table: dict[str, Any], name: str, place: str, needed: bool = True) -> dict[str, Any]:
    found = table.pop(name, None)
    if found is None and not needed:
        return {}
    if not isinstance(found, dict) or not found:
        raise InputError(
            f'a sweep needs a table [{name}] ({place}), such as [axes] with "init.seed" = "0-9".'
        )
    return found


def _written(values: tuple[Any, ...]) -> Any:
    """Values of an axis as a file writes them: whole numbers in a row as a range."""
    whole = all(isinstance(v, int) and not isinstance(v, bool) and v >= 0 for v in values)
    if whole and len(values) > 1 and values == tuple(range(values[0], values[-1] + 1)):
        return f"{values[0]}-{values[-1]}"
    return values


def _placed(name: str, values: tuple[Any, ...], folder: Path) -> tuple[Any, ...]:
    """Make file names on an axis absolute: they are relative to the sweep's file, as all in it."""
    if name == "model.name":
        return tuple(anchored(nested({name: value}), folder)["model"]["name"] for value in values)
    if tuple(name.split(".")) not in FILES:
        return values
    return tuple(str(folder / value) if isinstance(value, str) else value for value in values)


def _seconds(value: Any, place: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise InputError(f"`max_seconds` must be a positive number of seconds, got {value!r} ({place}).")
    return float(value)


def _words(key: str, value: Any, place: str, known: tuple[str, ...] = ()) -> tuple[str, ...]:
    words = [value] if isinstance(value, str) else value
    good = (
        isinstance(words, list)
        and words
        and all(isinstance(w, str) and (not known or w in known) for w in words)
    )
    if not good:
        among = f" of {', '.join(known)}" if known else ""
        raise InputError(f"`{key}` must be a list{among}, got {value!r} ({place}).")
    return tuple(dict.fromkeys(words))
