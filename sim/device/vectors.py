"""Arithmetic of the explicit steps on vectors that stay on a device: to these what `ode.explicit.sums` is to arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from ..ode.methods.tableau import StepTable


def add_row(out: Tensor, k: Tensor, rows: np.ndarray, table: StepTable, i: int, h: float) -> Tensor:
    """Add h * (row i of the table) applied to the stages `k` to `out`."""
    pointers, columns, values, _, _ = table
    for j in range(int(pointers[i]), int(pointers[i + 1])):
        out.add_(k[int(rows[columns[j]])], alpha=h * float(values[j]))
    return out


def combine_row(
    out: Tensor, y: Tensor, k: Tensor, rows: np.ndarray, table: StepTable, i: int, h: float
) -> Tensor:
    """Write the lead of row i x y + h * (row i of the table) applied to the stages to `out`."""
    return add_row(torch.mul(y, float(table[3][i]), out=out), k, rows, table, i, h)


def tolerated(old: Tensor, new: Tensor, rtol: float, atol: float) -> Tensor:
    """What an error is measured by, entry by entry; nan where one of the states is."""
    return torch.maximum(old.abs(), new.abs()).mul_(rtol).add_(atol)


def mean_square(error: Tensor, scale: Tensor) -> Tensor:
    """Mean of the squares of error / scale, a scalar on the device; an infinite state does not pass as exact."""
    ratio = error / scale
    return torch.dot(ratio, ratio) / ratio.numel() + 0.0 * scale.max()


def growth_of(y: Tensor, f: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """|y|^2 and y . f, both of y / scale."""
    z = y / scale
    return torch.dot(z, z), torch.dot(z, f / scale)


def bend_of(first: Tensor, middle: Tensor, last: Tensor, state: Tensor, scale: float) -> tuple[Tensor, ...]:
    """What `approach.bend` sums up."""
    rise = (last - first) / scale
    parts = middle - first, last - middle, last + first, state
    return tuple(torch.dot(rise, part / scale) for part in parts)


def numbers(*scalars: Tensor) -> list[float]:
    """Scalars of the device as numbers, by one wait."""
    return torch.stack(scalars).tolist()


def norm(y: Tensor) -> float:
    """Euclidean norm; squares neither overflow nor underflow."""
    top = float(y.abs().max()) or 1.0
    return top * float(torch.linalg.vector_norm(y / top))
