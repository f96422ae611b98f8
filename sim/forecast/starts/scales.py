"""Scales of a start, before a run: how large everything is, when it is left, what binds and which number to change."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from math import inf, isfinite, nan, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from ....theory.base.columns import aligned
from ....theory.base.errors import FieldError
from ....theory.base.frozen import FrozenRecord
from ....theory.base.validate import integer
from ....theory.flows.flow import derive
from ....theory.models.model import Model
from ....theory.printing import html as markup
from ...compile.compiler import evaluate_flow
from ...integration.save_steps import MOST_STEPS
from ...optimizers.optimizer import GD, Momentum, Optimizer
from ..escape import CLOSURE, Escape, predict_escape
from .bindings import FEW, Binding, find_bindings, strongest_decay
from .scale_rows import ADDED, HEADERS, ScaleRow, rows_of
from .signals import signals
from .start_scales import StartScales

if TYPE_CHECKING:
    from ....theory.data.dataset import Dataset

SANE = 0.02  # rate over the std of the smallest weight
MOST_INTEGRATED = 2 * 10**7  # weights of a network whose gradient is taken and whose escape is predicted
NO_MATTER = 0.02  # decay times flow time up to which decay cannot delay an escape much


@dataclass(frozen=True, eq=False, repr=False)
class Scales(FrozenRecord):
    """How large everything is at a start, when it is left and what binds; made by `scales`.

    Attributes
    ----------
    model, optimizer : str
        Of what; the optimizer is "gradient flow" if none was given.
    rows : tuple of ScaleRow
        The tables.
    regime : {"small", "usual", "large"}
        By the geometric mean of std x sqrt(width): below 0.5, up to 2, above.
    bindings : tuple of Binding
        What binds, the worst first; empty where nothing does.
    escape : Escape or None
        The predicted first escape; None where the model has no closure.
    why : str
        Why it has none, such as an activation without a series; else empty.
    seconds : float
        Wall-clock time of everything.
    """

    model: str
    optimizer: str
    rows: tuple[ScaleRow, ...]
    regime: str
    bindings: tuple[Binding, ...]
    escape: Escape | None
    why: str
    seconds: float

    @property
    def binds(self) -> str:
        """Name of what binds; empty if nothing does."""
        return self.bindings[0].name if self.bindings else ""

    @property
    def change(self) -> tuple[str, float] | None:
        """The one number to change, and about what to; None if nothing binds."""
        return self.bindings[0].change if self.bindings else None

    @property
    def first_escape_steps(self) -> float:
        """Steps until 5 % of the training loss are gone; infinite if they never are, nan where it is not predicted."""
        return nan if self.escape is None else self.escape.steps

    @property
    def first_escape_time(self) -> float:
        """The same in flow time."""
        return nan if self.escape is None else self.escape.t

    @property
    def verdict(self) -> str:
        """In one sentence: the regime, what binds and the number to change."""
        if not self.bindings:
            return f"The start is {self.regime}, and nothing binds."
        return f"The start is {self.regime}, and {self.binds} binds: {self.bindings[0]}."

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON-able values; None for what is not finite."""
        plain = {
            "model": self.model,
            "optimizer": self.optimizer,
            "regime": self.regime,
            "verdict": self.verdict,
        }
        parts = {"rows": [asdict(row) for row in self.rows], "bindings": [asdict(b) for b in self.bindings]}
        escape = None if self.escape is None else self.escape.to_dict()
        return _finite(plain | {"change": self.change, "escape": escape, "seconds": self.seconds} | parts)

    def __str__(self) -> str:
        """Tables, prediction and verdict as text."""
        tables = [aligned(header, rows) for header, rows in self._tables()]
        return "\n\n".join([self._title, *tables, "\n".join(self._said())])

    __repr__ = __str__

    def latex(self) -> str:
        """The tables as LaTeX ``tabular`` environments."""
        return "\n\n".join(_tabular(header, rows) for header, rows in self._tables())

    def _repr_html_(self) -> str:
        """Tables, prediction and verdict, for notebooks."""
        tables = [markup.table(header, rows) for header, rows in self._tables()]
        return markup.card(self._title, *tables, *map(markup.escape, self._said()))

    @property
    def _title(self) -> str:
        return f"Scales of {self.model} at its start, under {self.optimizer}"

    def _tables(self) -> Iterator[tuple[tuple[str, ...], list[tuple[str, ...]]]]:
        for kind, header in HEADERS.items():
            if rows := [row.cells for row in self.rows if row.kind == kind]:
                yield header, rows

    def _said(self) -> Iterator[str]:
        if self.escape is None:
            yield f"The first escape is not predicted: {self.why}"
        else:
            yield from self.escape.sentences()
        if damped := [r.block for r in self.rows if r.name == ADDED and r.ratio > 1.0]:
            yield f"The optimizer's eps outweighs the gradients of {', '.join(damped)}: they move as under GD at first."
        yield self.verdict
        yield from (f"Also: {b}." for b in self.bindings[1:])


