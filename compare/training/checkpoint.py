"""Checkpoints of a training run: one npz file, written atomically, read without running anything in it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...theory.base.disk.npz import DamagedArchive, open_sealed_npz, write_npz
from ...theory.base.disk.sealed import UnsoundFile
from ...theory.base.errors import FieldError
from ...theory.base.validate import integer
from .identity import differences, environment
from .settings import config_hash

FORMAT = 4
META = "meta.json"
ARRAYS_OF = ("weight", "moment", "saved", "measured")
INPUTS = (
    "data",
    "start",
    "measure_on",
)  # fingerprints; all else in a run's settings is not for changing on the way


class CheckpointError(FieldError):
    """A file that is not a whole checkpoint, or that of a run with other settings."""


@dataclass(eq=False)
class TrainingState:
    """All that a run needs to go on as if it had never stopped.

    Attributes
    ----------
    step : int
        Optimizer steps taken.
    weights : dict
        Weight name -> current value.
    t : float
        Flow time: what the schedule made of the steps.
    moments : dict
        "weight/moment" -> optimizer state; empty for gd and sgd.
    rng : dict
        State of the minibatch generator.
    saved_steps : list of int
        Steps saved so far.
    saved : dict
        Weight name -> snapshots (n_saved, rows, cols), float64.
    measured : dict
        Observable -> values (n_saved,) at the saved steps.
    changes : list of str
        What has changed on the way, with the user's consent, and from which step on.
    """

    step: int
    weights: Mapping[str, np.ndarray]
    t: float = 0.0
    moments: Mapping[str, np.ndarray] = field(default_factory=dict)
    rng: Mapping[str, Any] = field(default_factory=dict)
    saved_steps: list[int] = field(default_factory=list)
    saved: Mapping[str, np.ndarray] = field(default_factory=dict)
    measured: Mapping[str, np.ndarray] = field(default_factory=dict)
    changes: list[str] = field(default_factory=list)


def save_checkpoint(path: str | Path, config: Mapping[str, Any], state: TrainingState) -> None:
    """Write a checkpoint to a temporary file, sync and rename it: a kill leaves the old one or the new.

    Parameters
    ----------
    path : path
        File to write; replaced if there.
    config : mapping
        JSON-able settings that a resuming run must share.
    state : TrainingState
        Where the run is.
    """
    path = Path(path)
    meta = {
        "format": FORMAT,
        "config": dict(config),
        "hash": config_hash(dict(config)),
        "step": state.step,
        "t": state.t,
    }
    meta |= {"rng": dict(state.rng), "saved_steps": list(state.saved_steps)}
    meta |= {"environment": environment(torch=True), "changes": list(state.changes)}
    parts = zip(ARRAYS_OF, (state.weights, state.moments, state.saved, state.measured), strict=True)
    members = {f"{kind}:{name}": value for kind, part in parts for name, value in part.items()}
    write_npz(path, {META: json.dumps(meta).encode(), **members})


def load_checkpoint(
    path: str | Path, config: Mapping[str, Any], accept_changes: bool = False
) -> TrainingState:
    """Read a checkpoint and hold it against the settings of the run that resumes it.

    Parameters
    ----------
    path : path
        File that `save_checkpoint` wrote.
    config : mapping
        Settings of this run.
    accept_changes : bool
        Go on although data, start, sources, versions or the processor are others; the state's `changes` say so.

    Returns
    -------
    TrainingState
        Where the run was.

    Raises
    ------
    CheckpointError
        If the file is not a whole checkpoint, or belongs to other settings, inputs, sources, versions or another
        processor; what differs is listed.
    OSError
        If it cannot be read.
    """
    try:
        members = _read_members(Path(path))
        meta = json.loads(members.pop(META).tobytes())
        if meta["format"] != FORMAT or meta["hash"] != config_hash(meta["config"]):
            raise ValueError("another format, or its settings were edited")
        state = _state(meta, members)
        dict(meta["environment"])
    except (FileNotFoundError, LookupError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
        reason = error.reason if isinstance(error, UnsoundFile) else str(error) or type(error).__name__
        raise CheckpointError(
            "checkpoint",
            f"{str(path)!r} is not a whole checkpoint ({reason}): delete it or give another path.",
        ) from None
    _check_same(Path(path), meta, config, state, accept_changes)
    return state


def _state(meta: dict[str, Any], members: dict[str, np.ndarray]) -> TrainingState:
    parts: dict[str, dict[str, np.ndarray]] = {kind: {} for kind in ARRAYS_OF}
    for key, value in members.items():
        kind, _, name = key.partition(":")
        parts[kind][name] = value
    step, saved_steps = integer("step", meta["step"], 0), [integer("step", s, 0) for s in meta["saved_steps"]]
    if saved_steps != sorted(set(saved_steps)) or saved_steps[-1:] > [step]:
        raise ValueError("its saved steps do not increase up to its step")
    if not isinstance(meta["rng"], dict):
        raise ValueError("its state of the generator is none")
    return TrainingState(
        step=step,
        weights=parts["weight"],
        t=float(meta["t"]),
        moments=parts["moment"],
        rng=meta["rng"],
        saved_steps=saved_steps,
        saved=parts["saved"],
        measured=parts["measured"],
        changes=[str(change) for change in meta["changes"]],
    )


def _check_same(
    path: Path, meta: dict[str, Any], config: Mapping[str, Any], state: TrainingState, accept_changes: bool
) -> None:
    """Refuse a run of other settings; note in the state what else differs, if that is accepted, or refuse it too."""
    then = meta["config"]
    fixed = sorted({*then, *config} - {*INPUTS})
    if different := differences(then, config, fixed):
        raise CheckpointError(
            "checkpoint",
            f"{str(path)!r} belongs to a run with other settings ({', '.join(different)}): "
            "use those settings or another path.",
        )
    changed = differences(then, config, INPUTS)
    changed += differences(meta["environment"], environment(torch=True))
    if changed and not accept_changes:
        raise CheckpointError(
            "checkpoint",
            f"{str(path)!r} was begun with other inputs, sources or versions ({'; '.join(changed)}): go back to "
            "those, give another path, or go on with accept_changes=True (--accept-changes).",
        )
    if changed:
        state.changes.append(f"from step {state.step}: {'; '.join(changed)}")


def accepted_changes(path: Path) -> list[str]:
    """What has changed on the way of a run, by its checkpoint; nothing if there is none that can be read."""
    try:
        return [str(change) for change in json.loads(_read_members(path)[META].tobytes())["changes"]]
    except (OSError, KeyError, TypeError, ValueError):
        return []


def check_fit(
    state: TrainingState,
    fresh: TrainingState,
    moments: Mapping[str, np.ndarray],
    measured: Sequence[str],
) -> None:
    """Refuse a state whose arrays are not those of the run that resumes it: nothing is broadcast or cast.

    Parameters
    ----------
    state, fresh : TrainingState
        What was read, and the state of the run before its first step.
    moments : dict
        Arrays like those that the optimizer remembers at the step of `state`.
    measured : sequence of str
        Observables that the run measures.

    Raises
    ------
    CheckpointError
        For the first array that is missing, unknown, of another shape or type, or not finite.
    """
    n = len(state.saved_steps)
    saved = {name: np.empty((n, *fresh.weights[name].shape)) for name in fresh.saved}
    values = {name: np.empty(n) for name in (measured if n else ())}
    for what, found, wanted in (
        ("weight", state.weights, fresh.weights),
        ("moment", state.moments, moments),
        ("saved weight", state.saved, saved),
        ("observable", state.measured, values),
    ):
        _check_arrays(what, found, wanted, finite=what != "observable")


def _check_arrays(
    what: str, found: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray], finite: bool
) -> None:
    for name in {**wanted, **found}:
        if name not in found or name not in wanted:
            reason = f"it {'lacks the' if name in wanted else 'has an unknown'} {what} {name!r}"
        elif found[name].shape != wanted[name].shape or found[name].dtype != wanted[name].dtype:
            shapes = (f"{value[name].dtype} {value[name].shape}" for value in (found, wanted))
            reason = "its {} {!r} is {} and not {}".format(what, name, *shapes)
        elif finite and not np.isfinite(found[name]).all():
            reason = f"its {what} {name!r} is not finite"
        else:
            continue
        raise CheckpointError(
            "checkpoint", f"does not fit this run ({reason}): delete it or give another path."
        )


def _read_members(path: Path) -> dict[str, np.ndarray]:
    """All members; as they are stored uncompressed, none may promise more than the file has."""
    with open_sealed_npz(path, limit=path.stat().st_size) as archive:
        members = dict(archive)
    if other := [name for name, value in members.items() if value.dtype.kind not in "fiu"]:
        raise DamagedArchive(f"member {other[0]!r} holds no numbers")
    return members
