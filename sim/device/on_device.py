"""Methods of integration that take their steps on a device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...theory.base.errors import FieldError
from ..ode.choice.automatic import SwitchingStepper
from ..ode.methods import METHODS, Method, RungeKutta, find_method
from ..ode.methods.rkc import Stabilised

if TYPE_CHECKING:
    import numpy as np

    from ..kernel.problem import Problem
    from ..ode.stepper import StepControl, Stepper
    from .tensor_program import TensorProgram

ABLE = (RungeKutta, Stabilised)  # kinds of methods whose loop there is for tensors


def runs_on_device(method: str | Method | None, rtol: float) -> bool:
    """Whether a method takes its steps on a device; None, the automatic choice, does."""
    return isinstance(find_method(method, rtol), ABLE)


def check_on_device(method: str | Method | None, rtol: float) -> None:
    """Refuse a method that has no steps on a device.

    Raises
    ------
    FieldError
        With the methods that have.
    """
    if not runs_on_device(method, rtol):
        able = ", ".join(name for name, m in METHODS.items() if isinstance(m, ABLE))
        name = find_method(method, rtol).name
        raise FieldError("method", f'is {name!r}, which runs on the CPU alone: use {able}, or device="cpu".')


class OnDevice(Method):
    """A method, or the automatic choice, on the device of a program.

    Parameters
    ----------
    program : TensorProgram
        The right-hand side, of the one problem that this method integrates.
    method : str, Method or None
        As `solve` takes it.
    """

    def __init__(self, program: TensorProgram, method: str | Method | None = None) -> None:
        self.program, self.method = program, method
        found = None if method is None else find_method(method, 1.0)
        self.name, self.reference = ("automatic", "") if found is None else (found.name, found.reference)

    def prepare(self, problem: Problem) -> None:
        """Load the loops, which ask compiled code for their decisions."""
        from . import device_rkc_stepper, device_table_stepper

        del problem, device_rkc_stepper, device_table_stepper

    def begin(self, problem: Problem, y0: np.ndarray, t0: float, t1: float, control: StepControl) -> Stepper:
        """Start one integration; see `Method`."""
        if self.method is None and control.fixed_step is None:
            return SwitchingStepper(
                problem, y0, t0, t1, control, lambda method: OnDevice(self.program, method)
            )
        from .device_rkc_stepper import DeviceRkcStepper
        from .device_table_stepper import DeviceTableStepper

        method = find_method(self.method, control.rtol)
        if isinstance(method, Stabilised):
            return DeviceRkcStepper(self.program, y0, t0, t1, method, control)
        if isinstance(method, RungeKutta):
            return DeviceTableStepper(self.program, y0, t0, t1, method, control)
        raise NotImplementedError(f"method {self.name!r} takes no steps on a device.")
