"""`integrate` on derived flows: names, frozen weights, endings, tolerances that follow the start."""

import json
import tracemalloc

import numpy as np
import pytest
from helpers import small_case

from smallinit.sim import Event, IntegrationError, Status, integrate, load_trajectory
from smallinit.theory import Dataset, EmbMLP, derive


@pytest.fixture(scope="module")
def case():
    rng = np.random.default_rng(1)
    data = Dataset(rng.integers(0, 7, (30, 3)), rng.integers(0, 7, 30), d_vocab=7)
    model = EmbMLP(d_vocab=7, d_model=5, d_mlp=6, activation="tanh")
    return model, data, model.init(gamma=0.8, seed=0)


def test_trajectory_of_the_softmax_closure(case, tmp_path):
    model, data, start = case
    flow = derive(model, closure="softmax")
    times = np.array([0.0, 1.0, 7.5, 20.0])
    result = integrate(flow, data, start, t1=20.0, save_at=times, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(result.t, times)
    assert {name: value.shape for name, value in result.weights.items()} == {
        name: (4, *value.shape) for name, value in start.items()
    }
    for name, value in start.items():
        np.testing.assert_array_equal(result.weights[name][0], value)
    assert result.outcome.status is Status.REACHED_END
    assert (result.kind, result.label) == ("theory", "softmax")
    assert result.provenance["method"] == "dop853"
    assert np.all(np.diff(result["loss"]) <= 0.0)
    for pair in ("W_E-W_in", "W_in-W_out", "W_out-sum"):
        assert np.max(result[f"invariant/{pair}"]) < 1e-9
    loaded = load_trajectory(result.save(tmp_path / "theory-softmax.nc"), model=model, data=data)
    np.testing.assert_array_equal(loaded["loss"], result["loss"])
    json.dumps(dict(loaded.provenance))


def test_methods_agree(case):
    model, data, start = case
    flow = derive(model, closure="softmax")
    ends = [
        integrate(flow, data, start, t1=10.0, save_at=[10.0], rtol=1e-9, method=m).weights["W_E"][0]
        for m in ("tsit5", "dop853")
    ]
    np.testing.assert_allclose(ends[0], ends[1], rtol=1e-6, atol=1e-9)


def test_restart_from_a_trajectory(case):
    model, data, start = case
    flow = derive(model, closure="softmax")
    options = {"rtol": 1e-10, "atol": 1e-12}
    straight = integrate(flow, data, start, t1=10.0, save_at=[10.0], **options)
    half = integrate(flow, data, start, t1=4.0, save_at=[4.0], **options)
    rest = integrate(flow, data, half.state(), t0=4.0, t1=10.0, save_at=[10.0], **options)
    for name in start:
        np.testing.assert_allclose(rest.weights[name], straight.weights[name], atol=1e-9)


def test_blow_up_of_the_leading_flow_is_a_regular_end(case):
    model, data, start = case
    flow = derive(model, closure="leading")
    result = integrate(flow, data, start, t1=1e4, save_at=200)
    assert result.outcome.status is Status.BLOW_UP
    assert np.all(result.t < result.outcome.t)
    assert result.t.size == np.sum(np.linspace(0.0, 1e4, 200) < result.outcome.t)
    assert all(np.all(np.isfinite(value)) for value in result.weights.values())
    size = np.sqrt(sum(np.sum(w**2) for w in start.values()))
    top = np.linalg.svd(data.signature(), compute_uv=False)[0]
    assert result.outcome.t > np.sqrt(3.0) / (top * size)  # the lower bound of blow-up times


def test_blow_up_time_scales_with_the_start(case):
    """The leading flow is homogeneous: half the start takes exactly twice the time, at any scale."""
    model, data, start = case
    flow = derive(model, closure="leading")

    def star(scale):
        small = {name: scale * value for name, value in start.items()}
        return integrate(flow, data, small, t1=1e4 / scale, save_at=[], rtol=1e-8).outcome.t * scale

    assert star(1e-6) == pytest.approx(star(1.0), rel=1e-7)


def test_drive_keeps_frozen_weights(case):
    model, data, start = case
    result = integrate(derive(model, closure="drive"), data, start, t1=5.0, save_at=3)
    for name in ("W_in", "W_out"):
        np.testing.assert_array_equal(
            result.weights[name], np.broadcast_to(start[name], (3, *start[name].shape))
        )
    assert np.any(result.weights["W_E"][-1] != start["W_E"])


def test_events_see_named_weights(case):
    model, data, start = case
    target = 1.01 * np.linalg.norm(start["W_E"])
    grown = Event(lambda t, w: float(np.linalg.norm(w["W_E"])) - target, terminal=True, name="grown")
    result = integrate(
        derive(model, closure="softmax"), data, start, t1=1e3, save_at=[0.0], rtol=1e-8, events=grown
    )
    assert result.outcome.status is Status.EVENT
    assert result["norm/W_E"][-1] == pytest.approx(target, rel=1e-12)
    np.testing.assert_array_equal(result.events["grown"], result.t[-1:])


def test_irregular_end_raises_with_the_partial_trajectory(case):
    model, data, start = case
    flow = derive(model, closure="softmax")
    with pytest.raises(IntegrationError, match="`max_steps` used up at t = ") as caught:
        integrate(flow, data, start, t1=1e6, save_at=[0.0, 1e6], max_steps=3)
    assert len(caught.value.trajectory) == 1
    kept = integrate(flow, data, start, t1=1e6, save_at=[0.0, 1e6], max_steps=3, throw=False)
    assert kept.outcome.status is Status.MAX_STEPS


@pytest.mark.parametrize("change", [{"W_E": np.zeros((2, 2))}, {"W_E": None}])
def test_start_that_does_not_fit_is_refused(case, change):
    model, data, start = case
    bad = {name: value for name, value in (start | change).items() if value is not None}
    with pytest.raises(ValueError, match="W_E"):
        integrate(derive(model, closure="leading"), data, bad, t1=1.0)


@pytest.mark.parametrize("end", [3.0, 1e6])
def test_observables_in_place_of_weights(end):
    data, model, _ = small_case("tanh")
    flow, start = derive(model, "leading"), model.init(0.7, 0)
    times = np.append(np.linspace(0.0, 3.0, 7), end) if end > 3.0 else np.linspace(0.0, 3.0, 7)
    names = ["loss", "norm/W_E", f"loss/{data.group_names[0]}", "singular_values/W_in"]
    half = {"events": lambda t, w: t - 1.25}
    whole = integrate(flow, data, start, t1=end, save_at=times, **half)
    slim = integrate(flow, data, start, t1=end, save_at=times, observables=names, **half)
    assert slim.weights == {}
    assert slim.outcome == whole.outcome
    np.testing.assert_array_equal(slim.t, whole.t)
    assert 1.25 in slim.t.round(12)
    for name in names:
        np.testing.assert_allclose(slim[name], whole[name], rtol=1e-13)
    with pytest.raises(KeyError, match="norm/W_in"):
        _ = slim["norm/W_in"]


def test_unknown_observables_are_refused():
    data, model, _ = small_case("tanh")
    with pytest.raises(ValueError, match="`observables` has no 'norm/W_Q' among them: did you mean"):
        integrate(derive(model, "leading"), data, model.init(0.7, 0), t1=1.0, observables=["norm/W_Q"])


def test_a_trajectory_of_observables_is_kept_in_a_file(case, tmp_path):
    model, data, start = case
    slim = integrate(
        derive(model, "leading"), data, start, t1=3.0, save_at=4, observables=["loss", "singular_values/W_in"]
    )
    read = load_trajectory(slim.save(tmp_path / "slim.nc"), model, data)
    for path in (slim, read):
        assert set(path.observable_names) == {"loss", "singular_values/W_in"}
        with pytest.raises(KeyError, match="no observable 'accuracy'"):
            _ = path["accuracy"]
    np.testing.assert_array_equal(read["loss"], slim["loss"])


@pytest.mark.parametrize("names", [[], "loss", ["loss", "loss"]])
def test_observables_are_distinct_names(case, names):
    model, data, start = case
    with pytest.raises(ValueError, match=r"`observables` must be (distinct names|at least one), such as"):
        integrate(derive(model, "leading"), data, start, t1=1.0, observables=names)


def test_a_start_too_small_to_follow_is_refused_by_its_own_name(case):
    model, data, start = case
    tiny = start | {"W_in": np.full_like(start["W_in"], 1e-320)}
    with pytest.raises(ValueError, match=r"`start\['W_in'\]` has entries of about 1e-320.* or set `atol`"):
        integrate(derive(model, "leading"), data, tiny, t1=1.0)
    assert integrate(derive(model, "leading"), data, tiny, t1=0.1, atol=1e-9).outcome.success


def test_a_step_holds_as_few_states_as_its_method_needs():
    rng = np.random.default_rng(0)
    data = Dataset(rng.integers(0, 2000, (4000, 1)), rng.integers(0, 2000, 4000), d_vocab=2000)
    model = EmbMLP(2000, 64, 64)
    flow, start = derive(model, "leading"), model.init(0.8, 0)
    options = {
        "t1": 0.1,
        "save_at": [0.05, 0.1],
        "fixed_step": 0.1,
        "observables": ["norm/W_E", "norm/W_out"],
    }
    integrate(flow, data, start, method="tsit5", **options)
    tracemalloc.start()
    try:
        integrate(flow, data, start, method="tsit5", **options)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Seven slopes, the state before and after, half of one as scratch of the right-hand side, a state within the step.
    states = peak / (8 * sum(w.size for w in start.values()))
    assert states < 10.9
