"""Whole integrations on a device against those on the CPU: states, events, blow-ups, limits, refusals."""

import re

import numpy as np
import pytest
import torch
from helpers import MODELS, data_for, random_data, random_weights

from smallinit.sim import GD, Event, Method, Status, integrate, reduce
from smallinit.theory import Decoder, EmbMLP, derive

DECODER = Decoder(7, 6, 4, 8, 4, n_layers=1, n_heads=2, norm="pre", predict="all")
CASES = {
    "Emb-MLP": (MODELS["emb-mlp"][0], data_for("emb-mlp"), 60.0),
    "attention": (MODELS["attention-only, two layers"][0], data_for("attention-only, two layers"), 40.0),
    "decoder": (DECODER, random_data(n=12, n_ctx=4), 8.0),
}
MODEL, DATA, _ = CASES["Emb-MLP"]
START = random_weights(MODEL, scale=0.1)
EXACT, LEADING = derive(MODEL, "exact"), derive(MODEL, "leading")
COUNTS = ("accepted", "rejected", "rhs_calls", "methods")


def apart(a, b):
    """Largest difference of weights over all times, each relative to its largest entry.

    Where stability holds the step of a high order down, the last bit of the start decides later which steps are
    rejected, on the CPU too: such a run is no more alike than `rtol` says, and flows here end before.
    """
    np.testing.assert_array_equal(a.t, b.t)
    return max(np.abs(a.weights[w] - b.weights[w]).max() / np.abs(a.weights[w]).max() for w in a.weights)


@pytest.mark.parametrize("name", CASES)
def test_exact_flows(name, device):
    model, data, t1 = CASES[name]
    flow, start = derive(model, "exact"), random_weights(model, scale=0.1)
    options = {"t1": t1, "rtol": 1e-8, "save_at": 23}
    here, there = (
        integrate(flow, data, start, **options),
        integrate(flow, data, start, device=device, **options),
    )
    assert apart(here, there) < 1e-9
    assert [there.statistics[key] for key in COUNTS] == [here.statistics[key] for key in COUNTS]


@pytest.mark.parametrize(
    "options",
    [
        {"method": "tsit5", "rtol": 1e-7},
        {"method": "dop853", "rtol": 1e-9},
        {"method": "rkc", "rtol": 1e-5},
        {"method": "rkc", "fixed_step": 0.7},
        {"method": "euler", "rtol": 1e-3},
        {"method": "euler", "fixed_step": 0.25},
        {"fixed_step": 0.5},
        {"first_step": 0.1, "rtol": 1e-8},
        {"rtol": 1e-4},  # tsit5, then rkc
    ],
)
def test_methods_and_steps(options, device):
    t1 = 120.0 if options == {"rtol": 1e-4} else 60.0
    here = integrate(EXACT, DATA, START, t1, 31, **options)
    there = integrate(EXACT, DATA, START, t1, 31, device=device, **options)
    assert apart(here, there) < 1e-9
    assert there.statistics["methods"] == here.statistics["methods"]
    if options == {"rtol": 1e-4}:
        assert "rkc" in there.statistics["methods"]


def test_events(device):
    events = [
        Event(lambda t, w: np.linalg.norm(w["W_E"]) - 1.5, name="size"),
        Event(lambda t, w: bool(np.linalg.norm(w["W_E"]) > 2.0), terminal=True, name="large"),
    ]
    here, there = (
        integrate(EXACT, DATA, START, 60.0, 31, rtol=1e-8, events=events, device=d) for d in ("cpu", device)
    )
    assert here.outcome.status == there.outcome.status == Status.EVENT
    for name in ("size", "large"):
        assert len(there.events[name]) == 1
        np.testing.assert_allclose(there.events[name], here.events[name], rtol=1e-9)
    np.testing.assert_allclose(there.t, here.t, rtol=1e-9)
    np.testing.assert_allclose(there.weights["W_out"], here.weights["W_out"], rtol=0, atol=1e-8)


