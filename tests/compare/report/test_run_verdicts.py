"""What the page of a run says of its losses, and of what training took."""

import pytest

from smallinit.compare.report.run_verdicts import percent, verdicts


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
    closures = {"leading": {"outcome": "reached the end", "overlay": overlay}}
    *_, (verdict, text) = verdicts(closures, None, 0.05)
    assert f"largest error of a loss up to t = 4: {said}" in text
    assert verdict is good


def test_training_is_told_last_with_what_it_took():
    training = {"outcome": "reached t = 4", "seconds": 1.5, "learnt": {}}
    theory = {"leading": {"outcome": "reached t = 4"}}
    assert verdicts(theory, training, 0.05) == [
        (None, "leading: reached t = 4."),
        (None, "Training reached t = 4 (1.5 s of computing)."),
    ]
    assert [percent(x) for x in (None, 0.0123, 25.0)] == ["infinite", "1.23 %", "2,500 %"]
