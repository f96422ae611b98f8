"""Optimizers on the side of theory: their steps against an independent recursion, blocks, clocks and refusals."""

import copy
import dataclasses
import functools
import json
import pickle
import sys

import numpy as np
import pytest
from helpers import random_data

from smallinit.sim import (
    GD,
    AdamW,
    IntegrationError,
    Linear,
    Momentum,
    SignGD,
    Spectral,
    WarmupCosine,
    integrate,
)
from smallinit.sim.optimizers.multirate import MultirateStepper
from smallinit.sim.optimizers.schedule import described
from smallinit.sim.optimizers.specs import optimizer_of
from smallinit.theory import EmbMLP, derive
from smallinit.theory.base.errors import FieldError

MODEL, DATA = EmbMLP(6, 5, 4), random_data(d_vocab=6, n=25, n_ctx=3)
START = MODEL.init(0.5, 0)
EXACT = derive(MODEL, "exact")
OPTIMIZERS = {
    "gd": GD(0.3, weight_decay=0.1),
    "momentum": Momentum(0.1, momentum=0.8),
    "nesterov": Momentum(0.1, momentum=0.8, nesterov=True, weight_decay=0.05),
    "adam": AdamW(0.01, weight_decay=0.0),
    "adamw": AdamW(
        0.02,
        betas=(0.8, 0.95),
        weight_decay=0.2,
        schedule=WarmupCosine(5, 40, 0.2),
        rates={"W_E": 0.5},
        decays={"W_in": 0.0},
    ),
    "sign": SignGD(0.004, weight_decay=0.1, schedule=Linear(40)),
    "smooth sign": SignGD(0.01, eps=1e-3),
    "spectral": Spectral(0.01, momentum=0.5, rates={"W_out": 2.0}),
}


