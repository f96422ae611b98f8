"""What the page of a run says of its start and of its losses."""

import pytest

from smallinit.compare.report.run_page import _setting, _verdicts


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


@pytest.mark.parametrize(
    ("errors", "said", "good"),
    [
        ({"loss": (0.02, None)}, "2 % (loss).", True),
        ({"loss": (0.02, None), "loss/memory": (0.3, None)}, "30 % (loss/memory).", None),
        (
            {"loss": (0.02, 3e-4)},
            "2 % (loss), then 0.0003 nats (loss) where training has less than 1 %",
            None,
        ),
    ],
)
def test_the_largest_error_of_a_loss(errors, said, good):
    overlay = {
        "horizon_at_tolerance": {"W_E": None},
        "compared": {"to": 4.0},
        "blow_up_time": None,
        "largest_loss_error": {
            name: dict(zip(("relative", "nats"), e, strict=True)) for name, e in errors.items()
        },
    }
    *_, (verdict, text) = _verdicts("leading", {"outcome": "reached the end", "overlay": overlay}, 0.05)
    assert f"largest error of a loss up to t = 4: {said}" in text
    assert verdict is good
