"""A stiff flow to a late time in float32: what its end advises is tried."""

from smallinit.sim import integrate
from smallinit.theory import CompositeTask, EmbMLP, derive


def test_both_remedies_of_a_run_that_float32_holds_up_reach_the_end():
    data = CompositeTask(
        keys=range(5, 9), memory_anchors=(1, 2), reasoning_anchors=(3, 4), masked=((3, 4),), seed=0
    ).dataset()
    model = EmbMLP(data.d_vocab, 20, 20)
    flow, start = derive(model, "softmax"), model.init(0.8, 0)
    options = {"t1": 1e4, "rtol": 1e-5, "max_steps": 5000, "save_at": 2, "throw": False}
    held = integrate(flow, data, start, dtype="float32", **options)
    assert not held.outcome.success
    assert str(held.outcome).endswith('try method="bdf", or dtype="float64".')
    by_bdf = integrate(flow, data, start, dtype="float32", method="bdf", **options)
    in_float64 = integrate(flow, data, start, dtype="float64", **options)
    assert by_bdf.outcome.success
    assert in_float64.outcome.success
    assert abs(by_bdf["loss"][-1] / in_float64["loss"][-1] - 1.0) < 1e-3
