"""Printed equations of optimizers: read back from the page, and what they conserve along integrated flows."""

import re
from functools import cache

import numpy as np
import pytest
import reader
from helpers import MODELS, data_for, random_data, random_weights
from optimizer_flows import by_hand
from reader import Latex, Text, filled, letter

from smallinit.sim import GD, AdamW, Momentum, SignGD, Spectral, StepEquations, WarmupCosine, integrate
from smallinit.theory import EmbMLP, Model, derive
from smallinit.theory.algebra.evaluate import evaluate
from smallinit.theory.data.inputs import COUNTS, weight

OPTIMIZERS = {
    "gd": GD(0.1),
    "gd with decay": GD(0.1, weight_decay=0.3, rates={"W_in": 0.3}),
    "momentum": Momentum(0.1, momentum=0.8, weight_decay=0.05),
    "nesterov": Momentum(0.1, momentum=0.8, nesterov=True, rates={"W_E": 2.0}),
    "adamw": AdamW(0.1, betas=(0.8, 0.95), eps=1e-3, rates={"W_E": 0.5}, decays={"W_in": 2.0}),
    "rmsprop": AdamW(0.1, betas=(0.0, 0.9), weight_decay=0.0),
    "second moment without memory": AdamW(0.1, betas=(0.5, 0.0), eps=1e-2),
    "sign": SignGD(0.1, eps=0.1, decays={"W_out": 0.1}),
    "sharp sign": SignGD(0.1),
    "spectral": Spectral(0.1, momentum=0.5, eps=0.1, rates={"W_out": 2.0}),
    "spectral without memory": Spectral(0.1, eps=0.1, weight_decay=0.1),
}
NAMES = ("emb-mlp", "transformer", "transformer, positions")
STEP = 7.3


def dense(value):
    return value.toarray() if hasattr(value, "toarray") else np.asarray(value)


def polar(eps):
    def factor(v):
        u, x, vt = np.linalg.svd(v, full_matrices=False)
        return (u * (x / np.hypot(x, eps * x[0]))) @ vt if x[0] else 0 * v

    return factor


@pytest.fixture(autouse=True)
def functions(monkeypatch):
    """What these pages have beside the functions of a flow's."""
    for name, function in {"abs": np.abs, "sign": np.sign}.items():
        monkeypatch.setitem(reader.FUNCTIONS, name, function)
    monkeypatch.setitem(reader.MATRIX_FUNCTIONS, "polar", polar(0.1))


def flow_of(name, closure):
    flow = derive(MODELS[name][0] if isinstance(name, str) else name, closure)
    flow.__dict__["_symmetries"] = ()  # tested below
    return flow


@cache
def flow_and_data(name, closure):
    """The same for all optimizers, so that its kernel is compiled once."""
    return flow_of(name, closure), data_for(name)


def wide(name, value, values):
    """A gradient that is printed as 0 has its weight's shape."""
    w = name.removeprefix("g_")
    return np.zeros(np.shape(values[w])) if np.ndim(value) == 0 and w in values and value == 0.0 else value


def one_by_one(page):
    """The page with a rule for every W written out for each: "for W in ..:" and the lines indented below."""
    found = re.search(r"^  for (\S+) in (.*):\n((?:    .*\n)+)", page, re.MULTILINE)
    if not found:
        return page
    any_one, names, rule = found.groups()
    bare = rf"(?<![A-Za-z0-9]){any_one}(?![\w.])|(?<=    d){any_one}(?=/ds)"
    each = (re.sub(bare, name, rule) for name in names.split(", "))
    polar = re.search(rf"^  with u_{any_one} = polar\((\w)_{any_one}\)\n", page, re.MULTILINE)
    lines = [f"  with u_{n} = polar({polar[1]}_{n})\n" for n in names.split(", ")] if polar else []
    return page.replace(found[0], "".join(each)).replace(polar[0] if polar else "\n\n", "".join(lines))


def read_steps(page, values):
    """Name -> value of every line ``dX/ds``."""
    known, page = dict(values), one_by_one(page)
    for name, line in re.findall(r"^ *with (\S+) = (.*)$", page, re.MULTILINE):
        known[name] = wide(name, Text(line.split(":")[0], known).read(), values)
    return {
        name: Text(line, known).read()
        for name, line in re.findall(r"^ *d(\S+)/ds = (.*)$", page, re.MULTILINE)
    }


