"""Values of an axis, or one sentence that names the axis, the value and the file."""

import tomllib

import pytest
from sweeps import TINY, write

from smallinit.compare.sweep.plan import read_sweep
from smallinit.compare.sweep.sweep_axes import values_of
from smallinit.theory.base.errors import InputError

READ = {
    '"0-3"': (0, 1, 2, 3),
    '"7-7"': (7,),
    '"007-9"': (7, 8, 9),
    "[1, 2.5]": (1, 2.5),
    "[1, true]": (1, True),
    "[[1, 2], [1]]": ((1, 2), (1,)),
    "{start = 0, stop = 1, num = 3}": (0.0, 0.5, 1.0),
    "{start = 1, stop = 100, num = 3, log = true}": (1.0, 10.0, 100.0),
    "{start = 1, stop = 1, num = 1, log = false}": (1.0,),
}


@pytest.mark.parametrize("text", READ)
def test_values_are_read(text):
    assert values_of("init.gamma", tomllib.loads(f"v = {text}")["v"], "in x") == READ[text]


REFUSED = {
    '"0-10\u00b2"': "must be a list, \"0-99\" or {start, stop, num}, got '0-10\u00b2'",
    '"\u0661-\u0663"': "must be a list",
    f'"0-{"9" * 5000}"': 'must be a list, "0-99"',
    f'"{"9" * 18}-{"9" * 18}"': None,
    f'"0-{"9" * 18}"': "has 1,000,000,000,000,000,000 values",
    '"3-1"': "must count upwards, got '3-1'",
    '"1-2-3"': "must be a list",
    '"-3-1"': "must be a list",
    "[1, 1.0]": "has a value twice",
    "[0.0, -0.0]": "has a value twice",
    "[[1, 2], [1.0, 2]]": "has a value twice",
    "[true, true]": "has a value twice",
    '["a", "a"]': "has a value twice",
    "[{a = 1}, {a = 1}]": "has a value twice",
    f"[0x{'f' * 5000}, 0x{'f' * 5000}]": "has a value twice",
    '{start = 1, stop = 9, num = 3, log = "false"}': "must have log = true or false, got 'false'",
    "{start = 1, stop = 9, num = 3, log = 1}": "must have log = true or false, got 1",
    "{start = 1, stop = 9, num = 2e6}": "must have a whole num of at least 1, got 2000000.0",
    "{start = 1, stop = 9, num = 2000000}": "has 2,000,000 values",
    "{start = 1, stop = 9, num = true}": "must have a whole num of at least 1, got True",
    "{start = 1, stop = 9, num = 0}": "must have a whole num of at least 1, got 0",
    f"{{start = 1, stop = 9, num = 0x{'f' * 5000}}}": "values",
    '{start = "1", stop = 9, num = 3}': "must have finite numbers as start and stop, got '1'",
    "{start = inf, stop = 9, num = 3}": "must have finite numbers as start and stop, got inf",
    f"{{start = 0, stop = 0x{'f' * 5000}, num = 3}}": "must have finite numbers as start and stop, got",
    "{start = -1e308, stop = 1e308, num = 3}": "is too wide for numbers",
    "{start = 0, stop = 9, num = 3, log = true}": "start and stop must be positive",
    "{start = 1, stop = 1, num = 2}": "has a value twice",
    "{start = 1, stop = 9, num = 3, step = 2}": "must have start, stop, num and log alone, got 'step'",
    "5": "must be a list",
    "[]": "must be a list",
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:40])
def test_what_is_no_axis_is_refused_in_one_sentence(text):
    value = tomllib.loads(f"v = {text}")["v"]
    if REFUSED[text] is None:
        assert values_of("init.gamma", value, "in x") == (10**18 - 1,)
        return
    with pytest.raises(InputError) as error:
        values_of("init.gamma", value, "in sweep.toml")
    said = str(error.value)
    assert said.startswith("the axis 'init.gamma' ")
    assert REFUSED[text] in said
    assert "(in sweep.toml)" in said
    assert len(said) < 200
    assert "\n" not in said


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (
            '"init.seed" = "0-2"',
            '"theory.closures" = ["leading", ["leading"]]',
            "two points are the same experiment",
        ),
        ("[task]", "[sweep]\nzip = 5\n[task]", "`zip` must be a list of axes, or some such lists, got 5"),
        ("[task]", "[sweep]\nzip = [[1]]\n[task]", "`zip` must be a list of axes"),
        ("[task]", '[sweep]\nzip = "init.gamma"\n[task]', "`zip` must be a list of axes"),
    ],
)
def test_sweeps_that_say_a_thing_twice_or_nothing(tmp_path, old, new, reason):
    with pytest.raises(InputError, match=reason):
        _ = read_sweep(write(tmp_path, TINY.replace(old, new))).points


@pytest.mark.parametrize("name", ["init.gamma", "init.seed"])
def test_a_flag_for_an_axis_is_refused(tmp_path, name):
    file = write(tmp_path)
    with pytest.raises(InputError, match=f"`{name}` is an axis of the sweep .*on the command line"):
        read_sweep(file, {name: 1})
    assert len(read_sweep(file, {"theory.t1": 3.0}).points) == len(read_sweep(file).points)
