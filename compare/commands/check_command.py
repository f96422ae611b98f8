"""The command that holds a claim against what is derived."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...theory.base.errors import InputError, interrupts_held
from ...theory.base.waiting import waiting
from ..experiment import build as runs
from .destinations import output_picture
from .experiments import read
from .flags import Overwrite, flagged
from .implied import PRESET

if TYPE_CHECKING:
    from ...theory.data.dataset import Dataset
    from ...theory.models.model import Model
    from ..proof.verdict import Verdict

DERIVED = ("leading", "softmax", "exact")  # drawn beside a claim


@flagged("task", "data", "model")
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
        For example "dW_E = M @ W_out.T @ W_in.T" or "d(W_E.T @ W_E - W_in @ W_in.T) = 0"; docs/check.md has the
        grammar.
    experiment
        A TOML file with the model and the data; without one, and without a preset, the demo's stand.
    preset
        demo, paper, decoder or decoder-paper.
    figure
        Also draw the claim's error against autodiff over the weight scale, beside the derived closures', to this file.
    overwrite
        Replace a former figure.
    """
    from ...theory.language.claim_text import ClaimError

    with interrupts_held():  # torch comes with it
        from ..proof.check import check as hold
    own = flags.get("data__file") is not None  # beside whose data it is said what stands for the rest
    if figure is not None:
        output_picture("--figure", figure, overwrite)
    loaded = read(experiment, preset if experiment or preset or own else PRESET, flags, timed=False)
    data = runs.build_data(loaded)
    model = runs.build_model(loaded, data.d_vocab, data.n_ctx)
    with runs.refused(loaded, "model"):
        model.check_data(data)
    try:
        with waiting("deriving, and measuring against autodiff"):
            verdict = hold(claim, model, data)
    except ClaimError as error:
        raise InputError(error.reason, error.picture) from error
    except ValueError as error:
        raise InputError(str(error)) from error
    print(verdict)
    if figure is not None:
        _draw_proof(verdict, model, data, figure)


def _draw_proof(verdict: Verdict, model: Model, data: Dataset, path: Path) -> None:
    from ...theory.flows.flow import derive
    from ..plots.proof_figure import plot_proof
    from ..proof.check import measured_motion
    from ..proof.residuals import measure_residual

    direction, motion = verdict.proof.direction, measured_motion(verdict, model, data)
    with waiting("measuring the derived closures"):
        derived = {name: measure_residual(derive(model, name), data, direction, motion) for name in DERIVED}
    plot_proof({verdict.claim: {"claim": verdict} | derived}, verdict.weight, path)
    print(f"wrote {path}")
