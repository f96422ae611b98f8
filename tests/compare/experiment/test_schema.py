import copy
import math
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from smallinit.compare.experiment.layers import load, read_preset, to_toml
from smallinit.compare.experiment.model_spec import MODEL_KEYS as MODELS
from smallinit.compare.experiment.schema import SECTIONS, Experiment, fields
from smallinit.compare.experiment.sections import Init, Task, Training
from smallinit.compare.experiment.values import format_tokens, parse_tokens
from smallinit.theory.base.errors import InputError

VALID = read_preset("demo")


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "experiment.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(InputError) as caught:
        load(write(tmp_path, text))
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_defaults_are_the_papers_task():
    from smallinit.theory import CompositeTask

    task = Experiment().task
    theirs = CompositeTask()
    for name in ("keys", "memory_anchors", "reasoning_anchors", "n_anchors", "length", "masked", "seed"):
        assert getattr(task, name) == getattr(theirs, name)


@pytest.mark.parametrize(
    ("preset", "d_vocab", "training_rows"), [("demo", 51, 960), ("paper", 161, 19_800), ("decoder", 51, 960)]
)
def test_presets_have_the_stated_size(preset, d_vocab, training_rows):
    from smallinit.compare.experiment.build import build_data

    data = build_data(load(preset=preset))
    assert data.d_vocab == d_vocab == 1 + data.labels.max()
    assert (~data.held_out).sum() == training_rows


def test_tokens_read_ranges_lists_and_single_tokens():
    assert parse_tokens("3-5, 9") == (3, 4, 5, 9)
    assert Task(keys=[21, 40]).keys == (21, 40)  # a list is its members, never a range
    assert Task(keys=7).keys == (7,)


@given(st.lists(st.integers(0, 2000), min_size=1, max_size=40))
def test_formatted_tokens_read_back_in_order(tokens):
    assert parse_tokens(format_tokens(tuple(tokens))) == tuple(tokens)


def test_flags_override_the_file_and_the_file_the_preset(tmp_path):
    path = write(tmp_path, "[init]\ngamma = 0.7\nseed = 5\n")
    loaded = load(path, "demo", {"init.seed": 9})
    assert (loaded.experiment.init.gamma, loaded.experiment.init.seed) == (0.7, 9)
    assert loaded.experiment.model.d_model == 100
    assert loaded.sources["init.gamma"] == f"in {path}"
    assert loaded.sources["init.seed"] == "on the command line"
    assert loaded.sources["model.d_model"] == "in preset demo"


def test_own_data_replace_the_presets_task(tmp_path):
    loaded = load(write(tmp_path, '[data]\nfile = "mine.npz"\n'), "demo")
    assert loaded.experiment.task is None
    assert loaded.experiment.data.file == str(tmp_path / "mine.npz")  # relative to the file that names it


def test_task_and_data_in_one_file_are_refused(tmp_path):
    assert "`task` and `data` exclude each other" in refusal(
        tmp_path, '[data]\nfile = "a"\n[task]\nseed = 1\n'
    )


@pytest.mark.parametrize("preset", ["demo", "paper", "decoder", "decoder-paper"])
def test_resolved_experiment_reads_back_identically(tmp_path, preset):
    experiment = load(preset=preset).experiment
    again = load(write(tmp_path, to_toml(experiment))).experiment
    assert again == experiment
    assert again.hash == experiment.hash


@given(
    gamma=st.floats(0, 100),
    rate=st.floats(1e-5, 10),
    name=st.text(min_size=1).filter(lambda s: s.isprintable() or "\x7f" in s),
    tokens=st.lists(st.integers(0, 2000), min_size=1, max_size=9),
)
@settings(deadline=None, max_examples=60)
def test_any_experiment_survives_its_toml(gamma, rate, name, tokens):
    experiment = Experiment(
        init=Init(gamma=gamma, file=name), training=Training(learning_rate=rate), task=Task(keys=tokens)
    )
    assert Experiment.model_validate(tomllib.loads(to_toml(experiment))) == experiment


def test_steps_follow_from_the_end_unless_given():
    assert Experiment().steps == 2000
    assert Experiment(training=Training(steps=7)).steps == 7


