"""Taylor series of flows: unrolled tables, accuracy, ends, the contract of `solve`, lanes, refusals."""

import numpy as np
import pytest
import scipy.sparse as sparse
import sympy as sp
from helpers import MODELS, data_for, random_data, random_weights, small_blocks
from scipy.special import elliprf

from smallinit.sim import Event, Status, integrate, integrate_ensemble, solve
from smallinit.sim.compile.compiler import compile_flow, compile_sides
from smallinit.sim.ensemble.lane_ensemble import PAYS
from smallinit.sim.kernel import operations
from smallinit.sim.kernel._interpreter import rhs
from smallinit.sim.ode.methods.taylor import TaylorMethod
from smallinit.sim.ode.taylor.program import INTEGRALS, LATE, LINEAR, PRODUCTS, RATES
from smallinit.sim.ode.taylor.series_program import series_program
from smallinit.theory import EmbMLP, TwoTokenMLP, derive
from smallinit.theory.algebra.matrices import hadamard, product, transpose
from smallinit.theory.algebra.scalars.functions import X
from smallinit.theory.exact.blow_up_forms import three_factor_blow_up
from smallinit.theory.exact.closed_forms import linear_mode

POLYNOMIAL = ("drive", "leading", "order=6", "order=9")
SMALL = [name for name in MODELS if not name.startswith(("transformer", "attention"))]
MODEL = EmbMLP(6, 5, 4)
DATA = random_data(d_vocab=6)


def trilinear(strength=1.0):
    """One three-factor mode as a derived flow: a matrix M of one entry."""
    flow = derive(EmbMLP(1, 1, 1), "leading")
    return compile_sides(
        flow.equations, {"M": np.array([[strength]])}, dict(flow.model.weights), flow.model.sizes, {}
    )


def starts(batch, gamma=0.8):
    members = [MODEL.init(gamma, seed) for seed in range(batch)]
    return {name: np.stack([m[name] for m in members]) for name in MODEL.weights}


def carry_out(unrolled, y):
    """Values of all slots by numpy, instruction by instruction: coefficient 0, of which rates are no part."""
    slots, table = np.zeros(unrolled.slots), unrolled.ints
    slots[: len(y)] = y
    p = 2 + table[0]
    for _ in range(table[1]):
        code, n = table[p], table[p + 1]
        if code % LATE == LINEAR and code < RATES:
            place, n, result = table[p + 1 : p + 4]
            factors = unrolled.floats[place + 1 : place + 1 + n]
            if code == LINEAR:
                slots[result] = unrolled.floats[place] + factors @ slots[table[p + 4 : p + 4 + n]]
            p += 4 + n
        elif code < RATES:
            size = 4 if code % LATE == PRODUCTS else 2
            a, b = table[p + 6 : p + 6 + 2 * size * n].reshape(n, 2, size).transpose(1, 0, 2)
            if size == 2:
                a, b = np.repeat(a, 2, axis=1), np.tile(b, (1, 2))
            if code < LATE:
                slots[table[p + 2 : p + 6]] = np.sum(slots[a] * slots[b], axis=0)
            p += 6 + 2 * size * n
        elif code <= INTEGRALS:
            p += 2 + 2 * n
        else:
            x, f = table[p + 3 : p + 3 + 2 * n].reshape(2, n)
            found = np.empty(n)
            rhs(0.0, slots[x], found, unrolled.numbers, unrolled.tables[table[p + 2] :], np.empty(1))
            slots[f] = found
            p += 3 + 2 * n
    return slots[table[2 : 2 + table[0]]]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("closure", ["drive", "leading", "softmax", "exact"])
def test_an_unrolled_table_is_the_right_hand_side(name, closure):
    model = MODELS[name][0]
    start = random_weights(model)
    problem = compile_flow(derive(model, closure), data_for(name), start, fold=False)
    y, out = problem.pack(start), np.empty(problem.n)
    problem(0.0, y, out)
    np.testing.assert_allclose(
        carry_out(series_program(problem), y), out, rtol=0.0, atol=1e-14 * np.abs(out).max()
    )


