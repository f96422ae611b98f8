"""Optimizers in torch: what moves the parameters of a network by one step, and what it remembers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import cast

import numpy as np
import torch
from torch import Tensor

from ...sim.optimizers.optimizer import GD, AdamW, Momentum, Optimizer, SignGD, Spectral
from ...sim.optimizers.schedule import Clock

Moments = dict[str, np.ndarray]  # "weight/moment" -> array


class Mover(ABC):
    """Takes the steps of one optimizer on named parameters, whose gradients are in place.

    Parameters
    ----------
    rule : Optimizer
        What moves them.
    parameters : dict
        Weight name -> parameter.
    clock : Clock
        Rates of the steps.
    """

    def __init__(self, rule: Optimizer, parameters: Mapping[str, Tensor], clock: Clock) -> None:
        self.rule, self.parameters, self.clock = rule, parameters, clock
        self.each = rule.of_weights(parameters)

    @abstractmethod
    def step(self, number: int) -> None:
        """Take step `number`, from 0."""

    @abstractmethod
    def moments(self) -> Moments:
        """What is remembered from step to step."""

    def expected(self, step: int) -> Moments:
        """Arrays of the names, shapes and types that `moments` gives before step `step`."""
        return self.moments()

    @abstractmethod
    def restore(self, moments: Mapping[str, np.ndarray]) -> None:
        """Take up what `moments` gave."""


class _AdamWMover(Mover):
    """Torch's own, a parameter group for each weight."""

    def __init__(self, rule: AdamW, parameters: Mapping[str, Tensor], clock: Clock) -> None:
        super().__init__(rule, parameters, clock)
        groups = [{"params": [p], "weight_decay": self.each[name][1]} for name, p in parameters.items()]
        self.torch = torch.optim.AdamW(groups, rule.learning_rate, rule.betas, rule.eps, fused=True)

    def step(self, number: int) -> None:
        for group, (kappa, _) in zip(self.torch.param_groups, self.each.values(), strict=True):
            group["lr"] = kappa * float(self.clock.rates[number])
        self.torch.step()

    def moments(self) -> Moments:
        return {
            f"{name}/{key}": value.cpu().numpy()
            for name, p in self.parameters.items()
            for key, value in self.torch.state.get(p, {}).items()
        }

    def expected(self, step: int) -> Moments:
        found: Moments = {}
        for name, p in self.parameters.items() if step else ():
            like = p.detach().cpu().numpy()
            found |= {f"{name}/step": np.zeros((), np.float32)}
            found |= {f"{name}/exp_avg": like, f"{name}/exp_avg_sq": like}
        return found

    def restore(self, moments: Mapping[str, np.ndarray]) -> None:
        for name, p in self.parameters.items():
            self.torch.state[p] = {
                key.partition("/")[2]: torch.tensor(value, device=p.device)
                for key, value in moments.items()
                if key.startswith(f"{name}/")
            }


class _PlainMover(Mover):
    """Steps written out here: torch.optim.SGD does the first two, but importing torch.optim's machinery costs 1.5 s."""

    def __init__(self, rule: Optimizer, parameters: Mapping[str, Tensor], clock: Clock) -> None:
        super().__init__(rule, parameters, clock)
        self.speeds = {name: torch.zeros_like(p) for name, p in parameters.items()} if rule.moments else {}

    def step(self, number: int) -> None:
        rate = float(self.clock.rates[number])
        with torch.no_grad():
            for name, p in self.parameters.items():
                kappa, decay = self.each[name]
                self._move(name, p, cast("Tensor", p.grad), kappa * rate, decay)

    def _move(self, name: str, p: Tensor, g: Tensor, rate: float, decay: float) -> None:
        rule = self.rule
        if isinstance(rule, (GD, Momentum)):
            g = g if decay == 0 else g.add(p, alpha=decay)
            if isinstance(rule, Momentum):
                speed = self.speeds[name].mul_(rule.momentum).add_(g)
                g = g.add(speed, alpha=rule.momentum) if rule.nesterov else speed
            p.add_(g, alpha=-rate)
            return
        p.mul_(1.0 - rate * decay)
        if isinstance(rule, Spectral):
            p.add_(polar(self.speeds[name].mul_(rule.momentum).add_(g), rule.eps), alpha=-rate)
        elif isinstance(rule, SignGD):
            p.sub_(rate * torch.where(g == 0, torch.zeros_like(g), g / (g.abs() + rule.eps)))
        else:
            raise TypeError(
                f"no steps in torch for {type(rule).__name__}; add them to compare/training/movers.py."
            )

    def moments(self) -> Moments:
        return {f"{name}/speed": v.cpu().numpy() for name, v in self.speeds.items()}

    def restore(self, moments: Mapping[str, np.ndarray]) -> None:
        for name, v in self.speeds.items():
            v.copy_(torch.tensor(moments[f"{name}/speed"]))


def polar(g: Tensor, eps: float) -> Tensor:
    """Polar factor of a matrix, singular values s taken to s / sqrt(s^2 + (eps s_max)^2)."""
    u, s, vt = torch.linalg.svd(g, full_matrices=False)
    if s[0] == 0:
        return torch.zeros_like(g)
    return (u * (s / torch.sqrt(s**2 + (eps * s[0]) ** 2))) @ vt


def mover(rule: Optimizer, parameters: Mapping[str, Tensor], clock: Clock) -> Mover:
    """What takes the steps of an optimizer."""
    return (
        _AdamWMover(rule, parameters, clock)
        if isinstance(rule, AdamW)
        else _PlainMover(rule, parameters, clock)
    )