def test_experiment_is_frozen():
    with pytest.raises(ValidationError):
        Experiment().init.gamma = 0.5


REFUSED = {
    "[init]\ngama = 1\n": ["unknown key `init.gama`", "did you mean `init.gamma`?"],
    "gamma = 1\n": ["unknown key `gamma`", "did you mean `init.gamma`?"],
    "[trainig]\nseed = 1\n": ["unknown key `trainig`", "did you mean `training`?"],
    "[training]\ngamma = 1\n": ["unknown key `training.gamma`", "did you mean `init.gamma`?"],
    "[init]\ngamma = nan\n": ["`init.gamma`", "finite", "nan"],
    "[init]\ngamma = inf\n": ["`init.gamma`", "finite", "inf"],
    '[init]\ngamma = "0.8"\n': ["`init.gamma`", "number", "'0.8'"],
    "[init]\ngamma = true\n": ["`init.gamma`", "number", "True"],
    "[init]\nseed = 1.0\n": ["`init.seed`", "integer", "1.0"],
    "[init]\nseed = -1\n": ["`init.seed`", "greater than or equal to 0", "-1"],
    "[training]\nlearning_rate = -0.1\n": ["`training.learning_rate`", "greater than 0", "-0.1"],
    "[training]\nlearning_rate = 1e-30\n": ["`training.learning_rate`", "steps"],
    '[training]\noptimizer = "sgdd"\n': ["`training.optimizer`", "'sgdd'", "did you mean 'sgd'?"],
    "[training]\nbatch_size = 3\n": ["`batch_size`", "'gd'", "use 'sgd'"],
    '[model]\nactivation = "tahn"\n': ["`model.activation`", "'tahn'", "did you mean 'tanh'?"],
    '[model]\nactivation = "relu"\n': ["`model.activation`", "Assumption 1", "'tanh'"],
    '[model]\nname = "Transformer"\n': [
        "`model.name`",
        "'Transformer'",
        "did you mean 'OneLayerTransformer'?",
    ],
    '[theory]\nclosures = ["leeding"]\n': ["`theory.closures`", "'leeding'", "did you mean 'leading'?"],
    '[theory]\nclosures = ["leading", "leading"]\n': ["`theory.closures`", "'leading' twice"],
    "[theory]\nclosures = []\n": ["`theory.closures`", "at least 1"],
    "[theory]\nrtol = 2\n": ["`theory.rtol`", "less than 1", "2"],
    '[theory]\nmethod = "RK45"\n': ["`theory.method`", "'RK45'", "'tsit5' takes adaptive explicit steps"],
    '[theory]\nmethod = "LSODA"\n': ["`theory.method`", "'LSODA'", "leave it out: a method is then"],
    '[theory]\nmethod = "tist5"\n': ["`theory.method`", "'tist5'", "did you mean 'tsit5'?"],
    '[task]\nkeys = "9-3"\n': ["`task.keys`", "upwards", "9-3"],
    '[task]\nkeys = "0-9999999"\n': ["`task.keys`", "at most"],
    "[task]\nkeys = []\n": ["`task.keys`", "at least 1"],
    "[task]\nmasked = [[1, true]]\n": ["`task.masked[0][1]`", "integer", "True"],
    "[data]\n": ["`data.file` is missing"],
    "init = 3\n": ["`init`", "table", "[init]"],
    "[init]\nwhen = 1979-05-27\n": ["unknown key `init.when`"],
    f"[init]\nseed = 0x{'f' * 5000}\n": ["`init.seed`", "huge integer"],
}


