"""What no point could do, said before any of them is begun."""

from __future__ import annotations

import json
from collections.abc import Iterable

from ..experiment.build import build_data, check_batch_size
from .plan import SweepPoint


def refuse_large_batches(points: Iterable[SweepPoint]) -> None:
    """Refuse batches that are larger than the data which they are drawn from.

    Raises
    ------
    InputError
        For the first such point.
    """
    largest: dict[str, SweepPoint] = {}
    for point in points:
        if point.config["training"]["batch_size"] is not None:
            setup = json.dumps([point.config[key] for key in ("task", "data", "model")], sort_keys=True)
            other = largest.setdefault(setup, point)
            if point.config["training"]["batch_size"] > other.config["training"]["batch_size"]:
                largest[setup] = point
    for point in largest.values():
        check_batch_size(point.loaded, build_data(point.loaded))
