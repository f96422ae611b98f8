"""Operations by address: all have code, a process compiles those it needs, and what is missing is seen."""

import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers import MODELS, data_for, random_weights

from smallinit.sim.compile.compiler import compile_flow
from smallinit.sim.kernel import cache, operations
from smallinit.sim.kernel._interpreter import rhs
from smallinit.sim.kernel.calls import _addresses
from smallinit.sim.kernel.problem import Problem
from smallinit.sim.kernel.single_precision import in_single_precision
from smallinit.theory import derive

CODES = [c for c in range(operations.DOT_ADDED + 1) if c != operations.MAP]
FIRST = {False: _addresses.DOUBLE, True: _addresses.SINGLE}


@pytest.fixture
def problem():
    model, data = MODELS["emb-mlp"][0], data_for("emb-mlp")
    return compile_flow(derive(model, "leading"), data, random_weights(model))


@pytest.fixture
def forgotten():
    """Take what carries out an operation out of the process for a test."""

    before = _addresses._ADDRESSES.copy()

    def forget(code):
        _addresses._ADDRESSES[_addresses.DOUBLE + code] = 0

    yield forget
    _addresses._ADDRESSES[:] = before


def slope(problem):
    out, y = np.empty(problem.n), np.linspace(-1.0, 1.0, problem.n)
    problem.rhs(0.0, y, out, problem.floats, problem.ints, np.empty_like(problem.work))
    return out


def test_every_operation_and_function_has_code():
    functions = [_addresses.FIRST_FUNCTION + k for k in range(len(operations.FUNCTIONS))]
    assert sorted(_addresses._SOURCES) == [*CODES, *functions]
    assert max(CODES) < _addresses.FIRST_FUNCTION


@pytest.mark.parametrize("single", [False, True])
def test_a_flow_makes_ready_what_its_table_has(problem, single):
    in_single_precision(problem)
    codes = {int(problem.ints[p]) for p in places(problem)}
    assert codes
    assert all(_addresses._ADDRESSES[FIRST[single] + code] for code in codes - {operations.MAP})


def places(problem):
    p = 2
    for _ in range(int(problem.ints[0])):
        yield p
        p += int(problem.ints[p + 1])


PROGRAM = """
from helpers import MODELS, data_for, random_weights
from smallinit.sim.compile.compiler import compile_flow
from smallinit.sim.kernel.calls import _addresses
from smallinit.theory import derive
model, data = MODELS["emb-mlp"][0], data_for("emb-mlp")
problem = compile_flow(derive(model, "leading"), data, random_weights(model))
p, wanted = 2, set()
for _ in range(problem.ints[0]):
    wanted.add(int(problem.ints[p]))
    p += int(problem.ints[p + 1])
found = _addresses._ADDRESSES[_addresses.DOUBLE : _addresses.SINGLE].nonzero()[0].tolist()
print(sorted(wanted) == found, _addresses._ADDRESSES[_addresses.SINGLE :].any())
"""


def test_a_process_compiles_no_more_than_its_flow_needs():
    env = os.environ | {
        "SMALLINIT_CACHE": str(cache.cache_dir().parent),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run(
        [sys.executable, "-P", "-c", textwrap.dedent(PROGRAM)], env=env, capture_output=True, text=True, check=True
    )  # fmt: skip
    assert done.stdout.split() == ["True", "False"]


def test_a_table_that_nobody_made_ready_is_carried_out(problem, forgotten):
    expected = slope(problem)
    forgotten(operations.DOT)
    np.testing.assert_array_equal(slope(problem), expected)
    assert _addresses._ADDRESSES[_addresses.DOUBLE + operations.DOT]


def test_threads_may_miss_the_same_operation(problem, forgotten):
    expected = slope(problem)
    forgotten(operations.DOT)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: slope(problem), range(32)))
    assert all(np.array_equal(each, expected) for each in found)


def test_an_operation_without_code_gives_no_number(problem, forgotten, monkeypatch):
    """As where it cannot be compiled: the failure is seen in the derivative, and why in a warning."""

    def broken(slot):
        raise OSError("no space left")

    forgotten(operations.DOT)
    monkeypatch.setattr(_addresses, "_load", broken)
    with pytest.warns(RuntimeWarning, match="could not be compiled.*no space left"):
        assert np.isnan(slope(problem)).all()


def product(left, right, turned_left, turned_right):
    """A product by a table of one operation; what is turned is stored as its transpose."""
    a, b = (np.ascontiguousarray(x.T if t else x) for x, t in ((left, turned_left), (right, turned_right)))
    out = np.full((left.shape[0], right.shape[1]), np.nan)
    y = np.concatenate([a.ravel(), b.ravel()])
    parts = [operations.OUT, 0, *out.shape, 0, operations.Y, 0, *a.shape, turned_left]
    parts += [operations.Y, a.size, *b.shape, turned_right]
    table = np.array([1, 2 + 2 + len(parts), operations.DOT, 2 + len(parts), *parts], dtype=np.int64)
    result = out.ravel()
    Problem(rhs, {"y": (0, (y.size, 1))}, ints=table)(0.0, y, result)
    return result.reshape(out.shape)


@pytest.mark.parametrize(
    "shape", [(3, 4, 5), (1, 4, 5), (3, 4, 1), (1, 4, 1), (3, 1, 5), (1, 1, 1), (3, 0, 5)]
)
@pytest.mark.parametrize("turned_left", [False, True])
@pytest.mark.parametrize("turned_right", [False, True])
def test_products_of_all_shapes_and_orientations(shape, turned_left, turned_right):
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=shape[:2]), rng.normal(size=shape[1:])
    np.testing.assert_allclose(product(left, right, turned_left, turned_right), left @ right, atol=1e-14)