@pytest.mark.parametrize("text", REFUSED)
def test_refusals_name_key_value_file_and_remedy(tmp_path, text):
    message = refusal(tmp_path, text)
    for part in REFUSED[text]:
        assert part in message
    assert "experiment.toml" in message or "exclude" in message or "steps" in message


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[init\n", "not valid TOML"),
        (b"\xff\xfe\x00", "not a text file"),
        (b"a = 1\na = 2\n", "not valid TOML: line 2 sets `a` a second time; keep one of the two"),
        (b"a = 1\na = 2", "not valid TOML: line 2 sets `a` a second time"),
        ("# of\u2028mine\na = 1\na = 2\n".encode(), "not valid TOML: line 3 sets `a` a second time"),
        (b"[init]\n[init]\n", r"not valid TOML: line 2 sets `\[init\]` a second time"),
        (b"[init]\rseed = 1", "not valid TOML: Expected newline"),
        (b"[training]\nbetas = 0.9", "`training.betas` must be a list in square brackets, got 0.9"),
    ],
)
def test_files_that_are_no_toml(tmp_path, content, reason):
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=reason):
        load(path)


def test_a_file_with_a_byte_order_mark_is_read(tmp_path):
    """As some editors write every file."""
    path = tmp_path / "marked.toml"
    path.write_bytes(b"\xef\xbb\xbf[init]\r\nseed = 3\r\n")
    assert load(path).experiment.init.seed == 3


def test_missing_files_and_directories(tmp_path):
    with pytest.raises(InputError, match="there is no experiment file"):
        load(tmp_path / "absent.toml")
    with pytest.raises(InputError, match="is a folder"):
        load(tmp_path)


def test_unknown_preset_suggests_the_nearest():
    with pytest.raises(InputError, match="did you mean 'paper'"):
        load(preset="papr")


def test_deep_nesting_is_refused(tmp_path):
    assert "not valid TOML" in refusal(tmp_path, f"[task]\nmasked = {'[' * 20_000}")


def test_every_field_says_what_it_is():
    assert all(field.description for _, _, field in fields())
    assert set(SECTIONS) == set(Experiment.model_fields)


ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(10**30, 10**40), st.floats(), st.text(max_size=20),
    st.lists(st.one_of(st.integers(), st.text(max_size=4), st.lists(st.integers(), max_size=3)), max_size=4),
    st.dictionaries(st.text(max_size=6), st.integers(), max_size=3), st.datetimes(),
    st.sampled_from(["softmax", "order=5", "1-3,7", "tanh", "gd", 0, 1, -1, math.nan, math.inf, 1e308]),
)  # fmt: skip
KNOWN = st.sampled_from([(section, key) for section, key, _ in fields()])


@given(
    changes=st.lists(st.tuples(KNOWN, ODD), max_size=3),
    extra=st.lists(st.tuples(st.text(max_size=8), ODD), max_size=1),
)
@settings(deadline=None, max_examples=300)
def test_any_mutation_is_accepted_or_refused_in_one_sentence(changes, extra):
    from smallinit.cli import one_line
    from smallinit.compare.experiment.layers import _merge
    from smallinit.compare.experiment.refused_values import sentence

    raw = copy.deepcopy(VALID)
    for (section, key), value in changes:
        raw.setdefault(section, {})[key] = value
    raw.update(extra)
    merged, sources = {}, {}
    _merge(merged, sources, raw, "in fuzz.toml")
    try:
        experiment = Experiment.model_validate(merged)
    except ValidationError as error:
        message = one_line(sentence(error, sources))
        assert message.isprintable()
        assert len(message) < 400
    else:
        assert Experiment.model_validate(tomllib.loads(to_toml(experiment))) == experiment


@given(st.binary(max_size=300))
@settings(deadline=None, max_examples=100)
def test_any_bytes_are_accepted_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("fuzz") / "experiment.toml"
    path.write_bytes(content)
    try:
        loaded = load(path)
    except InputError:
        return
    assert Experiment.model_validate(tomllib.loads(to_toml(loaded.experiment))) == loaded.experiment


def test_the_page_says_what_there_is():
    page = (Path(__file__).parents[3] / "docs" / "experiments.md").read_text()
    for name, keys in MODELS.items():
        assert f"| `{name}` | {', '.join(f'`{key}`' for key in keys)} |" in page
    examples = re.findall(r"```toml\n(.*?)```", page, re.S)
    shown = {key for text in examples for key in tomllib.loads(text).get("training", ())}
    assert shown | {"seed"} == set(Training.model_fields)
    for text in examples:
        Experiment.model_validate(tomllib.loads(text))