def by_hand(o, steps):
    """The definitions, with numpy and nothing of ours but the gradient."""
    w = {k: v.copy() for k, v in START.items()}
    m, b, path = {k: 0 * v for k, v in w.items()}, {k: 0 * v for k, v in w.items()}, [dict(w)]
    for s in range(steps):
        slope = EXACT.rhs(DATA, w)
        for k in w:
            g, kappa, lam = -slope[k], o.rates.get(k, 1.0), o.decays.get(k, o.weight_decay)
            factor = o.schedule.factor(s) if o.schedule else 1.0
            eta = kappa * o.learning_rate * factor
            if isinstance(o, GD):
                w[k] = w[k] - eta * (g + lam * w[k])
            elif isinstance(o, Momentum):
                g = g + lam * w[k]
                m[k] = o.momentum * m[k] + g
                w[k] = w[k] - eta * (g + o.momentum * m[k] if o.nesterov else m[k])
            elif isinstance(o, AdamW):
                m[k] = o.betas[0] * m[k] + (1 - o.betas[0]) * g
                b[k] = o.betas[1] * b[k] + (1 - o.betas[1]) * g**2
                first, second = (1 - beta ** (s + 1) for beta in o.betas)
                u = (m[k] / first) / (np.sqrt(b[k] / second) + o.eps)
                w[k] = (1 - eta * lam) * w[k] - eta * u
            elif isinstance(o, SignGD):
                w[k] = (1 - eta * lam) * w[k] - eta * np.where(g == 0, 0, g / (abs(g) + o.eps))
            else:
                m[k] = o.momentum * m[k] + g
                u, x, vt = np.linalg.svd(m[k], full_matrices=False)
                w[k] = (1 - eta * lam) * w[k] - eta * (u * (x / np.sqrt(x**2 + (o.eps * x[0]) ** 2))) @ vt
        path.append(dict(w))
    return path


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_are_the_definition(name):
    path = by_hand(OPTIMIZERS[name], 40)
    found = integrate(
        EXACT, DATA, START, steps=40, optimizer=OPTIMIZERS[name], method="steps", save_at=[0, 1, 7, 40]
    )
    assert found.steps.tolist() == [0, 1, 7, 40]
    for k in START:
        for row, step in enumerate(found.steps):
            np.testing.assert_allclose(found.weights[k][row], path[step][k], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", [n for n, o in OPTIMIZERS.items() if o.elementwise and n != "sign"])
def test_blocks_follow_the_steps_with_fewer_gradients(name):
    o, saves = OPTIMIZERS[name], [0, 13, 29, 40]
    steps = integrate(EXACT, DATA, START, steps=40, optimizer=o, method="steps", save_at=saves)
    blocks = integrate(EXACT, DATA, START, steps=40, optimizer=o, save_at=saves, rtol=0.01)
    assert blocks.statistics["methods"] == "multirate"
    assert blocks.statistics["rhs_calls"] <= steps.statistics["rhs_calls"]
    for k in START:
        moved = np.linalg.norm(steps.weights[k][-1] - START[k])
        assert np.abs(blocks.weights[k] - steps.weights[k]).max() < 0.01 * moved
    np.testing.assert_array_equal(blocks.t, steps.t)


def test_blocks_that_are_refused_again_and_again_still_reach_the_end(monkeypatch):
    monkeypatch.setattr(MultirateStepper, "_next", lambda *_: 2)  # always too hopeful
    how = {"steps": 40, "optimizer": AdamW(1e-2), "save_at": [40]}
    every = integrate(EXACT, DATA, START, method="steps", **how)
    blocks = integrate(EXACT, DATA, START, rtol=1e-13, **how)
    assert blocks.statistics["rejected"] > 30
    for name, value in every.weights.items():
        np.testing.assert_allclose(blocks.weights[name], value, rtol=1e-12)


def test_saving_inside_blocks_changes_nothing():
    o = GD(0.02)
    few = integrate(EXACT, DATA, START, steps=100, optimizer=o, save_at=[100])
    many = integrate(EXACT, DATA, START, steps=100, optimizer=o, save_at=range(101))
    assert few.statistics["rhs_calls"] < 60
    for k in START:
        np.testing.assert_array_equal(few.weights[k][-1], many.weights[k][-1])
    path = by_hand(o, 100)
    for k in START:
        np.testing.assert_allclose(many.weights[k][55], path[55][k], atol=1e-4 * np.abs(path[55][k]).max())


def test_flow_time_is_the_sum_of_the_rates():
    o = GD(0.1, schedule=lambda step: 1.0 / (1 + step))
    found = integrate(EXACT, DATA, START, steps=4, optimizer=o, save_at=range(5))
    np.testing.assert_allclose(found.t, 0.1 * np.array([0, 1, 1.5, 1.5 + 1 / 3, 1.5 + 1 / 3 + 0.25]))
    assert found.kind == "theory"
    assert found.steps.dtype.kind == "i"


def test_plain_gradient_descent_is_euler():
    steps = integrate(EXACT, DATA, START, steps=50, optimizer=GD(0.1), method="steps", save_at=[50])
    euler = integrate(EXACT, DATA, START, t1=5.0, method="euler", fixed_step=0.1, save_at=[5.0])
    for k in START:
        np.testing.assert_allclose(steps.weights[k][-1], euler.weights[k][-1], rtol=1e-12)


def test_events_limits_and_observables():
    def half(t, weights):
        return float(np.linalg.norm(weights["W_out"])) - 1.1 * float(np.linalg.norm(START["W_out"]))

    seen = integrate(
        EXACT, DATA, START, steps=300, optimizer=GD(0.2), method="steps", events=half, save_at=[0, 300]
    )
    (time,) = seen.events["half"]
    assert 0.0 < time < seen.t[-1]
    row = int(np.argmin(abs(seen.t - time)))
    assert half(0.0, {k: v[row] for k, v in seen.weights.items()}) == pytest.approx(0.0, abs=1e-3)
    losses = integrate(EXACT, DATA, START, steps=30, optimizer=AdamW(0.01), observables=["loss"], save_at=4)
    assert losses["loss"].shape == (4,)
    assert losses["loss"][-1] < losses["loss"][0]


@pytest.mark.parametrize(
    ("method", "remedy"),
    [
        ("steps", 'use a higher limit, or method "multirate"'),
        ("multirate", "use a larger `rtol` or a higher limit"),
    ],
)
def test_a_time_that_is_used_up_says_at_which_step(method, remedy):
    options = {"steps": 10**6, "method": method, "save_at": [0], "max_seconds": 0.05}
    found = integrate(EXACT, DATA, START, optimizer=AdamW(1e-7), throw=False, **options)
    assert f" of 1000000 was reached; {remedy}." in str(found.outcome)


def test_divergence_is_an_outcome_that_names_the_step():
    with pytest.raises(IntegrationError, match=r"diverged at step \d+; lower `learning_rate`") as error:
        integrate(derive(MODEL, "leading"), DATA, START, steps=10_000, optimizer=GD(50.0), method="steps")
    assert np.isfinite(error.value.trajectory.weights["W_E"]).all()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: GD(0.0), "`learning_rate` must be positive"),
        (lambda: GD(-1.0), "`learning_rate` must be positive"),
        (lambda: GD(0.1, weight_decay=-1.0), "`weight_decay` must not be negative"),
        (lambda: Momentum(0.1, momentum=1.0), r"`momentum` must lie in \[0, 1\)"),
        (lambda: AdamW(0.1, betas=(0.9, 1.0)), r"`betas` must lie in \[0, 1\)"),
        (lambda: AdamW(0.1, betas=0.9), "`betas` must be two numbers"),
        (lambda: AdamW(0.1, eps=-1e-8), "`eps` must be positive, got -1e-08"),
        (lambda: AdamW(0.1, eps=0.0), "`eps` must be positive, got 0.0: entries whose gradients are 0"),
        (lambda: AdamW(0.1, betas=(-0.1, 0.9)), r"`betas` must lie in \[0, 1\)"),
        (lambda: AdamW(0.1, betas=(True, 0.9)), "`betas` must be a finite number, got True"),
        (lambda: AdamW("0.1"), "`learning_rate` must be a finite number, got '0.1'"),
        (lambda: Momentum(0.1, nesterov=1), "`nesterov` must be True or False, got 1"),
        (lambda: SignGD(0.1, eps=-1.0), "`eps` must not be negative"),
        (lambda: Spectral(0.1, eps=0.0), "`eps` must be positive"),
        (lambda: GD(0.1, decays={"W_E": -1.0}), r"`decays\['W_E'\]` must not be negative"),
        (lambda: GD(0.1, rates={"W_E": 0.0}), r"`rates\['W_E'\]` must be positive"),
        (lambda: GD(0.1, rates=5), "`rates` must map weight names to numbers, got 5"),
        (lambda: WarmupCosine(5, 5), "`total` must be an integer of at least 6"),
        (lambda: WarmupCosine(0, 5, 0.0), r"`final` must lie in \(0, 1\]"),
        (lambda: GD(0.1, schedule=3.0), "`schedule` must be a WarmupCosine"),
        (lambda: GD(0.1, rates={"W_E": -1.0}), r"`rates\['W_E'\]` must be positive"),
        (lambda: Linear(0), "`total` must be an integer of at least 1"),
    ],
)
def test_optimizers_refuse_in_one_sentence(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"optimizer": GD(0.1)}, "`steps` is missing"),
        ({"steps": 10}, "`optimizer` must be an Optimizer"),
        ({"optimizer": "adamw", "steps": 10}, "`optimizer` must be an Optimizer"),
        ({"optimizer": GD(0.1), "steps": 10, "t1": 1.0}, "`t1` is 1.0 beside an `optimizer`"),
        ({"optimizer": GD(0.1), "steps": -1}, "`steps` must be an integer of at least 0"),
        (
            {"optimizer": GD(0.1, decays={"W_e": 0.0}), "steps": 3},
            "`decays` names the weight 'W_e': did you mean 'W_E'",
        ),
        ({"optimizer": GD(0.1), "steps": 3, "save_at": [0.5]}, "`save_at` must be None, a count"),
        ({"optimizer": GD(0.1), "steps": 3, "method": "stepps"}, "`method` 'stepps'"),
        ({"optimizer": Spectral(0.1), "steps": 3, "method": "multirate"}, "spectral descent does not: use"),
        ({"optimizer": GD(0.1, schedule=lambda s: 0.0), "steps": 3}, "`schedule` must give positive numbers"),
        ({}, "`t1` is missing"),
        ({"optimizer": GD(0.1, rates={"W_X": 1.0}), "steps": 3}, "`rates` names the weight 'W_X'"),
        ({"optimizer": GD(0.1), "steps": 3, "max_steps": 5}, "`max_steps` is 5 beside an `optimizer`"),
        ({"optimizer": GD(0.1), "steps": 3, "max_steps": "5"}, "`max_steps` must be an integer"),
        ({"optimizer": GD(0.1), "steps": 3, "rtol": "x"}, r"`rtol` must lie in \(0, 1\), got 'x'"),
        ({"optimizer": GD(0.1), "steps": 3, "rtol": 2.0}, r"`rtol` must lie in \(0, 1\), got 2.0"),
        (
            {"optimizer": GD(0.1), "steps": 3, "rtol": 0.1, "method": "steps"},
            "`rtol` is 0.1, but each of the optimizer's own",
        ),
        ({"optimizer": GD(0.1), "steps": 3, "progress": 5}, "`progress` must be a function or None, got 5"),
        ({"optimizer": GD(0.1), "steps": 10**9}, "`steps` must be an integer of at most 100,000,000"),
        (
            {"optimizer": GD(1e308), "steps": 3},
            r"`learning_rate` is 1e\+308, with which 3 steps take no finite",
        ),
        ({"optimizer": GD(0.1, schedule=[1.0, 0.5].__getitem__), "steps": 3}, "not so at step 2 .IndexError"),
        ({"optimizer": GD(0.1, schedule=lambda s: "x"), "steps": 3}, "not so at step 0 .it gives 'x'"),
        ({"optimizer": GD(0.1, schedule=lambda s: None), "steps": 3}, "not so at step 0 .it gives None"),
        ({"optimizer": GD(0.1, schedule=lambda: 1.0), "steps": 3}, "not so at step 0 .TypeError"),
        ({"optimizer": GD(0.1, schedule=WarmupCosine), "steps": 3}, "not so at step 0 .TypeError"),
        (
            {"optimizer": GD(0.1, schedule=lambda s: 0.1 ** (9 * s)), "steps": 9},
            "`schedule` gives steps too small",
        ),
    ],
)
def test_integrate_refuses_in_one_sentence(options, words):
    with pytest.raises(ValueError, match=words):
        integrate(EXACT, DATA, START, **options)


