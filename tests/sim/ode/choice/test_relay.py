"""A stay with a stabilised method: judged by counted calls against those that the method before would take by now."""

import numpy as np
import pytest
from helpers import pairs_data

from smallinit.sim import Status, integrate, solve
from smallinit.sim.kernel.problem import Problem
from smallinit.sim.ode.choice import automatic
from smallinit.sim.ode.choice.relay import CHECK, Stay, StayTerms
from smallinit.sim.ode.methods import RKC
from smallinit.sim.ode.stepper import StepControl
from smallinit.theory import EmbMLP, derive

TERMS = StayTerms()
FIRST = TERMS.settling + TERMS.trial


class Run:
    """A stepper of which no more is known than a stay asks."""

    def __init__(self, cost, radius=1.0):
        self.stay, self.radius = Stay(cost, TERMS), radius
        self.accepted, self.swept, self.calls = 0, 0.0, 0

    def counts(self):
        return {"rhs_calls": self.calls}

    def look(self, calls, swept=1.0):
        """Go on to the next look with so many calls; what is then said."""
        self.accepted, self.swept, self.calls = self.stay.look, self.swept + swept, self.calls + calls
        return self.stay.pays(self)


@pytest.mark.parametrize(
    ("calls", "said"),
    [
        ((500, 99, 149, 149), [True] * 4),  # first steps do not count, and once it has paid it may be dearer
        ((0, 151), [True, False]),
        ((0, 149, 99, 151), [True, True, True, False]),
        ((0, 149, 101), [True, True, False]),  # in doubt at first, and no better then
    ],
)
def test_dearness_that_ends_a_stay(calls, said):
    run = Run(cost=100.0)
    assert [run.look(n) for n in calls] == said
    assert run.stay.paid == any(n <= 100 for n in calls[1:])


def test_looks_come_early_and_then_at_even_distances():
    run, looks = Run(cost=100.0), []
    for calls in (0, 149, 1, 1):
        looks.append(run.stay.look)
        run.look(calls)
    assert looks == [TERMS.settling, FIRST, FIRST + TERMS.again, FIRST + TERMS.again + CHECK]


def test_costs_are_compared_by_what_is_swept():
    """A radius of 50 when the other was left: a unit of flow time is 50 units swept, to which its 100 calls belong."""
    run = Run(cost=100.0, radius=50.0)
    assert run.look(0)
    assert run.look(100, swept=50.0)
    assert not run.look(100, swept=5.0)


def test_nothing_stiff_is_left_at_once():
    assert not Run(cost=1.0, radius=0.0).look(0)


def test_what_is_swept_is_the_integral_of_the_radius():
    """y' = -3 t^2 y, whose Jacobian is -3 t^2."""

    def f(t, y, out):
        out[0] = -3.0 * t * t * y[0]

    stepper = RKC.begin(Problem.from_function(f, 1), np.ones(1), 1.0, 3.0, StepControl(1e-8, 1e-12))
    while stepper.t < 3.0:
        stepper.advance(3.0, 100, 10**6)
    assert stepper.swept == pytest.approx(26.0, rel=0.05)
    assert stepper.radius == pytest.approx(27.0, rel=0.1)


def mild(gamma, labels):
    """A flow, data and a start in which all rates fall as long as the loss does."""
    model = EmbMLP(6, 4, 4)
    return derive(model, "softmax"), pairs_data(labels), model.init(gamma, 1)


@pytest.mark.parametrize(("gamma", "labels"), [(0.5, "decided"), (1.5, "random")])
def test_a_flow_that_becomes_slow_altogether_is_not_left_to_rkc(gamma, labels):
    """RKC is cheap against what dop853 took at first, but up to 3.6 times as dear as what that would take by now."""
    case, known = mild(gamma, labels), {"t1": 1e4, "rtol": 1e-8, "save_at": 5}
    found, named = integrate(*case, **known), integrate(*case, method="dop853", **known)
    assert found.statistics["rhs_calls"] < 1.15 * named.statistics["rhs_calls"]
    for name, w in named.weights.items():
        np.testing.assert_allclose(found.weights[name], w, rtol=0, atol=1e-5 * np.abs(w).max())


