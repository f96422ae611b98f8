"""Ensembles of modes: against closed forms and DOP853, blow-ups, independence of the batch, what is refused."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from smallinit.sim import Status, integrate_modes
from smallinit.theory.exact.blow_up_forms import three_factor_blow_up


def ensemble(batch, r, seed=0):
    rng = np.random.default_rng(seed)
    s = rng.uniform(0.5, 1.5, (batch, r))
    return s, 1e-2 * rng.normal(1.0, 0.5, (batch, 3, r))


def blow_ups(s, y):
    return np.array(
        [[three_factor_blow_up(*y[i, :, k], s[i, k]) for k in range(s.shape[1])] for i in range(len(s))]
    )


def reference(s, start, t1):
    def modes(t, y):
        a, b, c = y
        return s * np.array([b * c, c * a, a * b])

    return solve_ivp(modes, (0.0, t1), start, method="DOP853", rtol=1e-13, atol=1e-18).y[:, -1]


@pytest.mark.parametrize("rtol", [1e-6, 1e-8, 1e-11])
def test_against_dop853(rtol):
    s, y = ensemble(6, 3)
    t1 = 0.9 * blow_ups(s, y).min(axis=1)
    found = integrate_modes(s, y, t1, rtol=rtol, atol=1e-16)
    assert not found.ends.any()
    np.testing.assert_array_equal(found.t, np.repeat(t1[:, None], 3, axis=1))
    for i in range(6):
        for k in range(3):
            expected = reference(s[i, k], y[i, :, k], t1[i])
            assert np.abs(found.states[i, :, k] - expected).max() < 30 * rtol * np.abs(expected).max()


def test_conserved_differences_of_squares():
    s, y = ensemble(200, 4)
    found = integrate_modes(s, y, 0.9 * blow_ups(s, y).min(axis=1), rtol=1e-12, atol=0.0)
    before, after = y**2, found.states**2
    drift = (after[:, 0] - after[:, 1]) - (before[:, 0] - before[:, 1])
    assert np.abs(drift).max() < 1e-11 * after.max()


def test_blow_ups_end_at_the_closed_form():
    s, y = ensemble(50, 4, seed=1)
    stars = blow_ups(s, y)
    t1 = np.full(50, np.median(stars))
    found = integrate_modes(s, y, t1)
    assert np.array_equal(found.ends == 1, stars < t1[:, None])
    np.testing.assert_allclose(found.t[found.ends == 1], stars[found.ends == 1], rtol=1e-7)
    for i, outcome in enumerate(found.outcomes):
        first = stars[i].min()
        assert outcome.status is (Status.BLOW_UP if first < t1[i] else Status.REACHED_END)
        assert outcome.t == pytest.approx(min(first, t1[i]), rel=1e-7)
    assert "modes: " in repr(found)


def test_a_mode_does_not_depend_on_its_batch_or_on_threads(monkeypatch):
    import smallinit.sim.ode.taylor.mode_ensemble as module

    s, y = ensemble(300, 5, seed=2)
    y[7, :, 2] = 1.0  # blows up early
    whole = integrate_modes(s, y, 60.0)
    assert whole.ends[7, 2] == 1
    some = [3, 7, 150, 299]
    part = integrate_modes(s[some], y[some], 60.0)
    y.flags.writeable = s.flags.writeable = False  # read-only input is as good as any
    one = integrate_modes(s[7:8], y[7:8], 60.0)  # five modes: only the first vector of lanes is in use
    monkeypatch.setattr(module, "CHUNK", 35)
    split = integrate_modes(s, y, 60.0, threads=3)
    for name in ("states", "t", "ends", "steps"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(split, name))
        np.testing.assert_array_equal(getattr(whole, name)[some], getattr(part, name))
        np.testing.assert_array_equal(getattr(whole, name)[7:8], getattr(one, name))


def test_limits_and_trivial_starts():
    s, y = ensemble(3, 2)
    y[1] = 0.0
    found = integrate_modes(s[0], y, [0.0, 5.0, 5.0], max_steps=1)
    np.testing.assert_array_equal(found.states[0], y[0])
    np.testing.assert_array_equal(found.states[1], 0.0)
    stuck = integrate_modes(s, y, 1e3, max_steps=2).outcomes[2]
    assert stuck.status is Status.MAX_STEPS
    assert "use a higher limit" in str(stuck)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"starts": np.ones((3, 2))}, r"`starts` must have shape \(batch, 3, r\)"),
        ({"strengths": np.ones(3)}, r"`strengths` must have shape \(2, 4\) or \(4,\), got \(3,\)"),
        ({"t1": np.ones(3)}, r"`t1` must have shape \(2,\) or \(\), got \(3,\)"),
        ({"t1": -1.0}, "`t1` must not be negative"),
        ({"starts": np.full((2, 3, 4), np.nan)}, "`starts` must be finite, got 24 nan or inf"),
        ({"rtol": 0.0}, "`rtol` must lie in"),
        ({"atol": -1.0}, "`atol` must lie in"),
        ({"max_steps": 0}, "`max_steps` must be an integer of at least 1"),
        ({"threads": 0}, "`threads` must be an integer of at least 1"),
    ],
)
def test_bad_input(change, message):
    arguments = {"strengths": np.ones((2, 4)), "starts": np.ones((2, 3, 4)), "t1": 0.1} | change
    with pytest.raises(ValueError, match=message):
        integrate_modes(**arguments)


def test_arrays_that_must_not_be_written():
    s, y, end = np.ones((1, 2)), np.full((1, 3, 2), 0.1), np.ones(1)
    for array in (s, y, end):
        array.flags.writeable = False
    assert integrate_modes(s, y, end).outcomes[0].success


def test_nobody_writes_to_a_result():
    found = integrate_modes(*ensemble(1, 2), 1.0)
    for array in (found.t, found.states, found.ends, found.steps):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_a_mode_at_zero_rests_whatever_atol():
    found = integrate_modes([[1.0, -0.3]], np.zeros((1, 3, 2)), t1=1e6, atol=0.0)
    assert found.outcomes[0].status is Status.REACHED_END
    np.testing.assert_array_equal(found.t, 1e6)
    np.testing.assert_array_equal(found.steps, 1)
    np.testing.assert_array_equal(found.states, 0.0)
