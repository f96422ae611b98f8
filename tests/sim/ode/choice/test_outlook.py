"""RKC or BDF to the end of a long stiff flow: by counted calls, and by sizes."""

import numpy as np
import pytest

from smallinit.sim import integrate, solve
from smallinit.sim.compile.compiler import compile_flow
from smallinit.sim.kernel.problem import Problem
from smallinit.sim.ode.choice import automatic, outlook
from smallinit.sim.ode.choice.outlook import Outlook, price
from smallinit.sim.ode.choice.relay import CHECK
from smallinit.sim.ode.methods import BDF
from smallinit.sim.ode.stepper import StepControl
from smallinit.theory import Dataset, EmbMLP, OneLayerTransformer, derive

RTOL, END, FEW = 1e-6, 1e5, outlook.FEWEST


def data():
    """Twelve pairs of tokens with random labels, from which attention stays stiff for good."""
    rng = np.random.default_rng(3)
    tokens, _, labels = rng.integers(0, 6, (12, 2)), rng.permutation(6), rng.integers(0, 6, 12)
    return Dataset(tokens, labels, 6)


def case(closure="softmax", gamma=0.5, model=None):
    """A flow, data and a start."""
    model = model or OneLayerTransformer(6, 4, 3, 4, 2, unembed=True)
    return derive(model, closure), data(), model.init(gamma, 1)


def small(*sizes):
    model = EmbMLP(*sizes)
    return compile_flow(derive(model, "softmax"), data(), model.init(0.5, 0))


class Steps:
    """RKC, or BDF, of which no more is known than an outlook asks: steps that grow with time, stages as its root."""

    def __init__(self, t, share, stages):
        self.t, self.share, self.stages, self.accepted, self.calls = t, share, stages, 0, 0.0

    def go(self, steps):
        """Take steps, each a share of the time gone by."""
        for _ in range(steps):
            before = self.t
            self.t *= 1.0 + self.share
            self.accepted += 1
            self.calls += self.stages
            self.stages *= np.sqrt(self.t / before)

    def counts(self):
        return {"accepted": self.accepted, "rhs_calls": self.calls}


def looked(stages, price_of=50.0, t=100.0, end=END, steps=CHECK):
    """An outlook on RKC after some steps, RKC, and what it says."""
    found, rkc = Outlook(small(6, 4, 4), RTOL, 0.0, end), Steps(t, 0.03, stages)
    found.price = price_of
    found.begin(rkc)
    rkc.go(steps)
    return found, rkc, found.prefers_bdf(rkc)


def test_price_of_an_evaluation_falls_with_the_size_of_a_call():
    """It goes by sizes alone, and is never below a call."""
    prices = [price(small(6, 4, 4)), price(small(6, 40, 40)), price(small(6, 160, 160))]
    assert prices == sorted(prices, reverse=True)
    assert 1.0 < prices[-1] < 0.3 * prices[0]
    assert price(Problem.from_function(lambda t, y, out: None, 3)) > prices[0]


def test_what_rkc_would_take_to_the_end():
    """Held against the sum over steps that go on to grow as they did."""
    found, rkc, _ = looked(stages=2.0)
    before, left = rkc.calls, found._taken(END) - found._taken(rkc.t)
    while rkc.t < END:
        rkc.go(1)
    assert rkc.stages < 400.0
    assert left == pytest.approx(rkc.calls - before, rel=0.1)


def test_stages_that_are_the_most_go_on_at_an_even_rate():
    found, rkc = Outlook(small(6, 4, 4), RTOL, 0.0, END), Steps(1e3, 0.0, 400.0)
    found.begin(rkc)
    rkc.t, rkc.accepted, rkc.calls = 1.2e3, 40, 40 * 400.0
    assert found.prefers_bdf(rkc)
    assert found._taken(END) - found._taken(rkc.t) == pytest.approx(80.0 * (END - rkc.t), rel=1e-6)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"stages": 300.0}, True),
        ({"stages": 300.0, "steps": FEW - 1}, False),  # too few to tell
        ({"stages": 300.0, "price_of": 5000.0}, False),  # BDF is dearer than RKC now
        ({"stages": 300.0, "t": 9e4 / 1.03**CHECK}, False),  # and here at the end
        ({"stages": 5.0}, False),
    ],
)
def test_bdf_is_preferred_where_it_has_less_to_do_now_and_clearly_less_to_the_end(options, said):
    assert looked(**options)[-1] is said


