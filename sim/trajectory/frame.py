"""Trajectories as tables: a row per saved time, a column per number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from .storage import whole_steps

if TYPE_CHECKING:
    import pandas

    from .trajectory import Trajectory


def to_dataframe(trajectory: Trajectory, names: Iterable[str] | None = None) -> pandas.DataFrame:
    """Set observables in columns; see `Trajectory.to_dataframe`."""
    import pandas

    chosen = trajectory.observable_names if names is None else names
    columns: dict[str, np.ndarray] = {}
    if trajectory.steps is not None:
        columns["step"] = whole_steps(trajectory.steps)
    for name in chosen:
        value = trajectory[name]
        if value.ndim == 1 or names is not None:
            columns |= dict(_columns(name, value))
    return pandas.DataFrame(columns, index=pandas.Index(trajectory.t.copy(), name="t"))


def _columns(name: str, value: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """One column for a number per time, one for every entry of an array per time: ``NAME[0,1]``."""
    for index in np.ndindex(value.shape[1:]):
        entry = f"[{','.join(map(str, index))}]" if index else ""
        yield name + entry, np.array(value[(slice(None), *index)])
