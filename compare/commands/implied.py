"""What stands where neither a file nor a preset is named, and what is said of data that no preset was made for."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from ...theory.base.errors import InputError
from ...theory.base.waiting import waiting
from ..experiment import build as runs
from ..experiment.layers import Loaded, load
from ..experiment.own_model import class_of

PRESET = "demo"
# Flags that are an experiment, with a preset for all that they leave open.
CALLS_FOR = ("data.file", "model.name")
CLOCK = ("theory.t1", "theory.moved_by", "training.learning_rate", "training.steps", "training.schedule")
ESCAPES = 10  # that t1 lasts
STEPS = 100  # until the first
MOST_STEPS = 20_000  # of training, unless the first escape needs more
LEAST_ESCAPES = 1.5  # even then
STABLE = 0.5  # of the largest rate at which descent is stable, 2 / curvature: no more than this


def implied(values: Mapping[str, Any]) -> Loaded:
    """Load the preset that stands where none is named, which takes no time.

    Parameters
    ----------
    values : dict
        "section.key" -> value of the flags.

    Raises
    ------
    InputError
        If the flags name neither data nor a model.
    """
    if not any(key in values for key in CALLS_FOR):
        raise InputError("no experiment given: name a TOML file, or use --preset demo or --data mine.csv.")
    return load(preset=PRESET, flags=values)


def clocked(loaded: Loaded, values: Mapping[str, Any], timed: bool = True) -> Loaded:
    """Fit the clock of the preset that stands where none is named to the data, and say so.

    The preset's end and learning rate are of its own task: on other data, or with another model, the first escape may
    come a hundred times as early. So they are taken from its prediction, unless the user has set one of them.

    Parameters
    ----------
    loaded : Loaded
        Of `implied`.
    values : dict
        "section.key" -> value of the flags.
    timed : bool
        Whether anything is to move, for which a clock matters.
    """
    fitted = _clock(loaded) if timed and not any(key in values for key in CLOCK) else {}
    said = f"No experiment named: preset {PRESET}"
    if fitted:
        t1, rate = fitted["theory.t1"], fitted["training.learning_rate"]
        said += f", with t1 {t1:g} and learning rate {rate:g} from the predicted first escape"
        loaded = load(preset=PRESET, flags=values, between=(fitted, "from the predicted first escape"))
    print(f"{said}.")
    return loaded


def implied_name(loaded: Loaded) -> str:
    """Name of the results where no experiment is named: that of the data, or of the model."""
    data = loaded.experiment.data
    return class_of(loaded.experiment.model.name) if data is None else Path(data.file).stem


def _clock(loaded: Loaded) -> dict[str, float]:
    """End and learning rate by the predicted first escape; none without one, or where an optimizer moves the theory."""
    from ...sim.forecast.escape import predict_escape
    from ...sim.forecast.starts.scales import not_predicted
    from ...sim.optimizers.optimizer import GD

    if loaded.experiment.moved_by != "flow":
        return {}
    built = runs.build(loaded)
    if not_predicted(built.model):
        return {}
    optimizer = GD(loaded.experiment.training.learning_rate)
    with waiting("predicting the first escape"):
        found = predict_escape(built.model, built.data, built.start, optimizer)
    if not isfinite(found.t):
        return {}
    rate = found.t / STEPS
    if found.curvature > 0.0:
        rate = min(rate, STABLE * 2.0 / found.curvature)
    escapes = min(ESCAPES, max(LEAST_ESCAPES, MOST_STEPS * rate / found.t))
    return {"theory.t1": _two_digits(escapes * found.t), "training.learning_rate": _two_digits(rate)}


def _two_digits(value: float) -> float:
    return float(f"{value:.1e}")


def scales_line(built: runs.Built) -> str:
    """One line on data of the user's own: when the start is left, what binds, and whether that can be seen."""
    from ...sim.forecast.starts.scales import scales

    steps, times = built.loaded.experiment.steps, built.training_times()
    with waiting("counting scales"):
        found = scales(built.model, built.start, built.data, built.optimizer(), steps)
    if not isfinite(found.first_escape_steps):
        return found.verdict
    t, step = found.first_escape_time, found.first_escape_steps
    line = f"First escape predicted at t = {t:.3g}, step {step:.3g} of {steps}."
    if len(times) > 2 and t < times[2]:
        line += (
            f" Points are kept every {times[1]:.3g} of flow time, too far apart to see it: set --t1 to about "
            f"{_two_digits(ESCAPES * t):g}."
        )
    return f"{line} {found.verdict}"
