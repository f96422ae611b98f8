"""When two expressions are the same: on random weights and data, polynomials by their normal form too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction

from ...sim.compile.compiler import compile_sides
from ...theory.algebra.evaluate import evaluate
from ...theory.algebra.matrices import product, terms_of, total
from ...theory.algebra.nodes import Matrix, MatrixFunction
from ...theory.algebra.norms import without_eps
from ...theory.algebra.rebuild import normal
from ...theory.algebra.scale.mirrored import mirrored
from ...theory.algebra.sizes import dimension_sizes, scalar_value
from ...theory.base.arrays import full_array
from ...theory.data.dataset import Dataset
from ...theory.data.inputs import N_CTX, ROWS
from ...theory.flows.powers import model_logits
from ...theory.language.vocabulary import Vocabulary
from ...theory.models.model import Model
from .far_norms import eps_of_norms, far_above, model_mirrored
from .motion import MeasuredMotion, Motion
from .residuals import ResidualMeasurement, measure_equation

CANCELLED = 1e-11  # what may be left of a sum that vanishes, relative to its terms: nothing but rounding
CLEARLY = 1e-3  # what is left of a sum that does not vanish: no normal form is needed to see it
SMALLER = 2.0**-10  # of the weights: where normalisations are linear, large ones saturate what reads them
EQUAL = 1e-9  # relative distance of two rows of numbers that are one up to a factor
NUDGE = 2.0**-40  # relative change of numbers that tells a value from rounding
FUNCTIONS = (MatrixFunction, ElementwiseApplyFunction)
RANDOM_ROWS = (37, 23)  # sequences of the random data sets: no factor is hidden in a common size


@dataclass(frozen=True)
class Draw:
    """Values of all symbols: data and weights, with the length of the sequences."""

    values: dict[str, Any]
    n_ctx: int


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
    def random(self) -> list[Draw]:
        """Two draws of random data and weights, of different sizes."""
        return [self._draw(data, k) for k, data in enumerate(self.random_data, 1)]

    @cached_property
    def random_data(self) -> list[Dataset]:
        """The data of these draws: unequal weights, repeated tokens, another length where the model allows one."""
        return [self._random_data(k, rows) for k, rows in enumerate(RANDOM_ROWS)]

    @cached_property
    def given(self) -> Draw:
        """The data of the check with random weights."""
        return self._draw(self.data, 0)

    def equal(self, a: Matrix | None, b: Matrix | None) -> bool:
        """Whether two expressions are the same: a difference of which nothing but rounding is left everywhere.

        Where it seems to vanish, that of two polynomials is multiplied out, so that no coefficient is too small to be
        seen: that takes thousands of terms of a second layer, and is not needed to see a difference that is large.
        """
        gap = total(*(t for t in (a, None if b is None else product(-1, b)) if t is not None))
        if not isinstance(gap, sp.ZeroMatrix) and any(self._differs(gap, d) for d in self.random):
            return False
        gap = gap if gap.has(*FUNCTIONS) else normal(gap)
        return isinstance(gap, sp.ZeroMatrix) or all(
            self._cancels(gap, d) or self._rounding(gap, d) for d in self.random
        )

    def _differs(self, gap: Matrix, draw: Draw) -> bool:
        """Whether a sum as it stands is far from zero against its terms, and no rounding."""
        return not self._cancels(gap, draw, CLEARLY) and not self._rounding(gap, draw)

    def _cancels(self, gap: Matrix, draw: Draw, part: float = CANCELLED) -> bool:
        """Whether the terms of a sum cancel; a single one, however small its coefficient, does not."""
        values = [self._at(term, draw) for term in terms_of(gap)]
        size = sum(float(np.linalg.norm(v)) for v in values)
        return float(np.linalg.norm(sum(values))) <= part * size

    def _rounding(self, gap: Matrix, draw: Draw) -> bool:
        """Whether a value is all rounding, of small weights too."""
        small = {w.name for w in self.model.small_weights}
        values = {name: SMALLER * v if name in small else v for name, v in draw.values.items()}
        return self._unstable(gap, draw) and self._unstable(gap, Draw(values, draw.n_ctx))

    def _unstable(self, gap: Matrix, draw: Draw) -> bool:
        """Whether a value is another altogether where all numbers change in their last digits."""
        moved = Draw({name: value * (1.0 + NUDGE) for name, value in draw.values.items()}, draw.n_ctx)
        here, there = self._at(gap, draw), self._at(gap, moved)
        return float(np.linalg.norm(there - here)) > 1e-3 * float(np.linalg.norm(here))

    def equal_on_data(self, a: Matrix | None, b: Matrix) -> bool:
        """Whether two expressions agree on random weights and the data of the check."""
        return a is not None and _close(self._at(a, self.given), self._at(b, self.given))

    def vanish_on_data(self, terms: Sequence[Matrix], part: float = CANCELLED) -> bool:
        """Whether these terms are on the data of the check no more than a `part` of what they are on random data."""
        left, general = (
            [float(np.linalg.norm(self._at(term, draw))) for term in terms]
            for draw in (self.given, self.random[0])
        )
        return any(general) and all(a <= part * b for a, b in zip(left, general, strict=True))

    def factor(self, a: Matrix, b: Matrix) -> float | None:
        """The constant c with a = c b on all random draws, if there is one."""
        found = [_factor(self._at(a, d), self._at(b, d)) for d in self.random]
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

    def proof(
        self, motion: Motion, claimed: Matrix, predicted: float, linear: bool, still: bool
    ) -> ResidualMeasurement:
        """The claim's relative error against autodiff on the data of the check, as the weights shrink.

        Unless normalisations are linear, they stay far above their eps, which is put zero.
        """
        return self._proof(motion, claimed, predicted, linear, still, self.data, self.given)

    def general_proof(
        self, motion: Motion, claimed: Matrix, predicted: float, linear: bool, still: bool
    ) -> ResidualMeasurement:
        """The same on random data, on which no term vanishes by accident."""
        return self._proof(motion, claimed, predicted, linear, still, self.random_data[0], self.random[0])

    def _proof(
        self,
        motion: Motion,
        claimed: Matrix,
        predicted: float,
        linear: bool,
        still: bool,
        data: Dataset,
        draw: Draw,
    ) -> ResidualMeasurement:
        direction = {name: draw.values[name] for name in self.model.weights}
        values = self.words.values(self.model, data)
        measured = self._measured(motion, still, values, draw)

        def equation(expr: Matrix) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
            sizes = self._sizes(expr, draw)
            if measured is not None:
                return lambda weights: full_array(evaluate(expr, values | weights, sizes))
            problem = compile_sides({motion.name: expr}, values, self.model.weights, sizes, {})

            def slope(weights: dict[str, np.ndarray]) -> np.ndarray:
                problem(0.0, problem.pack(weights), out := np.zeros(problem.n))
                return problem.unpack(out)[motion.name]

            return slope

        model, mirror = self.model, None
        if self.norms and not linear and np.isfinite(predicted):
            model, claimed = far_above(model), without_eps(claimed, self.norms)
            mirror = model_mirrored(model), equation(mirrored(claimed, model.small_weights))
        side = equation(claimed)
        return measure_equation(model, data, direction, motion.name, side, predicted, mirror, measured)

    def measured(self, motion: Motion, still: bool) -> MeasuredMotion | None:
        """A motion in numbers on the data of the check; none for a weight's, which autodiff gives."""
        return self._measured(motion, still, self.words.values(self.model, self.data), self.given)

    def _measured(
        self, motion: Motion, still: bool, values: dict[str, Any], draw: Draw
    ) -> MeasuredMotion | None:
        if motion.of_weight:
            return None
        return MeasuredMotion.of(motion, values, self._sizes(motion.moving, draw), still)

    @cached_property
    def norms(self) -> frozenset[sp.Expr]:
        """The eps of the model's normalisations."""
        return eps_of_norms(self.model)

    def _at(self, expr: Matrix, draw: Draw) -> np.ndarray:
        sizes = self._sizes(expr, draw)
        found = evaluate(expr, draw.values, sizes)
        shape = tuple(int(scalar_value(s, sizes)) for s in expr.shape)
        return np.broadcast_to(full_array(found), shape)

    def _sizes(self, expr: Matrix, draw: Draw) -> dict[sp.Symbol, int]:
        sizes = (
            {N_CTX: draw.n_ctx} | self.model.sizes | dimension_sizes(model_logits(self.model), draw.values)
        )
        return sizes | {ROWS: draw.values["omega"].shape[0]} | dimension_sizes(expr, draw.values)

    def _draw(self, data: Dataset, k: int) -> Draw:
        rng = np.random.default_rng([self.seed, k])
        weights = {n: rng.normal(0.0, s[0] ** -0.5, s) for n, s in self.model.weights.items()}
        return Draw(self.words.values(self.model, data) | weights, data.n_ctx)

    def _random_data(self, k: int, rows: int) -> Dataset:
        rng = np.random.default_rng([self.seed, 101 + k])
        d_vocab, n_ctx = self.data.d_vocab, self.data.n_ctx
        labels = rng.integers(0, 2 if self.model.outputs == 1 else min(d_vocab, self.model.outputs), rows)
        drawn = rng.integers(0, d_vocab, (rows, n_ctx + k)), rng.uniform(0.5, 1.5, rows)
        for length in (n_ctx + k, n_ctx):
            data = Dataset(drawn[0][:, :length], labels, d_vocab, weights=drawn[1])
            with suppress(ValueError):  # a model may fix the length
                self.model.check_data(data)
                break
        return data


def _close(a: np.ndarray, b: np.ndarray) -> bool:
    return float(np.linalg.norm(a - b)) <= EQUAL * float(np.linalg.norm(b))


def _factor(a: np.ndarray, b: np.ndarray) -> float | None:
    square = float(np.sum(b * b))
    if square == 0.0:
        return None
    c = float(np.sum(a * b)) / square
    return c if _close(a, c * b) else None
