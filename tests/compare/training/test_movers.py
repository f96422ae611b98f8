"""One optimizer on both sides: theory's steps on the exact flow are the training run, and torch's own optimizers."""

from functools import partial

import numpy as np
import pytest
import torch
from helpers import random_data

from smallinit.compare import overlay, train
from smallinit.compare.training.batches import Batches, loss_and_gradient
from smallinit.compare.training.networks import network
from smallinit.sim import GD, AdamW, Linear, Momentum, SignGD, Spectral, WarmupCosine, integrate
from smallinit.theory import EmbMLP, derive

MODEL, DATA = EmbMLP(6, 5, 4), random_data(d_vocab=6, n=25, n_ctx=3)
START = MODEL.init(0.5, 0)
SCHEDULE = WarmupCosine(6, 60, 0.1)
OPTIMIZERS = {
    "gd": GD(0.3, schedule=Linear(60), weight_decay=0.01),
    "momentum": Momentum(0.1, rates={"W_E": 0.5}),
    "nesterov": Momentum(0.1, nesterov=True, weight_decay=0.05, decays={"W_out": 0.0}),
    "adamw": AdamW(0.01, weight_decay=0.1, schedule=SCHEDULE, rates={"W_E": 2.0}, decays={"W_E": 0.0}),
    "sign": SignGD(0.002, eps=1e-3, weight_decay=0.1),
    "spectral": Spectral(0.01, momentum=0.5),
}
TORCH = {
    "gd": lambda groups: torch.optim.SGD(groups, lr=0.3),
    "momentum": lambda groups: torch.optim.SGD(groups, lr=0.1, momentum=0.9),
    "nesterov": lambda groups: torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=True),
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=0.01),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_theory_in_steps_is_the_training_run(name):
    o, saves = OPTIMIZERS[name], [0, 1, 20, 60]
    theory = integrate(
        derive(MODEL, "exact"), DATA, START, steps=60, optimizer=o, method="steps", save_at=saves
    )
    run = train(MODEL, DATA, START, optimizer=o, steps=60, save_at=saves)
    np.testing.assert_array_equal(theory.t, run.t)
    for k in START:
        np.testing.assert_allclose(theory.weights[k], run.weights[k], rtol=1e-9, atol=1e-12)
    both = overlay(theory, run)
    assert max(float(both.relative_error[k][-1]) for k in START) < 1e-8
    assert run.label == str(o)


@pytest.mark.parametrize("name", TORCH)
def test_training_is_torch(name):
    o = OPTIMIZERS[name]
    net = network(MODEL, START, torch.float64)
    batches = Batches(MODEL, DATA, torch.float64, None, 0, torch.device("cpu"))
    each = o.of_weights(dict(net.named_parameters()))
    groups = [{"params": [p], "weight_decay": each[k][1]} for k, p in net.named_parameters()]
    reference = TORCH[name](groups)
    for step in range(60):
        loss_and_gradient(net, batches.draw())
        factor = o.schedule.factor(step) if o.schedule else 1.0
        for group, (kappa, _) in zip(reference.param_groups, each.values(), strict=True):
            group["lr"] = kappa * o.learning_rate * factor
        reference.step()
    run = train(MODEL, DATA, START, optimizer=o, steps=60, save_at=[60])
    for k, value in net.weights().items():
        np.testing.assert_allclose(run.weights[k][-1], value, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_run_is_taken_up_with_its_moments(name, tmp_path):
    o, path = OPTIMIZERS[name], tmp_path / "state.npz"
    whole = train(MODEL, DATA, START, optimizer=o, steps=30, save_at=[0, 30], batch_size=7)
    train(MODEL, DATA, START, optimizer=o, steps=12, save_at=[0], batch_size=7, checkpoint=path)
    resumed = train(
        MODEL, DATA, START, optimizer=o, steps=30, save_at=[0, 30], batch_size=7, checkpoint=path, resume=True
    )
    for k in START:
        np.testing.assert_array_equal(whole.weights[k], resumed.weights[k])


def test_names_and_objects_are_the_same_runs():
    named = train(MODEL, DATA, START, optimizer="adamw", learning_rate=0.01, steps=20, save_at=[20])
    given = train(MODEL, DATA, START, optimizer=AdamW(0.01, weight_decay=0.0), steps=20, save_at=[20])
    for k in START:
        np.testing.assert_array_equal(named.weights[k], given.weights[k])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"optimizer": GD(0.1), "learning_rate": 0.2}, r"`learning_rate` is 0.2 beside GD\(...\)"),
        ({"optimizer": GD(0.1), "weight_decay": 0.0}, r"`weight_decay` is 0.0 beside GD\(...\)"),
        ({"optimizer": GD(0.1, rates={"W_Q": 1.0})}, "`rates` names the weight 'W_Q'"),
        ({"optimizer": GD(0.1, decays={"W_X": 1.0})}, "`decays` names the weight 'W_X'"),
        ({"optimizer": GD(0.1), "batch_size": 10**6}, "`batch_size` is 1000000 but the data has 25"),
        ({"optimizer": "sgd", "batch_size": 10**6}, "`batch_size` is 1000000 but the data has 25"),
        ({"optimizer": GD(0.1), "batch_size": 0}, "`batch_size` must be an integer of at least 1, got 0"),
        ({"optimizer": GD(0.1), "betas": (0.9, 0.9)}, r"`betas` is \(0.9, 0.9\) beside GD"),
        ({"optimizer": GD(0.1), "schedule": lambda s: 1.0}, "`schedule` is .* beside GD"),
        (
            {"optimizer": GD(0.1, schedule=[1.0].__getitem__)},
            "`schedule` must give a number for each of the 3",
        ),
        ({"optimizer": AdamW}, "`optimizer` <class .* is unknown"),
        ({"optimizer": "adm"}, "`optimizer` 'adm'|`optimizer` must be"),
    ],
)
def test_refusals(options, words):
    with pytest.raises(ValueError, match=words):
        train(MODEL, DATA, START, steps=3, **options)


def test_a_schedule_that_ends_before_the_steps_says_what_happens():
    with pytest.warns(
        UserWarning, match="`schedule` ends at step 2 of 5: the rate stays at 0.02 from there"
    ) as told:
        train(MODEL, DATA, START, steps=5, optimizer=GD(0.1, schedule=Linear(2, 0.2)))
    assert len(told) == 1


def constant(rate, step):
    return rate


def test_a_run_is_not_taken_up_with_another_function_of_the_step(tmp_path):
    path = tmp_path / "state.npz"
    train(MODEL, DATA, START, steps=5, optimizer=GD(0.1, schedule=partial(constant, 1.0)), checkpoint=path)
    with pytest.raises(ValueError, match=r"belongs to a run with other settings \(schedule was"):
        train(
            MODEL,
            DATA,
            START,
            steps=8,
            optimizer=GD(0.1, schedule=partial(constant, 0.5)),
            checkpoint=path,
            resume=True,
        )
    with pytest.raises(ValueError, match=r"other settings \(schedule was"):
        train(
            MODEL,
            DATA,
            START,
            steps=8,
            optimizer=GD(0.1, schedule=lambda s: 0.5),
            checkpoint=path,
            resume=True,
        )
    again = GD(0.1, schedule=partial(constant, 1.0))
    assert train(MODEL, DATA, START, steps=8, optimizer=again, checkpoint=path, resume=True).steps[-1] == 8
