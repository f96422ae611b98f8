"""What a claim says the motion of: a weight, or a polynomial in weights, which moves by the product rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import sympy as sp

from ...theory.algebra.adjoint import gradients
from ...theory.algebra.evaluate import evaluate
from ...theory.algebra.matrices import product, split, terms_of, total
from ...theory.algebra.nodes import Matrix, matrix_symbols
from ...theory.algebra.rebuild import normal
from ...theory.algebra.scale.expansion import expand_in, first_power
from ...theory.algebra.scale.series import Series
from ...theory.algebra.sizes import scalar_value
from ...theory.algebra.tangent import tangent
from ...theory.base.arrays import full_array
from ...theory.flows.powers import derived_exactly, loss_series, start_powers
from ...theory.models.model import Model
from .power_fit import LARGEST_ROUNDING

STEP = 2.0**-100  # its square is nothing beside one
Weights = Mapping[str, np.ndarray]
Slopes = Callable[[Weights, Weights], np.ndarray]  # weights and how they move -> how something of them moves


@dataclass(frozen=True)
class Motion:
    """A weight or a polynomial in weights, and how it moves.

    Attributes
    ----------
    model : Model
        The network.
    name : str
        What a page calls it.
    moving : Matrix
        The same as an expression, in the raw data matrices.
    """

    model: Model
    name: str
    moving: Matrix

    @property
    def of_weight(self) -> bool:
        """Whether it is a weight itself."""
        return self.moving in self.weights

    @cached_property
    def weights(self) -> tuple[sp.MatrixSymbol, ...]:
        """The weights that it is of."""
        inside = matrix_symbols(self.moving)
        return tuple(w for w in self.model.weight_symbols if w in inside)

    @property
    def exactly(self) -> Matrix:
        """Its time derivative under the whole loss."""
        return tangent(self.moving, {w: derived_exactly(self.model, w) for w in self.weights})

    def start(self, linear: bool) -> int:
        """Lowest power of eps in the motion of any of its parts; in their sum it may cancel."""
        starts = start_powers(self.model, linear)
        return min(starts[w.name] - self._own(w) + self._before(w) for w in self.weights)

    def series(self, order: int, linear: bool) -> Series:
        """Its time derivative by powers of eps, up to and including eps^order."""
        known = {self._slopes[w]: self._gradient(w, order - self._before(w), linear) for w in self.weights}
        return expand_in(tangent(self.moving, self._slopes), known, order, self.model.small_weights)

    def first_gradients(self, linear: bool) -> list[Matrix]:
        """The first term of minus the gradient with respect to each weight."""
        starts = start_powers(self.model, linear)
        powers = [(w, starts[w.name] - self._own(w)) for w in self.weights]
        found = [self._gradient(w, power, linear).get(power) for w, power in powers]
        return [term for term in found if term is not None]

    def _gradient(self, weight: sp.MatrixSymbol, order: int, linear: bool) -> Series:
        """Minus the gradient with respect to a weight."""
        own = self._own(weight)
        if order + own < start_powers(self.model, linear)[weight.name]:
            return {}
        series = loss_series(self.model, order + own, linear)
        sides = {d - own: gradients(total(product(-1, t)), [weight])[weight] for d, t in series.items()}
        return {d: t for d, t in sides.items() if not isinstance(t, sp.ZeroMatrix)}

    def _own(self, weight: sp.MatrixSymbol) -> int:
        """The power that the gradient loses."""
        return int(weight in self.model.small_weights)

    def _before(self, weight: sp.MatrixSymbol) -> int:
        """Lowest power of what multiplies the motion of a weight."""
        alone = tangent(self.moving, {weight: self._slopes[weight]})
        return first_power(alone, self.model.small_weights)

    @cached_property
    def _slopes(self) -> dict[sp.MatrixSymbol, sp.MatrixSymbol]:
        """Weight -> what stands for its motion; no name can be like it."""
        return {w: sp.MatrixSymbol(f"<d{w.name}>", *w.shape) for w in self.weights}


@dataclass(frozen=True)
class MeasuredMotion:
    """A motion in numbers, by a complex step, which knows nothing of the symbolic product rule.

    Of a polynomial f, the imaginary part of f(W + i h dW) / h is its derivative along dW, up to h^2 and to rounding.

    Attributes
    ----------
    name : str
        As `Motion.name`.
    slope : callable
        Weights and how they move -> how this moves.
    parts : callable
        The same -> how fast it would move if nothing of it cancelled.
    still : bool
        Whether errors are relative to the parts: it is claimed to rest, or does.
    """

    name: str
    slope: Slopes
    parts: Callable[[Weights, Weights], float]
    still: bool

    def moved(self, equations: Callable[[Weights], Weights], weights: Weights) -> dict[str, np.ndarray]:
        """How this moves by the equations of the weights, by its name."""
        return {self.name: self.slope(weights, equations(weights))}

    def relative(self, sizes: np.ndarray, weights: Weights, slopes: Weights) -> np.ndarray:
        """Sizes of an error where weights and their motion are these, relative to the motion or to its parts.

        What is rounding of the parts is no error of a motion in which they cancel.
        """
        parts = self.parts(weights, slopes)
        whole = parts if self.still else np.linalg.norm(self.slope(weights, slopes))
        above = sizes if self.still else np.where(sizes > LARGEST_ROUNDING * parts, sizes, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):  # high powers of small weights underflow
            return above / whole

    @classmethod
    def of(
        cls, motion: Motion, values: Mapping[str, Any], sizes: Mapping[sp.Symbol, int], still: bool
    ) -> MeasuredMotion:
        """Measure a motion where the data matrices and the dimensions are these."""
        names = [w.name for w in motion.weights]
        shape = tuple(int(scalar_value(size, sizes)) for size in motion.moving.shape)

        def along(expr: Matrix, point: list[np.ndarray], step: list[np.ndarray]) -> np.ndarray:
            moved = {name: at + STEP * 1j * by for name, at, by in zip(names, point, step, strict=True)}
            found = full_array(evaluate(expr, {**values, **moved}, sizes))
            return np.broadcast_to(np.imag(found) / STEP, shape)

        def slope(weights: Weights, slopes: Weights) -> np.ndarray:
            return along(motion.moving, [weights[w] for w in names], [slopes[w] for w in names])

        terms = map(split, terms_of(normal(motion.moving)))
        added = total(*(product(abs(scalar), *factors) for scalar, factors in terms))

        def parts(weights: Weights, slopes: Weights) -> float:
            absolute = ([np.abs(side[w]) for w in names] for side in (weights, slopes))
            return float(np.linalg.norm(along(added, *absolute)))

        return cls(motion.name, slope, parts, still)