def test_an_unrolled_table_in_blocks_of_rows(monkeypatch):
    small_blocks(monkeypatch, parts=False)
    test_an_unrolled_table_is_the_right_hand_side("emb-mlp", "exact")


def test_a_table_that_threads_share_is_too_large(monkeypatch):
    small_blocks(monkeypatch)
    model = MODELS["emb-mlp"][0]
    problem = compile_flow(derive(model, "exact"), data_for("emb-mlp"), random_weights(model))
    with pytest.raises(ValueError, match="is for small states"):
        series_program(problem)


def test_an_unrolled_table_with_operations_of_wide_data():
    """Sums along rows, and the transpose of tall data met row by row, which small models have not."""
    rng = np.random.default_rng(0)
    x, d = sp.MatrixSymbol("x", 200, 2), sp.MatrixSymbol("D", 200, 8)
    sums, read = product(hadamard(x, x), sp.OneMatrix(2, 1)), product(transpose(d), x)
    tall = sparse.csr_array(np.eye(8)[rng.integers(0, 8, 200)])
    shapes = {"x": (200, 2), "v": (200, 1), "w": (8, 2)}
    problem = compile_sides({"x": x, "v": sums, "w": read}, {"D": tall}, shapes, {}, {})
    y, out = rng.normal(size=problem.n), np.empty(problem.n)
    problem(0.0, y, out)
    np.testing.assert_allclose(carry_out(series_program(problem), y), out, atol=1e-13)
    values = y[:400].reshape(200, 2)
    expected = np.concatenate([y[:400], (values**2).sum(axis=1), (tall.T @ values).ravel()])
    np.testing.assert_allclose(out, expected, atol=1e-13)
    assert {operations.ROW_DOT, operations.CSR_TURNED} <= kinds_of(problem.ints)


def kinds_of(table):
    """Codes of the operations of a table."""
    found, p = set(), 2
    for _ in range(table[0]):
        found.add(int(table[p]))
        p += int(table[p + 1])
    return found


@pytest.mark.parametrize(
    ("name", "closure"),
    [(name, closure) for closure in POLYNOMIAL for name in SMALL]
    + [(name, closure) for closure in ("softmax", "exact") for name in MODELS],
)
def test_closures_agree_with_dop853(name, closure):
    model, scale = MODELS[name][0], 0.2 if closure in POLYNOMIAL else 0.4
    flow, data, start = derive(model, closure), data_for(name), random_weights(model, scale=scale)
    options = {"t1": 4.0, "save_at": 9, "throw": False}
    found = integrate(flow, data, start, method="taylor", rtol=1e-10, **options)
    reference = integrate(flow, data, start, method="dop853", rtol=1e-12, **options)
    assert found.statistics["methods"] == "taylor"
    assert found.outcome.status is reference.outcome.status
    for w, value in reference.weights.items():
        np.testing.assert_allclose(found.weights[w], value, rtol=0.0, atol=2e-10 * np.abs(value).max())


@pytest.mark.parametrize("closure", ["softmax", "exact"])
def test_long_runs_into_the_slow_and_stiff_end(closure):
    model = EmbMLP(3, 2, 2)
    flow, data, start = derive(model, closure), random_data(d_vocab=3, n_ctx=1), model.init(0.8, 1)
    found, reference = (
        integrate(flow, data, start, t1=2e4, save_at=3, rtol=rtol, method=m)
        for m, rtol in (("taylor", 1e-8), ("dop853", 1e-11))
    )
    assert found.statistics["accepted"] < 2 * reference.statistics["accepted"]
    for w, value in reference.weights.items():
        np.testing.assert_allclose(found.weights[w], value, rtol=0.0, atol=1e-6 * np.abs(value).max())


