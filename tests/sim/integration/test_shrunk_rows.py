"""A closure that counts from the direction of rows ends where one of them shrinks to its eps; all else is untouched."""

import numpy as np
import pytest
import sympy as sp
from own_models import A, E, U, own

from smallinit.compare import overlay, train
from smallinit.compare.commands.tables import overlay_table
from smallinit.sim import Status, certificate, integrate, integrate_ensemble
from smallinit.sim.integration.shrunk_rows import explain_shrunk
from smallinit.theory import CompositeTask, Decoder, derive
from smallinit.theory.algebra.matrices import product, total
from smallinit.theory.algebra.nodes import RowNorm
from smallinit.theory.data.inputs import X_LAST

EPS = 1e-5
DATA = CompositeTask(range(11, 31), range(1, 6), range(6, 11), masked=((6, 8), (8, 6))).dataset()
MODEL = Decoder(DATA.d_vocab, d_model=8, d_head=4, d_mlp=8, n_ctx=3, n_layers=1)
START = MODEL.init(gamma=0.8, seed=0)
CRITICAL = {"leading": 3.0, "order=2": 3.0}


def least_square(weights):
    """Least mean square of a centred embedding with its position, by hand."""
    x = weights["W_E"][DATA.sequences[~DATA.held_out]] + weights["W_pos"]
    return np.min(np.mean((x - x.mean(axis=-1, keepdims=True)) ** 2, axis=-1))


@pytest.mark.parametrize("closure", CRITICAL)
def test_a_run_ends_where_a_row_shrinks_to_its_eps(closure):
    path = integrate(derive(MODEL, closure), DATA, START, t1=CRITICAL[closure], save_at=301)
    assert path.outcome.status is Status.SINGULAR
    assert path.outcome.success
    assert path.statistics["accepted"] < 200
    assert path.t[-1] <= path.outcome.t < CRITICAL[closure]
    assert "has shrunk to norm_eps = 1.0e-05" in str(path.outcome)
    assert f"`{closure}`" in str(path.outcome)
    assert "use `softmax` or `exact`" in str(path.outcome)
    assert least_square(path.state(0)) > 1e3 * EPS


def test_the_row_named_is_the_one():
    explain = explain_shrunk(derive(MODEL, "leading"), DATA, _Packed())
    assert explain(START) == ""
    small = {n: w.copy() for n, w in START.items()}
    token = int(DATA.sequences[~DATA.held_out][0, 1])
    small["W_E"][token] = -small["W_pos"][1]
    assert f"the row of token {token} at position 1" in explain(small)
    assert "ln1.w" in explain(small)
    assert least_square(small) < 1e-20


class _Packed:
    """A state that is named already."""

    def unpack(self, y):
        return y


@pytest.mark.parametrize("closure", ["softmax", "exact", "leading,norm=linear", "activation=3,attention=0"])
def test_closures_with_whole_or_linear_norms_are_not_asked(closure):
    assert explain_shrunk(derive(MODEL, closure), DATA, _Packed()) is None


def test_a_run_within_its_regime_is_untouched(monkeypatch):
    flow = derive(MODEL, "leading")
    ours = integrate(flow, DATA, START, t1=1.5, save_at=20)
    monkeypatch.setattr("smallinit.sim.integration.integrate.explain_shrunk", lambda *_: None)
    bare = integrate(flow, DATA, START, t1=1.5, save_at=20)
    assert ours.outcome == bare.outcome
    assert ours.outcome.status is Status.REACHED_END
    for name, value in bare.weights.items():
        np.testing.assert_array_equal(ours.weights[name], value)


def test_members_of_an_ensemble_end_alike():
    flow = derive(MODEL, "leading")
    many = integrate_ensemble(flow, DATA, {n: w[None] for n, w in START.items()}, 3.0, save_at=5)
    one = integrate(flow, DATA, START, t1=3.0, save_at=5)
    assert many.outcomes[0].status is Status.SINGULAR
    assert many.outcomes[0].t == pytest.approx(one.outcome.t, rel=1e-4)


def test_a_certificate_says_what_ends_the_closure():
    says = certificate(derive(MODEL, "leading"), DATA, START, t1=3.0, tol=0.9)
    assert "ends here" in says.ended
    assert says.ended in repr(says)
    assert says.horizon < 2.0


def test_an_overlay_ends_with_the_closure():
    training = train(MODEL, DATA, START, "sgd", 0.05, steps=60, save_at=61)
    theory = integrate(derive(MODEL, "leading"), DATA, START, t1=3.0, save_at=training.t)
    both = overlay(theory, training)
    assert both.horizon(1e6) == theory.outcome.t
    assert both.horizon(1e6).cause == "end of the equations"
    assert both.blow_up_time is None
    assert both.summary()["end_of_equations"] == theory.outcome.t
    (row,) = [
        line
        for line in overlay_table({"leading": both}, training, 0.05).splitlines()
        if "the equations end" in line
    ]
    assert " - " in row  # no error of a loss


def test_a_model_of_ones_own_is_watched_too():
    model, data = own(product(RowNorm(product(X_LAST, E), sp.Rational(1, 10**5)), total(U, product(A, U))))
    start = model.init(gamma=0.5, seed=0)
    explain = explain_shrunk(derive(model, "leading"), data, _Packed())
    assert explain(start) == ""
    token = int(data.sequences[3, -1])
    start["W_E"][token] *= 1e-4
    assert "which is normalised for " in explain(start)
    assert "has shrunk" in explain(start)
    assert f"{token}] of " in explain(start)
