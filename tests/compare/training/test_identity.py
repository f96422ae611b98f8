"""A sweep's identity covers every source through which a point passes."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sweeps import TINY, write

from smallinit.compare.sweep.plan import read_sweep
from smallinit.compare.training.identity import LAYERS, PRESENTATION, ROOT, code_hash, hash_of, sources

ROOMS = sorted(
    {path.parent.relative_to(ROOT).as_posix() for layer in LAYERS for path in (ROOT / layer).rglob("*.py")}
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the sources."""
    root = tmp_path_factory.mktemp("tree")
    for layer in LAYERS:
        shutil.copytree(ROOT / layer, root / layer, ignore=shutil.ignore_patterns("__pycache__"))
    assert hash_of(sources(root), root) == code_hash()
    return root


@pytest.mark.parametrize("room", ROOMS)
def test_an_edit_in_a_room_changes_the_identity_unless_it_only_shows(tree, room):
    read, before = sources(tree), hash_of(sources(tree), tree)
    shown = any(Path(room).is_relative_to(other) for other in PRESENTATION)
    for module in (tree / room).glob("*.py"):
        assert (module not in read) == (shown or f"{room}/{module.name}" in PRESENTATION), module.name
    one = next((tree / room).glob("*.py"))  # what is read counts: one module shows it for the room
    content = one.read_bytes()
    one.write_bytes(content + b"\n")
    assert (hash_of(sources(tree), tree) == before) == (one not in read), one.name
    one.write_bytes(content)
    (tree / room / "planted.py").touch()
    assert (hash_of(sources(tree), tree) == before) == shown
    (tree / room / "planted.py").unlink()


def test_a_moved_line_between_two_modules_counts(tmp_path):
    first, second = tmp_path / "a.py", tmp_path / "b.py"
    first.write_text("x = 1\ny = 2\n")
    second.write_text("z = 3\n")
    before = hash_of([first, second], tmp_path)
    first.write_text("x = 1\n")
    second.write_text("y = 2\nz = 3\n")
    assert hash_of([first, second], tmp_path) != before


def test_a_point_loads_nothing_that_is_left_out(tmp_path):
    """In a process of its own, with theory, training and the horizons between them."""
    text = TINY + '[training]\nlearning_rate = 0.5\n[sweep]\nrun = ["simulate", "train"]\n'
    plan = read_sweep(write(tmp_path, text))
    (tmp_path / "config.json").write_text(json.dumps(plan.points[0].config))
    code = (
        "import json, sys; from smallinit.compare.sweep.workers.point import run_batch;"
        f"config = json.load(open({str(tmp_path / 'config.json')!r}));"
        "found, _ = run_batch([('a', config)], ['simulate', 'train'], ['loss']);"
        "assert 'leading|horizon' in found['a'], found;"
        "print(*(m.__file__ for n, m in sys.modules.items() if n.startswith('smallinit.')), sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = {Path(line).resolve() for line in done.stdout.splitlines()}
    assert (ROOT / "compare/experiment/build.py").resolve() in loaded
    assert loaded <= {path.resolve() for path in sources()}
