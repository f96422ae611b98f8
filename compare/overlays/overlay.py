"""Lay a theory's trajectory over a training run's: errors, horizons, figure, summary."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from math import inf, isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...sim.ode.outcome import Status
from ...sim.trajectory.trajectory import Trajectory
from ...theory.base.crossings import first_crossing
from ...theory.base.errors import FieldError
from ...theory.base.frozen import FrozenRecord
from ...theory.base.validate import brief, did_you_mean, flag, passed_on, positive
from .align import Alignment, align
from .horizon import BLOW_UP, DIVERGENCE, SINGULAR, Horizon
from .loss_error import loss_error
from .relative_errors import RelativeErrors

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

    from .decomposition import Decomposition

TOLERANCES = (0.01, 0.05, 0.1)
# Of equations, while a training goes on; steps of an optimizer diverge where their flow blows up.
ENDS = {Status.BLOW_UP: BLOW_UP, Status.SINGULAR: SINGULAR, Status.NON_FINITE: DIVERGENCE}
WHERE = {
    Status.BLOW_UP: "in a blow-up",
    Status.SINGULAR: "with its equations",
    Status.NON_FINITE: "in a divergence",
}


def overlay(theory: Trajectory, training: Trajectory, decompose: bool = False) -> Overlay:
    """Align a theory with a training run in flow time (= learning rate x step).

    The common times are those at which both were saved. If these are fewer than five, all of the training's
    saved times within the theory's range are taken, where the theory's weights are interpolated by cubic splines
    through its own saved times; a warning says so, since the errors then include the interpolation's.

    Parameters
    ----------
    theory, training : Trajectory
        What `integrate` and `train` returned, from the same weights, model and data.
    decompose : bool
        Whether to split the distance into what the closure, the step size, the optimiser and the minibatches do, by
        extra runs; the result's ``decomposition`` has them.

    Returns
    -------
    Overlay
        Errors are computed when asked for.

    Raises
    ------
    ValueError
        If the two cannot be compared or, with `decompose`, the training lacks its settings; the sentence says why.
    """
    flag("decompose", decompose)
    both = align(theory, training)
    if not decompose:
        return Overlay(theory, training, both)
    from .decompose import decompose as split

    return Overlay(theory, training, both, split(both))


@dataclass(frozen=True, eq=False, repr=False)
class Overlay(FrozenRecord):
    """A theory and a training run over common flow times; made by `overlay`.

    Attributes
    ----------
    theory, training : Trajectory
        The two as given, at their own times.
    alignment : Alignment
        Where their times meet.
    decomposition : Decomposition or None
        Why they part, if that was asked for.
    relative_error : RelativeErrors
        Relative errors over `t`, by name; computed when asked for. A weight's is that of its displacement from the
        start, ``|dW_theory - dW_training| / |dW_training|`` in the Frobenius norm; an observable's is
        ``|a_theory - a_training| / |a_training|``. 0/0 counts as 0.
    """

    theory: Trajectory
    training: Trajectory
    alignment: Alignment
    decomposition: Decomposition | None = None
    relative_error: RelativeErrors = field(init=False)

    def __post_init__(self) -> None:
        """Make the errors, which compute nothing yet."""
        super().__post_init__()
        object.__setattr__(self, "relative_error", RelativeErrors(self.alignment))

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Set the fields, and make the errors anew."""
        super().__setstate__(state)
        object.__setattr__(self, "relative_error", RelativeErrors(self.alignment))

    def __repr__(self) -> str:
        """Return what is compared, and over which times."""
        pair = f"{self.theory.label} over {self.training.label}"
        return f"Overlay({pair}: {len(self.t)} times in {self.t[0]:g} .. {self.t[-1]:g})"

    def _repr_html_(self) -> str:
        """The figure, with errors and horizons of the weights, for notebooks."""
        from base64 import b64encode

        from ...theory.printing import html as markup
        from ..plots.saving import png_of

        rows = []
        for name in self.theory.weights:
            errors = (
                f"{v:.2%}" for v in (np.median(self.relative_error[name]), self.relative_error[name][-1])
            )
            horizons = (self.horizon(tol, name) for tol in TOLERANCES)
            rows.append((name, *errors, *("never" if h == inf else f"{h:.4g}" for h in horizons)))
        header = (
            "displacement of",
            "median error",
            "at the end",
            *(f"{tol:.0%} off at t" for tol in TOLERANCES),
        )
        title = f"{self.theory.label} over {self.training.label}"
        png = b64encode(png_of(self.plot())).decode("ascii")
        figure = f'<img src="data:image/png;base64,{png}" alt="{markup.escape(repr(self))}" style="max-width:100%">'
        return markup.card(title, figure, markup.table(header, rows), status=self._note())

    @property
    def t(self) -> np.ndarray:
        """Common flow times (n_t,), increasing."""
        return self.alignment.t

    @property
    def blow_up_time(self) -> float | None:
        """Flow time at which the theory blows up, None if it does not."""
        return self.theory.outcome.t if self.theory.outcome.status is Status.BLOW_UP else None

    @property
    def end_of_equations(self) -> float | None:
        """Flow time at which the theory ends by itself: it blows up, is singular or diverges; None if it does not."""
        return self.theory.outcome.t if self.theory.outcome.status in ENDS else None

    def horizon(self, tol: float, name: str | None = None) -> Horizon:
        """First flow time at which a relative error exceeds `tol`: that of the first weight to leave, or of `name`.

        Between saved times the error is taken as linear in time, so the horizon is as fine as the saved times
        are close. A theory that blows up or diverges, or whose equations are singular, while the training goes on
        has passed every tolerance by then: its horizon is that time at the latest.

        Parameters
        ----------
        tol : float
            Relative error, positive.
        name : str, optional
            A key of `relative_error`, such as "W_E" or "loss/memory"; all weights if absent.

        Returns
        -------
        Horizon
            Flow time, a float, whose ``cause`` says what left first; inf if no error exceeds `tol` where the two can
            be compared. A weight that the closure keeps at its start (`drive`) leaves at once.

        Raises
        ------
        ValueError
            If `tol` is not positive or `name` is unknown.
        """
        positive("tol", tol)
        if name is not None and not (isinstance(name, str) and name in self.relative_error):
            hint = did_you_mean(name, self.relative_error)
            raise FieldError("name", f"{brief(name)} has no relative error here: {hint}")
        names = self.theory.weights if name is None else [name]
        found = {n: float(first_crossing(self.t, self.relative_error[n], tol, rising=True)) for n in names}
        cause = min(found, key=found.__getitem__)
        if self._end_of_theory < found[cause]:
            return Horizon(self._end_of_theory, ENDS[self.theory.outcome.status])
        return Horizon(found[cause], cause)

    @property
    def _end_of_theory(self) -> float:
        end = self.end_of_equations
        return inf if end is None or end > self.training.t[-1] else end

    def plot(self, path: str | Path | None = None, **options: Any) -> Figure:
        """Draw the overlay figure, and write it if there is a path; see `smallinit.compare.plot_overlays`."""
        from ..plots.overlay_figure import plot_overlays

        return plot_overlays([self], path, **passed_on("Overlay.plot", plot_overlays, options))

    def to_dataframe(self, names: Iterable[str] | None = None) -> pandas.DataFrame:
        """What the figure shows, in numbers: a row per common flow time, indexed by ``t``.

        Parameters
        ----------
        names : str or iterable of str, optional
            Weights and observables of one number per time; weights, losses and norms if absent.

        Returns
        -------
        DataFrame
            Of every name the columns ``NAME/theory``, ``NAME/training`` and ``NAME/error``, the relative error; of a
            weight the error alone, which is that of its displacement. A training with steps has the column ``step``.

        Raises
        ------
        ValueError
            If a name has no relative error.
        """
        from .overlay_frame import overlay_frame

        return overlay_frame(self, names)

    def summary(self) -> dict[str, Any]:
        """Errors, horizons, blow-up and speed as JSON-able values.

        Returns
        -------
        dict
            Errors are of the weights' displacements and of the losses; a horizon of None means never, an
            error of None one that is infinite; "largest_loss_error" is relative while the trained loss is above a
            hundredth of its start, and in nats from there on, see `LossError`; times are flow times, speeds in seconds
            of wall-clock.
        """
        names = [n for n in self.relative_error if n in self.theory.weights or n.partition("/")[0] == "loss"]
        return {
            "theory": self.theory.label,
            "training": self.training.label,
            "outcome": {"theory": str(self.theory.outcome), "training": str(self.training.outcome)},
            "compared": {
                "from": float(self.t[0]),
                "to": float(self.t[-1]),
                "times": len(self.t),
                "interpolated": int((~self.alignment.exact).sum()),
                "note": self._note(),
            },
            "blow_up_time": self.blow_up_time,
            "end_of_equations": self.end_of_equations,
            "error": {name: _statistics(self.relative_error[name]) for name in names},
            "largest_loss_error": {
                name: asdict(loss_error(self.alignment, name))
                for name in names
                if name.partition("/")[0] == "loss"
            },
            "horizon": {
                name: {f"{tol:.0%}": _finite(self.horizon(tol, name)) for tol in TOLERANCES} for name in names
            },
            "speed": self._speed(),
        }

    def _note(self) -> str:
        last = f"t = {self.t[-1]:g}"
        if self._end_of_theory < inf:
            what = WHERE[self.theory.outcome.status]
            return f"the theory ends {what} at t = {self._end_of_theory:g}; compared up to {last}, before it"
        if self.training.t[-1] > self.theory.t[-1]:
            return f"the theory ends first; compared up to {last}"
        return f"compared over the whole training, up to {last}"

    def _speed(self) -> dict[str, float | None]:
        theory = self.theory.statistics.get("seconds")
        # Per step, because a resumed run has timed only its own part.
        per_step = self.training.statistics.get("seconds_per_step")
        steps = None if self.training.steps is None else int(self.training.steps[-1])
        training = None if per_step is None or steps is None else per_step * steps
        ratio = training / theory if theory and training else None
        return {"theory_seconds": theory, "training_seconds": training, "theory_is_faster_by": ratio}


def _statistics(error: np.ndarray) -> dict[str, float | None]:
    return {"max": _finite(error.max()), "median": _finite(np.median(error)), "last": _finite(error[-1])}


def _finite(value: float) -> float | None:
    return float(value) if isfinite(value) else None
