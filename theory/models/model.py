"""Models: a frozen spec of a network, stated once as symbolic logits in named weights and data matrices."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy as sp

from ..algebra.nodes import Matrix, StochasticSymbol, matrix_symbols
from ..algebra.scalars.activations import Activation
from ..algebra.sizes import misfit
from ..base.errors import FieldError
from ..base.frozen_dict import FrozenDict
from ..base.validate import brief
from ..base.weight_names import size_name, weight_name
from ..data.inputs import D_VOCAB, N_CTX, build_inputs, dimension
from .content import Content
from .spec import Spec

ROW_SUM = 1e-9  # how far the sum of a row of averages may be from one

if TYPE_CHECKING:
    from ..data.dataset import Dataset


@dataclass(frozen=True)
class Model(Spec):
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

    def __post_init__(self) -> None:
        """Check the dimensions, the activation and the loss."""
        super().__post_init__()
        if any(f.name == "activation" for f in fields(self)):
            object.__setattr__(self, "activation", Activation.of(getattr(self, "activation")))  # noqa: B009

    @property
    @abstractmethod
    def weight_symbols(self) -> tuple[sp.MatrixSymbol, ...]:
        """The weights, in the order in which the signal meets them."""

    @property
    @abstractmethod
    def logits(self) -> Matrix:
        """Logits of all rows, shape (n, outputs), in the weights and the data matrices of `theory.data.inputs`."""

    @property
    def small_weights(self) -> tuple[sp.MatrixSymbol, ...]:
        """The weights that are small at first: all but those that start at a value that is not zero, such as gains."""
        constant = self.start_values
        return tuple(w for w in self.weight_symbols if not constant.get(w.name))

    def scaled(self, direction: Mapping[str, Any], eps: float) -> dict[str, np.ndarray]:
        """Weights at a scale: eps times a direction, but for those that do not start small, such as gains.

        Parameters
        ----------
        direction : dict
            Weight name -> array of the model's shape; of gains and the like the values themselves.
        eps : float
            The scale.
        """
        small = self._small
        return {w: np.asarray(x, dtype=float) * (eps if w in small else 1.0) for w, x in direction.items()}

    @cached_property
    def _small(self) -> frozenset[str]:
        return frozenset(w.name for w in self.small_weights)  # asked for at every scale of a proof

    @property
    def driven(self) -> tuple[str, ...]:
        """The weights that move under the closure "drive": the embeddings, or else the first weight."""
        names = tuple(w.name for w in self.weight_symbols)
        return tuple(name for name in names if name.startswith("W_E")) or names[:1]

    def inputs(self, sequences: np.ndarray) -> dict[str, Any]:
        """Values of the data matrices that occur in the logits, for sequences (m, n_ctx) of token ids.

        Override it for data matrices of your own: each has one row per row of the logits or is the same for all data.
        """
        return build_inputs(set(self.read), sequences, self.d_vocab)

    @cached_property
    def read(self) -> frozenset[str]:
        """Names of the data matrices in the logits."""
        return frozenset(s.name for s in matrix_symbols(self.logits)) - set(self.weights)

    @property
    def outputs(self) -> int:
        """Number of logits per row."""
        return self._outputs  # asked for at every evaluation, and `Spec` has a property

    @cached_property
    def _outputs(self) -> int:
        return int(sp.sympify(self.logits.cols).subs(self.sizes))

    @property
    def weights(self) -> dict[str, tuple[int, int]]:
        """Shape of every weight, by name."""
        return self._shapes

    @cached_property
    def _shapes(self) -> dict[str, tuple[int, int]]:
        symbols = self.weight_symbols
        for size in self.sizes:
            size_name(str(size))
        if not self._built_in:
            check_logits(self.logits, self.sizes)
        check_symbols(symbols, {f.name for f in fields(self)}, self.logits)
        sizes = self.sizes
        return FrozenDict({w.name: (_size(w.rows, sizes), _size(w.cols, sizes)) for w in symbols})

    def _repr_html_(self) -> str:
        """Logits, and the weights with their shapes, for notebooks."""
        from ..printing import html as markup
        from ..printing.latex import latex

        rows = [
            (w.name, f"{w.rows} x {w.cols}", " x ".join(map(str, self.weights[w.name])), self.role(w.name))
            for w in self.weight_symbols
        ]
        count = sum(rows * cols for rows, cols in self.weights.values())
        return markup.card(
            type(self).__name__,
            f"logits: {markup.mathml(latex(self.logits), 'inline')}",
            markup.table(("weight", "rows x columns", "here", "part"), rows),
            status=f"{count:,} weights, loss {getattr(self, 'loss', '')}",
        )

    def role(self, name: str) -> str:
        """As `Spec.role`, told from the dimensions: the vocabulary or the positions are read, the logits given."""
        symbol = next(w for w in self.weight_symbols if w.name == name)
        if symbol.rows in (D_VOCAB, N_CTX):
            return "embed"
        return "unembed" if symbol.cols == self.logits.cols else "inner"

    @cached_property
    def content(self) -> Content:
        """What the equations say, as a key for what is derived from them."""
        return Content(self)

    def spec(self) -> dict[str, Any]:
        """Class name and fields as JSON-able values; of a class of the user's the logits too, which it may change."""
        from ..printing.text import text

        return super().spec() | ({} if self._built_in else {"logits": text(self.logits)})

    @property
    def _built_in(self) -> bool:
        return type(self).__module__.partition(".")[0] == __name__.partition(".")[0]

    @property
    def sizes(self) -> dict[sp.Symbol, int]:
        """Symbolic dimension -> number, for the dimensions that are fields."""
        return {dimension(f.name): getattr(self, f.name) for f in fields(self) if f.type in ("int", int)}

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
        weights = self.row_weights(data.weights[rows], sequences)
        inputs = self.inputs(sequences)
        _check_premises(self.logits, inputs)
        return inputs | {
            "Y": self.loss_function.targets(labels, self.outputs),
            "omega": weights.reshape(-1, 1),
        }


