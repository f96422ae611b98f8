"""Falls of a loss from gradients alone, beside the loss itself and another path."""

import numpy as np
import pytest
from helpers import small_case

from smallinit.sim.compile.compiler import compile_flow
from smallinit.sim.forecast.fall import Fall
from smallinit.sim.trajectory.observables import losses
from smallinit.theory import derive


@pytest.mark.parametrize("closure", ["leading", "order=6", "softmax", "exact"])
def test_the_fall_is_that_of_the_closures_loss(closure):
    data, model, w = small_case()
    start, flow = {name: 0.02 * v for name, v in w.items()}, derive(model, closure)
    now = {name: 0.3 * v for name, v in w.items()}
    fall = Fall(flow, data, start)(now)
    if closure in ("softmax", "exact"):
        both = {name: np.stack([start[name], now[name]]) for name in now}
        loss = losses(model, both, data, closure)["loss"]
        assert fall == pytest.approx(loss[0] - loss[1], rel=1e-3)
    else:  # a polynomial: its own gradient's integral along another path from the one to the other
        problem, n = compile_flow(flow, data, start, fold=False), 2001
        a, b, out = problem.pack(start), problem.pack(now), np.empty(problem.n)
        values = []
        for c in np.linspace(0.0, 1.0, n):
            problem(0.0, a + c * (b - a), out)
            values.append(out @ (b - a))
        assert fall == pytest.approx(np.trapezoid(values, dx=1 / (n - 1)), rel=1e-5)
