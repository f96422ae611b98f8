"""Where the steps of an integration are taken, decided before any work, and written down after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...theory.base.errors import FieldError
from ...theory.base.names import DEVICES
from ...theory.base.validate import choice
from ..trajectory.provenance import cpu
from .devices import chosen_device
from .on_device import check_on_device, runs_on_device

if TYPE_CHECKING:
    import torch

    from ..ode.methods import Method


def placed(device: Any, method: str | Method | None, rtol: float, optimizer: Any) -> torch.device | None:
    """Where the steps of an integration are taken: on a device of torch, or, None, by the interpreter.

    Parameters
    ----------
    device : {"cpu", "cuda", "auto"} or torch.device
        What was asked for; a `torch.device` is taken as it is, the CPU's too.
    method, rtol, optimizer
        As `integrate` takes them. What has no steps on a device makes "auto" mean the CPU.

    Raises
    ------
    FieldError
        If there is no such device, or the method or the optimizer has no steps there.
    """
    found = chosen_device(device) if isinstance(device, str) else _torch_device(device)
    if found == "cpu":
        return None
    import torch

    if device == "auto" and (optimizer is not None or not runs_on_device(method, rtol)):
        return None
    if optimizer is not None:
        raise FieldError(
            "device", f'is "{found}" beside an `optimizer`, whose steps are taken on the CPU: leave it out.'
        )
    check_on_device(method, rtol)
    return torch.device(found)


def _torch_device(device: Any) -> Any:
    """A device of torch that there is."""
    import torch

    if not isinstance(device, torch.device):
        choice("device", device, DEVICES)
    if device.type not in ("cpu", "cuda"):  # others have no float64, or no numbers at all
        raise FieldError("device", f'is "{device}", where flows do not run: use "cpu", "cuda" or "auto".')
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise FieldError("device", f'is "{device}" but torch finds no such device: use "cpu" or "auto".')
    return device


def described(device: torch.device | None) -> dict[str, str]:
    """For the record of a trajectory: the device, and what its maker calls it."""
    if device is None:
        return {"device": "cpu"}
    import torch

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu()
    return {"device": f"{device} by torch", "device_name": name}
