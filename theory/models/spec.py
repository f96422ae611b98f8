"""What every network states of itself besides its logits: dimensions, weights, start, fitting data."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from math import log10
from types import FunctionType
from typing import Any

import numpy as np

from ..base.arrays import real_array
from ..base.errors import FieldError
from ..base.frozen import FrozenRecord, frozen
from ..base.names import CONVENTIONS
from ..base.validate import choice, integer, kind_of, real
from ..data.dataset import Dataset
from .conventions import DEVIATIONS, Place
from .losses import Loss, find_loss
from .start_weights import StartWeights

DIGITS = 150  # of a weight's size, so that its square is still a number


class _Fields(FrozenRecord):
    """Refuses attributes that are no fields: models are told apart, copied and recorded by their fields alone."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Refuse fields with the name of a method, which would be their default and be called no more.

        Raises
        ------
        FieldError
            For the first one.
        """
        super().__init_subclass__(**options)
        for name in vars(cls).get("__annotations__", {}):
            base = next((base for base in cls.__mro__[1:] if name in vars(base)), object)
            own = vars(base).get(name)
            if isinstance(own, FunctionType | property | cached_property) and name not in (
                getattr(base, "__dataclass_fields__", ())
            ):
                raise FieldError(
                    name,
                    f"is a field of {cls.__name__} and a method or property of every {base.__name__}: rename it.",
                )

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse; fields of frozen dataclasses are refused before.

        Raises
        ------
        FieldError
            Always.
        """
        raise FieldError(
            name,
            f"is no field of {type(self).__name__}: declare it in the class, under `@dataclass(frozen=True)`.",
        )


