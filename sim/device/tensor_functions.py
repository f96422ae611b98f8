"""Functions of one variable in torch, by the names under which kernels know them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Function = Callable[[Tensor], Tensor]


def _gamma(x: Tensor) -> Tensor:
    """The gamma function; below zero its sign changes from one whole number to the next."""
    sign = torch.where((x < 0.0) & (torch.floor(x) % 2 != 0), -1.0, 1.0)
    return sign * torch.lgamma(x).exp()


def _softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)); torch's own is the identity beyond 20, which is 2e-9 off."""
    return -torch.nn.functional.logsigmoid(-x)


UNARY: dict[str, Function] = {
    "exp": torch.exp,
    "log": torch.log,
    "sin": torch.sin,
    "cos": torch.cos,
    "tan": torch.tan,
    "asin": torch.asin,
    "acos": torch.acos,
    "atan": torch.atan,
    "sinh": torch.sinh,
    "cosh": torch.cosh,
    "tanh": torch.tanh,
    "asinh": torch.asinh,
    "acosh": torch.acosh,
    "atanh": torch.atanh,
    "erf": torch.erf,
    "erfc": torch.erfc,
    "gamma": _gamma,
    "loggamma": torch.lgamma,
    "expit": torch.sigmoid,
    "softplus": _softplus,
}
# Those with a parameter, of `operations.PARAMETRIC`; what is no number stays none.
PARAMETRIC: dict[str, Callable[[Tensor, float], Tensor]] = {
    "power": torch.pow,
    "above": lambda x, p: (x > p).to(x.dtype),
    "at_least": lambda x, p: x.clamp(min=p),
    "at_most": lambda x, p: x.clamp(max=p),
}
