"""The true gradient flow of a network, by autodiff alone: what claims about trained networks are held against."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from ...theory.data.dataset import Dataset
from ...theory.models.model import Model

Weights = dict[str, np.ndarray]


def trained(
    model: Model, data: Dataset, start: Mapping[str, Any], times: Iterable[float], steps: int
) -> list[Weights]:
    """Weights at increasing flow times, by the classical Runge-Kutta method on the torch twin's autodiff, float64.

    Parameters
    ----------
    model : Model
        The network.
    data : Dataset
        Held-out rows take no part.
    start : dict
        Weight name -> array at time 0.
    times : iterable of float
        Flow times (learning rate x step), increasing and positive.
    steps : int
        Steps of the method from each time to the next.

    Returns
    -------
    list of dict
        Weights at each of the times.
    """
    now, reached, found = model.validate(start), 0.0, []
    descent = _descent(model, data, now)
    for time in times:
        for _ in range(steps):
            now = _runge_kutta(descent, now, (time - reached) / steps)
        reached = time
        found.append(now)
    return found


def _descent(model: Model, data: Dataset, start: Weights) -> Callable[[Weights], Weights]:
    """Minus the gradient as a function of the weights; the network and the batch are built once."""
    import torch

    from ..training.batches import Batches, loss_and_gradient
    from ..training.networks import network
    from ..training.torch_threads import torch_threads

    net = network(model, start)
    batch = Batches(model, data, torch.float64, None, 0).full()

    def descent(weights: Weights) -> Weights:
        with torch.no_grad():
            for name, parameter in net.named_parameters():
                parameter.copy_(torch.from_numpy(weights[name]))
        with torch_threads(model, len(data)):
            loss_and_gradient(net, batch)
        return {name: -p.grad.numpy() for name, p in net.named_parameters() if p.grad is not None}

    return descent


def _runge_kutta(descent: Callable[[Weights], Weights], now: Weights, h: float) -> Weights:
    def ahead(slope: Weights, part: float) -> Weights:
        return {w: x + part * h * slope[w] for w, x in now.items()}

    first = descent(now)
    second = descent(ahead(first, 0.5))
    third = descent(ahead(second, 0.5))
    fourth = descent(ahead(third, 1.0))
    return {w: x + h / 6 * (first[w] + 2 * second[w] + 2 * third[w] + fourth[w]) for w, x in now.items()}
