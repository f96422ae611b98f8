"""The commands that take one experiment, and those that check statements."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from ...theory.base.errors import InputError
from ...theory.base.files import check_file, write_whole
from ...theory.base.folders import check_folder, staged
from ..experiment import build as runs
from ..experiment.layers import Loaded, load
from . import tables as report
from .flags import Overwrite, flag_values, flagged

if TYPE_CHECKING:
    from ...theory.data.dataset import Dataset
    from ...theory.models.model import Model
    from ..proof.check import Verdict

DERIVED = ("leading", "softmax", "exact")  # drawn beside a claim


def read(experiment: Path | None, preset: str | None, flags: Mapping[str, Any], need: bool = True) -> Loaded:
    """Load the experiment that a command names, by file or preset, and its flags."""
    if need and experiment is None and preset is None:
        raise InputError("no experiment given: name a TOML file or use --preset demo.")
    return load(experiment, preset, flag_values(flags))


def target(out: Path | None, experiment: Path | None, preset: str | None, overwrite: bool) -> Path:
    """Choose the output directory, results/<name of the experiment> by default, and make sure of it."""
    name = experiment.stem if experiment is not None else preset
    return check_folder(out if out is not None else Path("results") / str(name), overwrite)


def save(folder: Path, overwrite: bool, files: Mapping[str, Callable[[Path], Any]]) -> None:
    """Write all result files, or none."""
    with staged(folder, overwrite) as staging:
        for name, write in files.items():
            write(staging / name)
    print(f"wrote {report.listed(folder, files)}")


def note(text: str) -> None:
    """Tell somebody at a terminal what is going on."""
    if runs.on_terminal():
        print(text, file=sys.stderr)


def simulate_all(built: runs.Built, flows: Mapping[str, Any]) -> dict[str, Any]:
    """Integrate every closure."""
    done = {}
    for name, flow in flows.items():
        note(f"integrating {name} to t = {built.loaded.experiment.theory.t1:g} ...")
        done[name] = built.integrate(flow)
    return done


@flagged
def overlay(
    experiment: Path | None = None,
    /,
    *,
    preset: str | None = None,
    out: Path | None = None,
    overwrite: Overwrite = False,
    **flags: Any,
) -> None:
    """Derive, integrate, train, and lay theory over training: the whole path.

    Parameters
    ----------
    experiment
        A TOML file; flags override it, it overrides the preset.
    preset
        demo or paper.
    out
        Directory for the results; results/NAME if absent.
    overwrite
        Replace a former result.
    """
    loaded = read(experiment, preset, flags)
    if loaded.experiment.training.keep != "weights":
        place = loaded.where("training", "keep")
        raise InputError(
            f"an overlay compares weights: leave `training.keep` at 'weights' ({place}), or use train."
        )
    folder = target(out, experiment, preset, overwrite)
    built = runs.build(loaded)
    flows = built.flows()
    print(report.heading(built), *flows.values(), sep="\n\n")
    theory = simulate_all(built, flows)
    training = built.train(progress=runs.on_terminal())
    from ..overlays.overlay import overlay as lay_over

    overlays = {name: lay_over(trajectory, training) for name, trajectory in theory.items()}
    print("\n" + report.overlay_table(overlays, training, loaded.experiment.output.tolerance) + "\n")
    save(folder, overwrite, runs.writers(loaded, flows, theory, training, overlays))


@flagged
def derive(
    experiment: Path | None = None,
    /,
    *,
    preset: str | None = None,
    latex: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    **flags: Any,
) -> None:
    """Print the equations, the predicted order of their residual and what they conserve.

    Parameters
    ----------
    experiment
        A TOML file; without one, and without a preset, the defaults stand.
    preset
        demo or paper.
    latex
        Print a LaTeX document instead.
    """
    loaded = read(experiment, preset, flags, need=False)
    # Nothing in the equations depends on the data but the size of the vocabulary: none are enumerated.
    whole = loaded.experiment.data is not None
    source = (runs.build_data if whole else runs.build_task)(loaded)
    n_ctx = source.n_ctx if whole else source.length
    flows = runs.derive_flows(loaded, runs.build_model(loaded, source.d_vocab, n_ctx))
    print(
        runs.equations_tex(flows) if latex else "\n\n".join(map(str, flows.values())),
        end="" if latex else "\n",
    )


@flagged
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
        A TOML file; flags override it, it overrides the preset.
    preset
        demo or paper.
    out
        Directory for the results; results/NAME if absent.
    overwrite
        Replace a former result.
    """
    loaded = read(experiment, preset, flags)
    folder = target(out, experiment, preset, overwrite)
    built = runs.build(loaded)
    flows = built.flows()
    print(report.heading(built))
    theory = simulate_all(built, flows)
    print("\n" + report.run_table(theory) + "\n")
    save(folder, overwrite, runs.writers(loaded, flows, theory))