@pytest.mark.parametrize(
    ("closure", "gamma", "share"), [("softmax", 0.5, 0.3), ("softmax", 1.5, 0.4), ("exact", 0.5, 0.4)]
)
def test_rkc_is_left_where_a_small_flow_stays_stiff_for_long(closure, gamma, share):
    """It was kept to the end; and errors stay as small."""
    flow, known = case(closure, gamma), {"t1": 1e4, "rtol": 1e-8, "save_at": 3}
    found, named = integrate(*flow, **known), integrate(*flow, method="rkc", **known)
    assert [one.split(" from ")[0] for one in found.statistics["methods"].split(", ")][-2:] == ["rkc", "bdf"]
    assert found.statistics["rhs_calls"] < share * named.statistics["rhs_calls"]
    truth = integrate(*flow, method="bdf", **(known | {"rtol": 1e-11}))
    for name, w in truth.weights.items():
        np.testing.assert_allclose(found.weights[name], w, rtol=0, atol=1e-6 * np.abs(w).max())


@pytest.mark.parametrize("t1", [1e3, 1e4])
def test_rkc_is_kept_where_calls_are_few_or_cheap(t1):
    model = EmbMLP(6, 4, 4)
    for flow in (case(model=model), *([case()] if t1 == 1e3 else [])):
        assert "bdf" not in integrate(*flow, t1=t1, save_at=1).statistics["methods"]


def many_fast():
    """Sixty rates from 100 to 1e4, more than BDF learns, about a state that slows down."""
    rates = np.geomspace(1e2, 1e4, 60)

    def f(t, y, out):
        for i in range(60):
            out[i] = -rates[i] * (y[i] - np.cos(7.0 * i + np.log(1.0 + t)))

    return Problem.from_function(f, 60), np.cos(7.0 * np.arange(60.0))


def test_bdf_that_does_not_pay_is_left_again_and_tried_ever_more_rarely(monkeypatch):
    problem, start = many_fast()
    known = {"t1": 1e3, "rtol": 1e-6, "atol": 1e-8, "save_at": 5}
    plain = solve(problem, start, **known)
    assert "bdf" not in plain.statistics["methods"]
    monkeypatch.setattr(Outlook, "prefers_bdf", lambda self, stepper: self.begin(stepper) or True)
    monkeypatch.setattr(Outlook, "_taken", lambda self, gone: 1e-9 * gone)
    looks, go_on = [], automatic.SwitchingStepper._consider_rkc

    def noted(stepper, stay):
        looks.append(stepper.name)
        go_on(stepper, stay)
        if stepper._leaving:
            looks.append("bdf")

    monkeypatch.setattr(automatic.SwitchingStepper, "_consider_rkc", noted)
    found = solve(problem, start, **known)
    words = [one.split(" from ")[0] for one in found.statistics["methods"].split(", ")]
    tried = [i for i, name in enumerate(looks) if name == "bdf"]
    assert words.count("bdf") == len(tried) >= 3
    assert all(words[i + 1] == "rkc" for i, name in enumerate(words[:-1]) if name == "bdf")
    apart = np.diff(tried)
    assert np.all(np.diff(apart) > 0)
    np.testing.assert_allclose(found.y, plain.y, rtol=0, atol=1e-4)


def test_the_choice_of_bdf_after_rkc_does_not_depend_on_the_clock_or_on_saves(monkeypatch):
    found = []
    for seconds, save_at in ((0.0, [1e4]), (1e9, np.linspace(1.0, 1e4, 500))):
        monkeypatch.setattr("smallinit.sim.ode.record._CALL_SECONDS", seconds)
        found.append(integrate(*case(), t1=1e4, rtol=1e-8, save_at=save_at))
    slow, fast = found
    assert "bdf" in fast.statistics["methods"]
    assert slow.statistics["methods"] == fast.statistics["methods"]
    for name, w in slow.weights.items():
        np.testing.assert_array_equal(fast.weights[name][-1], w[-1])


def test_no_change_where_bdf_would_hold_too_much(monkeypatch):
    flow, data, start = case()
    problem = compile_flow(flow, data, start)
    begun = (problem, problem.pack(start), 0.0, 1.0, StepControl(1e-6, 1e-9))
    assert automatic.SwitchingStepper(*begun)._outlook is not None
    monkeypatch.setattr(automatic, "MOST_HELD", 8 * problem.n * BDF.vectors - 1)
    assert automatic.SwitchingStepper(*begun)._outlook is None


def test_steps_too_short_to_be_told_from_the_time_gone_by():
    """A rate that grows without bound near t = 0, far from the start: flow time has digits to spare there."""

    def f(t, y, out):
        near = abs(t) + 1e-30
        out[0] = 1e3 / near * (np.sin(np.log(near)) - y[0])

    found = solve(Problem.from_function(f, 1), [0.0], t0=-1.0, t1=1.0, save_at=1)
    assert found.outcome.success
    assert found.y[-1, 0] == pytest.approx(-1e-3, rel=1e-2)  # y lags by a thousandth of its slope in log t
