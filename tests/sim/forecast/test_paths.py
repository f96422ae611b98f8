"""Times in which paths of a decoder grow, all else at rest."""

import numpy as np
import pytest

from smallinit.sim import measure_escape
from smallinit.theory import Dataset, Decoder

MODEL = Decoder(7, 5, 4, 6, 3, n_layers=1, norm=None)
RNG = np.random.default_rng(0)
DATA = Dataset(RNG.integers(0, 7, (8, 3)), RNG.integers(0, 7, 8), 7)
START = {w: RNG.normal(0.0, 1.0, shape) for w, shape in MODEL.weights.items()}
SCALES = (0.02, 0.01)


@pytest.mark.parametrize(("moving", "exponent"), [(["W_U"], 0), (["blocks.0.W_V", "blocks.0.W_O"], 2)])
def test_a_path_waits_as_its_factors_say(moving, exponent):
    found = measure_escape(MODEL, DATA, START, moving, SCALES, growth=0.1)
    assert found.predicted == exponent
    assert found.measured == pytest.approx(exponent, abs=0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"moving": []}, "`moving` has no weight that moves"),
        ({"moving": "W_U"}, "`moving` must be distinct names"),
        ({"closure": "drive"}, "`moving` has no weight that moves under the closure 'drive'"),
        ({"scales": 0.1}, "`scales` must be two or more different"),
        ({"scales": [0.1, [0.2]]}, r"`scales` must be a finite number, got \[0.2\]"),
        ({"scales": "ab"}, "`scales` must be two or more different"),
        ({"scales": (0.1, 0.1)}, "`scales` must be two or more different"),
        ({"scales": (0.1, float("nan"))}, "`scales` must be a finite number"),
        ({"growth": 0.0}, "`growth` must be above zero"),
        ({"direction": START | {"W_U": np.zeros((5, 7))}}, "W_U start at zero"),
    ],
)
def test_what_has_no_time_is_refused(change, message):
    given = {"direction": START, "moving": ["W_U"], "scales": SCALES} | change
    with pytest.raises(ValueError, match=message):
        measure_escape(MODEL, DATA, **given)
