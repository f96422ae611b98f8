"""What a process compiles or loads: only what the run at hand needs."""

import subprocess
import sys
import textwrap

import pytest

RUN = """
import sys
import numpy as np
from smallinit.sim import solve
from smallinit.sim.kernel.problem import Problem

def decay(t, y, out):
    out[0] = -y[0]

def square(t, y, out):
    out[0] = y[0] * y[0]

for flow, method in {runs}:
    solve(Problem.from_function(globals()[flow], 1), np.ones(1), t1=0.9, method=method, save_at=3)
    parts = "table_steps", "dense_stages", "pole_rows", "rkc_steps"
    print(*(part for part in parts if f"smallinit.sim.ode.explicit.{{part}}" in sys.modules))
"""
# Runs of one process, each with all that is loaded after it. What one has loaded no later one needs to be without.
CASES = [
    [
        ("decay", "bdf", set()),
        ("decay", "tsit5", {"table_steps"}),
        ("decay", "dop853", {"table_steps", "dense_stages"}),
    ],
    [("decay", "rkc", {"rkc_steps"}), ("square", "tsit5", {"rkc_steps", "table_steps", "pole_rows"})],
]


@pytest.mark.parametrize("runs", CASES, ids=["without poles", "rkc, a pole"])
def test_a_run_loads_the_parts_that_it_needs(runs):
    code = textwrap.dedent(RUN).format(runs=[run[:2] for run in runs])
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert [set(line.split()) for line in done.stdout.splitlines()] == [parts for _, _, parts in runs]
