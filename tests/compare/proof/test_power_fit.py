"""The power that is read off errors made up: bent lines, plateaus of rounding, and what is rounding altogether."""

import numpy as np
import pytest

from smallinit.compare.proof.power_fit import CEILINGS, FEWEST, LARGEST_ROUNDING, ROUNDING, power_of

EPS = 2.0 ** np.arange(0.0, -24.0, -0.5)


def by_single_fits(eps, errors):
    """As `power_of`, one range and one number of bends after the other, by numpy's least squares."""
    flat = errors[errors < LARGEST_ROUNDING]
    rounding = max(float(np.median(flat)), ROUNDING) if flat.size > 4 else ROUNDING
    above = errors > 8 * rounding
    windows = [w for c in CEILINGS if (w := above & (errors < c)).sum() >= FEWEST] or [above]
    found = []
    for window in windows:
        x, y = eps[window], errors[window]
        noise = 1e-3 + rounding / y
        for bends in range(1, max(2, min(5, x.size - 3))):
            columns = [np.log(x), np.ones_like(x), *((x / x.max()) ** (2 * k) for k in range(1, bends + 1))]
            design = np.stack(columns, axis=1) / noise[:, None]
            solution = np.linalg.lstsq(design, np.log(y) / noise, rcond=None)[0]
            misfit = np.sum((design @ solution - np.log(y) / noise) ** 2) / max(x.size - len(columns), 1)
            doubt = np.sqrt(np.linalg.pinv(design.T @ design)[0, 0] * max(misfit, 1.0))
            found.append((doubt, solution[0], np.log10(x.max() / x.min())))
    return min(found)[1:]


@pytest.mark.parametrize("power", range(1, 8))
@pytest.mark.parametrize("seed", range(4))
def test_all_ranges_at_once_are_fitted_as_one_by_one(power, seed):
    rng = np.random.default_rng([power, seed])
    bent = 1.0 + rng.normal() * EPS**2 + rng.normal() * EPS**4
    errors = np.abs(10.0 ** rng.uniform(-1, 1) * EPS**power * bent) + 1e-16 * rng.uniform(0.5, 2.0, EPS.size)
    slope, decades = power_of(EPS, errors)
    assert (slope, decades) == pytest.approx(by_single_fits(EPS, errors), rel=1e-10)
    assert slope == pytest.approx(power, abs=0.05)


@pytest.mark.parametrize("count", [1, 2, 5, 7])
def test_few_points_are_fitted_too(count):
    errors = np.full(EPS.size, 1e-16)
    errors[:count] = 1e-2 * EPS[:count] ** 3
    assert power_of(EPS, errors) == pytest.approx(by_single_fits(EPS, errors), rel=1e-8)


def test_a_frozen_weight_has_power_zero():
    slope, decades = power_of(EPS, np.full(EPS.size, 0.7))
    assert slope == pytest.approx(0.0, abs=1e-12)
    assert decades == pytest.approx(np.log10(EPS[0] / EPS[-1]))


@pytest.mark.parametrize("largest", [0.0, 1e-16, 3e-14, 5e-14, 1e-13])
def test_rounding_everywhere_is_of_no_power(largest):
    """Also where it scatters a little beyond what rounding is mostly."""
    errors = np.full(EPS.size, min(largest, 2e-14))
    errors[3] = largest
    assert power_of(EPS, errors)[0] == np.inf


@pytest.mark.parametrize("what", [np.nan, np.inf])
def test_what_has_no_error_anywhere_is_not_exact(what):
    """Nothing was measured: taken for rounding, it would be a proof of any equation."""
    assert np.isnan(power_of(EPS, np.full(EPS.size, what))[0])


@pytest.mark.parametrize("what", [np.nan, np.inf])
@pytest.mark.parametrize("where", [slice(0, 6), slice(6, 9), slice(-6, None)])
def test_scales_without_an_error_are_left_out(what, where):
    errors = 1e-3 * EPS**2
    known = np.delete(np.arange(EPS.size), np.arange(EPS.size)[where])
    alone = power_of(EPS[known], errors[known])
    errors[where] = what
    assert power_of(EPS, errors) == alone
    assert alone[0] == pytest.approx(2.0, abs=1e-6)
