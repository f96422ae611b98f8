"""The parts of an experiment, built from what it says, and run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...theory.base.disk.npz import read_arrays
from ...theory.base.errors import FieldError, InputError
from .layers import Loaded, refused
from .moving import build_optimizer, build_schedule
from .sections import Data, Task, alternatives

if TYPE_CHECKING:
    import numpy as np

    from ...sim.optimizers.optimizer import Optimizer
    from ...sim.trajectory.trajectory import Trajectory
    from ...theory.data.dataset import Dataset
    from ...theory.data.tasks import CompositeTask
    from ...theory.flows.flow import Flow
    from ...theory.models.model import Model

ARRAYS = ("sequences", "labels")
OPTIONAL_ARRAYS = ("weights", "groups", "held_out", "vocabulary")
TABLES = (".csv", ".tsv", ".jsonl")
# End of a file's name -> keys of [data] that say how it is read.
DATA_KEYS = {".txt": ("n_ctx", "vocab_size", "held_out"), **dict.fromkeys(TABLES, ("label",))}


@dataclass(frozen=True)
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

        experiment = self.loaded.experiment
        theory, options = experiment.theory, {}
        if theory.rtol is not None:
            options["rtol"] = theory.rtol
        if experiment.moved_by == "optimizer":
            options |= {
                "optimizer": self.optimizer(),
                "steps": experiment.steps,
                "save_at": self.saved_steps(),
                "batch_size": self.batch_size(),  # of which it is the mean path
                "max_steps": theory.max_steps,
            }
            training = experiment.training
            if training.batch_size is not None and training.optimizer in ("signgd", "spectral"):
                options["seed"] = training.seed  # these have none: the very batches
        else:
            options |= {
                "t1": theory.t1,
                "save_at": self.times(),
                "atol": theory.atol,
                "max_steps": theory.max_steps,
            }
        with refused(self.loaded, "theory"):
            return integrate(
                flow,
                self.data,
                self.start,
                method=theory.method,
                throw=throw,
                max_seconds=max_seconds,
                progress=progress,
                **options,
            )

    def train(
        self,
        progress: bool = False,
        throw: bool = True,
        accept_changes: bool = False,
        max_seconds: float | None = None,
    ) -> Trajectory:
        """Train the torch twin from the same start, going on from its checkpoint if it is there; see `train`."""
        from ..training.train import train

        training = self.loaded.experiment.training
        same = ("seed", "dtype", "clip", "device", "keep")
        options: dict[str, Any] = {key: getattr(training, key) for key in same}
        options["optimizer"] = self.optimizer()
        options["batch_size"] = self.batch_size()
        with refused(self.loaded, "training"):
            if training.measure_on is not None:
                options["measure_on"] = self._measured_on(training.measure_on)
            if training.checkpoint is not None:
                options |= {
                    "checkpoint": training.checkpoint,
                    "resume": True,
                    "accept_changes": accept_changes,
                }
                options["checkpoint_every"] = training.checkpoint_every
            return train(
                self.model,
                self.data,
                self.start,
                steps=self.loaded.experiment.steps,
                save_at=self.loaded.experiment.theory.points,  # a number, so that a checkpoint's run can be prolonged
                max_seconds=max_seconds,
                progress=progress,
                throw=throw,
                **options,
            )

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
    init = loaded.experiment.init
    with refused(loaded, "init"):
        if init.file is None:
            return Built(loaded, data, model, model.init(init.gamma, init.seed, init.convention))
        # Which names it must hold is for `validate` to say: it names the missing weight with its shape.
        return Built(
            loaded, data, model, model.validate(read_arrays(Path(init.file), (), tuple(model.weights)))
        )


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


def read_dataset(
    file: str, d_vocab: int | None, spec: Data | None = None, vocabulary: Sequence[str] | None = None
) -> Dataset:
    """Read sequences and labels by what the file's name ends in: .npz, .csv, .tsv, .jsonl or .txt.

    Parameters
    ----------
    file : str
        Where.
    d_vocab : int or None
        Size of the vocabulary; as large as the file needs if None.
    spec : Data, optional
        What else the experiment says of its data.
    vocabulary : sequence of str, optional
        Names of the tokens of other data, which are to be these.

    Raises
    ------
    ValueError
        If it cannot be read, with the line and the remedy.
    """
    from ...theory.data.dataset import Dataset

    if not Path(file).exists():
        raise InputError(f"there is no file {file!r}: give the path of a table, a text or an .npz.")
    suffix = Path(file).suffix.lower()
    options: dict[str, Any] = {} if spec is None else spec.options
    if unfit := [key for key in options if key not in DATA_KEYS.get(suffix, ())]:
        fitting = [end for end, keys in DATA_KEYS.items() if unfit[0] in keys]
        raise FieldError(
            unfit[0], f"goes with {alternatives(fitting)} and the data are {file!r}: leave it out."
        )
    if suffix == ".txt":
        options.setdefault("vocab_size", d_vocab)
        if "n_ctx" not in options:
            raise FieldError("n_ctx", "is missing: set the number of words in a window of the text.")
        return Dataset.from_text(file, **options)
    if suffix in TABLES:
        read = Dataset.from_jsonl if suffix == ".jsonl" else Dataset.from_csv
        return read(file, d_vocab=d_vocab, vocabulary=vocabulary, **options)
    arrays = read_arrays(Path(file), ARRAYS, OPTIONAL_ARRAYS)
    return Dataset(
        arrays["sequences"],
        arrays["labels"],
        d_vocab or _needed_vocabulary(arrays),
        weights=arrays.get("weights"),
        groups=arrays.get("groups"),
        held_out=arrays.get("held_out"),
        vocabulary=arrays["vocabulary"].tolist() if "vocabulary" in arrays else None,
    )


def _needed_vocabulary(arrays: Mapping[str, np.ndarray]) -> int:
    """Return the smallest vocabulary; arrays that are no tokens at all are left for `Dataset` to refuse."""
    largest = [int(a.max()) for name in ARRAYS if (a := arrays[name]).size and a.dtype.kind in "iu"]
    named = arrays["vocabulary"].size if "vocabulary" in arrays else 1
    return max(named, 1 + max(0, *largest)) if largest else named


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
    """Make the model that the experiment names."""
    from dataclasses import fields

    from ... import theory

    spec = loaded.experiment.model
    kind = getattr(theory, spec.name)
    given = spec.options | {"d_vocab": d_vocab, "n_ctx": n_ctx}
    with refused(loaded, "model"):
        return kind(**{f.name: given[f.name] for f in fields(kind) if f.name in given})


def derive_flows(loaded: Loaded, model: Model) -> dict[str, Flow]:
    """Derive every closure of the experiment, by name."""
    from ...theory.flows.flow import derive

    with refused(loaded, "theory"):
        return {closure: derive(model, closure) for closure in loaded.experiment.theory.closures}
