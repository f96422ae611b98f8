"""All points of a sweep as one xarray dataset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .plan import SweepPlan
from .store import ACCEPTED, Store

if TYPE_CHECKING:
    import xarray

SCALARS = ("outcome", "t_end", "horizon")


def collected(plan: SweepPlan, store: Store) -> xarray.Dataset:
    """Collect a sweep from its directory.

    Returns
    -------
    xarray.Dataset
        Dimensions: one per axis (zipped axes share one), ``run`` (closures, "training") and ``time``. Variables: the
        observables, ``t`` in flow time, ``outcome`` (name of the `Status`; "" where there is no result), ``t_end``, of
        closures trained beside ``horizon``, and where there are any ``accepted_changes``; nan where a run did not get,
        or a point is missing or failed.

    Raises
    ------
    ValueError
        If no point is done yet.
    """
    import xarray

    points = [point.id for point in plan.points]
    told: dict[str, str] = {}
    found = store.read([name for name in points if name in store.places])
    if not found:
        raise ValueError("no point of the sweep is done yet: run it first.")
    for name, arrays in found.items():
        if (change := arrays.pop(ACCEPTED, None)) is not None:
            told[name] = str(change)
    runs = list(dict.fromkeys(key.partition("|")[0] for arrays in found.values() for key in arrays))
    dims = [
        "_".join(names).replace(".", "_") if len(names) > 1 else "".join(names) for names in plan.dimensions
    ]
    variables: dict[str, Any] = {}
    for name, shape, text in _variables(found):
        filled: Any = np.full(
            (len(points), len(runs), *shape), "" if text else np.nan, dtype="U32" if text else float
        )
        for i, point in enumerate(points):
            for j, run in enumerate(runs):
                value = found.get(point, {}).get(f"{run}|{name}")
                if value is not None:
                    corner: Any = (i, j, *(slice(n) for n in value.shape))
                    filled[corner] = value
        extra = [] if name in SCALARS else ["time", *(f"{name}_{k}" for k in range(1, len(shape)))]
        variables[name] = ([*dims, "run", *extra], filled.reshape(plan.shape + filled.shape[1:]))
    if told:
        texts = np.array([told.get(point, "") for point in points])
        variables[ACCEPTED] = (dims, texts.reshape(plan.shape))
    coordinates = {"run": runs, **_coordinates(plan, dims)}
    attributes = {"run": " ".join(plan.run), "points": len(points), "done": len(found)}
    dataset = xarray.Dataset(variables, coordinates, attributes)
    if "horizon" in dataset:
        dataset["horizon"].attrs = {"units": "flow time", **_tolerance(plan)}
    dataset["t"].attrs = {"units": "flow time", "long_name": "learning rate x step"}
    return dataset


def _coordinates(plan: SweepPlan, dims: Sequence[str]) -> dict[str, tuple[str, list[Any]]]:
    """Axis -> its dimension and its values, as text where they are neither numbers nor text."""
    found = {}
    for dim, names in zip(dims, plan.dimensions, strict=True):
        for name in names:
            values = plan.axes[name]
            plain = all(isinstance(v, int | float | str) for v in values)
            found[name] = (dim, list(values) if plain else [str(v) for v in values])
    return found


def _tolerance(plan: SweepPlan) -> dict[str, float]:
    """How far a weight is off at the horizons, if that is the same at all points."""
    found = {point.config["output"]["tolerance"] for point in plan.points}
    return {"tolerance": found.pop()} if len(found) == 1 else {}


def _variables(found: dict[str, dict[str, np.ndarray]]) -> Iterator[tuple[str, tuple[int, ...], bool]]:
    """Name, largest shape and whether it is text, of everything that some point holds."""
    shapes: dict[str, tuple[int, ...]] = {}
    text: dict[str, bool] = {}
    for arrays in found.values():
        for key, value in arrays.items():
            name = key.partition("|")[2]
            before = shapes.get(name, value.shape)
            shapes[name] = tuple(max(a, b) for a, b in zip(before, value.shape, strict=True))
            text[name] = value.dtype.kind == "U"
    for name, shape in shapes.items():
        yield name, shape, text[name]
