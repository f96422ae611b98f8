from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
from helpers import as_theory

from smallinit.compare import overlay, train
from smallinit.compare.overlays.decomposition import PARTS
from smallinit.sim import AdamW, Momentum, WarmupCosine, integrate
from smallinit.theory import derive


@pytest.fixture(scope="module")
def split(model, data, start):
    """``split(closure, **training)``: the decomposition of that theory over that training."""

    def make(closure="softmax", **options):
        run = train(model, data, start, **{"learning_rate": 1.0, "steps": 60, "save_at": 7} | options)
        theory = integrate(derive(model, closure), data, start, t1=run.t[-1], save_at=run.t)
        return overlay(theory, run, decompose=True).decomposition

    return make


@pytest.mark.parametrize("closure", ["exact", "softmax"])
@pytest.mark.parametrize("rate", [0.1, 0.4, 1.0])
def test_parts_add_up_for_gradient_descent(split, closure, rate):
    parts = split(closure, learning_rate=rate, steps=round(60 / rate))
    for name in parts.total:
        assert parts.distance(name)[-1] > 0
        assert parts.remainder(name)[1:].max() < 0.1
        assert not parts.size("optimiser", name).any()
        assert not parts.size("sampling", name).any()
    if closure == "exact":  # then all of it is the step size
        assert parts.size("closure")[-1] < 1e-4 * parts.size("discretisation")[-1]


@pytest.mark.parametrize(("limit", "order"), [(np.inf, 2), (0.0, 3)])
def test_discretisation_is_measured_without_the_exact_flow(split, monkeypatch, limit, order):
    """Its error is of second order in the learning rate, of third after two halvings; a wrong flow's of order zero."""
    for name in ("ADDS_UP", "LARGEST"):
        monkeypatch.setattr(f"smallinit.compare.overlays.decompose.{name}", limit)
    coarse, fine = (split("exact", learning_rate=r, steps=round(60 / r)) for r in (0.4, 0.2))
    left = [parts.remainder()[-1] * parts.distance()[-1] for parts in (coarse, fine)]
    assert np.log2(left[0] / left[1]) == pytest.approx(order, abs=0.3)


def test_sampling_and_optimiser_are_told_apart(split):
    noisy = split(optimizer="sgd", batch_size=4)
    assert noisy.size("sampling")[-1] > 0
    assert not noisy.size("optimiser").any()
    adam = split(optimizer="adamw", learning_rate=1e-2)
    assert adam.share("optimiser")[-1] > 0.9
    assert not adam.size("sampling").any()
    both = split(optimizer="adamw", learning_rate=1e-2, batch_size=4, weight_decay=0.1)
    assert both.size("sampling")[-1] > 0
    assert both.size("optimiser")[-1] > 0
    for parts in (noisy, adam, both):
        shares = sum(parts.share(part) for part in PARTS)
        assert shares[1:] == pytest.approx(1, abs=0.1)


def test_the_optimiser_is_that_of_the_training(split):
    adam = {"optimizer": "adamw", "learning_rate": 1e-2, "betas": (0.5, 0.9)}
    whole, batches = split(**adam), split(**adam, batch_size=4)
    np.testing.assert_allclose(
        batches.parts["optimiser"]["W_E"], whole.parts["optimiser"]["W_E"], rtol=1e-12, atol=1e-15
    )


def test_weight_decay_counts_as_part_of_the_optimiser(split):
    parts = split(weight_decay=0.05)
    assert parts.size("optimiser")[-1] > 10 * parts.size("discretisation")[-1]
    assert parts.remainder()[-1] < 0.1


def in_steps(model, data, start, closure, optimizer, method=None, batch_size=None):
    how = {"steps": 60, "optimizer": optimizer, "save_at": 7}
    theory = integrate(derive(model, closure), data, start, method=method, **how)
    return overlay(
        theory, train(model, data, start, batch_size=batch_size, **how), decompose=True
    ).decomposition


ADAM = AdamW(3e-3, schedule=WarmupCosine(5, 60), weight_decay=0.1, decays={"W_E": 0.0})


@pytest.mark.parametrize("optimizer", [ADAM, Momentum(0.1)], ids=["AdamW", "momentum"])
def test_a_theory_in_steps_parts_from_training_by_its_closure_alone(model, data, start, optimizer):
    exact = in_steps(model, data, start, "exact", optimizer, "steps")
    assert exact.distance()[-1] < 1e-9
    parts = in_steps(model, data, start, "softmax", optimizer, "steps")
    for name in parts.total:
        np.testing.assert_allclose(parts.remainder(name)[1:], 0.0, atol=1e-6)
        assert parts.size("discretisation", name)[-1] < 1e-9
        assert parts.share("closure", name)[-1] == pytest.approx(1.0, abs=1e-6)
        assert not parts.size("optimiser", name).any()
        assert not parts.size("sampling", name).any()
    assert parts.halvings == 0


def test_blocks_and_batches_are_told_apart_from_the_closure(model, data, start):
    parts = in_steps(model, data, start, "softmax", ADAM, batch_size=4)
    assert 0 < parts.size("discretisation")[-1] < 0.05
    assert parts.size("sampling")[-1] > 0
    assert sum(parts.share(part)[-1] for part in PARTS) == pytest.approx(1.0, abs=1e-6)


