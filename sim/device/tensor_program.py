"""The right-hand side of a problem on a device: its table, carried out by torch."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from ...theory.base.errors import FieldError
from ..kernel import _interpreter
from ..kernel.operations import FLOATS, WORK
from ..kernel.problem import Problem
from ..kernel.work import operations_of
from .table_reader import Cursor, csr_tensor
from .tensor_rules import RULES


class TensorProgram:
    """dy/dt of a compiled flow by torch, in float64.

    Parameters
    ----------
    problem : Problem
        A table and its data, which are copied to the device.
    device : str or torch.device
        Where to.

    Raises
    ------
    FieldError
        If the right-hand side is no table, or an operation has no rule in torch.
    """

    def __init__(self, problem: Problem, device: Any) -> None:
        if problem.rhs is not _interpreter.rhs or not problem.compiled:
            raise FieldError(
                "device", "is for derived flows; a right-hand side of your own runs on the CPU: leave it out."
            )
        self.problem, self.device = problem, torch.device(device)
        self._data = torch.as_tensor(problem.floats).to(self.device)
        self._work = torch.empty(problem.work.size, dtype=torch.float64, device=self.device)
        fixed = {FLOATS: self._data, WORK: self._work}
        with warnings.catch_warnings():  # torch says once that its CSR form is young, and unchecked
            warnings.filterwarnings("ignore", "Sparse (CSR tensor support|invariant checks)")
            first = torch.zeros(2, dtype=torch.int64)
            csr_tensor(first, first[:0], torch.zeros(0), (1, 1))
        self._calls = [RULES[code](Cursor(problem, p, fixed)) for code, p in operations_of(problem)]

    def __call__(self, t: float, y: Tensor, out: Tensor) -> None:
        """Write dy/dt at the state `y` (n,) to `out` (n,); a flow does not depend on the flow time `t`."""
        del t
        buffers = (y, self._data, self._work, out)
        for call in self._calls:
            call(buffers)
