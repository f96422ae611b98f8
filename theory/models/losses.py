"""Losses of a batch of logits: whole as a matrix expression, as a series in the weight scale, and as numbers.

Every loss is the mean over rows with weights omega. Series leave constants out: they vanish at zero logits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from math import factorial
from typing import Any

import numpy as np
import scipy.sparse as sparse
import sympy as sp

from ..algebra.evaluate import evaluate
from ..algebra.matrices import apply, hadamard, product, total, transpose
from ..algebra.nodes import Centering, Matrix, RowLogSumExp, StochasticSymbol
from ..algebra.scalars.functions import X
from ..algebra.scalars.series_at_zero import taylor
from ..algebra.scale.expansion import expand_in
from ..algebra.scale.series import Series, add, multiply, powers
from ..base.validate import choice
from ..data.inputs import ROW_WEIGHTS, ROWS, dimension, one_hot

OUTPUTS = dimension("outputs")
BLOCK = 2**17  # numbers of logits that are worked on at a time


class Loss(ABC):
    """What is minimised.

    Attributes
    ----------
    name : str
        Key of `LOSSES`.
    endless : bool
        Whether its series in the logits goes on for ever; a quadratic loss ends.
    logarithmic : bool
        Whether it is the logarithm of a series, which is a series of that series.
    """

    name: str
    endless = True
    logarithmic = False
    linear_in_labels = (
        True  # so that sequences a model cannot tell apart may be merged, their labels averaged
    )

    @abstractmethod
    def rows(self, logits: Matrix) -> Matrix:
        """Loss of each row (n, 1) of logits (n, outputs), with all constants; training and numbers follow from it."""

    def series(self, logits: Series, order: int) -> Series:
        """Weighted mean loss by powers of the weight scale, up to eps^order, a series of (1, 1) expressions.

        Without its constant; of logits that vanish with the weights.
        """
        f = sp.MatrixSymbol("f", ROWS, next(iter(logits.values())).cols)
        column = expand_in(self.rows(f), {f: logits}, order)
        return {d: _mean(rows) for d, rows in column.items() if d}

    def whole(self, logits: Matrix) -> Matrix:
        """Weighted mean loss of logits (n, outputs), a (1, 1) expression."""
        return _mean(self.rows(logits))

    @cached_property
    def column(self) -> Matrix:
        """`rows` of logits called f, of `ROWS` x `OUTPUTS`."""
        return self.rows(sp.MatrixSymbol("f", ROWS, OUTPUTS))

    def has_degree(self, degree: int) -> bool:
        """Whether its series in the logits has terms of this degree, 1 or more."""
        return True

    def values(self, logits: np.ndarray, targets: Any) -> np.ndarray:
        """Loss of each row (m,) of logits (m, outputs), infinity beyond the largest float."""
        sizes = dict(zip((ROWS, OUTPUTS), logits.shape, strict=True))
        with np.errstate(over="ignore"):
            return evaluate(self.column, {"f": logits, "Y": targets}, sizes).ravel()

    def of_labels(self, logits: np.ndarray, rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Losses (k,) of integer labels (k,), each on one of the `rows` (k,) of logits (m, outputs)."""
        outputs = logits.shape[1]
        size = max(1, BLOCK // outputs)
        parts = [slice(i, i + size) for i in range(0, len(rows), size)]
        found = [self.values(logits[rows[p]], self.targets(labels[p], outputs)) for p in parts]
        return np.concatenate(found) if found else np.zeros(0)

    def labels(self, outputs: sp.Expr) -> sp.MatrixSymbol:
        """Symbol Y (n, outputs) of the targets."""
        return sp.MatrixSymbol("Y", ROWS, outputs)

    def targets(self, labels: np.ndarray, outputs: int) -> Any:
        """Targets (m, outputs) of integer labels (m,): one-hot rows, or signs for one output."""
        return 2.0 * labels.reshape(-1, 1) - 1.0 if outputs == 1 else one_hot(labels, outputs)

    def signature(self, outputs: sp.Expr) -> tuple[Matrix, ...]:
        """Factors that follow the inputs in the signature matrix: the targets, and what the loss makes of them."""
        return (self.labels(outputs),)

    def check(self, labels: np.ndarray, outputs: int) -> None:
        """Raise ValueError unless integer labels fit the number of outputs."""
        limit = max(outputs, 2)
        if labels.max() >= limit:
            raise ValueError(
                f"`data.labels` reach {labels.max()} but the model has {outputs} output"
                f"{'s' if outputs > 1 else ' (two labels, 0 and 1)'}: relabel the data or widen the model."
            )


def _mean(column: Matrix) -> Matrix:
    return product(transpose(ROW_WEIGHTS), column)


class CrossEntropy(Loss):
    """Softmax cross-entropy, in nats."""

    name = "cross_entropy"
    logarithmic = True

    def labels(self, outputs: sp.Expr) -> sp.MatrixSymbol:
        """Symbol Y (n, outputs) of the label laws: rows sum to one."""
        return StochasticSymbol("Y", ROWS, outputs)

    def signature(self, outputs: sp.Expr) -> tuple[Matrix, ...]:
        """Y Pi = Y - 1/V."""
        return self.labels(outputs), Centering(outputs)

    def targets(self, labels: np.ndarray, outputs: int) -> sparse.csr_array:
        """One-hot rows."""
        return one_hot(labels, outputs)

    def check(self, labels: np.ndarray, outputs: int) -> None:
        """Raise ValueError unless every label has a logit."""
        if labels.max() >= outputs:
            raise ValueError(
                f"`data.labels` reach {labels.max()} but the model has {outputs} outputs: "
                "relabel the data or widen the model."
            )

    def rows(self, logits: Matrix) -> Matrix:
        """logsumexp(f) - (Y o f) 1."""
        outputs = logits.cols
        fit = product(-1, hadamard(self.labels(outputs), logits), sp.OneMatrix(outputs, 1))
        return total(RowLogSumExp(logits), fit)

    def series(self, logits: Series, order: int) -> Series:
        """L - log V = -w^T ((Y o g) 1) + w^T log(1 + sum_{i>=2} mu_i / i!), the cumulants of the uniform law.

        g = f Pi are the centred logits and mu_i = (g^{o i} 1) / V their moments.
        """
        outputs = next(iter(logits.values())).cols
        ones = sp.OneMatrix(outputs, 1)
        centred = add({d: product(t, Centering(outputs)) for d, t in logits.items()})
        linear = {d: product(-1, hadamard(self.labels(outputs), g), ones) for d, g in centred.items()}
        columns = add(linear, _log_mean_exp(centred, ones, order))
        return {d: _mean(column) for d, column in columns.items() if d <= order}

    def values(self, logits: np.ndarray, targets: Any) -> np.ndarray:
        """Log-sum-exp minus the targets' logits, both counted from the row's largest, so that nothing large cancels."""
        top, rest = _over_top(logits)
        if sparse.issparse(targets):
            fit = sparse.csr_array(targets, copy=True)
            row = np.repeat(np.arange(len(logits)), np.diff(fit.indptr))
            fit.data *= logits[row, fit.indices] - top[row]
        else:
            fit = targets * (logits - top[:, None])
        return rest - np.asarray(fit.sum(axis=1)).ravel()

    def of_labels(self, logits: np.ndarray, rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """As of every loss; the exponentials of a row are the same for all its labels."""
        top, rest = _over_top(logits)
        return rest[rows] - (logits[rows, labels] - top[rows])


def _over_top(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest logit (m,) of each row, and by how much log-sum-exp is larger; by blocks that stay in the cache."""
    m, outputs = logits.shape
    size = max(1, min(m, BLOCK // outputs))
    most, over, space = np.empty(m), np.empty(m), np.empty((size, outputs))
    for start in range(0, m, size):
        part = logits[start : start + size]
        rest, rows, top = space[: len(part)], np.arange(len(part)), part.argmax(axis=1)
        most[start : start + size] = peak = part[rows, top]
        np.exp(np.subtract(part, peak[:, None], out=rest), out=rest)
        rest[rows, top] = 0.0  # of the sum of exponentials this is the 1
        over[start : start + size] = rest.sum(axis=1)
    return most, np.log1p(over)


def _log_mean_exp(centred: Series, ones: sp.OneMatrix, order: int) -> Series:
    moments: Series = {}
    for i, raised in enumerate(powers(centred, order), start=1):
        if i > 1:
            scale = sp.Rational(1, factorial(i)) / ones.rows
            moments = add(moments, {d: product(scale, t, ones) for d, t in raised.items()})
    logarithm: Series = {}
    for k, raised in enumerate(powers(moments, order), start=1):
        sign = sp.Rational((-1) ** (k + 1), k)
        logarithm = add(logarithm, {d: product(sign, t) for d, t in raised.items()})
    return logarithm


class _MarginLoss(Loss):
    """Sum of l(y f) over the outputs of a row, of a function l of the margin."""

    expr: sp.Expr
    linear_in_labels = False

    def rows(self, logits: Matrix) -> Matrix:
        """l(Y o f) 1."""
        margin = hadamard(self.labels(logits.cols), logits)
        return product(apply(sp.Lambda(X, self.expr), margin), sp.OneMatrix(logits.cols, 1))

    def has_degree(self, degree: int) -> bool:
        """Whether the Taylor series of l has it."""
        return bool(taylor(sp.Lambda(X, self.expr), degree)[degree] != 0)

    def targets(self, labels: np.ndarray, outputs: int) -> np.ndarray:
        """Signs: +1 for label 1 and -1 for label 0; for several outputs +1 at the label and -1 elsewhere."""
        return super().targets(labels, 1) if outputs == 1 else 2.0 * one_hot(labels, outputs).toarray() - 1.0


class Exponential(_MarginLoss):
    """exp(-y f) for labels y = +-1."""

    name = "exponential"
    expr = sp.exp(-X)


class Logistic(_MarginLoss):
    """log(1 + exp(-y f)) for labels y = +-1, in nats."""

    name = "logistic"
    expr = sp.log(1 + sp.exp(-X))


class MeanSquaredError(Loss):
    """|f - y|^2 / 2 per row."""

    name = "mse"
    endless = False

    def has_degree(self, degree: int) -> bool:
        """The first and the second."""
        return degree <= 2

    def rows(self, logits: Matrix) -> Matrix:
        """((Y - f) o (Y - f)) 1 / 2."""
        error = total(self.labels(logits.cols), product(-1, logits))
        return product(sp.Rational(1, 2), hadamard(error, error), sp.OneMatrix(logits.cols, 1))

    def series(self, logits: Series, order: int) -> Series:
        """-w^T ((Y o f) 1) + w^T ((f o f) 1) / 2: shorter than the square of a sum."""
        outputs = next(iter(logits.values())).cols
        ones = sp.OneMatrix(outputs, 1)
        linear = {d: product(-1, hadamard(self.labels(outputs), f), ones) for d, f in logits.items()}
        squares = multiply(logits, logits, order, hadamard).items()
        columns = add(linear, {d: product(sp.Rational(1, 2), t, ones) for d, t in squares})
        return {d: _mean(column) for d, column in columns.items() if d <= order}


LOSSES: dict[str, Loss] = {
    loss.name: loss for loss in (CrossEntropy(), Exponential(), Logistic(), MeanSquaredError())
}


def find_loss(name: str) -> Loss:
    """Loss of a name.

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    return LOSSES[choice("loss", name, LOSSES)]
