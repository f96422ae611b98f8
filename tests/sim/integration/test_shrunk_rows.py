"""A closure that counts from the direction of rows ends where one of them shrinks to its eps; all else is untouched."""

import numpy as np
import pytest
import sympy as sp
from helpers import random_data, random_weights
from own_models import A, E, U, own

from smallinit.compare import overlay, train
from smallinit.compare.commands.tables import overlay_table
from smallinit.sim import GD, AdamW, Momentum, Status, certificate, integrate, integrate_ensemble
from smallinit.sim.integration.shrunk_rows import shrunk_rows
from smallinit.theory import CompositeTask, Decoder, derive
from smallinit.theory.algebra.matrices import product, total
from smallinit.theory.algebra.nodes import RowNorm
from smallinit.theory.data.inputs import X_LAST

EPS = 1e-5
DATA = CompositeTask(range(11, 31), range(1, 6), range(6, 11), masked=((6, 8), (8, 6))).dataset()
MODEL = Decoder(DATA.d_vocab, d_model=8, d_head=4, d_mlp=8, n_ctx=3, n_layers=1)
START = MODEL.init(gamma=0.8, seed=0)
CRITICAL = {"leading": 3.0, "order=2": 3.0, "drive": 50.0}  # flow times beyond the end


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
    explain = shrunk_rows(derive(MODEL, "leading"), DATA).along(_Packed()).at
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
    assert shrunk_rows(derive(MODEL, closure), DATA) is None


def test_a_run_within_its_regime_is_untouched(monkeypatch):
    flow = derive(MODEL, "leading")
    ours = integrate(flow, DATA, START, t1=1.5, save_at=20)
    monkeypatch.setattr("smallinit.sim.integration.integrate.shrunk_rows", lambda *_: None)
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


# Under GD the flow itself ends at t = 1.946, whatever its steps are.
@pytest.mark.parametrize("method", ["flow", "steps", "multirate"])
@pytest.mark.parametrize(
    ("optimizer", "end"), [(GD(0.005), 1.946), (GD(0.05), 1.946), (AdamW(1e-3), 0.146), (AdamW(1e-2), 0.31)]
)
def test_steps_of_an_optimizer_end_where_its_flow_does(optimizer, end, method):
    steps = int(1.5 * end / optimizer.learning_rate)
    path = integrate(derive(MODEL, "leading"), DATA, START, steps=steps, optimizer=optimizer, method=method)
    assert path.outcome.status is Status.SINGULAR
    assert path.outcome.t == pytest.approx(end, abs=2.5 * optimizer.learning_rate, rel=0.01)
    assert path.t[-1] <= path.outcome.t
    assert np.abs(path.weights["W_E"]).max() < 1.0
    assert "ends here: use `softmax` or `exact`" in str(path.outcome)


def test_a_step_that_leads_past_zero_is_no_divergence():
    """The line of such a step passes at 5 % or less of the mean square before it, and far above eps."""
    path = integrate(
        derive(MODEL, "leading"), DATA, START, steps=54, optimizer=Momentum(0.01), method="steps"
    )
    assert path.outcome.status is Status.SINGULAR
    assert "is led past zero by a step" in str(path.outcome)
    assert least_square(path.state(-1)) > 100 * EPS


def test_fixed_steps_are_asked_about_too():
    path = integrate(derive(MODEL, "leading"), DATA, START, t1=2.4, method="euler", fixed_step=0.005)
    assert path.outcome.status is Status.SINGULAR
    assert path.outcome.t == pytest.approx(1.96, abs=0.01)


def test_rows_that_were_as_short_from_the_beginning_have_not_shrunk():
    small = {n: w.copy() for n, w in START.items()}
    token = int(DATA.sequences[~DATA.held_out][0, 1])
    small["W_E"][token] = 1e-3 * small["W_E"][token] - small["W_pos"][1]
    assert least_square(small) < EPS
    along = shrunk_rows(derive(MODEL, "leading"), DATA).along(_Packed())
    assert along.at(small)
    assert along.passed(small, small) == ""
    assert "has shrunk" in shrunk_rows(derive(MODEL, "leading"), DATA).along(_Packed()).passed(START, small)


@pytest.mark.parametrize("closure", ["exact", "softmax"])
def test_other_closures_go_on_under_an_optimizer(closure):
    path = integrate(derive(MODEL, closure), DATA, START, steps=200, optimizer=AdamW(1e-3))
    assert path.outcome.status is Status.REACHED_END


@pytest.mark.parametrize("method", ["flow", "steps", "multirate"])
def test_a_certificate_under_an_optimizer_says_what_ends_the_closure(method):
    options = {"optimizer": AdamW(5e-3), "steps": 60, "method": method, "points": 9}
    says = certificate(derive(MODEL, "leading"), DATA, START, tol=0.9, **options)
    assert "ends here" in says.ended
    assert says.ended in repr(says)
    assert says.horizon <= 0.3
    if method == "multirate":
        assert certificate(derive(MODEL, "softmax"), DATA, START, tol=0.9, **options).ended == ""


def test_members_under_an_optimizer_end_alike():
    flow, given = derive(MODEL, "leading"), {"steps": 300, "optimizer": AdamW(1e-3), "save_at": [0, 100]}
    many = integrate_ensemble(flow, DATA, {n: np.stack([w, w]) for n, w in START.items()}, **given)
    one = integrate(flow, DATA, START, **given)
    assert [o.t for o in many.outcomes] == [one.outcome.t] * 2
    assert {o.status for o in many.outcomes} == {Status.SINGULAR}


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
    explain = shrunk_rows(derive(model, "leading"), data).along(_Packed()).at
    assert explain(start) == ""
    token = int(data.sequences[3, -1])
    start["W_E"][token] *= 1e-4
    assert "which is normalised for " in explain(start)
    assert "has shrunk" in explain(start)
    assert f"{token}] of " in explain(start)


@pytest.mark.parametrize("method", ["rkc", "bdf", "dop853"])
def test_rows_that_are_short_from_the_start_end_no_run(method):
    model = Decoder(5, 3, 4, 2, 4, n_layers=1, norm_kind="rms", norm_eps=1.0, gains=False)
    flow, data, start = (
        derive(model, "leading"),
        random_data(d_vocab=5, n_ctx=4),
        random_weights(model, 1, 0.3),
    )
    found = integrate(flow, data, start, 0.5, 1, method=method, rtol=1e-7)
    assert found.outcome.status is Status.REACHED_END
    assert found.statistics["accepted"] > 16 or method == "dop853"
