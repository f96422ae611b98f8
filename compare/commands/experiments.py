"""The commands that run one experiment, or a part of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from ...theory.base.errors import InputError
from ...theory.base.folders import staged
from ...theory.base.waiting import waiting
from ...theory.printing.glossary import glossary
from ..experiment import build as runs
from ..experiment.layers import Loaded, load
from ..experiment.moving import moved_flows
from ..experiment.outputs import equations_tex, most_drawn, writers
from . import tables as report
from .destinations import checkpoint_file, output_folder
from .flags import AcceptChanges, Overwrite, flag_values, flagged
from .implied import clocked, implied, implied_name, scales_line
from .terminal import checkpoint_kept, interruptible, load_torch, no_picture

if TYPE_CHECKING:
    from ...sim.trajectory.trajectory import Trajectory

# A theory is kept where training is, so that the two can be laid over each other, and moved by the same optimizer.
SAVED_TIMES = tuple(
    f"training.{key}" for key in ("learning_rate", "steps", "schedule", "warmup", "schedule_end", "final")
)
OF_OPTIMIZER = ("optimizer", "weight_decay", "betas", "eps", "momentum", "nesterov", "rates", "decays")
MOVED = tuple(f"training.{key}" for key in (*OF_OPTIMIZER, "batch_size", "seed"))


def read(experiment: Path | None, preset: str | None, flags: Mapping[str, Any], timed: bool = True) -> Loaded:
    """Load the experiment that a command names by file or preset, or implies by data or a model, and its flags."""
    values = flag_values(flags)
    if experiment is None and preset is None:
        return clocked(implied(values), values, timed)
    return load(experiment, preset, values)


def read_for(
    out: Path | None, experiment: Path | None, preset: str | None, overwrite: bool, flags: Mapping[str, Any]
) -> tuple[Loaded, Path]:
    """Load the experiment, and choose its output directory, results/NAME by default, of which it makes sure."""
    values = flag_values(flags)
    bare = experiment is None and preset is None
    loaded = implied(values) if bare else load(experiment, preset, values)
    name = experiment.stem if experiment is not None else preset or implied_name(loaded)
    folder = output_folder(out if out is not None else Path("results") / name, overwrite)
    return clocked(loaded, values) if bare else loaded, folder


def print_heading(built: runs.Built) -> None:
    """Print what is run, and of data of one's own what binds."""
    print(report.heading(built))
    if built.loaded.experiment.data is not None:
        print(scales_line(built))


def save(folder: Path, overwrite: bool, files: Mapping[str, Callable[[Path], Any]]) -> int:
    """Write all result files, or none; a picture that is refused takes none with it. Returns the exit status."""
    refused: dict[str, str] = {}
    with waiting(f"writing {folder}"), staged(folder, overwrite) as staging:
        for name, write in files.items():
            try:
                write(staging / name)
            except ValueError as error:
                if not name.endswith(".png"):
                    raise
                refused[name] = str(error)
    print(f"wrote {report.listed(folder, [name for name in files if name not in refused])}")
    return max((no_picture(name, why) for name, why in refused.items()), default=0)


def derived(loaded: Loaded) -> tuple[runs.Built, dict[str, Any]]:
    """Build an experiment and derive its closures."""
    with waiting("building the data") as wait:
        built = runs.build(loaded)
        wait.say(f"deriving {', '.join(loaded.experiment.theory.closures)}")
        return built, built.flows()


def simulate_all(built: runs.Built, flows: Mapping[str, Any]) -> dict[str, Any]:
    """Integrate every closure; one whose steps diverge has its end in that, unless all do.

    Where a flow would blow up, which is a regular end, the steps of an optimizer on it diverge: that says nothing
    against the other closures.
    """
    from ...sim.ode.outcome import IntegrationError

    experiment, done, diverged = built.loaded.experiment, {}, []
    steps = f"step {experiment.steps} of {built.optimizer()}"
    end = steps if experiment.moved_by == "optimizer" else f"t = {experiment.theory.t1:g}"
    for name, flow in flows.items():
        with waiting(f"integrating {name} to {end}", float(built.times()[-1]), "in flow time") as wait:
            try:
                done[name] = built.integrate(flow, progress=wait.tell)
            except IntegrationError as error:
                if not _diverged_by_steps(experiment, error.trajectory):
                    raise
                diverged.append(error)
                done[name] = error.trajectory
    if len(diverged) == len(flows):
        raise diverged[0]
    return done


def _diverged_by_steps(experiment: Any, theory: Trajectory) -> bool:
    """Whether these are steps of an optimizer that diverged after something was kept, if only the start."""
    from ...sim.ode.outcome import Status

    by_steps = experiment.moved_by == "optimizer"
    return by_steps and theory.outcome.status is Status.NON_FINITE and len(theory.t) > 0


def check_training(built: runs.Built, accept_changes: bool) -> None:
    """Refuse what training would refuse, such as a checkpoint of other settings, before theories take their time."""
    built.training_options()  # these need no torch
    load_torch()
    built.check_training(accept_changes)


def train_watched(built: runs.Built, accept_changes: bool) -> Trajectory:
    """Train the torch twin, and say what is kept if that is interrupted."""
    load_torch()
    with interruptible(lambda: checkpoint_kept(built.loaded.experiment.training.checkpoint)):
        return built.train(progress=True, accept_changes=accept_changes)


