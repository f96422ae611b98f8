"""The parts of an experiment, built from what it says, and run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...theory.base.disk.npz import read_arrays
from ...theory.base.errors import FieldError, InputError
from .data_files import TABLES, read_dataset
from .layers import Loaded, refused
from .moving import build_optimizer, build_schedule
from .own_model import build_own
from .sections import Data, Init, Task

if TYPE_CHECKING:
    import numpy as np

    from ...sim.optimizers.optimizer import Optimizer
    from ...sim.trajectory.trajectory import Trajectory
    from ...theory.data.dataset import Dataset
    from ...theory.data.tasks import CompositeTask
    from ...theory.flows.flow import Flow
    from ...theory.models.model import Model


@dataclass(frozen=True, eq=False)
class Built:
    """The nouns of an experiment, ready to run.

    Attributes
    ----------
    loaded : Loaded
        The experiment and its sources.
    data, model : Dataset, Model
        As the experiment says.
    start : dict
        Weight name -> initial array (rows, cols).
    """

    loaded: Loaded
    data: Dataset
    model: Model
    start: Mapping[str, np.ndarray]

    def flows(self) -> dict[str, Flow]:
        """Derive every closure."""
        return derive_flows(self.loaded, self.model)

    def integrate(
        self,
        flow: Flow,
        throw: bool = True,
        max_seconds: float | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Trajectory:
        """Move the weights by one flow, saved where training is, within a wall-clock limit; see `integrate`."""
        from ...sim.integration.integrate import integrate

        theory = self.loaded.experiment.theory
        by_steps = self.loaded.experiment.moved_by == "optimizer"
        options = self._steps_options() if by_steps else {"t1": theory.t1, "atol": theory.atol}
        options["save_at"] = self.saved_steps() if by_steps else self.times()
        if theory.rtol is not None:
            options["rtol"] = theory.rtol
        with refused(self.loaded, "theory"):
            return integrate(
                flow,
                self.data,
                self.start,
                method=theory.method,
                max_steps=theory.max_steps,
                device=theory.device,
                dtype=theory.dtype,
                throw=throw,
                max_seconds=max_seconds,
                progress=progress,
                **options,
            )

    def _steps_options(self) -> dict[str, Any]:
        """Arguments of `integrate` that make it take the optimizer's steps."""
        training = self.loaded.experiment.training
        options: dict[str, Any] = {
            "optimizer": self.optimizer(),
            "steps": self.loaded.experiment.steps,
            "batch_size": self.batch_size(),  # of which it is the mean path
        }
        if training.batch_size is not None and training.optimizer in ("signgd", "spectral"):
            options["seed"] = training.seed  # these have none: the very batches
        return options

    def train(
        self,
        progress: bool = False,
        throw: bool = True,
        accept_changes: bool = False,
        max_seconds: float | None = None,
    ) -> Trajectory:
        """Train the torch twin from the same start, going on from its checkpoint if it is there; see `train`."""
        from ..training.train import train

        options = self._kept_options(accept_changes)
        with refused(self.loaded, "training"):
            return train(
                self.model,
                self.data,
                self.start,
                max_seconds=max_seconds,
                progress=progress,
                throw=throw,
                **options,
            )

    def check_training(self, accept_changes: bool = False) -> None:
        """Refuse what `train` would refuse, such as a checkpoint of other settings; no step is taken."""
        from ..training.train import begun

        options = self._kept_options(accept_changes)
        with refused(self.loaded, "training"), begun(self.model, self.data, self.start, **options):
            pass

    def _kept_options(self, accept_changes: bool) -> dict[str, Any]:
        """Arguments of `train`, with where its state is kept."""
        training, experiment = self.loaded.experiment.training, self.loaded.experiment
        options = self.training_options()
        # A number of points and no list, so that a checkpoint's run can be prolonged.
        options |= {"steps": experiment.steps, "save_at": experiment.theory.points}
        if training.checkpoint is not None:
            options |= {"checkpoint": training.checkpoint, "resume": True, "accept_changes": accept_changes}
            options["checkpoint_every"] = training.checkpoint_every
        return options

    def training_options(self) -> dict[str, Any]:
        """Arguments of `train` that can be refused without it, so that nothing comes before that in vain."""
        from ...sim.device.devices import chosen_device

        training = self.loaded.experiment.training
        same = ("seed", "dtype", "clip", "keep")
        options: dict[str, Any] = {key: getattr(training, key) for key in same}
        options["optimizer"] = self.optimizer()
        options["batch_size"] = self.batch_size()
        with refused(self.loaded, "training"):
            options["device"] = chosen_device(training.device)
            if training.measure_on is not None:
                options["measure_on"] = self._measured_on(training.measure_on)
        return options

    def _measured_on(self, file: str) -> Dataset:
        """The data of `measure_on`: tokens mean there what they mean in those of training."""
        from ...theory.data.dataset import Dataset
        from ...theory.data.words import UNKNOWN, Words, read_text

        names, own = self.data.vocabulary, self.loaded.experiment.data
        if Path(file).suffix.lower() == ".txt":
            if names is None or names[0] != UNKNOWN:
                raise FieldError(
                    "measure_on",
                    f"{file!r} is a text and the training data are none: give a table or an .npz.",
                )
            return Dataset(**Words(names).windows(read_text(file), self.data.n_ctx))
        spec = None
        if own is not None and own.label is not None and Path(file).suffix.lower() in TABLES:
            spec = Data(file=file, label=own.label)
        found = read_dataset(file, self.model.d_vocab, spec, names)
        if found.vocabulary not in (None, names):
            raise FieldError(
                "measure_on",
                f"{file!r} names its tokens and the training data {'number' if names is None else 'name'} theirs "
                "otherwise: give both the same names.",
            )
        return found

    def optimizer(self) -> Optimizer:
        """What moves the weights, of training and, unless gradient flow does, of theory."""
        return build_optimizer(self.loaded, self.model)

    def batch_size(self) -> int | None:
        """Sequences per minibatch; None for all of them."""
        from ..training.settings import batch_size_of

        training = self.loaded.experiment.training
        return batch_size_of(training.optimizer, training.batch_size, int((~self.data.held_out).sum()))

    def saved_steps(self) -> np.ndarray:
        """Training steps that are kept, evenly spaced, the first being 0."""
        import numpy as np

        experiment = self.loaded.experiment
        even = np.linspace(0, experiment.steps, experiment.theory.points)
        return np.unique(np.rint(even).astype(np.int64))

    def training_times(self) -> np.ndarray:
        """Flow times of the kept steps: the sum of the step sizes before each."""
        from ...sim.optimizers.schedule import Clock

        experiment = self.loaded.experiment
        clock = Clock.of(experiment.training.learning_rate, build_schedule(self.loaded), experiment.steps)
        return clock.times[self.saved_steps()]

    def times(self) -> np.ndarray:
        """Flow times at which closures are saved: of the kept steps, for a flow those up to t1.

        A step that ends at t1 but for rounding is put there.
        """
        import numpy as np

        if self.loaded.experiment.moved_by == "optimizer":
            return self.training_times()
        t1, times = self.loaded.experiment.theory.t1, self.training_times()
        return np.unique(np.minimum(times[times <= t1 * (1 + 1e-12)], t1))


