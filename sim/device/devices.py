"""Which device a computation goes to, by name."""

from __future__ import annotations

from typing import Any

from ...theory.base.errors import FieldError
from ...theory.base.names import DEVICES
from ...theory.base.validate import choice


def chosen_device(device: Any) -> str:
    """The device meant by "cpu", "cuda" or "auto", which is a CUDA device where there is one.

    Raises
    ------
    FieldError
        If there is no device of that name, or torch finds none.
    """
    if choice("device", device, DEVICES) == "cpu":
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if device == "cuda":
        raise FieldError("device", 'is "cuda" but torch finds no such device: use "cpu" or "auto".')
    return "cpu"