@flagged
def train(
    experiment: Path | None = None,
    /,
    *,
    preset: str | None = None,
    out: Path | None = None,
    overwrite: Overwrite = False,
    **flags: Any,
) -> None:
    """Train the torch twin; nothing is derived.

    Parameters
    ----------
    experiment
        A TOML file; flags override it, it overrides the preset.
    preset
        demo or paper.
    out
        Directory for the results; results/NAME if absent.
    overwrite
        Replace a former result.
    """
    loaded = read(experiment, preset, flags)
    folder = target(out, experiment, preset, overwrite)
    built = runs.build(loaded)
    print(report.heading(built))
    training = built.train(progress=runs.on_terminal())
    print("\n" + report.run_table({training.label: training}) + "\n")
    save(folder, overwrite, runs.writers(loaded, {}, {}, training))


@flagged
def check(
    claim: str,
    experiment: Path | None = None,
    /,
    *,
    preset: str | None = None,
    figure: Path | None = None,
    overwrite: Overwrite = False,
    **flags: Any,
) -> None:
    """Hold a claimed equation against the derived one: true to which order, and what it drops.

    Parameters
    ----------
    claim
        For example "dW_E = M @ W_out.T @ W_in.T"; docs/check.md has the grammar.
    experiment
        A TOML file with the model and the data; without one, and without a preset, the demo's stand.
    preset
        demo or paper.
    figure
        Also draw the claim's error against autodiff over the weight scale, beside the derived closures', to this file.
    overwrite
        Replace a former figure.
    """
    from ...theory.language.claim_text import ClaimError
    from ..proof.check import check as hold

    loaded = read(experiment, "demo" if experiment is None and preset is None else preset, flags)
    if figure is not None:
        _check_figure(figure, overwrite)
    data = runs.build_data(loaded)
    model = runs.build_model(loaded, data.d_vocab, data.n_ctx)
    with runs.refused(loaded, "model"):
        model.check_data(data)
    try:
        verdict = hold(claim, model, data)
    except ClaimError as error:
        raise InputError(error.reason, error.picture) from error
    except ValueError as error:
        raise InputError(str(error)) from error
    print(verdict)
    if figure is not None:
        _draw_proof(verdict, model, data, figure)


def _check_figure(path: Path, overwrite: bool) -> None:
    from ..plots.overlay_figure import figure_path

    try:
        check_file(figure_path(path), overwrite)
    except (ValueError, FileExistsError) as error:
        raise InputError(str(error)) from error


def _draw_proof(verdict: Verdict, model: Model, data: Dataset, path: Path) -> None:
    from ...theory.flows.flow import derive
    from ..plots.proof_figure import plot_proof
    from ..proof.residuals import measure_residual

    direction = verdict.proof.direction
    derived = {name: measure_residual(derive(model, name), data, direction) for name in DERIVED}
    print(f"wrote {plot_proof({verdict.claim: {'claim': verdict} | derived}, verdict.weight, path)}")


def claims(*, json: Annotated[Path | None, Parameter(show_default=False)] = None) -> None:
    """Put the statements of the papers to the test, one by one.

    Parameters
    ----------
    json
        Also write the findings, with their numbers, to this file.
    """
    from ..literature.claims import claims as all_claims

    if json is not None and not json.absolute().parent.is_dir():
        raise InputError(f"`--json` {str(json)!r} lies in a folder that does not exist: create it first.")
    rows = []
    for claim in all_claims():
        rows.append(claim.row(claim.verify()))
        print("{number:15} {status:26} {statement}\n{0:43}{finding}".format("", **rows[-1]), flush=True)
    if json is not None:
        write_whole(json, dumps(rows, indent=2, allow_nan=True) + "\n")
