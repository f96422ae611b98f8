"""Flows in float32: what the page promises of them against float64, that it is float32, and what is refused."""

import re
import subprocess
import sys

import numpy as np
import pytest

from smallinit.sim import GD, AdamW, Momentum, Status, TaylorMethod, integrate, reduce
from smallinit.theory import CompositeTask, Dataset, Decoder, EmbMLP, derive

DATA = CompositeTask(range(11, 31), range(1, 6), range(6, 11), masked=()).dataset()
MODEL = EmbMLP(DATA.d_vocab, 24, 32)
START = MODEL.init(0.8, 0)
EXACT, LEADING = derive(MODEL, "exact"), derive(MODEL, "leading")
BOTH = ("float64", "float32")


def apart(run, other):
    """Largest distance of the weights, over how far they have moved by then."""
    return max(
        np.linalg.norm(run.weights[w][i] - other.weights[w][i])
        / np.linalg.norm(other.weights[w][i] - other.weights[w][0])
        for w in run.weights
        for i in range(1, len(other.t))
    )


@pytest.fixture(scope="module")
def reference():
    return integrate(EXACT, DATA, START, t1=200.0, save_at=5, rtol=1e-10)


def test_trajectories_at_the_default_tolerance(reference):
    run = integrate(EXACT, DATA, START, t1=200.0, save_at=5, dtype="float32")
    same = integrate(EXACT, DATA, START, t1=200.0, save_at=5, rtol=1e-5)
    assert run.provenance["dtype"] == "float32"
    assert run.provenance["rtol"] == 1e-5
    assert apart(run, reference) < 2e-4
    assert 1e-9 < run.statistics["rounding"] < 2e-6
    assert "rounding" not in same.statistics
    assert run.statistics["rhs_calls"] < 1.2 * same.statistics["rhs_calls"]
    assert all(w.dtype == np.float64 for w in run.weights.values())


def test_what_rounding_alone_does_to_a_trajectory(reference):
    """At the least tolerance what is left is mostly rounding: float64 is closer, and float32 as close as promised."""
    off = {
        dtype: apart(integrate(EXACT, DATA, START, t1=200.0, save_at=5, rtol=2e-6, dtype=dtype), reference)
        for dtype in BOTH
    }
    steps = {
        dtype: integrate(
            EXACT, DATA, START, t1=200.0, save_at=5, fixed_step=0.5, method="dop853", dtype=dtype
        )
        for dtype in BOTH
    }
    assert off["float32"] < 1e-4
    assert 1e-8 < apart(steps["float32"], steps["float64"]) < 5e-6  # the same steps


@pytest.mark.parametrize("method", ["tsit5", "dop853", "rkc", "bdf"])
def test_every_method_needs_about_as_many_calls(method):
    runs = {
        dtype: integrate(EXACT, DATA, START, t1=200.0, save_at=5, rtol=1e-4, method=method, dtype=dtype)
        for dtype in BOTH
    }
    calls = {dtype: run.statistics["rhs_calls"] for dtype, run in runs.items()}
    assert calls["float32"] < 1.2 * calls["float64"]
    assert apart(runs["float32"], runs["float64"]) < 3e-3


def test_blow_ups_and_kept_observables():
    ends = {
        d: integrate(LEADING, DATA, START, t1=1e6, save_at=2, rtol=1e-5, throw=False, dtype=d) for d in BOTH
    }
    assert ends["float32"].outcome.status == Status.BLOW_UP
    assert ends["float32"].outcome.t == pytest.approx(ends["float64"].outcome.t, rel=1e-5)
    kept = integrate(EXACT, DATA, START, t1=5.0, save_at=3, observables=["loss"], dtype="float32")
    whole = integrate(EXACT, DATA, START, t1=5.0, save_at=3, dtype="float32")
    np.testing.assert_allclose(kept["loss"], whole["loss"], rtol=1e-12)


