"""The command that says how a start is scaled before anything runs."""

from __future__ import annotations

from json import dumps
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from ...theory.base.disk.files import write_whole
from ...theory.base.waiting import waiting
from ..experiment import build as runs
from . import tables as report
from .destinations import output_file
from .experiments import read
from .flags import Overwrite, flagged


@flagged("task", "data", "model", "init", "theory.t1", "training")
def scales(
    experiment: Path | None = None,
    /,
    *,
    preset: str | None = None,
    json: Annotated[Path | None, Parameter(show_default=False)] = None,
    overwrite: Overwrite = False,
    **flags: Any,
) -> None:
    """Say how large a start is, when it will be left, what binds, and which number to change; nothing is trained.

    Parameters
    ----------
    experiment
        A TOML file; flags override it, it overrides the preset. Neither is needed beside --data or --model.
    preset
        demo, paper, decoder or decoder-paper.
    json
        Also write the numbers to this file.
    overwrite
        Replace a former file.
    """
    from ...sim.forecast.starts.scales import scales as look

    if json is not None:
        output_file("--json", json, overwrite)
    loaded = read(experiment, preset, flags)
    with waiting("counting scales"):
        built = runs.build(loaded)
        found = look(built.model, built.start, built.data, built.optimizer(), loaded.experiment.steps)
    print(f"{report.heading(built)}\n\n{found}")
    if json is not None:
        write_whole(json, dumps(found.to_dict(), indent=2, allow_nan=False) + "\n")
        print(f"wrote {json}")
