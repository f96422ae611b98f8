"""What needs no torch runs without it, theory, simulation and simulated sweeps; what trains needs no numba.

None of them loads what only some of their users need, and what takes as long to load as they take to run.
"""

import subprocess
import sys

from sweeps import write

BLOCK = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(f"no module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())  # as if it were not installed
"""
LEAN = """
spared = ("xarray", "pandas", "dask", "scipy.interpolate", "scipy.integrate")
assert not (found := [name for name in spared if name in sys.modules]), found
"""
PROGRAM = """
from smallinit.compare import run_sweep
from smallinit.sim import integrate
from smallinit.theory import CompositeTask, EmbMLP, derive

data = CompositeTask(keys=range(5, 9), memory_anchors=(1, 2), reasoning_anchors=(3, 4), masked=()).dataset()
model = EmbMLP(data.d_vocab, 4, 3)
for closure in ("leading", "softmax", "exact"):
    path = integrate(derive(model, closure), data, model.init(0.8, seed=0), t1=2.0, save_at=3)
    assert path["loss"].shape == (3,)
print(run_sweep(sys.argv[1], sys.argv[2]).status)
"""


COMMANDS = """
from smallinit.cli import run

flags = ["--theory.t1", "2", "--theory.points", "3", "--closure", "softmax"]
assert run(["derive", "--preset", "demo"]) == 0
assert run(["scales", "--preset", "demo"]) == 0
assert run(["simulate", "--preset", "demo", "--out", "simulated", *flags]) == 0
assert run(["report", "simulated"]) == 0
"""


def test_commands_that_train_nothing_then_deriving_integrating_and_simulated_sweeps(tmp_path):
    program = BLOCK + COMMANDS + LEAN + PROGRAM
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, str(write(tmp_path)), str(tmp_path / "out")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("\n6 of 6 points done\n")


def test_training_loads_no_numba(tmp_path):
    program = (
        "import sys; from smallinit.cli import run;"
        "assert run(['train', '--preset', 'demo', '--training.steps', '2', '--out', 'out']) == 0;"
        f"assert 'numba' not in sys.modules{LEAN}"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