def test_square_activation():
    model = TwoTokenMLP(5, 3, "square")
    data, start = random_data(d_vocab=5, n_ctx=2), random_weights(model, scale=0.3)
    found, reference = (
        integrate(derive(model, "leading"), data, start, t1=2.0, save_at=3, rtol=1e-11, method=m)
        for m in ("taylor", "dop853")
    )
    for w, value in reference.weights.items():
        np.testing.assert_allclose(found.weights[w], value, rtol=0.0, atol=1e-10 * np.abs(value).max())


@pytest.mark.parametrize("rtol", [1e-6, 1e-10, 1e-13])
def test_blow_up_time_of_three_factors(rtol):
    y0 = np.array([0.1, 0.11, 0.12])
    star = float(elliprf(*y0**2)) / 0.7
    assert three_factor_blow_up(*y0, 0.7) == pytest.approx(star, rel=1e-12)
    times = np.linspace(0.0, 1.5 * star, 30)  # star is not among them
    found = solve(
        trilinear(0.7), y0, t1=1.5 * star, rtol=rtol, atol=1e-3 * rtol, method="taylor", save_at=times
    )
    assert found.outcome.status is Status.BLOW_UP
    assert found.outcome.t == pytest.approx(star, rel=max(rtol, 1e-12))
    np.testing.assert_array_equal(found.t, times[times < star])


def test_balanced_linear_mode():
    """Mean squared error of one token: E' = U (s - U E) and U alike, whose product is a linear mode."""
    from sympy import MatrixSymbol

    from smallinit.theory.algebra.matrices import product, total

    a, b, s = MatrixSymbol("A", 1, 1), MatrixSymbol("B", 1, 1), MatrixSymbol("S", 1, 1)
    rest = total(s, product(-1, b, a))
    sides = {"A": product(b, rest), "B": product(rest, a)}
    problem = compile_sides(sides, {"S": np.array([[1.5]])}, {"A": (1, 1), "B": (1, 1)}, {}, {})
    t = np.linspace(0.0, 6.0, 13)
    found = solve(problem, [0.1, 0.1], t1=6.0, rtol=1e-12, atol=1e-15, method="taylor", save_at=t)
    np.testing.assert_allclose(found.y.prod(axis=1), linear_mode(t, 1.5, 0.01), rtol=1e-11)


@pytest.mark.parametrize("order", [4, 7])
def test_order_of_convergence(order):
    y0, t1 = np.array([0.3, 0.5, 0.4]), 1.0
    exact = solve(trilinear(), y0, t1=t1, rtol=1e-14, atol=1e-16, method="taylor", save_at=1).y[-1]
    steps = t1 / np.array([8, 12, 16, 24])
    method, problem = TaylorMethod(fixed_order=order), trilinear()
    ends = [solve(problem, y0, t1=t1, fixed_step=h, method=method, save_at=1).y[-1] for h in steps]
    errors = [np.abs(end - exact).max() for end in ends]
    assert np.polyfit(np.log(steps), np.log(errors), 1)[0] == pytest.approx(order, abs=0.35)


def test_dense_output_and_restart():
    y0, times = np.array([0.3, 0.5, 0.4]), np.sort(np.random.default_rng(0).uniform(0.0, 1.8, 40))
    options = {"rtol": 1e-11, "atol": 1e-14, "method": "taylor"}
    whole = solve(trilinear(), y0, t1=1.8, save_at=times, **options)
    np.testing.assert_array_equal(whole.t, times)
    for i in (3, 20, 39):
        alone = solve(trilinear(), y0, t1=times[i], save_at=1, **options)
        np.testing.assert_allclose(whole.y[i], alone.y[-1], rtol=1e-10)
    half = solve(trilinear(), y0, t1=0.7, save_at=1, **options)
    rest = solve(trilinear(), half.y[-1], t0=0.7, t1=1.8, save_at=1, **options)
    straight = solve(trilinear(), y0, t1=1.8, save_at=1, **options)
    np.testing.assert_allclose(rest.y, straight.y, rtol=1e-10)


