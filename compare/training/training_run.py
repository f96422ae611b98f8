"""A training run in progress: what `train` advances, checkpoints and turns into a trajectory."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from math import isfinite, prod
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...sim.ode.outcome import Outcome, Status
from ...sim.trajectory.provenance import provenance
from ...sim.trajectory.trajectory import Trajectory
from ...theory.base.errors import FieldError
from ...theory.base.frozen import sealed
from ...theory.base.waiting import waiting
from ...theory.data.dataset import Dataset
from ...theory.models.model import Model
from .batches import Batches, Measure, full_loss, loss_and_gradient
from .checkpoint import CheckpointError, TrainingState, check_fit, save_checkpoint
from .movers import mover
from .networks import network
from .settings import TrainingSettings, config_hash

CHECKPOINT_SECONDS = 60.0


class TrainingRun:
    """Network, optimizer and batches of one run, and the weights it has saved.

    Parameters
    ----------
    model, data, start
        As in `train`, validated.
    settings : TrainingSettings
        Cleaned settings.
    checkpoint : Path or None
        Where to keep the state.
    every : int or None
        Steps between checkpoints; None for one a minute.
    measure_on : Dataset or None
        What losses are measured on; None for `data`.
    """

    def __init__(
        self,
        model: Model,
        data: Dataset,
        start: dict[str, np.ndarray],
        settings: TrainingSettings,
        checkpoint: Path | None,
        every: int | None,
        measure_on: Dataset | None = None,
    ) -> None:
        dtype, device = getattr(torch, settings.dtype), torch.device(settings.device)
        self.model, self.data, self.settings = model, data, settings
        self.config = settings.identity(model, data, start)
        if measure_on is not None:
            self.config["measure_on"] = measure_on.fingerprint
        self.network = network(model, start, dtype).to(device)
        self.batches = Batches(model, data, dtype, settings.batch_size, settings.seed, device)
        self.mover = mover(settings.rule, dict(self.network.named_parameters()), settings.clock)
        self.step, self.loss, self.late = 0, float("nan"), False
        self.changes: list[str] = []
        self.statistics: dict[str, float] = {}
        self.saved_steps: list[int] = []
        kept = start if settings.keep == "weights" else ()
        self.saved: dict[str, list[np.ndarray]] = {name: [] for name in kept}
        # Losses follow from the weights of a theory model; they are measured where those are not kept, or where asked.
        measuring = settings.keep == "observables" or measure_on is not None
        self._measure = Measure(model, measure_on or data, device) if measuring else None
        self.measured: dict[str, list[float]] = {}
        self._checkpoint, self._every, self._written = checkpoint, every, time.monotonic()
        if "residual" not in map(model.role, start):  # of a network with such paths the product says nothing
            _warn_of_denormals(start, settings.dtype)

    def advance(self, progress: bool, max_seconds: float | None = None) -> Outcome:
        """Train to the last step, to the first loss that is not finite, or until the time is used up."""
        self.late, until = False, time.perf_counter() + (max_seconds or float("inf"))
        began, first, last = time.perf_counter(), self.step, self.settings.steps
        wanted = set(self.settings.save_at.tolist())
        with waiting("training", last, "steps", shown=progress) as wait:
            while self._evaluate() and (self.step not in wanted or self._keep()) and self.step < last:
                self._update()
                self.step += 1
                wait.tell(self.step, f"loss {self.loss:.4f}" if progress else "")
                self._maybe_checkpoint()
                self.late = time.perf_counter() > until
                if self.late:
                    break
        seconds, taken = time.perf_counter() - began, self.step - first
        self.statistics = {"steps": taken, "seconds": seconds, "seconds_per_step": seconds / max(taken, 1)}
        self.statistics |= {"final_loss": self.loss}
        return self._finish(max_seconds)

    def restore(self, state: TrainingState) -> None:
        """Take over a checkpoint's state."""
        settings = self.settings
        if state.step > settings.steps:
            raise FieldError(
                "steps", f"is {settings.steps} but the checkpoint is at step {state.step}: ask for more."
            )
        self.settings = settings.going_on_from(state.saved_steps, state.step, state.t)
        measured = [] if self._measure is None else self._measure.observables
        check_fit(state, self.state(), self.mover.expected(state.step), measured)
        self._restore_generator(state.rng)
        with torch.no_grad():
            for name, p in self.network.named_parameters():
                p.copy_(torch.from_numpy(state.weights[name]))
        if state.step:
            self.mover.restore(state.moments)
        self.step, self.saved_steps, self.changes = state.step, list(state.saved_steps), list(state.changes)
        self.saved = {name: list(value) for name, value in state.saved.items()}
        self.measured = {name: value.tolist() for name, value in state.measured.items()}

    def _restore_generator(self, state: Mapping[str, Any]) -> None:
        try:
            self.batches.rng.bit_generator.state = dict(state)
        except (LookupError, TypeError, ValueError, ArithmeticError) as error:
            raise CheckpointError(
                "checkpoint",
                f"holds no state of this run's generator ({error}): delete it or give another path.",
            ) from None

    def state(self) -> TrainingState:
        """All that a resumed run needs."""
        named = list(self.network.named_parameters())
        shapes = self.model.weights
        return TrainingState(
            step=self.step,
            t=float(self.settings.clock.times[self.step]),
            weights={name: p.detach().cpu().numpy() for name, p in named},
            moments=self.mover.moments(),
            rng=dict(self.batches.rng.bit_generator.state),
            saved_steps=self.saved_steps,
            saved={name: np.array(kept).reshape(-1, *shapes[name]) for name, kept in self.saved.items()},
            measured={name: np.array(values) for name, values in self.measured.items()},
            changes=self.changes,
        )

    def trajectory(self, outcome: Outcome) -> Trajectory:
        """Everything saved so far as a `Trajectory` of kind "training"."""
        settings = self.settings
        steps = np.array(self.saved_steps, dtype=np.int64)
        return Trajectory(
            t=settings.times(steps),
            weights={
                name: sealed(np.array(kept).reshape(-1, *self.model.weights[name]))
                for name, kept in self.saved.items()
            },
            outcome=outcome,
            kind="training",
            label=str(settings.rule) + (f", batches of {settings.batch_size}" if settings.batch_size else ""),
            statistics=self.statistics,
            provenance=self._provenance(),
            steps=steps,
            model=self.model,
            data=self.data,
            measured={name: np.array(values) for name, values in self.measured.items()},
        )

    def _provenance(self) -> dict[str, Any]:
        own = {"config_hash": config_hash(self.config), "steps": self.settings.steps}
        own["rule"] = self.settings.rule.spec()
        return provenance(**self.config | own, **({"accepted_changes": self.changes} if self.changes else {}))

    def _evaluate(self) -> bool:
        # The last step needs no gradient, and a minibatch drawn for it would be missing when the run is
        # prolonged.
        if self.step < self.settings.steps:
            self.loss = loss_and_gradient(self.network, self.batches.draw())
        else:
            self.loss = full_loss(self.network, self.batches)
        return isfinite(self.loss)

    def _keep(self) -> bool:
        if self.saved_steps[-1:] == [self.step]:
            return True  # resumed from the end of a shorter run
        weights = self.network.weights()
        if not all(np.isfinite(value).all() for value in weights.values()):
            self.loss = float("nan")
            return False
        self.saved_steps.append(self.step)
        for name in self.saved:
            self.saved[name].append(weights[name])
        for name, value in (self._measure(self.network) if self._measure else {}).items():
            self.measured.setdefault(name, []).append(value)
        return True

    def _update(self) -> None:
        if self.settings.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.clip)
        self.mover.step(self.step)

    def _maybe_checkpoint(self) -> None:
        if self._checkpoint is None:
            return
        waited = time.monotonic() - self._written
        if self.step % self._every == 0 if self._every else waited > CHECKPOINT_SECONDS:
            save_checkpoint(self._checkpoint, self.config, self.state())
            self._written = time.monotonic()

    def _finish(self, max_seconds: float | None) -> Outcome:
        rate, (t,) = self.settings.learning_rate, self.settings.times(np.array([self.step]))
        if not isfinite(self.loss):
            return Outcome(
                Status.NON_FINITE,
                t,
                f"training diverged, its loss at step {self.step} is {self.loss}; "
                f"lower `learning_rate` (it is {rate:g})",
            )
        if self._checkpoint is not None:
            save_checkpoint(self._checkpoint, self.config, self.state())
        if self.late:
            used = f"{max_seconds:g} s came before step {self.settings.steps}, at step {self.step}"
            return Outcome(Status.MAX_SECONDS, t, f"{used}; raise `max_seconds` or lower `steps`")
        return Outcome(Status.REACHED_END, t)


def _warn_of_denormals(start: dict[str, np.ndarray], dtype: str) -> None:
    scale = prod(float(np.sqrt(np.mean(value**2))) for value in start.values())
    if dtype == "float32" and scale < 1e-30:
        warnings.warn(
            f"The product of the initial scales is {scale:.0e}: in float32 denormal numbers, those below 1e-38, "
            'are taken for zero; use dtype="float64".',
            stacklevel=6,  # whoever called `train`
        )
