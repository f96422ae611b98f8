"""Models: a frozen spec of a network, stated once as symbolic logits in named weights and data matrices."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy as sp

from .activations import Activation
from .matrices import apply, product
from .nodes import Matrix

if TYPE_CHECKING:
    from .dataset import Dataset

# Symbolic dimensions, so that one derivation serves every size.
ROWS, D_VOCAB, D_MODEL, D_MLP = sp.symbols("n d_vocab d_model d_mlp", integer=True, positive=True)
COUNTS = sp.MatrixSymbol("C", ROWS, D_VOCAB)  # tokens per sequence, with multiplicity


@dataclass(frozen=True)
class Model(ABC):
    """A network whose logits are a matrix expression of the whole training set.

    A subclass declares integer dimensions as fields (named like the symbolic dimensions), `weight_symbols` and
    `logits`; everything else, theory and torch twin alike, follows from these.
    """

    d_vocab: int

    @property
    @abstractmethod
    def weight_symbols(self) -> tuple[sp.MatrixSymbol, ...]:
        """The weights, in the order in which the signal meets them."""

    @property
    @abstractmethod
    def logits(self) -> Matrix:
        """Logits of all sequences, shape (n, d_vocab)."""

    @property
    def name(self) -> str:
        """Name of the model's class."""
        return type(self).__name__

    @property
    def weights(self) -> dict[str, tuple[int, int]]:
        """Shape of every weight, by name."""
        sizes = self.sizes
        return {str(w): (int(w.rows.subs(sizes)), int(w.cols.subs(sizes))) for w in self.weight_symbols}

    @property
    def sizes(self) -> dict[sp.Symbol, int]:
        """Symbolic dimension -> number."""
        integers = {f.name: getattr(self, f.name) for f in fields(self)}
        return {
            d: int(integers[str(d)])
            for w in self.weight_symbols
            for d in w.shape
            if isinstance(d, sp.Symbol) and str(d) in integers
        }

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
        """Raise ValueError unless the data's vocabulary is the model's."""
        if data.d_vocab != self.d_vocab:
            raise ValueError(
                f"`data.d_vocab` is {data.d_vocab} but the model's `d_vocab` is {self.d_vocab}: make them equal."
            )

    def data_matrices(self, data: Dataset) -> dict[str, Any]:
        """Values of the data symbols on the training rows: C (n, d_vocab), Y (n, d_vocab) sparse, omega (n, 1)."""
        rows = np.flatnonzero(~data.held_out)
        weights = data.weights[rows].reshape(-1, 1)
        return {"C": data.counts[rows], "Y": data.label_matrix[rows], "omega": weights}

    def spec(self) -> dict[str, Any]:
        """Class name and fields as JSON-able values."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {"name": self.name} | {k: v if isinstance(v, int) else str(v) for k, v in values.items()}


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


@dataclass(frozen=True)
class EmbMLP(Model):
    """Sum of embeddings through one hidden layer: f = s(C W_E W_in) W_out (A3 of arXiv 2502.04375).

    Parameters
    ----------
    d_vocab, d_model, d_mlp : int
        Vocabulary size, embedding width, hidden width.
    activation : str or sympy.Expr
        A name (tanh, sin, arctan, softsign, gelu, silu, identity) or an expression in one symbol, with s(0) = 0 and
        s'(0) = 1.

    Raises
    ------
    ValueError
        If a dimension is not a positive integer or the activation breaks Assumption 1.
    """

    d_model: int
    d_mlp: int
    activation: Activation | str | sp.Expr = "tanh"

    def __post_init__(self) -> None:
        """Check the dimensions and resolve the activation."""
        for name in ("d_vocab", "d_model", "d_mlp"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise ValueError(f"`{name}` must be a positive integer, got {value!r}.")
            object.__setattr__(self, name, int(value))
        object.__setattr__(self, "activation", Activation.of(self.activation))

    @property
    def weight_symbols(self) -> tuple[sp.MatrixSymbol, ...]:
        """W_E, W_in, W_out."""
        return (
            sp.MatrixSymbol("W_E", D_VOCAB, D_MODEL),
            sp.MatrixSymbol("W_in", D_MODEL, D_MLP),
            sp.MatrixSymbol("W_out", D_MLP, D_VOCAB),
        )

    @property
    def logits(self) -> Matrix:
        """s(C W_E W_in) W_out."""
        W_E, W_in, W_out = self.weight_symbols
        return product(apply(Activation.of(self.activation).lambda_(), product(COUNTS, W_E, W_in)), W_out)