@dataclass(frozen=True)
class Spec(_Fields, ABC):
    """Frozen description of a network that can be trained.

    `Model` adds symbolic logits, and with them everything that the theory says.

    Parameters
    ----------
    d_vocab : int
        Size of the vocabulary.
    loss : {"cross_entropy", "exponential", "logistic", "mse"}
        What is minimised, as a weighted mean over the rows of the logits.
    """

    d_vocab: int
    loss: str = field(default="cross_entropy", kw_only=True)

    def __post_init__(self) -> None:
        """Check the dimensions, the flags and the loss."""
        for f in fields(self):
            value = getattr(self, f.name)
            if f.type in ("int", int):
                object.__setattr__(self, f.name, integer(f.name, value, 1))
            elif f.type in ("bool", bool) and not isinstance(value, (bool, np.bool_)):
                raise FieldError(f.name, f"must be True or False, got {value!r}.")
            else:
                object.__setattr__(self, f.name, frozen(value))  # an array of the user's is his to change
        find_loss(self.loss)

    @property
    @abstractmethod
    def weights(self) -> dict[str, tuple[int, int]]:
        """Shape of every weight, by name."""

    @property
    @abstractmethod
    def outputs(self) -> int:
        """Number of logits per row."""

    @property
    def name(self) -> str:
        """Name of the model's class."""
        return type(self).__name__

    @property
    def positions_read(self) -> int:
        """How many positions of a sequence the widest weights are applied to."""
        return 1

    @property
    def per_position(self) -> bool:
        """Whether the model predicts the next token at every position; else a label at the last one."""
        return False

    @property
    def loss_function(self) -> Loss:
        """The loss as an object of `theory.models.losses`."""
        return find_loss(self.loss)

    @property
    def start_values(self) -> Mapping[str, float]:
        """Weights that start at one value, whatever gamma is, such as gains and biases; the others are drawn."""
        return {}

    def block(self, name: str) -> str:
        """Block that a weight belongs to, for `init`: each weight is one of its own."""
        return name

    def role(self, name: str) -> str:
        """What a weight does.

        "embed" reads one-hot tokens or positions, "inner" the stream; "residual" adds to it, "unembed" gives logits.
        """
        return "embed" if name.startswith(("W_E", "W_pos")) else "unembed" if name == "W_U" else "inner"

    def width(self, name: str) -> int:
        """Number of entries of a weight's input, or of the vector that it looks up if it reads one-hot rows."""
        rows, cols = self.weights[name]
        return cols if self.role(name) == "embed" else rows

    @property
    def stream_width(self) -> int:
        """Width of the stream: the field d_model, or else the columns of the first weight."""
        return getattr(self, "d_model", next(iter(self.weights.values()))[1])

    def init(
        self, gamma: float | Mapping[str, float], seed: int, convention: str = "rows"
    ) -> dict[str, np.ndarray]:
        """Draw initial weights, by default each entry from N(0, (rows^-gamma)^2), A2 of arXiv 2502.04375.

        Parameters
        ----------
        gamma : float or dict
            Initialisation exponent: 0.5 is the usual scale, larger is smaller weights. One for all, or block -> its
            own, for every block of the model.
        seed : int
            Each weight draws from a stream of its own, keyed by the seed and its position.
        convention : {"rows", "d_model", "gpt2", "mup"}
            What standard deviations are powers of, see `theory.models.conventions`: its own number of rows; the width
            of the stream, as the paper's group has it; that inside, and 0.02 elsewhere; or the maximal update
            parametrisation, to which gamma = 0.5 belongs.

        Returns
        -------
        dict
            Weight name -> float64 array.

        Raises
        ------
        ValueError
            If an exponent is not finite or beyond what floats can hold, a block has none or is unknown, `seed` is
            negative, or the convention is unknown.
        """
        shapes = self.weights
        exponents = self._exponents(gamma)
        deviation = DEVIATIONS[choice("convention", convention, CONVENTIONS)]
        roles = {name: self.role(name) for name in shapes}
        n_residual = max(1, list(roles.values()).count("residual"))
        places = {
            name: Place(role, shapes[name][0], self.stream_width, n_residual) for name, role in roles.items()
        }
        scales = {name: _scale(name, deviation, place, exponents[name]) for name, place in places.items()}
        streams = np.random.SeedSequence(integer("seed", seed, 0)).spawn(len(shapes))
        constant = self.start_values
        return StartWeights(
            (
                name,
                np.full(shape, constant[name])
                if name in constant
                else np.random.default_rng(stream).normal(0.0, scales[name], shape),
            )
            for stream, (name, shape) in zip(streams, shapes.items(), strict=True)
        )

    def _exponents(self, gamma: Any) -> dict[str, float]:
        """Exponent of every weight."""
        blocks = {name: self.block(name) for name in self.weights}
        if not isinstance(gamma, Mapping):
            return dict.fromkeys(blocks, real("gamma", gamma))
        known = list(dict.fromkeys(blocks.values()))
        if wrong := [block for block in [*gamma, *known] if block not in known or block not in gamma]:
            raise FieldError(
                "gamma",
                f"must give one number to each of {', '.join(known)}: "
                f"{wrong[0]!r} is {'missing' if wrong[0] in known else 'none of them'}.",
            )
        return {name: real(f"gamma[{block!r}]", gamma[block]) for name, block in blocks.items()}

    def validate(self, start: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Return a clean copy of weights: float64, C-ordered, in the model's order.

        Raises
        ------
        ValueError
            If a weight is missing, unknown, mis-shaped or not finite.
        """
        shapes = self.weights
        if not isinstance(start, Mapping):
            raise FieldError("start", f"must map weight names to arrays, got {type(start).__name__}.")
        for name in start:
            if name not in shapes:
                raise FieldError(
                    "start", f"has an unknown weight {name!r}: {self.name} has {', '.join(shapes)}."
                )
        clean = {}
        for name, shape in shapes.items():
            if name not in start:
                raise FieldError("start", f"lacks the weight {name!r}: give an array of shape {shape}.")
            value = real_array(f"start[{name!r}]", start[name], finite=False)
            if value.shape != shape:
                raise FieldError(f"start[{name!r}]", f"must have shape {shape}, got {value.shape}.")
            if not np.isfinite(value).all():
                raise FieldError(f"start[{name!r}]", "holds non-finite numbers: replace them.")
            clean[name] = value
        return clean

    def check_data(self, data: Dataset) -> None:
        """Raise ValueError unless vocabulary, labels and sequence length of the data are the model's."""
        kind_of("data", data, Dataset, "give the training data")
        if data.d_vocab != self.d_vocab:
            raise ValueError(
                f"`data.d_vocab` is {data.d_vocab} but the model's `d_vocab` is {self.d_vocab}: make them equal."
            )
        n_ctx = getattr(self, "n_ctx", data.n_ctx)
        if data.n_ctx != n_ctx:
            raise ValueError(
                f"`data.n_ctx` is {data.n_ctx} but the model's `n_ctx` is {n_ctx}: make them equal."
            )
        self.loss_function.check(self.row_labels(data.sequences, data.labels), self.outputs)

    def row_labels(self, sequences: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Integer label of every row of the logits: the sequence's, or the next token at every position."""
        if not self.per_position:
            return labels
        return np.concatenate([sequences[:, 1:], labels[:, None]], axis=1).ravel()

    def row_counts(self, sequences: np.ndarray) -> np.ndarray:
        """How many rows of the logits each of sequences (m, n_ctx) has."""
        return np.full(len(sequences), sequences.shape[1] if self.per_position else 1)

    def row_weights(self, weights: np.ndarray, sequences: np.ndarray) -> np.ndarray:
        """Weight of every row of the logits: sequences (m, n_ctx) with `weights` (m,) share theirs among their rows."""
        counts = self.row_counts(sequences)
        return np.repeat(weights / counts, counts)

    def spec(self) -> dict[str, Any]:
        """Class name and fields as JSON-able values."""
        return {"name": self.name} | {f.name: _plain(getattr(self, f.name)) for f in fields(self)}


def _scale(name: str, deviation: Callable[[Place, float], float], place: Place, gamma: float) -> float:
    """Standard deviation of a weight's entries: one whose squares are neither zero nor infinite."""
    size = log10(max(2, place.rows, place.d_model))
    if abs(gamma) * size > DIGITS:
        raise FieldError(
            "gamma",
            f"is {gamma:g}, which gives the {place.rows} rows of {name!r} entries of about 10^({-gamma * size:.3g}): "
            f"choose one between {-DIGITS / size:.0f} and {DIGITS / size:.0f}, such as 0.8.",
        )
    return deviation(place, gamma)


def _plain(value: Any) -> Any:
    """A field as a JSON-able value; an array by its content, which its text leaves out."""
    if isinstance(value, np.ndarray):
        digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()[:16]
        return f"{value.dtype} {value.shape} {digest}"
    return value if isinstance(value, (int, type(None))) else str(value)
