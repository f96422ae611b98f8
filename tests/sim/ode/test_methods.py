"""Order conditions from the rooted trees: steps, error estimates and dense outputs."""

from functools import cache
from itertools import combinations_with_replacement

import numpy as np
import pytest

from smallinit.sim.ode.methods import METHODS, find_method
from smallinit.sim.ode.methods import dop853_table as table
from smallinit.sim.ode.methods.dop853 import DOP853
from smallinit.sim.ode.methods.euler import EULER
from smallinit.sim.ode.methods.tsit5 import TSIT5

TABLES = pytest.mark.parametrize("method", [TSIT5, DOP853, EULER], ids=lambda m: m.name)


@cache
def trees(order):
    """All rooted trees with `order` vertices, as sorted tuples of subtrees."""
    if order == 1:
        return ((),)
    found = set()
    for parts in partitions(order - 1, order - 1):
        found.update(forests(parts))
    return tuple(sorted(found, key=repr))


def partitions(total, largest):
    if total == 0:
        yield ()
    for first in range(min(total, largest), 0, -1):
        for rest in partitions(total - first, first):
            yield (first, *rest)


def forests(parts):
    sets = [()]
    for size in sorted(set(parts)):
        choices = combinations_with_replacement(trees(size), parts.count(size))
        sets = [old + new for new in list(choices) for old in sets]
    return [tuple(sorted(s, key=repr)) for s in sets]


def vertices(tree):
    return 1 + sum(vertices(s) for s in tree)


def density(tree):
    return vertices(tree) * np.prod([density(s) for s in tree])


def stage_vector(tree, a):
    """Elementary weights of a tree at the stages: prod over subtrees of a @ (stage vector of the subtree)."""
    value = np.ones(len(a))
    for subtree in tree:
        value = value * (a @ stage_vector(subtree, a))
    return value


def full_table(method):
    """Table with the stage f(t + h, y_new) and the extra stages of the dense output."""
    s, x = method.stages, len(method.c_extra)
    a = np.zeros((s + 1 + x, s + 1 + x))
    a[:s, :s], a[s, :s], a[s + 1 :] = method.a, method.b, method.a_extra
    return a


def test_number_of_trees():
    assert [len(trees(n)) for n in range(1, 9)] == [1, 1, 2, 4, 9, 20, 48, 115]


@TABLES
def test_step_fulfils_every_order_condition(method):
    for order in range(1, method.order + 1):
        for tree in trees(order):
            assert method.b @ stage_vector(tree, method.a) == pytest.approx(1.0 / density(tree), abs=3e-14), (
                tree
            )


@TABLES
def test_step_is_not_of_a_higher_order(method):
    defects = [method.b @ stage_vector(t, method.a) - 1.0 / density(t) for t in trees(method.order + 1)]
    assert np.max(np.abs(defects)) > 1e-8


@pytest.mark.parametrize(
    ("method", "row", "order"), [(TSIT5, 0, 4), (DOP853, 0, 5), (DOP853, 1, 3), (EULER, 0, 1)]
)
def test_error_estimate_vanishes_up_to_its_order_and_no_further(method, row, order):
    a, e = full_table(method), np.zeros(method.stages + 1 + len(method.c_extra))
    e[: method.stages + 1] = method.e[row]
    for p in range(1, order + 1):
        assert max(abs(e @ stage_vector(t, a)) for t in trees(p)) < 1e-13
    assert max(abs(e @ stage_vector(t, a)) for t in trees(order + 1)) > 1e-6


@TABLES
@pytest.mark.parametrize("theta", [0.05, 0.3, 0.5, 0.77, 0.99])
def test_dense_output_fulfils_every_order_condition(method, theta):
    a, weights = full_table(method), method.interpolant(np.array(theta))
    for order in range(1, method.dense_order + 1):
        for tree in trees(order):
            exact = theta**order / density(tree)
            assert weights @ stage_vector(tree, a) == pytest.approx(exact, abs=2e-13), tree


@TABLES
def test_dense_output_meets_both_ends_with_their_slopes(method):
    s = method.stages
    start, end = method.interpolant(np.array([0.0, 1.0]))
    np.testing.assert_allclose(start, 0.0, atol=1e-15)
    np.testing.assert_allclose(end[:s], method.b, atol=3e-15)
    np.testing.assert_allclose(end[s:], 0.0, atol=1e-15)
    d = 1e-6
    left, right = (method.interpolant(np.array([x, x - d])) for x in (d, 1.0))
    np.testing.assert_allclose((left[0] - left[1]) / d, np.eye(end.size)[0], atol=1e-3)
    np.testing.assert_allclose((right[0] - right[1]) / d, np.eye(end.size)[s], atol=1e-3)


def test_the_table_of_dop853_is_hairers_to_the_last_bit():
    from scipy.integrate import DOP853 as scipy

    for mine, theirs in (
        (table.C, scipy.C[:12]),
        (table.C_EXTRA, scipy.C_EXTRA),
        (table.A, scipy.A[:12, :12]),
        (table.B, scipy.B),
        (table.A_EXTRA, scipy.A_EXTRA),
        (table.E, [scipy.E5, scipy.E3]),
        (table.D, scipy.D),
    ):
        np.testing.assert_array_equal(mine, theirs)


@TABLES
def test_nodes_are_row_sums(method):
    np.testing.assert_allclose(method.a.sum(axis=1), method.c, atol=2e-15)
    np.testing.assert_allclose(method.a_extra.sum(axis=1), method.c_extra, atol=2e-15)


@TABLES
def test_compressed_rows_hold_the_table(method):
    pointers, columns, values = method.step_rows
    s = method.stages
    dense = np.zeros((len(pointers) - 1, s + 1))
    for i in range(len(dense)):
        part = slice(pointers[i], pointers[i + 1])
        dense[i, columns[part]] = values[part]
    np.testing.assert_array_equal(dense[:s, :s], method.a)
    np.testing.assert_array_equal(dense[s, :s], method.b)
    np.testing.assert_array_equal(dense[s + 1 :], method.e)


def test_default_method_follows_the_tolerance():
    assert find_method(None, 1e-6) is DOP853
    assert find_method(None, 1e-5) is TSIT5
    assert find_method(DOP853, 0.1) is DOP853
    assert find_method("tsit5", 1e-9) is METHODS["tsit5"]


def test_unknown_method_is_named():
    listed = "`method` 'magnus' is unknown: choose one of tsit5, dop853, rkc, bdf, euler, taylor"
    with pytest.raises(ValueError, match=listed):
        find_method("magnus", 1e-6)


ELSEWHERE = {
    "RK45": "'tsit5' takes", "dopri5": "'tsit5' takes", "rk4": "'tsit5' takes", "dopri8": "'dop853' takes",
    "Radau": "'bdf' takes", "Kvaerno5": "'bdf' takes", "ROCK4": "'rkc' takes", "LSODA": "leave it out: a",
    "Tsit5": "did you mean 'tsit5'", "DOP853": "did you mean 'dop853'", "BDF": "did you mean 'bdf'",
    "Euler": "did you mean 'euler'",
}  # fmt: skip


@pytest.mark.parametrize("theirs", ELSEWHERE)
def test_a_method_of_another_package_is_answered_by_ours(theirs):
    """As of SciPy, diffrax, torchdiffeq."""
    with pytest.raises(ValueError, match=f"`method` '{theirs}' is unknown: {ELSEWHERE[theirs]}"):
        find_method(theirs, 1e-6)