def test_events():
    def half(t, weights):
        return float(weights["W_E"][0, 0]) - 1.0

    y0 = np.array([0.3, 0.5, 0.4])
    found = solve(
        trilinear(), y0, t1=5.0, rtol=1e-11, atol=1e-14, method="taylor", save_at=[0.0, 5.0],
        events=Event(half, terminal=True),
    )  # fmt: skip
    assert found.outcome.status is Status.EVENT
    assert found.y[-1, 0] == pytest.approx(1.0, abs=1e-13)
    reference = solve(
        trilinear(), y0, t1=5.0, rtol=1e-12, atol=1e-15, method="dop853", events=Event(half, terminal=True)
    )
    assert found.outcome.t == pytest.approx(reference.outcome.t, rel=1e-10)


def test_limits_and_ends():
    y0 = [0.3, 0.5, 0.4]
    few = solve(trilinear(), y0, t1=2.0, method="taylor", max_steps=2, save_at=[0.0, 2.0])
    assert few.outcome.status is Status.MAX_STEPS
    assert few.statistics["accepted"] == 2
    short = solve(trilinear(), y0, t1=9.0, method="taylor", max_seconds=1e-9)
    assert short.outcome.status is Status.MAX_SECONDS
    still = solve(trilinear(), y0, t1=0.0, method="taylor")
    np.testing.assert_array_equal(still.y, [y0])
    rest = solve(trilinear(), [0.0, 0.0, 0.0], t1=1e6, method="taylor", save_at=1)
    np.testing.assert_array_equal(rest.y, np.zeros((1, 3)))
    with pytest.raises(ValueError, match="`y0` must be finite"):
        solve(trilinear(), [np.nan, 0.5, 0.4], t1=1.0, method="taylor")
    with pytest.raises(ValueError, match="must be finite at the start"):
        solve(trilinear(), [1e200, 1e200, 1.0], t1=1.0, method="taylor")


@pytest.mark.parametrize("size", [1e-30, 1e-8, 1e30])
def test_any_scale_of_time(size):
    """The flow is homogeneous: a start `factor` times as large lives through the same, `factor` times as fast."""
    y0 = np.array([0.3, 0.5, 0.4])
    unit = solve(trilinear(), y0, t1=2.0, method="taylor", rtol=1e-10, atol=1e-13, save_at=1)
    other = solve(
        trilinear(), size * y0, t1=2.0 / size, method="taylor", rtol=1e-10, atol=1e-13 * size, save_at=1
    )
    np.testing.assert_allclose(other.y / size, unit.y, rtol=1e-9)
    assert abs(other.statistics["accepted"] - unit.statistics["accepted"]) <= 1


@pytest.mark.parametrize("closure", ["leading", "softmax", "exact"])
def test_members_do_not_depend_on_neighbours_threads_or_blocks(closure):
    flow, batch = derive(MODEL, closure), starts(21)
    options = {"save_at": 4, "rtol": 1e-9, "method": "taylor"}
    good = integrate_ensemble(flow, DATA, batch, t1=2.0, threads=1, **options)
    bad = {name: value.copy() for name, value in batch.items()}
    for value in bad.values():
        value[2] *= 12.0  # blows up, if nothing saturates
        value[4] = 1e200  # not finite at the start, unless tanh is flat there
    fails = closure != "exact"
    for threads in (1, 3):
        found = integrate_ensemble(flow, DATA, bad, t1=2.0, threads=threads, **options)
        assert (found.outcomes[2].status is Status.BLOW_UP) == (closure == "leading")
        assert (found.outcomes[4].status is Status.NON_FINITE) == fails
        assert ("finite at the start" in str(found.outcomes[4])) == fails
        assert found.reached[4].any() != fails
        for i in set(range(21)) - {2, 4}:
            assert found.outcomes[i] == good.outcomes[i]
            for name in MODEL.weights:
                np.testing.assert_array_equal(found.weights[name][i], good.weights[name][i])
    for i in (2, 7, 20):
        alone = integrate(
            flow, DATA, {w: v[i] for w, v in bad.items()}, t1=2.0, save_at=4, rtol=1e-9, method="taylor"
        )
        member = integrate_ensemble(flow, DATA, {w: v[i : i + 1] for w, v in bad.items()}, t1=2.0, **options)
        assert alone.outcome == member.outcomes[0] == found.outcomes[i]
        assert alone.statistics["accepted"] == found.statistics["accepted"][i]
        for name in MODEL.weights:
            np.testing.assert_array_equal(member.weights[name][0], found.weights[name][i])
            np.testing.assert_array_equal(alone.weights[name], found[i].weights[name])


