"""When two expressions are the same: by their normal form, and on random weights and data."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.algebra.nodes import Matrix
from ...theory.algebra.rebuild import normal
from ...theory.data.dataset import Dataset
from ...theory.language.vocabulary import Vocabulary
from ...theory.models.model import Model

if TYPE_CHECKING:
    from .residuals import ResidualMeasurement

EQUAL = 1e-9  # relative distance of two expressions that are the same on random numbers
RANDOM_ROWS = 40  # sequences of a random data set


class Draws:
    """Random weights of a model with random data and with the data of a check, on which expressions are evaluated.

    Parameters
    ----------
    model : Model
        The network.
    words : Vocabulary
        Its data symbols.
    data : Dataset
        The data of the check.
    seed : int
        Of all draws.
    """

    def __init__(self, model: Model, words: Vocabulary, data: Dataset, seed: int) -> None:
        self.model, self.words, self.data, self.seed = model, words, data, seed

    @cached_property
    def random(self) -> list[dict[str, Any]]:
        """Two draws of random data and weights."""
        return [self._values(self._random_data(k), k) for k in (1, 2)]

    @cached_property
    def given(self) -> dict[str, Any]:
        """The data of the check with random weights."""
        return self._values(self.data, 0)

    def equal(self, a: Matrix | None, b: Matrix | None) -> bool:
        """Whether two expressions are the same: equal normal forms, or equal numbers on random data."""
        if a is None or b is None:
            rest = b if a is None else a
            return rest is None or all(np.abs(self._at(rest, v)).max() == 0.0 for v in self.random)
        return normal(a) == normal(b) or self.equal_everywhere(a, b)

    def equal_everywhere(self, a: Matrix, b: Matrix) -> bool:
        """Whether two expressions agree on random weights and data."""
        return all(_close(self._at(a, v), self._at(b, v)) for v in self.random)

    def equal_on_data(self, a: Matrix | None, b: Matrix) -> bool:
        """Whether two expressions agree on random weights and the data of the check."""
        return a is not None and _close(self._at(a, self.given), self._at(b, self.given))

    def factor(self, a: Matrix, b: Matrix) -> float | None:
        """The constant c with a = c b on all random draws, if there is one."""
        found = [_factor(self._at(a, v), self._at(b, v)) for v in self.random]
        first = found[0]
        same = first is not None and all(c is not None and abs(c - first) < EQUAL * abs(first) for c in found)
        return first if same and first != 0.0 else None

    def row_factors(self, a: Matrix | None, b: Matrix) -> tuple[np.ndarray, np.ndarray]:
        """What each row of `a` must be divided by to come closest to that of `b` on the data, and what is left."""
        y = self._at(b, self.given)
        x = np.zeros_like(y) if a is None else self._at(a, self.given)
        with np.errstate(invalid="ignore", divide="ignore"):
            c = np.sum(x * x, axis=1) / np.sum(x * y, axis=1)
            misfit = np.linalg.norm(y - x / c[:, None], axis=1) / np.linalg.norm(y, axis=1)
        return c, misfit

    def proof(self, claimed: Matrix, weight: str, predicted: float) -> ResidualMeasurement:
        """The claim's relative error against autodiff on the data, as the weights shrink."""
        from .residuals import measure_equation

        values = self.words.values(self.model, self.data)
        direction = {name: self.given[name] for name in self.model.weights}
        return measure_equation(
            self.model, self.data, direction, weight, lambda w: self._at(claimed, values | w), predicted
        )

    def _at(self, expr: Matrix, values: dict[str, Any]) -> np.ndarray:
        from ...theory.algebra.evaluate import evaluate
        from ...theory.algebra.sizes import dimension_sizes, scalar_value
        from ...theory.data.inputs import N_CTX

        sizes = {N_CTX: self.data.n_ctx} | self.model.sizes | dimension_sizes(expr, values)
        found = evaluate(expr, values, sizes)
        shape = tuple(int(scalar_value(s, sizes)) for s in expr.shape)
        return np.broadcast_to(found.toarray() if hasattr(found, "toarray") else np.asarray(found), shape)

    def _values(self, data: Dataset, k: int) -> dict[str, Any]:
        rng = np.random.default_rng([self.seed, k])
        shapes = self.model.weights.items()
        return self.words.values(self.model, data) | {
            name: rng.normal(0.0, shape[0] ** -0.5, shape) for name, shape in shapes
        }

    def _random_data(self, k: int) -> Dataset:
        rng = np.random.default_rng([self.seed, 100 + k])
        d_vocab, n_ctx = self.data.d_vocab, self.data.n_ctx
        labels = rng.integers(
            0, 2 if self.model.outputs == 1 else min(d_vocab, self.model.outputs), RANDOM_ROWS
        )
        tokens = rng.integers(0, d_vocab, (RANDOM_ROWS, n_ctx))
        return Dataset(tokens, labels, d_vocab, weights=rng.uniform(0.5, 1.5, RANDOM_ROWS))


def _close(a: np.ndarray, b: np.ndarray) -> bool:
    return float(np.linalg.norm(a - b)) <= EQUAL * float(np.linalg.norm(b))


def _factor(a: np.ndarray, b: np.ndarray) -> float | None:
    square = float(np.sum(b * b))
    if square == 0.0:
        return None
    c = float(np.sum(a * b)) / square
    return c if _close(a, c * b) else None
