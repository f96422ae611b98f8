"""The table of every model, closure and loss, carried out by torch, against the interpreter."""

import numpy as np
import pytest
import torch
from helpers import MODELS, data_for, random_data, random_weights, small_blocks

from smallinit.sim.compile.compiler import compile_flow
from smallinit.sim.device import tensor_rules
from smallinit.sim.device.tensor_functions import PARAMETRIC, UNARY
from smallinit.sim.device.tensor_program import TensorProgram
from smallinit.sim.kernel import _interpreter, operations
from smallinit.sim.kernel.problem import Problem
from smallinit.theory import Dataset, Decoder, EmbMLP, derive
from smallinit.theory.base.errors import FieldError

FEW = ("drive", "leading", "softmax", "order=6", "order=7", "exact")  # higher orders only repeat operations
DECODERS = {
    "pre": {"norm": "pre", "predict": "all"},
    "post, rms": {"norm": "post", "norm_kind": "rms", "predict": "last"},
    "biases, padding": {"norm": "pre", "biases": True, "padding": 0, "predict": "all"},
    "no norm, gelu": {"norm": None, "activation": "gelu", "predict": "last"},
}
NO_CODES = ("Y", "FLOATS", "WORK", "OUT", "OWN", "LOST", "TEAM_HEAD")
ARGUMENTS = {  # where a function is defined, and away from its poles
    "log": (0.1, 5.0), "asin": (-0.9, 0.9), "acos": (-0.9, 0.9), "acosh": (1.1, 5.0), "atanh": (-0.9, 0.9),
    "gamma": (-3.9, 9.0), "loggamma": (0.1, 90.0), "power": (0.1, 5.0), "softplus": (-40.0, 40.0),
    "expit": (-40.0, 40.0),
}  # fmt: skip


def compared(flow, data, weights, device):
    """Largest difference between the two right-hand sides, relative to the largest entry."""
    problem = compile_flow(flow, data, weights)
    y, out = problem.pack(weights), np.empty(problem.n)
    problem(0.0, y, out)
    program, state = TensorProgram(problem, device), torch.tensor(y).to(device)
    found = torch.full_like(state, torch.nan)
    for _ in range(2):  # nothing is left over from the first call
        program(0.0, state, found)
    np.testing.assert_array_equal(state.cpu().numpy(), y)
    return np.abs(found.cpu().numpy() - out).max() / np.abs(out).max()


@pytest.mark.parametrize("name", MODELS)
def test_every_model_under_every_closure(name, device):
    model, _ = MODELS[name]
    for closure in FEW:
        assert compared(derive(model, closure), data_for(name), random_weights(model), device) < 1e-12, (
            closure
        )


@pytest.mark.parametrize("options", DECODERS.values(), ids=DECODERS)
def test_decoders(options, device):
    model = Decoder(7, 6, 4, 8, 5, n_layers=2, n_heads=2, **options)
    data = random_data(n=12, n_ctx=5)
    data = Dataset(data.sequences, 1 + data.labels % 6, 7, weights=data.weights)  # none is padding
    closures = ("exact", "softmax", "leading") if model.norm is None else ("exact", "norm=linear")
    for closure in closures:
        flow = derive(model, closure)
        assert compared(flow, data, random_weights(model), device) < 1e-12, closure


def test_a_table_in_blocks(device, monkeypatch):
    """Not what a device is given, but the same equations."""
    small_blocks(monkeypatch, parts=False)
    for name in ("emb-mlp", "transformer"):
        flow = derive(MODELS[name][0], "exact")
        assert compared(flow, data_for(name, n=40), random_weights(flow.model), device) < 1e-12


def test_large_intermediates_are_made_block_by_block(device, monkeypatch):
    monkeypatch.setattr(tensor_rules, "MOST_AT_ONCE", 13)
    for name in ("emb-mlp", "transformer"):
        model, _ = MODELS[name]
        assert compared(derive(model, "softmax"), data_for(name), random_weights(model), device) < 1e-12
    rare = random_data(d_vocab=200, n=60)
    model = EmbMLP(200, 5, 4)
    assert compared(derive(model, "leading"), rare, random_weights(model), device) < 1e-12


def test_every_operation_has_a_rule_and_every_function_its_form():
    known = {c for name, c in vars(operations).items() if isinstance(c, int) and name not in NO_CODES}
    shared = {operations.TEAM, operations.PART, operations.DOT_ADDED}  # by threads of the processor
    assert set(tensor_rules.RULES) == known - shared
    assert (*PARAMETRIC, *UNARY) == operations.FUNCTIONS


def of_function(name, n):
    """A problem that applies 0.7 x, and then one function, with parameter 0.4."""
    array = [n, 1, 0]
    numbers = [operations.FUNCTIONS.index(name), 0, operations.OUT, 0, *array, operations.Y, 0, *array]
    table = [operations.MAP, len(numbers) + 2, *numbers]
    ints = np.array([1, len(table) + 2, *table])
    return Problem(_interpreter.rhs, {"y": (0, (n, 1))}, np.array([0.7, 0.4, 0.0]), ints, compiled=True)


@pytest.mark.parametrize("name", operations.FUNCTIONS)
def test_functions(name, device):
    low, high = ARGUMENTS.get(name, (-3.0, 3.0))
    y = np.linspace(low, high, 57) / 0.7
    problem, out = of_function(name, y.size), np.empty(y.size)
    problem(0.0, y, out)
    found = torch.full((y.size,), torch.nan, dtype=torch.float64, device=device)
    TensorProgram(problem, device)(0.0, torch.tensor(y).to(device), found)
    np.testing.assert_allclose(found.cpu().numpy(), out, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", ["above", "at_least", "at_most", "exp", "tanh", "power"])
def test_what_is_no_number_stays_none(name, device):
    y = np.array([np.nan, np.inf, -np.inf])
    problem, out = of_function(name, 3), np.empty(3)
    problem(0.0, y, out)
    found = torch.empty(3, dtype=torch.float64, device=device)
    TensorProgram(problem, device)(0.0, torch.tensor(y).to(device), found)
    np.testing.assert_array_equal(found.cpu().numpy(), out)


def test_a_right_hand_side_of_ones_own_is_refused(problem):
    with pytest.raises(FieldError, match="`device` is for derived flows; a right-hand side of your own"):
        TensorProgram(problem("square"), "cpu")


def test_labels_that_merge_and_rows_that_do_not(device):
    rng = np.random.default_rng(1)
    data = Dataset(rng.integers(0, 3, (50, 2)), rng.integers(0, 6, 50), 6)
    model = EmbMLP(6, 5, 4)
    for closure in ("softmax", "exact"):
        assert compared(derive(model, closure), data, random_weights(model, scale=5.0), device) < 1e-12