@flagged()
def overlay(
    experiment: Path | None = None,
    /,
    *,
    preset: str | None = None,
    out: Path | None = None,
    overwrite: Overwrite = False,
    accept_changes: AcceptChanges = False,
    **flags: Any,
) -> int:
    """Derive, integrate, train, and lay theory over training: the whole path.

    Parameters
    ----------
    experiment
        A TOML file; flags override it, it overrides the preset. Neither is needed beside --data or --model.
    preset
        demo, paper, decoder or decoder-paper.
    out
        Directory for the results; results/NAME if absent.
    overwrite
        Replace a former result.
    accept_changes
        Go on with kept work although inputs, sources or versions are others; the provenance says so.
    """
    loaded, folder = read_for(out, experiment, preset, overwrite, flags)
    if loaded.experiment.training.keep != "weights":
        place = loaded.where("training", "keep")
        raise InputError(
            f"an overlay compares weights: leave `training.keep` at 'weights' ({place}), or use train."
        )
    checkpoint_file(loaded.experiment.training.checkpoint, folder)
    built, flows = derived(loaded)
    check_training(built, accept_changes)
    with waiting("writing the equations out"):
        shown = [str(flow) for flow in moved_flows(loaded, built.model, flows).values()]
    print_heading(built)
    print("", "\n\n".join(filter(None, [*shown, glossary(*shown)])), sep="\n")
    theory = simulate_all(built, flows)
    training = train_watched(built, accept_changes)
    from ..overlays.overlay import overlay as lay_over

    overlays = {name: lay_over(trajectory, training) for name, trajectory in theory.items()}
    with waiting("laying theory over training"):
        table = report.overlay_table(overlays, training, loaded.experiment.output.tolerance)
    print(f"\n{table}\n")
    status = save(folder, overwrite, writers(loaded, flows, theory, training, overlays))
    if not status and len(theory) > (most := most_drawn()):
        drawn = ", ".join([*theory][:most])
        print(f"overlay.png shows {drawn}: more than {most} lines could not be told apart")
    return status


@flagged("task.length", "data", "model", "theory.closures", "theory.moved_by", *SAVED_TIMES, *MOVED[:-2])
def derive(
    experiment: Path | None = None,
    /,
    *,
    preset: str | None = None,
    latex: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    **flags: Any,
) -> None:
    """Print the equations, the predicted order of their residual and what they conserve.

    Under an optimizer other than plain descent they are those of weights and moments in the limit of small rates.

    Parameters
    ----------
    experiment
        A TOML file; without one, and without a preset, the defaults stand.
    preset
        demo, paper, decoder or decoder-paper.
    latex
        Print a LaTeX document instead.
    """
    loaded = load(experiment, preset, flag_values(flags))
    # Nothing in the equations depends on the data but the size of the vocabulary: none are enumerated.
    if loaded.experiment.data is None:
        task = runs.build_task(loaded)
        d_vocab, n_ctx = task.d_vocab, task.length
    else:
        data = runs.build_data(loaded)
        d_vocab, n_ctx = data.d_vocab, data.n_ctx
    model = runs.build_model(loaded, d_vocab, n_ctx)
    with waiting(f"deriving {', '.join(loaded.experiment.theory.closures)}"):
        flows = moved_flows(loaded, model, runs.derive_flows(loaded, model))
        pages = [] if latex else [str(flow) for flow in flows.values()]
        shown = equations_tex(flows) if latex else "\n\n".join(filter(None, [*pages, glossary(*pages)]))
    print(shown, end="" if latex else "\n")


@flagged("task", "data", "model", "init", "theory", *SAVED_TIMES, *MOVED)
def simulate(
    experiment: Path | None = None,
    /,
    *,
    preset: str | None = None,
    out: Path | None = None,
    overwrite: Overwrite = False,
    **flags: Any,
) -> None:
    """Derive and integrate every closure; nothing is trained.

    Parameters
    ----------
    experiment
        A TOML file; flags override it, it overrides the preset. Neither is needed beside --data or --model.
    preset
        demo, paper, decoder or decoder-paper.
    out
        Directory for the results; results/NAME if absent.
    overwrite
        Replace a former result.
    """
    loaded, folder = read_for(out, experiment, preset, overwrite, flags)
    built, flows = derived(loaded)
    print_heading(built)
    theory = simulate_all(built, flows)
    print("\n" + report.run_table(theory) + "\n")
    save(folder, overwrite, writers(loaded, flows, theory))


@flagged("task", "data", "model", "init", "theory.t1", "theory.points", "training")
def train(
    experiment: Path | None = None,
    /,
    *,
    preset: str | None = None,
    out: Path | None = None,
    overwrite: Overwrite = False,
    accept_changes: AcceptChanges = False,
    **flags: Any,
) -> None:
    """Train the torch twin; nothing is derived.

    Parameters
    ----------
    experiment
        A TOML file; flags override it, it overrides the preset. Neither is needed beside --data or --model.
    preset
        demo, paper, decoder or decoder-paper.
    out
        Directory for the results; results/NAME if absent.
    overwrite
        Replace a former result.
    accept_changes
        Go on with kept work although inputs, sources or versions are others; the provenance says so.
    """
    loaded, folder = read_for(out, experiment, preset, overwrite, flags)
    checkpoint_file(loaded.experiment.training.checkpoint, folder)
    with waiting("building the data"):
        built = runs.build(loaded)
    print(report.heading(built))
    training = train_watched(built, accept_changes)
    print("\n" + report.run_table({training.label: training}) + "\n")
    save(folder, overwrite, writers(loaded, {}, {}, training))
