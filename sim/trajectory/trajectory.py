"""Trajectories: weights and observables over flow time, the same type from theory and from training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.base.crossings import first_reached
from ...theory.base.disk.files import check_file
from ...theory.base.frozen import FrozenRecord, read_only, sealed
from ...theory.base.validate import brief, did_you_mean, is_integer, nearest, one_or_more, path_of
from ..ode.outcome import Outcome
from . import observables
from .trajectory_parts import check_parts, finite, with_arrays

if TYPE_CHECKING:
    import pandas
    import xarray
    from jaxtyping import Float, Int

    from ...theory.data.dataset import Dataset
    from ...theory.models.model import Model


SPECTRA = ("singular_values/", "effective_rank/")
SPECTRUM_ENTRIES = 10**6  # larger weights take seconds per saved time to decompose


@dataclass(frozen=True, eq=False, repr=False)
class Trajectory(FrozenRecord):
    """Weights over flow time (learning_rate x step), with the outcome of the run and where it came from.

    Lists of numbers do for `t`, `steps`, `events` and `measured`; observables of half precision, and truths, are kept
    as float64. ``trajectory["loss"]`` and the other `observable_names` are computed on first use and kept.

    Attributes
    ----------
    t : ndarray, shape (n_t,)
        Flow times, strictly increasing.
    weights : dict
        Weight name -> (n_t, rows, cols).
    outcome : Outcome
        How the run ended.
    kind : {"theory", "training"}
        Where it came from.
    label : str
        Closure or optimiser, for legends.
    closure : str
        Whose logits losses and accuracies are computed with: what the theory predicts for the loss is the loss of
        its own truncated or linearised network; "exact" is the network itself, as for training.
    statistics : dict
        Steps, calls and seconds.
    provenance : dict
        JSON-able record of what it was made with.
    steps : ndarray of int, shape (n_t,), or None
        Training steps at `t`.
    model, data : Model, Dataset or None
        What losses, accuracies and cosines are computed from; a model without symbolic logits gives no losses.
    events : dict
        Event name -> flow times of its zeros.
    start : dict or None
        The full weights that a reduced trajectory started from; what `Reduction.lift` completes it with.
    measured : dict
        Observables measured during the run, time axis first; they take precedence over what could be computed.
    """

    t: Float[np.ndarray, " n_t"]
    weights: Mapping[str, Float[np.ndarray, "n_t rows cols"]]
    outcome: Outcome
    kind: str = "theory"
    label: str = ""
    closure: str = "exact"
    statistics: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    steps: Int[np.ndarray, " n_t"] | Float[np.ndarray, " n_t"] | None = None
    model: Model | None = None
    data: Dataset | None = None
    events: Mapping[str, Float[np.ndarray, " n_found"]] = field(default_factory=dict)
    start: Mapping[str, Float[np.ndarray, "rows cols"]] | None = None
    measured: Mapping[str, Float[np.ndarray, "n_t ..."]] = field(default_factory=dict)
    _known: dict[str, np.ndarray] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        """Refuse parts that do not belong together.

        Raises
        ------
        ValueError
            If a part is of another kind or holds nan, times or steps do not increase, a length differs from that of
            `t`, `kind` or `closure` is unknown, or a name is no line of text, or another array's or an axis'.
        """
        for name, value in with_arrays(self).items():
            object.__setattr__(self, name, value)
        check_parts(self)
        super().__post_init__()
        self._known.update(self.measured)

    def __getstate__(self) -> dict[str, Any]:
        """Return the fields and the observables computed so far; of a weight that stands still, one row."""
        weights = {
            name: (w[:1], len(w)) if len(w) > 1 and w.strides[0] == 0 else (w, len(w))
            for name, w in self.weights.items()
        }
        return super().__getstate__() | {"weights": weights, "_known": dict(self._known)}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Set them."""
        parts = state["weights"].items()
        weights = {n: w if len(w) == m else np.broadcast_to(w[0], (m, *w.shape[1:])) for n, (w, m) in parts}
        known = {name: read_only(value) for name, value in state["_known"].items()}
        super().__setstate__({**state, "weights": weights, "_known": ()})
        object.__setattr__(self, "_known", known)

    def __repr__(self) -> str:
        """Origin, times, shapes and outcome in one line."""
        shapes = ", ".join(f"{name} {value.shape[1:]}" for name, value in self.weights.items())
        span = f" in {self.t[0]:g} .. {self.t[-1]:g}" if len(self.t) else ""
        return f"Trajectory({self.kind} {self.label!r}: {len(self.t)} times{span}; {shapes}; {self.outcome})"

    def _repr_html_(self) -> str:
        """Outcome, sizes, and first and last values of what has been computed so far, for notebooks."""
        from ...theory.printing import html as markup

        numbers = {
            f"norm of {name}": np.linalg.norm(w[[0, -1]], axis=(1, 2))
            for name, w in self.weights.items()
            if len(w)
        }
        numbers |= {name: v[[0, -1]] for name, v in self._known.items() if v.ndim == 1 and len(v)}
        shapes = {f"norm of {name}": f"{w.shape[1]} x {w.shape[2]}" for name, w in self.weights.items()}
        rows = (
            (name, shapes.get(name, observables.units(name)), f"{first:.4g}", f"{last:.4g}")
            for name, (first, last) in numbers.items()
        )
        ends = [f"t = {t:g}" for t in (self.t[0], self.t[-1])] if len(self.t) else ["", ""]
        others = [name for name in self.observable_names if name not in self._known]
        parts = [markup.table(("", "shape or unit", *ends), rows)] if numbers else []
        parts += [markup.line("computed when asked for", ", ".join(others))] if others else []
        title = f"{self.kind.capitalize()} {self.label!r}, {len(self.t)} saved flow times"
        return markup.card(title, *parts, status=str(self.outcome))

    def _ipython_key_completions_(self) -> list[str]:
        """Names that a notebook completes in brackets."""
        return list(self.observable_names)

    __iter__ = None  # Python, and numpy with it, would ask for [0], [1], ..

    def __contains__(self, name: object) -> bool:
        """Whether indexing understands a name."""
        return name in self.observable_names

    def __len__(self) -> int:
        """Return the number of saved times."""
        return len(self.t)

    @property
    def observable_names(self) -> tuple[str, ...]:
        """Names that indexing understands."""
        computable = observables.observable_names(self.weights, self.model, self.data)
        return tuple(dict.fromkeys([*computable, *self._known]))

    def __getitem__(self, name: str) -> Float[np.ndarray, "n_t ..."]:
        """Return an observable over time, time axis first; meanings in `sim.trajectory.observables`.

        Raises
        ------
        KeyError
            If there is no such observable, or `model` and `data` are missing for it.
        TypeError
            If `name` is no string.
        """
        if not isinstance(name, str):
            raise TypeError(
                f'`name` must name an observable, got {brief(name)}; a saved time is a row of one, as in ["loss"][0].'
            )
        if name not in self._known:
            if name not in self.observable_names:
                raise KeyError(self._unknown(name))
            found = observables.observe(name, self.weights, self.model, self.data, self.closure)
            self._known.update({each: sealed(value) for each, value in found.items()})
        return self._known[name]

    def model_and_data(self) -> tuple[Model, Dataset]:
        """Return the theory model and the data.

        Raises
        ------
        ValueError
            If either is missing.
        """
        if self.model is None or self.data is None:
            raise ValueError(
                "`trajectory` lacks its model or data: load_trajectory(path, model=..., data=...)."
            )
        return self.model, self.data

    @cached_property
    def left_range(self) -> dict[str, float]:
        """First saved flow time at which the closure's truncated functions were more than 10 % wrong somewhere.

        Keys are "pre-activations", "scores", "logits", as far as the closure truncates them; infinity if never. See
        `sim.trajectory.left_range` for the sizes and `smallinit.theory.flows.ranges` for the ranges.
        """
        from .left_range import excursions

        first = {what: first_reached(size > 1.0) for what, size in excursions(self).items()}
        return {what: float(self.t[i]) if i >= 0 else float("inf") for what, i in first.items()}

    def _unknown(self, name: str) -> str:
        if name.partition("/")[0] in ("loss", "accuracy", "cosine") and (
            self.model is None or self.data is None
        ):
            if self.start is not None:
                return f"`{name}` is of full weights, and these are reduced: take that of `reduction.lift(trajectory)`."
            near = nearest(name, self.observable_names)
            return f"`{name}` needs the model and the data: load_trajectory(path, model=..., data=...)" + (
                f"; or did you mean {near!r}?" if near else "."
            )
        if name in self.weights:
            return f'{name!r} is a weight: use `.weights["{name}"]`, or an observable such as "norm/{name}".'
        return (
            f"no observable {name!r}; {did_you_mean(name, self.observable_names, 'see `observable_names`.')}"
        )

    def state(self, index: int = -1) -> dict[str, Float[np.ndarray, "rows cols"]]:
        """Copy the weights at one saved time: the start of a continued run.

        Raises
        ------
        IndexError
            If there is no such time.
        """
        if isinstance(index, np.ndarray) and index.ndim == 0:  # as of numpy's argmin with axes kept
            index = index.item()
        if not is_integer(index) or not -len(self) <= index < len(self):
            raise IndexError(f"`index` must be that of one of {len(self)} saved times, got {brief(index)}.")
        return {name: np.array(value[index]) for name, value in self.weights.items()}

    def to_xarray(self, observables: Iterable[str] | None = None) -> xarray.Dataset:
        """Weights and observables as an `xarray.Dataset`, whatever was computed before.

        Axes of weights are named by the model's dimensions (``d_vocab``, ``d_model``, ..), time is ``t``, and a
        training run has its ``step``; a weight that stands still has no time axis. Units stand in the attributes.
        Names hold a "/", which netCDF does not allow: `save` writes them to a file.

        Parameters
        ----------
        observables : iterable of str, optional
            Which ones; all of `observable_names` if absent. Spectra of weights with millions of entries take long.
        """
        from .storage import contents_of

        names = self._existing() if observables is None else one_or_more("observables", observables)
        return contents_of(self, names).to_xarray()

    def to_dataframe(self, names: Iterable[str] | None = None) -> pandas.DataFrame:
        """Observables as a `pandas.DataFrame`: a row per saved time, indexed by ``t``, a column per number.

        A weight in long form is ``trajectory.to_xarray([])["W_E"].to_dataframe()``.

        Parameters
        ----------
        names : iterable of str, optional
            Observables, of which arrays fill a column per entry (``singular_values/W_E[0]``); all that are one number
            per time if absent. A training run has the column ``step`` besides.
        """
        from .frame import to_dataframe

        return to_dataframe(self, None if names is None else one_or_more("names", names))

    def _existing(self) -> tuple[str, ...]:
        """Observables that exist: without saved times, those measured."""
        return self.observable_names if len(self) else tuple(self._known)

    def save(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write one netCDF4 file, completely or not at all.

        It holds the weights, the observables, the outcome and the provenance. Observables not asked for so far are
        computed first; of weights with more than a million entries, spectra only if they were asked for.

        Parameters
        ----------
        path : path
            File to write.
        overwrite : bool
            Whether an existing file may be replaced.

        Raises
        ------
        FileExistsError
            If the file exists and `overwrite` is False.
        FileNotFoundError
            If its folder does not exist.
        ValueError
            If weights are not finite: no file holds such.
        """
        from .storage import save

        for name, value in self.weights.items():
            finite(f"weights[{name!r}]", value, "end the trajectory before them to save it")
        check_file(path := path_of("path", path), overwrite)
        return save(self, path, [name for name in self._existing() if self._stored(name)])

    def _stored(self, name: str) -> bool:
        """Whether a file is to hold an observable: all but spectra that take long and were not asked for."""
        weight = self.weights.get(name.partition("/")[2])
        large = name.startswith(SPECTRA) and weight is not None and weight[0].size > SPECTRUM_ENTRIES
        return name in self._known or not large
