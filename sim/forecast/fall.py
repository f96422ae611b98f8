"""By how much a loss has fallen, from gradients alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...theory.data.dataset import Dataset
from ...theory.flows.flow import Flow
from ..compile.compiler import compile_flow

NODES = 4  # points of the integral


class Fall:
    """By how much the training loss of a closure has fallen below that of its start, from gradients alone.

    L(0) - L(W) is the integral of <W, -grad L(c W)> over c from 0 to 1: with `NODES` Gauss points exact for closures
    that are polynomials up to degree 2 `NODES` in the weights, nearly so for all while the fall is small.
    """

    def __init__(self, flow: Flow, data: Dataset, start: Mapping[str, np.ndarray]) -> None:
        x, w = np.polynomial.legendre.leggauss(NODES)
        self.nodes = list(zip(0.5 * (x + 1.0), 0.5 * w, strict=True))
        self.problem = compile_flow(flow, data, start, fold=False)
        self.out = np.empty(self.problem.n)
        self.first = 0.0
        self.first = self(start)

    def __call__(self, weights: Mapping[str, np.ndarray]) -> float:
        """Loss of the start less that of some weights."""
        y, total = self.problem.pack(weights), 0.0
        for c, share in self.nodes:
            self.problem(0.0, c * y, self.out)
            total += share * float(y @ self.out)
        return total - self.first
