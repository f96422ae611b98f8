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

solve(Problem.from_function({flow}, 1), np.ones(1), t1=0.9, method={method!r}, save_at=3)
parts = "table_steps", "dense_stages", "pole_rows", "rkc_steps"
print(*(part for part in parts if f"smallinit.sim.ode.explicit.{{part}}" in sys.modules))
"""
CASES = [
    ("decay", "tsit5", {"table_steps"}),
    ("decay", "dop853", {"table_steps", "dense_stages"}),
    ("square", "tsit5", {"table_steps", "pole_rows"}),
    ("decay", "rkc", {"rkc_steps"}),
    ("decay", "bdf", set()),
]


@pytest.mark.parametrize(
    ("flow", "method", "parts"), CASES, ids=lambda case: case if isinstance(case, str) else ""
)
def test_a_run_loads_the_parts_that_it_needs(flow, method, parts):
    code = textwrap.dedent(RUN).format(flow=flow, method=method)
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == parts