def page_letter(name):
    """docs/optimizers.md: an index is the weight's own letter."""
    head, _, w = name.partition("_")
    greek = {"kappa": r"\kappa", "lambda": r"\lambda", "eta": r"\eta", "mu": r"\mu", "delta": r"\delta"}
    if head in (*"abvgu", "kappa", "lambda") and w:
        return f"{greek.get(head, head)}_{{{letter(w)}}}"
    return r"\beta_{" + w + "}" if head == "beta" else greek.get(name) or letter(name)


def latex_one_by_one(lines):
    """As `one_by_one`, for lines of LaTeX after a first "W &\\in {..}"."""
    found = re.fullmatch(r"(\S+) &\\in \\left\\{(.*)\\right\\}", lines[0])
    if not found:
        return lines
    any_one, names = found[1], found[2].split(", ")
    bare = re.compile(rf"(?<![A-Za-z]){any_one}(?![A-Za-z_^])")
    rule = [line for line in lines[1:] if bare.search(line)]
    each = [bare.sub(lambda _, name=name: name, line) for name in names for line in rule]
    return [line for line in lines[1:] if line not in rule] + each


def read_steps_latex(page, values):
    known = {page_letter(name): value for name, value in values.items()}
    body = re.search(r"\\begin\{aligned\}\n(.*)\n\\end\{aligned\}", page, re.DOTALL)[1]
    lines = dict(line.split(" &= ") for line in latex_one_by_one(re.split(r" \\\\\n", body)))
    rates = {left: line for left, line in lines.items() if left.startswith(r"\frac")}
    later = [left for left in lines if left not in rates]
    for left in sorted(later, key=lambda left: not re.fullmatch(r"[-\d. \\cdot^{}]+", lines[left])):
        number = re.fullmatch(r"([\d.]+)(?: \\cdot 10\^\{(-?\d+)\})?", lines[left])
        found = float(f"{number[1]}e{number[2] or 0}") if number else Latex(lines[left], known).read()
        known[left] = wide(next((w for w in values if page_letter(f"g_{w}") == left), ""), found, values)
    return {
        left.split("{d}")[1].split("}{\\mathrm")[0]: Latex(line, known).read() for left, line in rates.items()
    }


def stated(o, flow, data, weights, moments):
    shapes = {k: v.shape for k, v in weights.items()}
    state = np.concatenate([block[k].ravel() for block in (weights, *moments) for k in shapes])
    found = by_hand(o, flow, data, STEP, state, shapes)
    named, low = {}, 0
    for m in ("", *o.moments):
        for k, shape in shapes.items():
            named[f"{m}_{k}" if m else k] = found[low : low + np.prod(shape)].reshape(shape)
            low += int(np.prod(shape))
    return named


# Every optimizer with every model, and with every closure.
CELLS = [
    (which, name, ("leading", "softmax", "exact")[(i + j) % 3])
    for i, which in enumerate(OPTIMIZERS)
    for j, name in enumerate(NAMES)
]


@pytest.mark.parametrize(("which", "name", "closure"), CELLS)
def test_the_page_is_the_flow(which, name, closure):
    o, (flow, data) = OPTIMIZERS[which], flow_and_data(name, closure)
    model = flow.model
    weights, rng = random_weights(model), np.random.default_rng(3)
    low = {"a": -1.0, "b": 0.1, "v": -1.0}
    moments = [{k: rng.uniform(low[m], 1.0, v.shape) for k, v in weights.items()} for m in o.moments]
    values = {k: dense(v) for k, v in model.data_matrices(data).items()} | weights
    values |= {str(d): float(size) for d, size in model.sizes.items()} | {
        "s": STEP,
        "n": float(len(values["omega"])),
    }
    values |= {f"{m}_{k}": v for m, block in zip(o.moments, moments, strict=True) for k, v in block.items()}
    expected = stated(o, flow, data, weights, moments)
    page = flow.under(o)
    for found in (read_steps(str(page), values), read_steps_latex(page.latex(), values)):
        by_name = {page_letter(k): v for k, v in expected.items()} | expected
        assert {w for w in weights} <= {k for k in by_name if k in found or page_letter(k) in found}
        for k, value in found.items():
            value = filled(value, by_name[k].shape)
            assert np.abs(value - by_name[k]).max() <= 1e-11 * max(np.abs(by_name[k]).max(), 1e-6), k