def test_stays_that_do_not_pay_are_short_and_become_rare(monkeypatch):
    """Fast oscillation at a tight tolerance, where order 2 is hopeless, beside a rate that holds dop853 down."""

    def f(t, y, out):
        out[0] = -500.0 * (y[0] - y[1])
        out[1] = 30.0 * y[2]
        out[2] = -30.0 * y[1]

    steps, plain = {"dop853": [], "rkc": []}, automatic.SwitchingStepper._change

    def noted(stepper, method):
        steps[stepper.name].append(stepper.at_work.accepted)
        plain(stepper, method)

    monkeypatch.setattr(automatic.SwitchingStepper, "_change", noted)
    problem, start = Problem.from_function(f, 3), np.array([0.0, 1.0, 0.0])
    known = {"t1": 20.0, "rtol": 1e-8, "atol": 1e-8, "save_at": 1}
    found, named = solve(problem, start, **known), solve(problem, start, method="dop853", **known)
    assert len(steps["dop853"]) > 3
    assert all(n % CHECK == 0 for n in steps["dop853"])
    assert np.all(np.array(steps["dop853"][1:]) >= CHECK * 2 ** np.arange(len(steps["dop853"]) - 1))
    assert steps["rkc"] == [FIRST] * len(steps["dop853"])
    assert found.statistics["rhs_calls"] < 1.03 * named.statistics["rhs_calls"]


def method_at(t, words):
    """Of the methods in words, the one in use at flow time t."""
    first, *others = words.split(", ")
    changes = [
        (first, -np.inf),
        *((name, float(at)) for name, at in (one.split(" from t = ") for one in others)),
    ]
    return next(name for name, at in reversed(changes) if at <= t)


def test_rkc_has_each_stiff_part_and_none_of_the_mild_ones():
    """Rates that rise and fall by a factor of 1e4, twice."""

    def f(t, y, out):
        rate = 10.0 ** (4.0 * np.sin(0.5 * np.pi * t / 50.0) ** 2)
        out[0] = -rate * (y[0] - np.cos(t))
        out[1] = y[2]
        out[2] = -y[1]

    problem, start = Problem.from_function(f, 3), np.array([1.0, 1.0, 0.0])
    known = {"t1": 200.0, "rtol": 1e-7, "atol": 1e-7, "save_at": 9}
    found, named = solve(problem, start, **known), solve(problem, start, method="dop853", **known)
    used = [method_at(t, found.statistics["methods"]) for t in (1.0, 50.0, 100.0, 150.0, 199.0)]
    assert used == ["dop853", "rkc", "dop853", "rkc", "dop853"]
    assert found.statistics["rhs_calls"] < 0.5 * named.statistics["rhs_calls"]
    np.testing.assert_allclose(found.y[:, 1], np.cos(found.t), atol=1e-3)


def test_events_limits_and_a_blow_up_after_a_long_stiff_part():
    def f(t, y, out):
        out[0] = -500.0 * (y[0] - np.cos(t))
        out[1] = 0.1 * y[1] * y[1]

    def four(t, weights):
        return weights["y"][1, 0] - 4.0

    problem, known = Problem.from_function(f, 2), {"t1": 20.0, "rtol": 1e-5, "atol": 1e-8}
    found = solve(problem, np.ones(2), **known, save_at=5, events=four)
    assert "rkc" in found.statistics["methods"]
    assert found.outcome.status is Status.BLOW_UP
    assert found.outcome.t == pytest.approx(10.0, abs=2e-3)
    assert found.events["four"].tolist() == [pytest.approx(7.5, abs=2e-3)]
    plain = solve(problem, np.ones(2), **known, save_at=5)
    assert plain.statistics == found.statistics | {"seconds": plain.statistics["seconds"]}
    steps = found.statistics["accepted"] + found.statistics["rejected"]
    for limit in range(CHECK - 1, steps, 7):
        part = solve(problem, np.ones(2), **known, save_at=5, max_steps=limit)
        assert part.outcome.status is Status.MAX_STEPS
        assert part.statistics["accepted"] + part.statistics["rejected"] == limit
        assert found.statistics["methods"].startswith(part.statistics["methods"])