@pytest.mark.parametrize("schedule", [WarmupCosine(1, 3), Linear(3)])
def test_a_schedule_that_ends_before_the_steps_says_what_happens(schedule):
    o = GD(0.1, schedule=schedule)
    with pytest.warns(
        UserWarning, match=r"^`schedule` ends at step 3 of 9: the rate stays at 0.01 from there\.$"
    ) as told:
        path = integrate(EXACT, DATA, START, steps=9, optimizer=o, save_at=[0, 3, 8, 9])
    assert len(told) == 1
    assert path.t[3] - path.t[2] == pytest.approx(0.01)


def test_a_run_that_diverges_warns_of_nothing_else(recwarn):
    found = integrate(derive(MODEL, "leading"), DATA, START, steps=50, optimizer=GD(1e6), throw=False)
    assert "diverged at step" in str(found.outcome)
    assert not recwarn.list


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_travel(name):
    o = OPTIMIZERS[name]
    for other in (pickle.loads(pickle.dumps(o)), copy.deepcopy(o)):  # noqa: S301 - our own
        assert other == o
        assert hash(other) == hash(o)
        with pytest.raises(TypeError):
            other.rates["W_E"] = 3.0


def test_functions_of_the_step_are_told_apart_by_what_they_compute():
    def made(factor, inner):
        return lambda s: inner(s) * factor

    def spec(schedule):
        return GD(0.1, schedule=schedule).spec()["schedule"]

    assert spec(made(1.0, lambda s: 1.0)) == spec(made(1.0, lambda s: 1.0))
    assert spec(made(1.0, lambda s: 1.0)) != spec(made(1.0, lambda s: 2.0))
    assert spec(made(1.0, lambda s: 1.0)) != spec(made(2.0, lambda s: 1.0))