def scales(
    model: Model,
    start: Mapping[str, Any],
    data: Dataset,
    optimizer: Optimizer | None = None,
    steps: int | None = None,
) -> Scales:
    """Say how large everything is at a start, when it will be left, what binds, and which number to change.

    From the statistics of the data: the softmax closure is integrated up to its first escape; nothing is trained.

    Parameters
    ----------
    model : Model
        The network; one whose activation has no series at 0, such as relu, has no closure and no prediction.
    start : dict
        Weight name -> array (rows, cols).
    data : Dataset
        Training data.
    optimizer : Optimizer or None
        What will move the weights; None for gradient flow.
    steps : int or None
        How many steps there will be, if it is to be said whether they are enough.

    Returns
    -------
    Scales

    Raises
    ------
    ValueError
        For malformed input.
    """
    began = time.perf_counter()
    if not isinstance(model, Model):
        raise FieldError("model", f"must be a network such as EmbMLP(...), got {type(model).__name__}.")
    if optimizer is not None and not isinstance(optimizer, Optimizer):
        raise FieldError("optimizer", f"must be an Optimizer such as AdamW(1e-3), got {optimizer!r}.")
    steps = None if steps is None else integer("steps", steps, 1, MOST_STEPS)
    if optimizer is not None:
        optimizer.of_weights(model.weights)
    model.check_data(data)
    why = not_predicted(model)
    look = _look(model, model.validate(start), data, optimizer, steps, why)
    return Scales(
        model.name, "gradient flow" if optimizer is None else str(optimizer), tuple(rows_of(look)), look.regime,
        find_bindings(look), look.escape, why, time.perf_counter() - began,
    )  # fmt: skip


def _look(
    model: Model,
    weights: dict[str, np.ndarray],
    data: Dataset,
    optimizer: Optimizer | None,
    steps: int | None,
    why: str,
) -> StartScales:
    gradient: dict[str, np.ndarray] = {}
    if not _is_large(model):
        slopes = evaluate_flow(derive(model, "exact"), data, weights)
        gradient = {name: -slope for name, slope in slopes.items()}
    escape = free = None
    due = nan
    if not why:
        escape = free = predict_escape(model, data, weights, optimizer)
        late = steps is not None and not escape.steps <= FEW * steps
        if optimizer is not None and (late or escape.steps == inf):
            due = _due(model, data, weights, optimizer)
        # Decay or not, the rate is what it waits for.
        slow = isfinite(due) and not isinstance(optimizer, GD | Momentum)
        if optimizer is not None and not slow and strongest_decay(optimizer)[1] * escape.t > NO_MATTER:
            freed = replace(optimizer, weight_decay=0.0, decays={})
            free = predict_escape(model, data, weights, freed, when_only=True)
    gains = {
        name: float(np.std(w)) * sqrt(model.width(name))
        for name, w in weights.items()
        if min(w.shape) > 1 and not name.lower().startswith("w_pos")
    }
    return StartScales(
        model, weights, gains, signals(model, weights, data), gradient, optimizer, steps, escape, free, due
    )


def _due(model: Model, data: Dataset, start: Mapping[str, np.ndarray], optimizer: Optimizer) -> float:
    """Flow time of the escape at a rate of a sane size, which hardly hangs on the rate.

    Of gradient descent and momentum it is that of gradient flow, for momentum times 1 - mu. Other optimizers move a
    weight by about the rate a step: at a rate of a fiftieth of the weights it is a matter of some dozen steps. Of a
    model without a prediction, or a start at zero, it is infinite; arguments as in `predict_escape`.
    """
    if isinstance(optimizer, GD | Momentum):
        slower = 1.0 - optimizer.momentum if isinstance(optimizer, Momentum) else 1.0
        return slower * predict_escape(model, data, start, when_only=True).t
    size = min((float(np.std(w)) for w in start.values() if np.std(w) > 0.0), default=0.0)
    if size == 0.0:
        return inf
    moving = replace(optimizer, learning_rate=SANE * size, schedule=None)
    return predict_escape(model, data, start, moving, when_only=True).t


def not_predicted(model: Model) -> str:
    """Why no escape is predicted; empty if one can be."""
    if _is_large(model):
        return (
            f"a network of {_numbers(model):,} weights is not integrated here: escape_exponents, and a narrower one, "
            "say when it escapes."
        )
    try:
        derive(model, CLOSURE)
    except ValueError as error:
        return str(error)
    return ""


def _numbers(model: Model) -> int:
    return sum(rows * cols for rows, cols in model.weights.values())


def _is_large(model: Model) -> bool:
    """Whether gradients and closures take longer than a look is worth; what hangs on them is left out."""
    return _numbers(model) > MOST_INTEGRATED


def _tabular(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [" & ".join(cell.replace("_", r"\_") for cell in row) + r" \\" for row in (header, *rows)]
    columns = "l" + "r" * (len(header) - 1)
    body = "\n".join([lines[0], r"\hline", *lines[1:]])
    return f"\\begin{{tabular}}{{{columns}}}\n{body}\n\\end{{tabular}}"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