@pytest.mark.parametrize("which", ["momentum", "adamw", "spectral"])
def test_the_printed_equations_are_the_limit_of_the_steps(which):
    """Integrated by the classical Runge-Kutta method from the page alone, they approach the steps as the rate falls."""
    model = EmbMLP(4, 3, 2)
    flow, data, gaps = flow_of(model, "leading"), random_data(d_vocab=4), []
    start = {k: 2 * v for k, v in model.init(0.5, 0).items()}
    given = {k: dense(v) for k, v in model.data_matrices(data).items()} | {"n": 1.0}
    for rate, steps in ((4e-3, 10), (2e-3, 20), (1e-3, 40)):
        o = type(OPTIMIZERS[which])(**{**vars(OPTIMIZERS[which]), "learning_rate": rate})
        page = str(flow.under(o))
        g = {k: -v for k, v in flow.rhs(data, start).items()}
        begin = {"a": g, "b": {k: v**2 for k, v in g.items()}, "v": g}
        if isinstance(o, Momentum):
            begin["v"] = {k: g[k] + o.weight_decay * start[k] for k in g}
        now = start | {f"{m}_{k}": v for m in o.moments for k, v in begin[m].items()}

        def slope(s, state, page=page):
            return read_steps(page, given | state | {"s": s})

        def ahead(state, k, h):
            return {name: value + h * k[name] for name, value in state.items()}

        for s in np.arange(0, steps, 1.0):
            k1 = slope(s, now)
            k2 = slope(s + 0.5, ahead(now, k1, 0.5))
            k3 = slope(s + 0.5, ahead(now, k2, 0.5))
            k4 = slope(s + 1.0, ahead(now, k3, 1.0))
            now = {n: v + (k1[n] + 2 * k2[n] + 2 * k3[n] + k4[n]) / 6 for n, v in now.items()}
        end = integrate(flow, data, start, steps=steps, optimizer=o, method="steps", save_at=[steps]).weights
        gaps.append(
            max(np.linalg.norm(now[k] - end[k][-1]) / np.linalg.norm(end[k][-1] - start[k]) for k in start)
        )
    assert gaps[0] < 0.1
    assert np.polyfit(np.log([4, 2, 1]), np.log(gaps), 1)[0] > 0.8, gaps


# --- What is conserved ----------------------------------------------------------------------------------------------

MODEL, DATA = EmbMLP(6, 5, 4), random_data(d_vocab=6, n=25, n_ctx=3)
BALANCES = {"W_E.T*W_E - W_in*W_in.T", "W_in.T*W_in - W_out*W_out.T", "W_out*1"}


def values_along(invariant, path):
    return np.stack([
        evaluate(invariant.expression, {k: v[i] for k, v in path.weights.items()}, MODEL.sizes)
        for i in range(len(path.t))
    ])  # fmt: skip


@pytest.mark.parametrize("closure", ["leading", "softmax"])
@pytest.mark.parametrize(
    ("rates", "decays", "names"),
    [
        ({"W_E": 0.3}, {}, {"10*W_E.T*W_E - 3*W_in*W_in.T", "W_in.T*W_in - W_out*W_out.T", "W_out*1"}),
        ({"W_E": 0.5, "W_out": 2.0}, {}, {"2*W_E.T*W_E - W_in*W_in.T", "2*W_in.T*W_in - W_out*W_out.T", "W_out*1"}),
        ({}, dict.fromkeys(("W_E", "W_in", "W_out"), 0.4), BALANCES),
        ({"W_E": 0.5}, {"W_E": 0.8, "W_in": 0.4}, {"2*W_E.T*W_E - W_in*W_in.T", "W_out*1"}),
        ({}, {"W_E": 0.1}, {"W_in.T*W_in - W_out*W_out.T", "W_out*1"}),
    ],
)  # fmt: skip
def test_weighted_balances_stay_or_fall_with_the_decay(rates, decays, names, closure):
    o = GD(0.02, rates=rates, decays=decays)
    page = derive(MODEL, closure).under(o)
    start = {k: v + 0.3 for k, v in MODEL.init(0.5, 1).items()}
    path = integrate(
        page.flow, DATA, start, steps=100, optimizer=o, method="flow", rtol=1e-10, discrete_start=0, save_at=5
    )
    assert {i.name for i in page.conserved} == names
    for invariant in page.conserved:
        assert invariant.proved
        along = values_along(invariant, path)
        expected = along[0] * np.exp(-invariant.decay * path.t)[:, None, None]
        assert np.abs(along - expected).max() < 1e-7 * np.abs(along[0]).max()
        linear = invariant.name == "W_out*1"
        at = rates.get("W_out", 1.0) * decays.get("W_out", 0.0) if linear else None
        assert invariant.decay == pytest.approx(at) if linear else invariant.decay >= 0.0
        shown = f"falls as e^(-{invariant.decay:g} t)" if invariant.decay else "conserved"
        assert f"  {shown}: {invariant.name}\n" in f"{page}\n"
    # what is left out does change
    missing = {"W_E.T*W_E - W_in*W_in.T"} if decays == {"W_E": 0.1} else set()
    for invariant in derive(MODEL, closure).invariants:
        if invariant.name in missing:
            assert np.ptp(values_along(invariant, path), axis=0).max() > 1e-4


