"""Models: a frozen spec of a network, stated once as symbolic logits in named weights and data matrices."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy as sp

from .activations import Activation
from .inputs import build_inputs, dimension
from .losses import Loss, find_loss
from .nodes import Matrix, matrix_symbols

if TYPE_CHECKING:
    from .dataset import Dataset


@dataclass(frozen=True)
class Model(ABC):
    """A network whose logits are a matrix expression of the whole training set.

    A subclass declares its dimensions as integer fields (named like the symbolic dimensions), `weight_symbols` and
    `logits`; closures, exponents, kernels, torch twin, training and overlay all follow from these. Fields called
    `activation` and `loss` are checked here.

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
        """Check the dimensions, the activation and the loss."""
        for f in fields(self):
            value = getattr(self, f.name)
            if f.type in ("int", int):
                object.__setattr__(self, f.name, _dimension(f.name, value))
            elif f.type in ("bool", bool) and not isinstance(value, (bool, np.bool_)):
                raise ValueError(f"`{f.name}` must be True or False, got {value!r}.")
            elif f.name == "activation":
                object.__setattr__(self, f.name, Activation.of(value))
        find_loss(self.loss)

    @property
    @abstractmethod
    def weight_symbols(self) -> tuple[sp.MatrixSymbol, ...]:
        """The weights, in the order in which the signal meets them."""

    @property
    @abstractmethod
    def logits(self) -> Matrix:
        """Logits of all rows, shape (n, outputs), in the weights and the data matrices of `theory.inputs`."""

    @property
    def driven(self) -> tuple[str, ...]:
        """The weights that move under the closure "drive": the embeddings, or else the first weight."""
        names = tuple(w.name for w in self.weight_symbols)
        return tuple(name for name in names if name.startswith("W_E")) or names[:1]

    @property
    def per_position(self) -> bool:
        """Whether the model predicts the next token at every position; else a label at the last one."""
        return False

    def inputs(self, sequences: np.ndarray) -> dict[str, Any]:
        """Values of the data matrices that occur in the logits, for sequences (m, n_ctx) of token ids.

        Override it for data matrices of your own: each has one row per row of the logits or is the same for all data.
        """
        names = {s.name for s in matrix_symbols(self.logits)} - set(self.weights)
        return build_inputs(names, sequences, self.d_vocab)

    @property
    def loss_function(self) -> Loss:
        """The loss as an object of `theory.losses`."""
        return find_loss(self.loss)

    @property
    def outputs(self) -> int:
        """Number of logits per row."""
        return int(sp.sympify(self.logits.cols).subs(self.sizes))

    @property
    def name(self) -> str:
        """Name of the model's class."""
        return type(self).__name__

    @property
    def weights(self) -> dict[str, tuple[int, int]]:
        """Shape of every weight, by name."""
        return dict(_shapes(self))

    @property
    def sizes(self) -> dict[sp.Symbol, int]:
        """Symbolic dimension -> number, for the dimensions that are fields."""
        return {dimension(f.name): getattr(self, f.name) for f in fields(self) if f.type in ("int", int)}

    def init(self, gamma: float, seed: int) -> dict[str, np.ndarray]:
        """Draw initial weights, each entry from N(0, (rows^-gamma)^2), by A2 of arXiv 2502.04375.

        Parameters
        ----------
        gamma : float
            Initialisation exponent: 0.5 is the usual scale, larger is smaller weights.
        seed : int
            Each weight draws from a stream of its own, keyed by the seed and its position.

        Returns
        -------
        dict
            Weight name -> float64 array.

        Raises
        ------
        ValueError
            If `gamma` is not finite or `seed` is negative.
        """
        if (
            isinstance(gamma, (str, bool))
            or not np.isrealobj(gamma)
            or gamma is None
            or not np.isfinite(gamma)
        ):
            raise ValueError(f"`gamma` must be a finite number, got {gamma}.")
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
            raise ValueError(f"`seed` must be a non-negative integer, got {seed!r}.")
        shapes = self.weights
        streams = np.random.SeedSequence(int(seed)).spawn(len(shapes))
        return {
            name: np.random.default_rng(stream).normal(0.0, float(shape[0]) ** -gamma, shape)
            for stream, (name, shape) in zip(streams, shapes.items(), strict=True)
        }

    def validate(self, start: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Return a clean copy of weights: float64, C-ordered, in the model's order.

        Raises
        ------
        ValueError
            If a weight is missing, unknown, mis-shaped or not finite.
        """
        shapes = self.weights
        if not isinstance(start, Mapping):
            raise ValueError(f"`start` must map weight names to arrays, got {type(start).__name__}.")
        for name in start:
            if name not in shapes:
                raise ValueError(
                    f"`start` has an unknown weight {name!r}: {self.name} has {', '.join(shapes)}."
                )
        clean = {}
        for name, shape in shapes.items():
            if name not in start:
                raise ValueError(f"`start` lacks the weight {name!r}: give an array of shape {shape}.")
            value = _real_array(f"start[{name!r}]", start[name])
            if value.shape != shape:
                raise ValueError(f"`start[{name!r}]` must have shape {shape}, got {value.shape}.")
            if not np.isfinite(value).all():
                raise ValueError(f"`start[{name!r}]` holds non-finite numbers: replace them.")
            clean[name] = value
        return clean

    def check_data(self, data: Dataset) -> None:
        """Raise ValueError unless vocabulary, labels and sequence length of the data are the model's."""
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

    def row_weights(self, weights: np.ndarray, n_ctx: int) -> np.ndarray:
        """Weight of every row of the logits, of sequences with `weights` (m,)."""
        return np.repeat(weights / n_ctx, n_ctx) if self.per_position else weights

    def data_matrices(self, data: Dataset, rows: np.ndarray | None = None) -> dict[str, Any]:
        """Values of all data symbols on some sequences, by default those for training.

        Parameters
        ----------
        data : Dataset
            Sequences, labels, weights.
        rows : ndarray of int, optional
            Which sequences; their weights are taken as they stand.

        Returns
        -------
        dict
            The model's inputs, Y (n, outputs) and omega (n, 1).
        """
        rows = np.flatnonzero(~data.held_out) if rows is None else rows
        sequences = data.sequences[rows]
        labels = self.row_labels(sequences, data.labels[rows])
        weights = self.row_weights(data.weights[rows], data.n_ctx)
        return self.inputs(sequences) | {
            "Y": self.loss_function.targets(labels, self.outputs),
            "omega": weights.reshape(-1, 1),
        }

    def spec(self) -> dict[str, Any]:
        """Class name and fields as JSON-able values."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {"name": self.name} | {
            k: v if isinstance(v, (int, type(None))) else str(v) for k, v in values.items()
        }


def _dimension(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"`{name}` must be a positive integer, got {value!r}.")
    return int(value)


@lru_cache(maxsize=256)
def _shapes(model: Model) -> dict[str, tuple[int, int]]:
    sizes = model.sizes
    return {w.name: (_size(w.rows, sizes), _size(w.cols, sizes)) for w in model.weight_symbols}


def _size(dimension: sp.Expr, sizes: Mapping[sp.Symbol, int]) -> int:
    number = sp.sympify(sp.sympify(dimension).xreplace(sizes))
    if not number.is_Integer:
        raise ValueError(
            f"`weight_symbols` use the dimension {dimension}, which is no integer field of the model: add it."
        )
    return int(number)


def _real_array(name: str, value: Any) -> np.ndarray:
    """A C-ordered float64 copy; ValueError unless it is an array of real numbers."""
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind not in "fiu":
        raise ValueError(
            f"`{name}` must be an array of real numbers, got {array.dtype} {type(value).__name__}."
        )
    return np.array(array, dtype=np.float64, order="C")