@pytest.mark.parametrize("rtol", [1e-4, 1e-9])
def test_blow_up(rtol, device):
    ends = []
    for where in ("cpu", device):
        trajectory = integrate(LEADING, DATA, START, 1e6, 11, rtol=rtol, device=where)
        assert trajectory.outcome.status == Status.BLOW_UP
        assert np.isfinite(trajectory.weights["W_E"]).all()
        ends.append(trajectory.outcome.t)
    assert abs(ends[1] / ends[0] - 1.0) < 1e-9


def test_limits_keep_what_was_computed(device):
    for options in ({"max_steps": 9}, {"max_seconds": 1e-3}):
        path = integrate(EXACT, DATA, START, 1e4, 10**4, throw=False, device=device, **options)
        assert path.outcome.status in (Status.MAX_STEPS, Status.MAX_SECONDS)
        assert 0 < len(path.t) < 10**4


def test_observables_and_a_reduced_flow(device):
    options = {"rtol": 1e-8, "save_at": [0.0, 7.0, 19.5]}
    here = integrate(EXACT, DATA, START, 20.0, **options)
    there = integrate(EXACT, DATA, START, 20.0, observables=["loss", "norm/W_E"], device=device, **options)
    for name in ("loss", "norm/W_E"):
        np.testing.assert_allclose(there[name], here[name], rtol=1e-9)
    small = reduce(LEADING, DATA)
    a, b = (integrate(small, DATA, START, 8.0, device=d, **options | {"save_at": 5}) for d in ("cpu", device))
    assert apart(a, b) < 1e-9


def test_the_record_says_where(device):
    assert integrate(EXACT, DATA, START, 1.0, 2).provenance["device"] == "cpu"
    record = integrate(EXACT, DATA, START, 1.0, 2, device=device).provenance
    assert record["device"] == f"{device} by torch"
    assert record["device_name"]


class Foreign(Method):
    """A method of somebody else."""

    name = "own"

    def begin(self, *arguments):
        raise AssertionError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "gpu"}, "`device` 'gpu' is unknown: choose one of cpu, cuda, auto"),
        ({"device": torch.device("meta")}, '`device` is "meta", where flows do not run: use "cpu", "cuda"'),
        ({"device": 7}, "`device` 7 is unknown: choose one of cpu, cuda, auto"),
        (
            {"device": torch.device("cuda:99")},
            '`device` is "cuda:99" but torch finds no such device: use "cpu"',
        ),
        (
            {"device": torch.device("cpu"), "method": "taylor"},
            "`method` is 'taylor', which runs on the CPU alone: use tsit5, dop853, rkc, euler, or device=\"cpu\"",
        ),
        (
            {"device": torch.device("cpu"), "method": Foreign()},
            "`method` is 'own', which runs on the CPU alone",
        ),
        (
            {"device": torch.device("cpu"), "t1": None, "optimizer": GD(0.1), "steps": 3},
            '`device` is "cpu" beside an `optimizer`, whose steps are taken on the CPU: leave it out',
        ),
    ],
)
def test_one_sentence_before_any_work(options, message, monkeypatch):
    monkeypatch.setattr("smallinit.sim.compile.compiler._compile", None)  # would fail
    with pytest.raises(ValueError, match=re.escape(message)):
        integrate(derive(EmbMLP(6, 5, 4), "exact"), DATA, START, **({"t1": 1.0} | options))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu():
    with pytest.raises(
        ValueError, match='`device` is "cuda" but torch finds no such device: use "cpu" or "auto"'
    ):
        integrate(EXACT, DATA, START, 1.0, device="cuda")
    paths = [integrate(EXACT, DATA, START, 9.0, device=d) for d in ("cpu", "auto")]
    np.testing.assert_array_equal(paths[0].weights["W_E"], paths[1].weights["W_E"])
    assert paths[1].provenance["device"] == "cpu"


def test_auto_means_the_cpu_where_there_are_no_steps_elsewhere(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    path = integrate(LEADING, DATA, START, 1.0, 2, method="taylor", device="auto")
    assert path.provenance["device"] == "cpu"
    path = integrate(EXACT, DATA, START, steps=2, optimizer=GD(0.1), device="auto")
    assert path.provenance["device"] == "cpu"
