"""Nobody's arrays are shared: what we are given we copy, what we hand out cannot be written to."""

import ast
from pathlib import Path

import numpy as np
import pytest
from helpers import random_data, small_case

from smallinit.compare import check
from smallinit.sim import Outcome, Status, Trajectory, integrate, integrate_ensemble, solve
from smallinit.sim.compile.compiler import compile_flow
from smallinit.theory import Dataset, derive


@pytest.fixture
def run():
    data, model, start = small_case()
    return integrate(derive(model, "softmax"), data, start, 1.0, 5)


def test_arrays_given_to_a_trajectory_are_copied():
    t, weights = np.array([0.0, 1.0]), {"W": np.ones((2, 3, 4))}
    steps, zeros, measured = np.array([0, 5]), {"half": np.array([0.5])}, {"loss": np.ones(2)}
    path = Trajectory(
        t, weights, Outcome(Status.REACHED_END, 1.0), steps=steps, events=zeros, measured=measured,
        statistics={"seconds": 1.0, "parts": [1, 2]},
    )  # fmt: skip
    for array in (t, weights["W"], steps, zeros["half"], measured["loss"]):
        array[...] = -1
    weights["V"] = measured["other"] = t
    assert path.t.tolist() == [0.0, 1.0]
    assert path.steps.tolist() == [0, 5]
    assert path.events["half"].tolist() == [0.5]
    assert path["loss"].tolist() == [1.0, 1.0]
    assert (path.weights["W"] == 1.0).all()
    assert list(path.weights) == ["W"]


@pytest.mark.parametrize(
    "take",
    [
        lambda run: run.t,
        lambda run: run.weights["W_E"],
        lambda run: run.weights["W_out"][0],
        lambda run: run["loss"],
        lambda run: run["singular_values/W_E"],
        lambda run: run.to_xarray()["W_E"].values,
        lambda run: run.data.weights,
        lambda run: run.data.counts.data,
        lambda run: run.data.label_matrix.indices,
        lambda run: run.data.occurrences,
        lambda run: run.data.training_weights,
    ],
)
def test_arrays_handed_out_cannot_be_written_to(run, take):
    before = np.array(take(run))
    with pytest.raises(ValueError, match="read-only"):
        take(run)[...] = 0
    np.testing.assert_array_equal(take(run), before)


@pytest.mark.parametrize("part", ["weights", "events", "statistics", "provenance", "measured"])
def test_mappings_handed_out_cannot_be_changed(run, part):
    with pytest.raises(TypeError, match="cannot be changed"):
        getattr(run, part)["W_E"] = 0


def test_what_is_copied_out_is_the_callers(run):
    state = run.state()
    state["W_E"][:] = 0.0
    parts, occurrences = run.data.signature_parts()
    parts.data[:] = occurrences[:] = 0.0
    assert run.state()["W_E"].any()
    assert run.data.signature_parts()[0].data.all()


def test_token_groups_are_the_data_sets_own():
    tokens, groups = np.array([0, 1]), {}
    groups["few"] = tokens
    data = Dataset([[0, 1]], [1], 3, token_groups=groups)
    before = data.fingerprint
    tokens[:] = 2
    groups["more"] = tokens
    assert data.token_groups["few"].tolist() == [0, 1]
    assert list(data.token_groups) == ["few"]
    with pytest.raises(TypeError, match="cannot be changed"):
        data.token_groups["more"] = tokens
    assert Dataset([[0, 1]], [1], 3, token_groups={"few": [0, 1]}).fingerprint == before


def test_starts_are_read_and_left_alone():
    data, model, start = small_case()
    flow = derive(model, "leading")
    given = {name: np.stack([value, 2.0 * value]) for name, value in start.items()}
    kept = {name: value.copy() for name, value in (start | {f"{n}s": v for n, v in given.items()}).items()}
    first = integrate(flow, data, start, 1.0, 3)
    many = integrate_ensemble(flow, data, given, 1.0, 3)
    for name, value in start.items():
        np.testing.assert_array_equal(value, kept[name])
        np.testing.assert_array_equal(given[name], kept[f"{name}s"])
        value[:] = given[name][:] = 0.0
    assert first.weights["W_E"].any()
    assert many.weights["W_E"].any()
    with pytest.raises(ValueError, match="read-only"):
        many.weights["W_E"][0] = 0.0


def test_a_kernel_does_not_hear_of_data_changed_by_force():
    """Statistics that a data set keeps are closed too: a kernel compiled later sees the same data."""
    data = random_data()
    pairs = data._pair_weights
    with pytest.raises(ValueError, match="read-only"):
        pairs.data *= 2.0


RECORDS = {
    "trajectory": lambda flow, data, start: integrate(flow, data, start, 1.0, 5),
    "ensemble": lambda flow, data, start: integrate_ensemble(
        flow, data, {w: v[None] for w, v in start.items()}, 1.0
    ),
    "problem": lambda flow, data, start: compile_flow(flow, data, start),
    "solution": lambda flow, data, start: _solved(compile_flow(flow, data, start), start),
    "verdict": lambda flow, data, start: check("dW_E = W_E", flow.model, data),
    "data": lambda flow, data, start: small_case()[0],
}


def _solved(problem, start):
    return solve(problem, problem.pack(start), t1=1.0)


@pytest.mark.parametrize("make", RECORDS.values(), ids=list(RECORDS))
def test_records_that_hold_arrays_are_equal_to_themselves_alone(make):
    """Comparing their arrays would have no one answer; a list, a set or a dict must take them all the same."""
    data, model, start = small_case()
    flow = derive(model, "leading")
    first, second = make(flow, data, start), make(flow, data, start)
    assert first == first
    assert (first != second) is True
    assert [second, first].index(first) == 1
    assert len({first, second, first}) == 2
    assert not np.any(first == np.ones(3))
    assert not np.any(np.ones(3) == first)


def compares_arrays(source):
    """Names of the dataclasses of a source that hold arrays and compare them one by one."""
    return [
        node.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ClassDef)
        and any(
            "dataclass" in (made := ast.unparse(d)) and "eq=False" not in made for d in node.decorator_list
        )
        and not any(isinstance(part, ast.FunctionDef) and part.name == "__eq__" for part in node.body)
        and any(
            isinstance(part, ast.AnnAssign)
            and any(kind in ast.unparse(part.annotation) for kind in ("ndarray", "csr_array", "Tensor"))
            and "Callable" not in ast.unparse(part.annotation)
            for part in node.body
        )
    ]


def test_no_record_that_holds_arrays_compares_them_one_by_one():
    root = Path(__file__).resolve().parents[1]
    files = [path for layer in ("theory", "sim", "compare") for path in (root / layer).rglob("*.py")]
    assert not {path.name: found for path in files if (found := compares_arrays(path.read_text()))}
    planted = "@dataclass(frozen=True{})\nclass Pair:\n    t: np.ndarray\n"
    assert compares_arrays(planted.format("")) == ["Pair"]
    assert compares_arrays(planted.format(", eq=False")) == []