def test_ensemble_limits_and_own_ends():
    flow, batch = derive(MODEL, "leading"), starts(5)
    ends = [1.0, 2.0, 0.5, 3.0, 1.5]
    clocked = integrate_ensemble(flow, DATA, batch, t1=ends, method="taylor", max_seconds=60.0)
    lanes = integrate_ensemble(flow, DATA, batch, t1=ends, method="taylor")
    np.testing.assert_array_equal(clocked.weights["W_E"], lanes.weights["W_E"])
    np.testing.assert_array_equal(lanes.t[:, 0], ends)
    few = integrate_ensemble(flow, DATA, batch, t1=1e3, method="taylor", max_steps=2)
    assert {o.status for o in few.outcomes} == {Status.MAX_STEPS}
    alone = integrate(
        flow, DATA, {w: v[1] for w, v in batch.items()}, 1e3, method="taylor", max_steps=2, throw=False
    )
    assert alone.outcome == few.outcomes[1]


def test_automatic_choice_says_what_it_chose():
    batch = starts(3)
    leading, softmax = derive(MODEL, "leading"), derive(MODEL, "softmax")
    assert set(integrate_ensemble(leading, DATA, batch, t1=1.0).statistics["methods"]) == {"taylor"}
    assert set(integrate_ensemble(leading, DATA, batch, t1=1.0, rtol=1e-3).statistics["methods"]) == {"tsit5"}
    assert set(integrate_ensemble(softmax, DATA, batch, t1=1.0).statistics["methods"]) == {"taylor"}
    assert set(integrate_ensemble(softmax, DATA, batch, t1=1.0, rtol=1e-4).statistics["methods"]) == {
        "taylor"
    }
    large = EmbMLP(20, 16, 16)
    start = {name: value[None] for name, value in large.init(0.8, 0).items()}
    runs = integrate_ensemble(derive(large, "leading"), random_data(d_vocab=20), start, t1=50.0)
    problem = compile_flow(derive(large, "leading"), random_data(d_vocab=20), large.init(0.8, 0), fold=False)
    assert series_program(problem).work > PAYS
    assert runs[0].statistics["methods"] == "dop853"


def test_functions_without_a_series_are_refused():
    model = EmbMLP(6, 5, 4, sp.Piecewise((X, X < 1), (X - (X - 1) ** 3 / (1 + X), True)))
    flow, start = derive(model, "exact"), model.init(0.8, 0)
    with pytest.raises(
        ValueError,
        match='applies a function in pieces, whose Taylor series is not known: use method="dop853"',
    ):
        integrate(flow, DATA, start, t1=1.0, method="taylor")
    batch = {name: value[None] for name, value in start.items()}
    runs = integrate_ensemble(flow, DATA, batch, t1=1.0)
    assert runs[0].statistics["methods"] == "dop853"


def test_what_else_is_refused(problem):
    with pytest.raises(ValueError, match="got a right-hand side given as code"):
        solve(problem("square"), [1.0], t1=0.5, method="taylor")
    big = EmbMLP(60, 90, 90)
    with pytest.raises(ValueError, match='more than 400,000 products a call; use method="dop853"'):
        integrate(derive(big, "leading"), random_data(d_vocab=60), big.init(0.8, 0), t1=1.0, method="taylor")
    with pytest.raises(ValueError, match="`fixed_order` must be an integer from 2 to 60"):
        TaylorMethod(fixed_order=1)