def build(loaded: Loaded) -> Built:
    """Build data, model and initial weights.

    Raises
    ------
    InputError
        If the parts do not fit together or a file cannot be used.
    """
    data = build_data(loaded)
    model = build_model(loaded, data.d_vocab, data.n_ctx)
    with refused(loaded, "model"):
        model.check_data(data)
    check_batch_size(loaded, data)
    with refused(loaded, "init"):
        return Built(loaded, data, model, initial_weights(loaded.experiment.init, model))


def initial_weights(init: Init, model: Model) -> dict[str, np.ndarray]:
    """Weights of a file, or drawn."""
    if init.file is None:
        return model.init(init.gamma, init.seed, init.convention)
    # Which names it must hold is for `validate` to say: it names the missing weight with its shape.
    return model.validate(read_arrays(Path(init.file), (), tuple(model.weights)))


def check_batch_size(loaded: Loaded, data: Dataset) -> None:
    """Refuse a batch that is larger than the data.

    Raises
    ------
    InputError
        Which says where the size was set.
    """
    from ...sim.optimizers.minibatches import checked_batch_size

    size = loaded.experiment.training.batch_size
    with refused(loaded, "training"):
        if size is not None:
            checked_batch_size(size, int((~data.held_out).sum()))


def build_data(loaded: Loaded) -> Dataset:
    """Enumerate, sample or read the data."""
    experiment = loaded.experiment
    if experiment.data is None:
        task, count = build_task(loaded), _task(loaded).n_samples
        with refused(loaded, "task"):
            return task.dataset() if count is None else task.sampled(count)
    with refused(loaded, "data"):
        return read_dataset(experiment.data.file, experiment.model.d_vocab, experiment.data)


def _task(loaded: Loaded) -> Task:
    if loaded.experiment.task is None:
        raise InputError(f"the experiment has no [task]: its data are a file ({loaded.where('data')}).")
    return loaded.experiment.task


def build_task(loaded: Loaded) -> CompositeTask:
    """Make the composite task, without enumerating it."""
    from ...theory.data.tasks import CompositeTask

    task = _task(loaded)
    settings = {key: getattr(task, key) for key in type(task).model_fields if key != "n_samples"}
    with refused(loaded, "task"):
        return CompositeTask(**settings, d_vocab=loaded.experiment.model.d_vocab)


def build_model(loaded: Loaded, d_vocab: int, n_ctx: int) -> Model:
    """Make the model that the experiment names, of the package or in a file of the user's."""
    from dataclasses import fields

    from ... import theory

    spec = loaded.experiment.model
    if spec.own:
        with refused(loaded, "model"):
            return build_own(spec, {"d_vocab": d_vocab, "n_ctx": n_ctx})
    kind = getattr(theory, spec.name)
    given = spec.options | {"d_vocab": d_vocab, "n_ctx": n_ctx}
    with refused(loaded, "model"):
        return kind(**{f.name: given[f.name] for f in fields(kind) if f.name in given})


def derive_flows(loaded: Loaded, model: Model) -> dict[str, Flow]:
    """Derive every closure of the experiment, by name."""
    from ...theory.flows.flow import derive

    with refused(loaded, "theory"):
        return {closure: derive(model, closure) for closure in loaded.experiment.theory.closures}