def on_batches(model, data, start, theory, training, **more):
    how = {"steps": 60, "optimizer": ADAM, "save_at": 7}
    moved = integrate(derive(model, "softmax"), data, start, **how, **theory)
    return overlay(moved, train(model, data, start, **how | more, **training), decompose=True).decomposition


def test_a_theory_on_the_batches_of_its_training_parts_by_its_closure(model, data, start):
    parts = on_batches(model, data, start, {"batch_size": 4, "seed": 3}, {"batch_size": 4, "seed": 3})
    for name in parts.total:
        assert not parts.size("sampling", name).any()
        assert parts.size("discretisation", name)[-1] < 1e-9
        assert parts.share("closure", name)[-1] == pytest.approx(1.0, abs=1e-6)


def test_the_mean_over_batches_parts_by_closure_blocks_and_sampling(model, data, start):
    parts = on_batches(model, data, start, {"batch_size": 4, "method": "steps"}, {"batch_size": 4})
    assert not parts.size("discretisation").any()
    assert parts.size("sampling")[-1] > 0
    assert sum(parts.share(part)[-1] for part in PARTS) == pytest.approx(1.0, abs=1e-6)
    blocks = on_batches(model, data, start, {"batch_size": 4}, {"batch_size": 4})
    assert 0 < blocks.size("discretisation")[-1] < 0.05


@pytest.mark.parametrize(
    ("theory", "training", "more", "words"),
    [
        ({"batch_size": 4}, {}, {}, "is of batches of 4 and the training of all rows"),
        ({"batch_size": 4}, {"batch_size": 5}, {}, "is of batches of 4 and the training of 5"),
        ({}, {}, {"optimizer": AdamW(1e-3)}, "was moved by AdamW, learning rate 0.001 and the theory by"),
        (
            {},
            {},
            {"optimizer": AdamW(3e-3, schedule=WarmupCosine(5, 60), weight_decay=0.2, decays={"W_E": 0.0})},
            "with weight_decay 0.2 and 0.1: take the same",
        ),
    ],
)
def test_a_theory_of_another_optimizer_or_other_batches_is_refused(
    model, data, start, theory, training, more, words
):
    other_times = more.get("optimizer") == AdamW(1e-3)
    warned = pytest.warns(UserWarning, match="is interpolated at 6") if other_times else nullcontext()
    with warned, pytest.raises(ValueError, match=words):
        on_batches(model, data, start, theory, training, **more)


def test_a_flow_starts_as_the_theory_did(model, data, start):
    how = {"steps": 60, "optimizer": ADAM, "save_at": 7}
    theory = integrate(derive(model, "exact"), data, start, method="flow", discrete_start=0, **how)
    parts = overlay(theory, train(model, data, start, **how), decompose=True).decomposition
    assert parts.size("closure")[-1] < 1e-9
    assert parts.size("discretisation")[-1] > 0


def test_table_and_figure(split, tmp_path):
    parts = split()
    table = parts.table(30.0).splitlines()
    assert table[0].split()[:3] == ["t", "=", "30"]
    assert table[0].split()[3:7] == list(PARTS)
    assert float(table[1].split()[-1]) == pytest.approx(1, abs=0.1)
    assert "W_E at t = 60" in repr(parts)
    for name in ("a.png", "b.png"):
        parts.plot(tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with pytest.raises(ValueError, match=r"`path` .* must end in one of"):
        parts.plot(tmp_path / "a.gif")
    with pytest.raises(ValueError, match="`name` 'W_F' has no parts here: choose one of W_E, W_in"):
        parts.size("closure", "W_F")
    with pytest.raises(ValueError, match="`part` 'luck' is unknown: choose one of closure"):
        parts.share("luck")


def test_what_cannot_be_decomposed(model, data, start):
    run = train(model, data, start, steps=10, save_at=6)
    theory = as_theory(run)
    assert overlay(theory, run).decomposition is None
    with pytest.raises(ValueError, match="does not say its rule"):
        overlay(theory, replace(run, provenance={}), decompose=True)
    with pytest.raises(ValueError, match="lacks its steps"):
        overlay(theory, replace(run, steps=None), decompose=True)
    clipped = train(model, data, start, steps=10, save_at=6, clip=1.0)
    with pytest.raises(ValueError, match="run with `clip`"):
        overlay(theory, clipped, decompose=True)


def test_a_theory_that_blows_up_is_split_before(model, data, start):
    theory = integrate(derive(model, "leading"), data, start, t1=1e4)
    end = 1.5 * theory.outcome.t
    run = train(model, data, start, learning_rate=end / 200, steps=200, save_at=41)
    theory = integrate(derive(model, "leading"), data, start, t1=end, save_at=run.t)
    both = overlay(theory, run, decompose=True)
    parts = both.decomposition
    np.testing.assert_array_equal(parts.t, both.t)
    assert parts.t[-1] < both.blow_up_time
    assert parts.share("closure")[-1] > 0.9
