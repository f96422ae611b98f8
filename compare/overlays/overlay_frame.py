"""An overlay as a table: a row per common flow time, theory beside training beside their error."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from ...sim.trajectory.storage import whole_steps
from ...theory.base.errors import FieldError
from ...theory.base.validate import did_you_mean, one_or_more

if TYPE_CHECKING:
    import pandas

    from .overlay import Overlay

SHOWN = ("loss", "norm")  # observables of which a figure has curves


def overlay_frame(overlay: Overlay, names: Iterable[str] | None = None) -> pandas.DataFrame:
    """Set both sides and their errors in columns; see `Overlay.to_dataframe`."""
    import pandas

    both, errors = overlay.alignment, overlay.relative_error
    columns: dict[str, np.ndarray] = {}
    if both.training.steps is not None:
        columns["step"] = whole_steps(both.training.steps[both.rows])
    for name in _chosen(overlay) if names is None else one_or_more("names", names):
        if name not in errors:
            raise FieldError("names", f"{name!r} has no relative error: {did_you_mean(name, errors)}")
        if name not in both.theory.weights:
            ours, theirs = both.observable(name)
            columns |= {f"{name}/theory": np.array(ours), f"{name}/training": np.array(theirs)}
        columns[f"{name}/error"] = np.array(errors[name])
    return pandas.DataFrame(columns, index=pandas.Index(overlay.t.copy(), name="t"))


def _chosen(overlay: Overlay) -> list[str]:
    """What the figure draws: losses and norms with their errors, and those of displacements."""
    weights = overlay.theory.weights
    return [name for name in overlay.relative_error if name in weights or name.partition("/")[0] in SHOWN]