def line(rate, step):
    return rate


class Held:
    def __init__(self, rate):
        self.rate = rate

    def __call__(self, step):
        return self.rate

    def at(self, step):
        return self.rate


class Slotted(Held):
    __slots__ = ("rate",)


RATE = 1.0


@pytest.mark.parametrize(
    "made",
    [
        lambda rate: functools.partial(line, rate),
        lambda rate: functools.partial(line, rate=rate),
        Held,
        Slotted,
        lambda rate: Held(rate).at,
        lambda rate: np.poly1d([rate]),
        lambda rate: Held([{"a": (np.array([rate]), line)}]),
        lambda rate: lambda step, held={"rate": rate}: held["rate"],
    ],
)
def test_any_schedule_is_told_apart_by_what_it_holds(made):
    specs = [GD(0.1, schedule=made(rate)).spec()["schedule"] for rate in (1.0, 1.0, 0.5)]
    assert specs[0] == specs[1]
    assert specs[0] != specs[2]


def test_a_schedule_is_told_apart_by_what_it_looks_up(monkeypatch):
    def looked_up(step):
        return (lambda: RATE)()

    before = GD(0.1, schedule=looked_up).spec()
    monkeypatch.setattr(sys.modules[__name__], "RATE", 0.5)
    assert GD(0.1, schedule=looked_up).spec() != before


