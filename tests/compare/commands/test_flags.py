import pytest

from smallinit.cli import run
from smallinit.compare.commands import check_command, experiments, sweep_command
from smallinit.compare.experiment.schema import fields

EVERY = {f"{section}__{key}" for section, key, _ in fields()}


def offered(command):
    return {name for name in command.__annotations__ if "__" in name}


def sections(command):
    return {name.partition("__")[0] for name in offered(command)}


def test_a_command_offers_the_flags_that_it_reads():
    assert offered(experiments.overlay) == offered(sweep_command.sweep) == EVERY
    assert sections(experiments.derive) == {"task", "data", "model", "theory", "training"}
    assert {"theory__closures", "theory__moved_by"} == {
        name for name in offered(experiments.derive) if name.startswith("theory")
    }
    assert sections(check_command.check) == {"task", "data", "model"}
    assert "training__optimizer" in offered(experiments.simulate)  # it moves closures too
    assert "training__device" not in offered(experiments.simulate)
    assert "theory__rtol" not in offered(experiments.train)
    assert {"theory__t1", "theory__points"} <= offered(experiments.train)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["derive", "--training.device", "cpu"], "`--training.device` means nothing to derive"),
        (["derive", "--training.device=cpu"], "`--training.device` means nothing to derive"),
        (["check", "dW_E = M", "--gamma", "0.5"], "`--gamma` means nothing to check"),
        (["train", "--preset", "demo", "--closure", "exact"], "`--closure` means nothing to train"),
        (["simulate", "--output.tolerance", "0.1"], "`--output.tolerance` means nothing to simulate"),
        (["overlay", "--no-such-flag", "1"], "Unknown option: --no-such-flag"),
        (["claims", "x"], "unexpected argument 'x': see smallinit claims --help."),
        (["sweep", "nofile.toml"], "there is no sweep file 'nofile.toml': check the path, or write one"),
        (
            ["derive", "nofile.toml"],
            "there is no experiment file 'nofile.toml': check the path, or use --preset demo.",
        ),
        (["report", "nofolder"], "name one that `overlay`, `simulate`, `train`, `sweep` or `figure` wrote."),
    ],
)
def test_what_a_command_does_not_take_is_named(argv, said, capsys):
    assert run(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert said in err
