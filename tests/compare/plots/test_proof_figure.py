"""The proof as a picture."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from helpers import random_data, small_case

from smallinit.compare import check, plot_proof
from smallinit.compare.plots.proof_figure import _line
from smallinit.compare.proof.residuals import measure_equation, measure_residual
from smallinit.theory import derive


@pytest.fixture(scope="module")
def panels():
    data, model, direction = small_case()
    derived = {c: measure_residual(derive(model, c), data, direction) for c in ("leading", "softmax")}
    return {"derived": derived, "claimed": {"A5": check("dW_E = M @ W_out.T @ W_in.T", model, random_data())}}


def test_equal_proofs_are_equal_files(panels, tmp_path):
    shown = {"a": panels, "b": panels, "c": panels | {"claimed": panels["derived"]}}
    for name, some in shown.items():
        plot_proof(some, "W_E", tmp_path / f"{name}.png", dpi=60)
    a, b, other = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
    assert a == b != other


def test_the_verdict_keeps_its_proof(panels):
    verdict = panels["claimed"]["A5"]
    proof = verdict.proof
    assert proof.predicted == {"W_E": verdict.predicted_order} == {"W_E": 3}
    assert verdict.measured_order == proof.measured["W_E"] == pytest.approx(3, abs=0.1)
    assert proof.errors["W_E"].shape == proof.eps.shape
    assert proof.errors["W_E"][-1] < 1e-10 < proof.errors["W_E"][0]


def test_an_equation_is_measured_as_its_closure_is():
    data, model, direction = small_case()
    flow = derive(model, "leading")
    whole = measure_residual(flow, data, direction)
    one = measure_equation(model, data, direction, "W_in", lambda w: flow.rhs(data, w)["W_in"])
    # The equation's own logits are those of the network: larger scales are admitted.
    common, i, j = np.intersect1d(one.eps, whole.eps, return_indices=True)
    assert len(common) > 20
    np.testing.assert_array_equal(one.errors["W_in"][i], whole.errors["W_in"][j])
    assert one.measured["W_in"] == pytest.approx(whole.measured["W_in"], abs=0.01)
    assert np.isnan(one.predicted["W_in"])


def test_the_line_has_the_predicted_power():
    eps = 2.0 ** -np.arange(0.0, 20.0)
    ends, heights = _line(eps, 0.3 * eps**2, 2.0)
    np.testing.assert_allclose(heights, 0.3 * ends**2, rtol=1e-9)
    assert _line(eps, np.full(20, 1e-16), 2.0) is None
    assert _line(eps, eps, np.inf) is None


def test_what_cannot_be_drawn_is_refused(panels, tmp_path):
    path = tmp_path / "a.png"
    with pytest.raises(ValueError, match="must map titles to proofs by name"):
        plot_proof({}, "W_E", path)
    with pytest.raises(ValueError, match="'W_in' is not in 'A5'"):
        plot_proof(panels, "W_in", path)
    many = {"many": {str(k): panels["derived"]["leading"] for k in range(8)}}
    with pytest.raises(ValueError, match="at most 7"):
        plot_proof(many, "W_E", path)
    assert list(tmp_path.iterdir()) == []


def test_the_docs_picture_takes_the_equations_without_their_premises():
    script = runpy.run_path(str(Path(__file__).parents[3] / "docs" / "measure_proof.py"))
    equations = script["stated"]()
    assert set(equations) == set(script["STATED"].values())
    assert all(equation.startswith("dW_E = ") for equation in equations.values())
