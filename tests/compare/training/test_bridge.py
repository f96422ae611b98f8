"""Theory and training meet: Euler is gradient descent, invariants hold along flows and break under GD."""

import numpy as np
import pytest
from helpers import relative, small_case

from smallinit.compare import train
from smallinit.sim import integrate
from smallinit.theory import derive


@pytest.mark.parametrize(("activation", "closure"), [("identity", "softmax"), ("tanh", "exact")])
def test_euler_is_gradient_descent(activation, closure):
    data, model, _ = small_case(activation, held_out=True)
    start = model.init(0.7, 0)
    flow = derive(model, closure)
    path = integrate(flow, data, start, t1=50.0, save_at=[50.0], method="euler", fixed_step=0.1)
    assert path.statistics["accepted"] == 500
    ours = path.state()
    run = train(model, data, start, optimizer="gd", learning_rate=0.1, steps=500, save_at=[500])
    assert max(relative(ours[w], run.weights[w][-1]) for w in ours) < 1e-10
    assert max(relative(ours[w], start[w]) for w in ours) > 0.1  # and they went somewhere


def test_halving_the_learning_rate_halves_the_gap():
    data, model, _ = small_case("tanh")
    start = model.init(0.7, 0)
    truth = integrate(derive(model, "exact"), data, start, t1=40.0, save_at=[40.0], rtol=1e-10)
    gaps = []
    for rate in (0.2, 0.1, 0.05):
        run = train(
            model, data, start, learning_rate=rate, steps=round(40 / rate), save_at=[round(40 / rate)]
        )
        gaps.append(relative(run.weights["W_E"][-1], truth.weights["W_E"][-1]))
    ratios = np.array(gaps[:-1]) / np.array(gaps[1:])
    assert ratios == pytest.approx(2.0, abs=0.15)


@pytest.mark.parametrize("closure", ["leading", "softmax", "order=6", "order=9", "exact"])
def test_invariants_hold_along_the_flow(closure):
    data, model, _ = small_case("tanh")
    start = model.init(0.7, 0)
    flow = derive(model, closure)
    end = 15.0  # `leading` blows up before, soon after a saved time
    traj = integrate(flow, data, start, t1=end, save_at=16, rtol=1e-12)
    moved = relative(traj.weights["W_out"][-1], start["W_out"])
    assert moved > 0.05
    proved = {str(i) for i in flow.invariants}
    names = {
        "W_E.T*W_E - W_in*W_in.T": "W_E-W_in",
        "W_in.T*W_in - W_out*W_out.T": "W_in-W_out",
        "W_out*1": "W_out-sum",
    }
    for symbolic, observable in names.items():
        drift = np.max(traj[f"invariant/{observable}"])
        assert (drift < 1e-9) == (symbolic in proved), (symbolic, drift)


def test_gd_breaks_invariants_at_second_order():
    """O(lr^2) per step, hence O(lr) at a fixed flow time: halving the rate halves the drift."""
    data, model, _ = small_case("tanh")
    start = model.init(0.7, 0)
    drifts, first = [], []
    for rate in (0.2, 0.1):
        run = train(
            model, data, start, learning_rate=rate, steps=round(20 / rate), save_at=[0, 1, round(20 / rate)]
        )
        drifts.append(run["invariant/W_E-W_in"][-1])
        first.append(run["invariant/W_E-W_in"][1])
    assert drifts[0] / drifts[1] == pytest.approx(2.0, abs=0.2)
    assert first[0] / first[1] == pytest.approx(4.0, abs=0.05)
