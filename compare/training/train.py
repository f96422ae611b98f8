"""Train the torch twin of a model from the very weights the theory starts from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...sim.ode.outcome import IntegrationError
from ...sim.optimizers.optimizer import Optimizer
from ...sim.optimizers.schedule import Schedule, warn_of_end
from ...sim.trajectory.trajectory import Trajectory
from ...theory.base.disk.destination import file_destination
from ...theory.base.errors import FieldError
from ...theory.base.validate import flag, integer, kind_of, path_of, positive
from ...theory.data.dataset import Dataset
from ...theory.models.model import Model
from .batches import CHUNK
from .checkpoint import load_checkpoint
from .settings import TrainingSettings
from .torch_threads import flushed_denormals, torch_threads
from .training_run import TrainingRun


def train(
    model: Model,
    data: Dataset,
    start: Mapping[str, Any],
    optimizer: str | Optimizer = "gd",
    learning_rate: float | None = None,
    steps: int = 2000,
    save_at: Any = None,
    *,
    batch_size: int | None = None,
    seed: int = 0,
    dtype: str | None = None,
    weight_decay: float | None = None,
    schedule: Schedule | None = None,
    clip: float | None = None,
    betas: tuple[float, float] | None = None,
    device: str = "cpu",
    keep: str = "weights",
    measure_on: Dataset | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: int | None = None,
    resume: bool = False,
    accept_changes: bool = False,
    max_seconds: float | None = None,
    progress: bool | None = None,
    throw: bool = True,
) -> Trajectory:
    """Train a network; the loss is the weighted mean cross-entropy over the rows that are not held out.

    Parameters
    ----------
    model : theory.Model
        What to train; `networks.TWINS` holds its torch network.
    data : Dataset
        Weighted sequences of the model's vocabulary.
    start : mapping
        Weight name -> initial value of shape ``model.weights[name]``.
    optimizer : Optimizer or {"gd", "sgd", "momentum", "adamw", "signgd", "spectral"}
        What moves the weights: the same object that `integrate` takes, on minibatches if `batch_size` is given. By
        name: full-batch gradient descent; the same on minibatches drawn with replacement from the row weights; AdamW.
    learning_rate : float, optional
        Step size, by default 0.1; flow time = learning_rate x step, or the sum of the step sizes under a `schedule`.
        This, `weight_decay`, `schedule` and `betas` are for optimizers by name; an Optimizer has its own.
    steps : int
        Number of optimizer steps.
    save_at : None, int or array of int
        Steps at which weights are kept: None for step 0 and about 100 evenly spaced ones; a count k > 1 for k
        even ones from 0 to `steps`, 1 for the last; or the steps themselves.
    batch_size : int, optional
        Sequences per minibatch; by default 100 for "sgd" (all rows if there are fewer) and all of them for the others.
    seed : int
        Of the minibatches.
    dtype : {"float64", "float32"}, optional
        Precision of training, by default float64; the trajectory is float64 either way.
    weight_decay : float, optional
        Decay rate per unit of flow time, by default 0: decoupled in "adamw", part of the gradient otherwise.
    schedule : WarmupCosine, Linear or callable, optional
        How the step size changes; by default it does not.
    clip : float, optional
        Largest norm of the gradient of all weights together; longer gradients are scaled down to it.
    betas : tuple of float, optional
        Decay of AdamW's two moments per step, by default 0.9 and 0.999.
    device : {"cpu", "cuda", "auto"}
        Where to train; "auto" takes a CUDA device if there is one. Runs are repeated and resumed bit for bit on
        the CPU, where also minibatches are always drawn.
    keep : {"weights", "observables"}
        What the trajectory holds at each saved step. Losses and accuracies alone need no room, and are all there is
        to know of a large network's training then.
    measure_on : Dataset, optional
        Where losses and accuracies are measured on the network at each saved step. By default they follow from the
        weights that are kept, or are measured on all of `data`, which may take longer than the steps between.
    checkpoint : path, optional
        File to keep the run's state in, replaced atomically.
    checkpoint_every : int, optional
        Steps between checkpoints; by default one a minute. One is written at the end in any case.
    resume : bool
        Go on from `checkpoint` if it is there, bit for bit as if never stopped (same machine and versions).
        The settings must be the same; only `steps` may grow. What was saved stays; from there on steps are saved as
        `save_at` says for the whole run (a list must hold the steps saved so far).
    accept_changes : bool
        Go on although the checkpoint was begun with other data, another start, other sources, versions or another
        processor, which is refused otherwise; what changed, and from which step on, is in the provenance.
    max_seconds : float, optional
        Wall-clock limit; what was computed until then is kept, in the checkpoint too.
    progress : bool, optional
        Show a progress bar.
    throw : bool
        Raise when the run diverges; otherwise return what came before, with the outcome.

    Returns
    -------
    Trajectory
        Of kind "training", with ``steps`` and ``t = learning_rate * steps``.

    Raises
    ------
    ValueError
        If an argument is out of range, or the checkpoint belongs to other settings.
    IntegrationError
        If the loss stops being finite, or the time is used up; its ``trajectory`` holds everything before.
    """
    flag("throw", throw)
    flag("progress", progress is not None and progress)
    if max_seconds is not None:
        positive("max_seconds", max_seconds)
    with begun(
        model, data, start, optimizer=optimizer, learning_rate=learning_rate, steps=steps, save_at=save_at,
        batch_size=batch_size, seed=seed, dtype="float64" if dtype is None else dtype, weight_decay=weight_decay,
        schedule=schedule, clip=clip, betas=betas, device=device, keep=keep, measure_on=measure_on,
        checkpoint=checkpoint, checkpoint_every=checkpoint_every, resume=resume, accept_changes=accept_changes,
    ) as run:  # fmt: skip
        rule = run.settings.rule
        warn_of_end(rule.learning_rate, rule.schedule, run.settings.steps, stacklevel=4)
        outcome = run.advance(bool(progress), max_seconds)
        trajectory = run.trajectory(outcome)  # in here, where its provenance sees the threads that were used
    if throw and not trajectory.outcome.success:
        raise IntegrationError(str(trajectory.outcome), trajectory)
    return trajectory


@contextmanager
def begun(
    model: Model,
    data: Dataset,
    start: Mapping[str, Any],
    *,
    measure_on: Dataset | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: int | None = None,
    resume: bool = False,
    accept_changes: bool = False,
    **settings: Any,
) -> Iterator[TrainingRun]:
    """A run that is at its first step or where its checkpoint left off; whatever `train` refuses is refused here.

    In the block are the modes and threads of torch that it needs; the caller's are put back on leaving.
    """
    kind_of("model", model, Model, "such as EmbMLP(...)")
    model.check_data(data)
    for name, value in (("resume", resume), ("accept_changes", accept_changes)):
        flag(name, value)
    asked = TrainingSettings.of(rows=int((~data.held_out).sum()), **settings)
    path, every = _checkpoint_arguments(checkpoint, checkpoint_every, resume)
    asked.rule.of_weights(model.weights)
    if measure_on is not None:
        kind_of("measure_on", measure_on, Dataset, "leave it out to measure on all of `data`")
        model.check_data(measure_on)
    rows = min(CHUNK, asked.batch_size or len(data.labels)) * model.positions_read
    # The caller may be inside `torch.no_grad()` or inference mode.
    modes = (torch.inference_mode(False), torch.enable_grad(), flushed_denormals(asked.dtype))
    with modes[0], modes[1], modes[2], torch_threads(model, rows):
        weights = model.validate(start)
        _check_range(weights, asked.dtype)
        run = TrainingRun(model, data, weights, asked, path, every, measure_on)
        if path is not None and path.exists():
            run.restore(load_checkpoint(path, run.config, accept_changes))
        yield run


def _check_range(start: Mapping[str, np.ndarray], dtype: str) -> None:
    """Refuse weights that the precision of training would take for infinite."""
    for name, value in start.items():
        if (largest := np.abs(value).max(initial=0.0)) > np.finfo(dtype).max:
            raise FieldError(
                f"start[{name!r}]", f'reaches {largest:.0e}, which {dtype} cannot hold: use dtype="float64".'
            )


def _checkpoint_arguments(checkpoint: Any, every: Any, resume: bool) -> tuple[Path | None, int | None]:
    if every is not None:
        integer("checkpoint_every", every, 1)
    if checkpoint is None:
        if resume or every is not None:
            asked = "resume" if resume else "checkpoint_every"
            raise FieldError("checkpoint", f"is None although `{asked}` is set: give the checkpoint's path.")
        return None, None
    path = path_of("checkpoint", checkpoint)
    if not file_destination(path).parent.is_dir():
        raise FieldError(
            "checkpoint", f"{str(path)!r} lies in a folder that does not exist: create it first."
        )
    if path.exists() and not resume:
        raise FieldError(
            "checkpoint",
            f"{str(path)!r} exists already: pass resume=True to go on from it, or give another path.",
        )
    return path, every
