"""Functions of a user's own: what is wrong with them is an error in a sentence, and nothing ends the process."""

import subprocess
import sys

import numba
import numpy as np
import pytest
from scipy.special import exp1

from smallinit.sim import Problem, check_flow, solve
from smallinit.theory.base.errors import FieldError


def reads_beyond(t, y, out):
    for i in range(y.size):
        out[i] = y[i + 1_000_000_000] - y[i]


def writes_beyond(t, y, out):
    for i in range(y.size):
        out[i] = -y[i]
    out[y.size + 1_000_000_000] = 1.0


def other_shape(t, y, out):
    out[:] = np.ones(2)


def gives_up(t, y, out):
    out[:] = -y
    if t < 1.0:
        raise ArithmeticError("too early")


def grows(t, y, out):
    y[:] = np.abs(y)
    out[:] = y


BEYOND = r"with an index beyond its array \(.*\); `y` and `out` have the shape \(3,\)"


@pytest.mark.parametrize(
    ("f", "message", "compiled"),
    [
        (reads_beyond, BEYOND, False),
        (reads_beyond, BEYOND, True),
        (writes_beyond, BEYOND, True),
        (other_shape, r"with ValueError \(cannot assign slice", False),
        (gives_up, r"with ArithmeticError \(too early\)", True),
    ],
)
def test_what_fails_at_the_start_is_refused(f, message, compiled):
    problem = Problem.from_function(numba.njit(f) if compiled else f, 3)
    for call in (lambda: solve(problem, np.ones(3), t1=0.5), lambda: check_flow(problem, np.ones(3))):
        with pytest.raises(
            FieldError, match=rf"`problem` has a right-hand side that fails at the start, {message}"
        ):
            call()


def test_an_index_beyond_an_array_does_not_end_the_process():
    probe = (
        "import numpy as np\n"
        "from smallinit.sim import Problem, solve\n"
        "def f(t, y, out): out[10**12] = y[0]\n"
        "try: solve(Problem.from_function(f, 1), [1.0], t1=1.0)\n"
        "except ValueError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "an index beyond its array" in done.stdout


def test_what_a_function_does_to_its_state_changes_nothing():
    start = -np.ones(3)
    found = solve(Problem.from_function(grows, 3), start, t1=0.1)
    np.testing.assert_array_equal(start, -np.ones(3))
    np.testing.assert_allclose(found.y[-1], -np.exp(-0.1), rtol=1e-5)  # its slope is |y|, of a copy


def bump(t, y, out):
    out[:] = np.exp(-1.0 / t) * y


@pytest.mark.parametrize("compiled", [False, True])
def test_a_division_by_zero_at_the_start_is_infinite_as_it_is_later(compiled):
    """exp(-1/t), which is 0 at 0; log y(1) = 1/e - E1(1)."""
    problem = Problem.from_function(numba.njit(bump) if compiled else bump, 1)
    found = solve(problem, [1.0], t1=1.0)
    np.testing.assert_allclose(np.log(found.y[-1]), np.exp(-1.0) - exp1(1.0), rtol=1e-5)


def test_a_division_by_zero_is_a_fault_where_a_function_is_compiled_so():
    problem = Problem.from_function(numba.njit(error_model="python")(bump), 1)
    with pytest.raises(FieldError, match="fails at the start, with ZeroDivisionError"):
        solve(problem, [1.0], t1=1.0)


def scipy_like(t, y):
    return -y


def remedied(t, y, out):
    out[:] = -y


def as_list(t, y, out):
    out[:] = [-y[0], -y[1]]


def defaulted(t, y, out, rate=1.0):
    out[:] = -rate * y


def any_number(t, *state_and_slope):
    state_and_slope[1][:] = -state_and_slope[0]


@pytest.mark.parametrize("f", [scipy_like, numba.njit(scipy_like)])
def test_a_function_of_scipy_s_form_is_told_what_to_change(f):
    with pytest.raises(FieldError) as refusal:
        Problem.from_function(f, 2)
    assert str(refusal.value) == (
        "`f` must be f(t, y, out), which writes dy/dt to `out`, got scipy_like(t, y): give it a third argument `out`, "
        "and `out[:] = ...` in place of `return ...`."
    )


@pytest.mark.parametrize("f", [remedied, as_list, defaulted, any_number])
def test_the_remedy_works(f):
    found = solve(Problem.from_function(f, 2), [1.0, 2.0], t1=1.0)
    np.testing.assert_allclose(found.y[-1], np.exp(-1.0) * np.array([1.0, 2.0]), rtol=1e-5)


def with_parameters(t, y, out, rate, other):
    out[:] = -rate * y


def by_name(t, y, out, *, rate):
    out[:] = -rate * y


def by_name_or_default(t, y, out, *, rate=2.0):
    out[:] = -rate * y


def any_names(t, y, out, **others):
    out[:] = -y


def of_odeint(y, t, out):
    out[:] = -y


def of_state(y):
    return -y


def imports(t, y, out):
    import math

    out[:] = -y * math.exp(t)


def helper(x):
    return -x


def calls_plain(t, y, out):
    out[:] = helper(y)


def whole_into_one(t, y, out):
    out[0] = y


def returns(t, y, slope):
    return -y


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (
            with_parameters,
            r"got with_parameters\(t, y, out, rate, other\): what it needs besides it can read",
        ),
        (
            by_name,
            r"got by_name\(t, y, out, \*, rate\): what it needs besides it can read from names outside",
        ),
        (by_name_or_default, r"got by_name_or_default\(.*\): what it needs besides it can read from names"),
        (any_names, r"got any_names\(t, y, out, \*\*others\): what it needs besides it can read from names"),
        (of_odeint, r"got of_odeint\(y, t, out\): put its arguments in this order\."),
        (of_state, r"got of_state\(y\): give it a third argument `out`"),
        (imports, r"in numbers and arrays, which numba compiles: Use of unsupported opcode \(IMPORT_NAME\)"),
        (
            calls_plain,
            r"Untyped global name 'helper'.*\. Functions that it calls need a `numba\.njit` of their own\.",
        ),
        (
            whole_into_one,
            r"found for signature: setitem\(array\(float64, 1d, C\), Literal\[int\]\(0\), array",
        ),
    ],
)
def test_what_numba_cannot_is_in_the_message(f, message):
    with pytest.raises(FieldError, match=message):
        Problem.from_function(f, 2)


def test_a_function_that_returns_its_slopes_is_told_that_nobody_reads_them():
    with pytest.raises(
        FieldError, match=r"leaves entries 0, 1 of `out` as it was: .* what it returns is not used"
    ):
        solve(Problem.from_function(returns, 2), np.ones(2), t1=1.0)
