"""What the page of a run says of its start."""

import pytest

from smallinit.compare.report.run_page import _setting


@pytest.mark.parametrize(
    ("init", "said"),
    [
        ({"gamma": 0.8, "seed": 1}, "initial weights: gamma 0.8, seed 1."),
        ({"gamma": 0.8, "seed": 1, "convention": "rows"}, "initial weights: gamma 0.8, seed 1."),
        (
            {"gamma": 0.8, "seed": 1, "convention": "mup"},
            "initial weights: gamma 0.8, seed 1, convention mup.",
        ),
        (
            {"file": "w.npz", "gamma": 0.8, "seed": 1, "convention": "rows"},
            "initial weights: weights from w.npz.",
        ),
    ],
)
def test_the_start_is_named(init, said):
    setting = _setting({"model": {"name": "EmbMLP", "d_vocab": 5}, "init": init})
    assert setting.endswith(said)
