"""What is no path is refused by its name before anything is opened: the system takes a number for an open file."""

from pathlib import Path

import pytest

from smallinit.compare import open_sweep, run_sweep, train
from smallinit.compare.plots.saving import figure_path
from smallinit.compare.sweep.plan import read_sweep
from smallinit.sim import GD, load_trajectory
from smallinit.theory import CompositeTask, Dataset, EmbMLP, read_text
from smallinit.theory.base.errors import FieldError
from smallinit.theory.base.validate import path_of

NONE = (0, 3, True, None, b"results", "", ["a"])


class Here:
    """What has a path, as folders of other libraries do."""

    def __fspath__(self):
        return "here"


def test_paths_are_taken_in_every_form():
    assert path_of("path", "a b/ü") == Path("a b/ü")
    assert path_of("path", Path("a")) == Path("a")
    assert path_of("path", Here()) == Path("here")


@pytest.mark.parametrize("value", NONE)
@pytest.mark.parametrize(
    ("field", "opened"),
    [
        ("path", Dataset.from_csv),
        ("path", Dataset.from_jsonl),
        ("path", lambda path: Dataset.from_text(path, 3)),
        ("path", read_text),
        ("path", load_trajectory),
        ("path", CompositeTask().dataset().save),
        ("path", figure_path),
        ("file", read_sweep),
        ("file", open_sweep),
        ("file", lambda path: run_sweep(path, "out")),
    ],
)
def test_what_is_none_is_refused(value, field, opened):
    with pytest.raises(FieldError, match=rf'^`{field}` must be a path, such as "results/mine", got '):
        opened(value)


@pytest.mark.parametrize("value", [0, True, b"results", "", ["a"]])
def test_a_checkpoint_is_a_path(value):
    data = CompositeTask().dataset()
    model = EmbMLP(data.d_vocab, 2, 2)
    with pytest.raises(FieldError, match="`checkpoint` must be a path"):
        train(model, data, model.init(1.0, 0), optimizer=GD(0.1), steps=1, checkpoint=value)