def check_logits(logits: Any, sizes: Mapping[sp.Symbol, int]) -> None:
    """Refuse logits that could not be evaluated.

    Raises
    ------
    FieldError
        If they are no matrix expression, have no row for each sequence, or hold matrices that do not fit.
    """
    if not isinstance(logits, sp.MatrixExpr):
        raise FieldError(
            "logits", f"must be a matrix expression in weights and data matrices, got {brief(logits)}."
        )
    if logits.rows in sizes or logits.rows.is_number:
        raise FieldError(
            "logits",
            f"have {logits.rows} rows, and need one for each sequence: begin with a data matrix, as in "
            "C_MEAN * W_E * W_U.",
        )
    if found := misfit(logits):
        raise FieldError("logits", f"{found}, which do not fit: dimensions that meet have one name.")


def check_symbols(symbols: tuple[sp.MatrixSymbol, ...], own: set[str], logits: Matrix) -> None:
    """Refuse weights whose names would clash with one another, with the model's fields, with data or with our words.

    Raises
    ------
    FieldError
        Naming the first that does.
    """
    names = [weight_name(w.name) for w in symbols]
    for name, w in zip(names, symbols, strict=True):
        if names.count(name) > 1 or any(s.name == name and s != w for s in matrix_symbols(logits)):
            raise FieldError(
                "weight_symbols", f"have two symbols called {name!r}: give every one a name of its own."
            )
        if inside := [other for other in names if other.startswith(f"{name}.")]:
            raise FieldError(
                "weight_symbols",
                f"have a weight called {name!r} and one called {inside[0]!r}, which would lie inside it: rename one.",
            )
        if name in own:
            raise FieldError(
                "weight_symbols", f"have a weight called {name!r}, which is a field of the model: rename it."
            )


def _check_premises(logits: Matrix, inputs: Mapping[str, Any]) -> None:
    """Refuse data whose rows do not sum to one where derivations take that for granted."""
    for symbol in matrix_symbols(logits):
        if isinstance(symbol, StochasticSymbol) and symbol.name in inputs:
            sums = np.asarray(inputs[symbol.name].sum(axis=1)).ravel()
            if (off := np.abs(sums - 1.0) > ROW_SUM).any():
                row = int(np.argmax(off))
                raise ValueError(
                    f"`inputs` give the averages {symbol.name!r} a row that sums to {sums[row]:.6g} (row {row}): make "
                    "every row sum to one, or declare it as a plain MatrixSymbol."
                )


def _size(dimension: sp.Expr, sizes: Mapping[sp.Symbol, int]) -> int:
    number = sp.sympify(sp.sympify(dimension).xreplace(sizes))
    if not number.is_Integer or number < 1:
        raise FieldError(
            "weight_symbols",
            f"use the dimension {dimension}, which is no positive integer field of the model: add it.",
        )
    return int(number)
