"""Train the torch twin of a model from the very weights the theory starts from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..sim.outcome import IntegrationError
from ..sim.trajectory import Trajectory
from ..theory.dataset import Dataset
from ..theory.model import Model
from ._batches import CHUNK
from ._run import Run
from ._settings import Settings, integer
from ._threads import torch_threads
from .checkpoint import load_checkpoint


def train(
    model: Model,
    data: Dataset,
    start: Mapping[str, Any],
    optimizer: str = "gd",
    learning_rate: float = 0.1,
    steps: int = 2000,
    save_at: Any = None,
    *,
    batch_size: int | None = None,
    seed: int = 0,
    dtype: str = "float64",
    weight_decay: float = 0.0,
    checkpoint: str | Path | None = None,
    checkpoint_every: int | None = None,
    resume: bool = False,
    progress: bool | None = None,
    throw: bool = True,
) -> Trajectory:
    """Train a network; the loss is the weighted mean cross-entropy over the rows that are not held out.

    Parameters
    ----------
    model : theory.Model
        What to train; `networks.TWINS` holds its torch twin.
    data : Dataset
        Weighted sequences of the model's vocabulary.
    start : mapping
        Weight name -> initial value of shape ``model.weights[name]``.
    optimizer : {"gd", "sgd", "adamw"}
        Full-batch gradient descent; the same on minibatches drawn with replacement from the row weights;
        AdamW, on minibatches if `batch_size` is given. Flow time belongs to the first two: AdamW is there for
        contrast.
    learning_rate : float
        Step size; flow time = learning_rate x step.
    steps : int
        Number of optimizer steps.
    save_at : None, int or array of int
        Steps at which weights are kept: None for step 0 and about 100 evenly spaced ones; a count k > 1 for k
        even ones from 0 to `steps`, 1 for the last; or the steps themselves.
    batch_size : int, optional
        Sequences per minibatch; by default 100 for "sgd" and all of them for "gd" and "adamw".
    seed : int
        Of the minibatches.
    dtype : {"float64", "float32"}
        Precision of training; the trajectory is float64 either way.
    weight_decay : float
        Decay rate per unit of flow time: decoupled in "adamw", part of the gradient otherwise.
    checkpoint : path, optional
        File to keep the run's state in, replaced atomically.
    checkpoint_every : int, optional
        Steps between checkpoints; by default one a minute. One is written at the end in any case.
    resume : bool
        Go on from `checkpoint` if it is there, bit for bit as if never stopped (same machine and versions).
        The settings must be the same; only `steps` may grow.
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
        If the loss stops being finite; its ``trajectory`` holds everything before.
    """
    settings = Settings.of(
        optimizer=optimizer,
        learning_rate=learning_rate,
        steps=steps,
        save_at=save_at,
        batch_size=batch_size,
        seed=seed,
        dtype=dtype,
        weight_decay=weight_decay,
    )
    path, every = _checkpoint_arguments(checkpoint, checkpoint_every, resume)
    model.check_data(data)
    # The caller may be inside `torch.no_grad()` or inference mode; both are put back on leaving.
    rows = min(CHUNK, settings.batch_size or len(data.labels))
    with torch.inference_mode(False), torch.enable_grad(), torch_threads(model, rows):
        run = Run(model, data, model.validate(start), settings, path, every)
        if path is not None and path.exists():
            run.restore(load_checkpoint(path, run.config))
        outcome = run.advance(bool(progress))
        trajectory = run.trajectory(outcome)  # in here, where its provenance sees the threads that were used
    if throw and not outcome.success:
        raise IntegrationError(str(outcome), trajectory)
    return trajectory


def _checkpoint_arguments(checkpoint: Any, every: Any, resume: bool) -> tuple[Path | None, int | None]:
    if every is not None:
        integer("checkpoint_every", every, 1)
    if checkpoint is None:
        if resume or every is not None:
            asked = "resume" if resume else "checkpoint_every"
            raise ValueError(f"`checkpoint` is None although `{asked}` is set: give the checkpoint's path.")
        return None, None
    path = Path(checkpoint)
    if not path.parent.is_dir():
        raise ValueError(f"`checkpoint` {str(path)!r} lies in a folder that does not exist: create it first.")
    if path.exists() and not resume:
        raise ValueError(
            f"`checkpoint` {str(path)!r} exists already: "
            "pass resume=True to go on from it, or give another path."
        )
    return path, every