@pytest.mark.parametrize("optimizer", [GD(0.1), Momentum(0.05), AdamW(1e-3)], ids=lambda o: type(o).__name__)
@pytest.mark.parametrize("method", ["steps", "multirate", "flow"])
def test_steps_of_an_optimizer(optimizer, method):
    runs = {
        dtype: integrate(
            EXACT, DATA, START, optimizer=optimizer, steps=120, save_at=4, method=method, dtype=dtype
        )
        for dtype in BOTH
    }
    assert runs["float32"].provenance["dtype"] == "float32"
    assert 1e-9 < runs["float32"].statistics["rounding"] < 2e-6
    assert 1e-10 < apart(runs["float32"], runs["float64"]) < 1e-4


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"dtype": "float16"}, "`dtype` 'float16' is unknown"),
        ({"method": "taylor"}, 'does not go with the method "taylor": leave one of them out.'),
        ({"flow": reduce(LEADING, DATA)}, "does not go with a reduced flow, which is small"),
        (
            {"rtol": 1e-6},
            "`rtol` is 1e-06, closer than float32 can follow a flow: use 2e-06 or more, or dtype=",
        ),
        ({"t1": None, "optimizer": GD(0.1), "steps": 3, "batch_size": 4}, "does not go with minibatches"),
        (
            {"start": {name: 1e-22 * w for name, w in START.items()}},
            "at the start is off by .* of its size, more than the tolerance 1e-05: use dtype=",
        ),
    ],
)
def test_what_is_refused(given, sentence):
    with pytest.raises(ValueError, match=sentence):
        integrate(**{"flow": EXACT, "data": DATA, "start": START, "t1": 1.0, "dtype": "float32"} | given)


def test_a_device_is_refused():
    import torch

    with pytest.raises(ValueError, match=re.escape('the device "cpu", where steps are taken in float64')):
        integrate(EXACT, DATA, START, t1=1.0, dtype="float32", device=torch.device("cpu"))


def test_nobody_pays_who_does_not_ask():
    """The interpreter in float32 is compiled or loaded on its first use."""
    code = (
        "import sys; from smallinit.sim import integrate; from smallinit.theory import *;"
        "d = CompositeTask(range(11, 14), range(1, 3), range(3, 5), masked=()).dataset(); m = EmbMLP(d.d_vocab, 2, 2);"
        "f, w = derive(m, 'exact'), m.init(0.8, 0); integrate(f, d, w, t1=0.1);"
        "print('smallinit.sim.kernel._single' in sys.modules);"
        "integrate(f, d, w, t1=0.1, dtype='float32'); print('smallinit.sim.kernel._single' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


@pytest.mark.parametrize("method", ["taylor", TaylorMethod(), TaylorMethod(fixed_order=10)])
def test_every_method_of_series_is_refused_by_its_name(method):
    with pytest.raises(ValueError, match='`dtype` is "float32", which does not go with the method "taylor"'):
        integrate(EXACT, DATA, START, t1=1.0, dtype="float32", method=method)


def test_where_rounding_holds_steps_down_the_message_says_so():
    """Rows that have become small are normalised: rates are large there, and so is the rounding of slopes."""
    rng = np.random.default_rng(0)
    data = Dataset(rng.integers(0, 5, (12, 3)), rng.integers(0, 5, 12), 5)
    model = Decoder(5, 4, 2, 4, 3, n_layers=1)
    flow, start = derive(model, "exact"), model.init(0.8, 0)
    options = {"t1": 3.0, "rtol": 1e-5, "max_steps": 2000, "throw": False}
    ends = {dtype: integrate(flow, data, start, **options, dtype=dtype).outcome for dtype in BOTH}
    assert ends["float64"].success
    assert ends["float32"].status is Status.MAX_STEPS
    assert str(ends["float32"]).endswith('try method="bdf", or dtype="float64".')
    assert integrate(flow, data, start, **options, dtype="float32", method="bdf").outcome.success