def test_optimizers_are_plain_dataclasses():
    plain = dataclasses.asdict(AdamW(0.1, rates={"W_E": 0.5}, schedule=WarmupCosine(1, 3)))
    assert plain["rates"] == {"W_E": 0.5}
    assert plain["schedule"] == {"warmup": 1, "total": 3, "final": 0.1}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (None, "`optimizer` None is none of GD"),
        (3, "`optimizer` 3 is none of GD"),
        ({"name": ["GD"]}, "is none of GD"),
        ({"name": "GD"}, "`optimizer` is no record of GD, it lacks 'learning_rate'"),
        (
            GD(0.1).spec() | {"schedule": {"name": "Linear"}},
            "`schedule` is no record of Linear, it lacks 'total'",
        ),
        (
            GD(0.1).spec() | {"schedule": {"name": "Linear", "total": 3, "to": 3}},
            "`schedule` is no record of Linear, it has the unknown 'to'",
        ),
        (GD(0.1).spec() | {"schedule": {"name": ["Linear"]}}, "`schedule` was the function"),
        (GD(0.1).spec() | {"schedule": 3}, "`schedule` was the function"),
    ],
)
def test_records_of_no_optimizer_are_refused(spec, words):
    with pytest.raises(FieldError, match=words):
        optimizer_of(spec)


def test_sign_descent_is_taken_step_by_step_unless_asked():
    paths = [
        integrate(EXACT, DATA, START, steps=20, optimizer=SignGD(1e-3, eps=e), save_at=2) for e in (0.0, 0.1)
    ]
    assert [path.provenance["method"] for path in paths] == ["steps", "multirate"]


@pytest.mark.parametrize(
    ("optimizer", "words"),
    [
        (GD(0.1), "GD, learning rate 0.1"),
        (AdamW(1e-3, weight_decay=0.01), "AdamW, learning rate 0.001"),
        (AdamW(1e-3, weight_decay=0.0), "AdamW, learning rate 0.001, weight decay 0"),
        (GD(0.1, schedule=Linear(5)), "GD, learning rate 0.1, linear schedule"),
        (
            GD(0.1, schedule=WarmupCosine(2, 5), weight_decay=0.5),
            "GD, learning rate 0.1, warm-up and cosine schedule, weight decay 0.5",
        ),
        (GD(0.1, schedule=lambda step: 0.5), "GD, learning rate 0.1, own schedule"),
        (
            GD(0.1, rates={"W_E": 2.0, "W_in": 3.0}, decays={"W_E": 0.1}),
            "GD, learning rate 0.1, rates of W_E and W_in, decays of W_E",
        ),
    ],
)
def test_legends_name_all_that_an_optimizer_does_not_have_by_itself(optimizer, words):
    """Two runs of other decays had one name."""
    assert str(optimizer) == words


@pytest.mark.parametrize(
    ("numpys", "own"),
    [
        (Linear(np.int64(5), np.float32(0.5)), Linear(5, 0.5)),
        (WarmupCosine(np.int32(2), np.uint8(5), np.float64(0.5)), WarmupCosine(2, 5, 0.5)),
    ],
)
def test_numbers_of_numpy_in_a_schedule_are_plain_in_what_is_written(numpys, own):
    """A training under one could not be recorded: int64 is no JSON."""
    assert json.dumps(GD(0.1, schedule=numpys).spec()) == json.dumps(GD(0.1, schedule=own).spec())


def test_what_a_schedule_computes_does_not_hang_on_how_numpy_shows_numbers():
    half = np.float64(0.5)
    with np.printoptions(legacy="1.25"):
        before = described(lambda step: half / (step + 1))["code"]
    plain = 0.5
    assert before == described(lambda step: half / (step + 1))["code"]
    assert before != described(lambda step: plain / (step + 2))["code"]