@pytest.mark.parametrize("which", ["adamw", "sign", "spectral", "momentum"])
def test_other_optimizers_keep_nothing_and_say_so(which):
    o, flow = OPTIMIZERS[which], derive(MODEL, "exact")
    page = flow.under(o)
    assert page.conserved == ()
    assert f"conserved: {'no balance' if which in ('spectral', 'momentum') else 'nothing'}" in str(page)
    still = type(o)(**{**vars(o), "weight_decay": 0.0, "decays": {}, "rates": {}})
    path = integrate(flow, DATA, MODEL.init(0.5, 1), steps=60, optimizer=still, method="flow", save_at=3)
    balances = [i for i in flow.invariants if i.name != "W_out*1"]
    assert all(np.ptp(values_along(i, path), axis=0).max() > 1e-5 for i in balances)


# --- The page -------------------------------------------------------------------------------------------------------


class Clashing(Model):
    """Weights with the names that a page gives to what is the optimizer's."""

    @property
    def weight_symbols(self):
        return weight("eta", "d_vocab", 3), weight("s", 3, 3), weight("g_s", 3, "d_vocab")

    @property
    def logits(self):
        a, b, c = self.weight_symbols
        return COUNTS * a * b * c


def test_names_of_the_users_own_are_kept_apart():
    model = Clashing(6)
    flow, o = flow_of(model, "leading"), AdamW(0.1, eps=0.1)
    data, weights = random_data(d_vocab=6), random_weights(model)
    ones = {k: np.ones_like(v) for k, v in weights.items()}
    values = {k: dense(v) for k, v in model.data_matrices(data).items()} | weights
    values |= {f"{m}_{k}": v for m in "ab" for k, v in ones.items()} | {"s_1": STEP}
    found = read_steps(str(flow.under(o)), values)
    expected = stated(o, flow, data, weights, [ones, ones])
    assert set(found) == set(expected)
    for k, value in found.items():
        assert np.abs(value - expected[k]).max() < 1e-12


def test_weights_that_rest_are_shown_to():
    page = str(flow_of("emb-mlp", "drive").under(AdamW(0.1)))
    assert "  dW_in/ds = 0\n" in page
    assert "a_W_in" not in page


def test_notebooks_show_schedule_moments_and_numbers():
    o = AdamW(0.1, schedule=WarmupCosine(5, 10))
    page = flow_of("emb-mlp", "exact").under(o)
    assert isinstance(page, StepEquations)
    shown = page._repr_html_()
    assert "<math" in shown
    assert "<pre>" not in shown
    for words in ("times its schedule at s, WarmupCosine", "at s = 0: a = g, b = g^o2", "conserved"):
        assert words in shown
        assert words in str(page) or words == "conserved"
    assert page._repr_latex_().startswith("$$\n\\begin{aligned}")


def test_strange_weights_are_refused():
    with pytest.raises(ValueError, match="`rates` names the weight 'W_e'"):
        flow_of("emb-mlp", "exact").under(GD(0.1, rates={"W_e": 1.0}))
    with pytest.raises(ValueError, match="`optimizer` must be one such as"):
        flow_of("emb-mlp", "exact").under("adamw")
