"""Squares of the gradients of single sequences against autodiff, sequence by sequence, and against their own flow."""

import numpy as np
import pytest
import sympy as sp
import torch
from helpers import MODELS, data_for, padded_case, random_data, random_weights
from own_models import A, E, EveryPosition, U, own

from smallinit.compare.training.batches import Batches, loss
from smallinit.compare.training.networks import network
from smallinit.sim.compile.companions import compile_squares
from smallinit.theory import AttentionOnly, Dataset, EmbMLP, apply, derive, hadamard
from smallinit.theory.algebra.evaluate import evaluate
from smallinit.theory.algebra.sizes import dimension_sizes
from smallinit.theory.base.arrays import full_array
from smallinit.theory.data.inputs import COUNTS, D_MODEL, N_CTX, ROWS, X_ALL

CLOSURES = ("drive", "leading", "softmax", "activation=3,attention=1", "order=4")
# Two closures of each model by turns; the exact flow of every model is held against its network.
CELLS = [(name, CLOSURES[(i + k) % len(CLOSURES)]) for i, name in enumerate(MODELS) for k in (0, 2)]
OWN = {
    "tied embedding": apply("tanh", COUNTS * E) * E.T,
    "function of a weight": COUNTS * apply("tanh", E) * U,
    "gated weight": COUNTS * hadamard(E, U.T) * U,
    "scale of every direction": COUNTS * E * sp.DiagMatrix(A * sp.OneMatrix(D_MODEL, 1)) * U,
    "two in a row": COUNTS * E * A * A * U,
}


def squares(flow, data, weights):
    problem = compile_squares(flow, data, weights)
    out = np.empty(problem.n)
    problem(0.0, problem.pack(weights), out)
    return {w: problem.unpack(out)[w] for w in problem.layout}


def summed(losses, parameters, weights):
    """sum_i omega_i g_i o g_i of losses, one a sequence."""
    total = {name: np.zeros(p.shape) for name, p in parameters.items()}
    for value, omega in zip(losses, weights, strict=True):
        found = torch.autograd.grad(value, list(parameters.values()), retain_graph=True, allow_unused=True)
        for name, g in zip(parameters, found, strict=True):
            total[name] += 0.0 if g is None else omega * g.numpy() ** 2
    return total


def close(found, wanted):
    for name, value in found.items():
        np.testing.assert_allclose(value, wanted[name], rtol=1e-11, atol=1e-12 * np.abs(wanted[name]).max())


def parameters_of(weights):
    return {k: torch.tensor(v, requires_grad=True) for k, v in weights.items()}


def test_embeddings_through_a_hidden_layer_written_by_hand():
    data, model = random_data(d_vocab=7, n=40, n_ctx=2, held_out=True), EmbMLP(7, 5, 6)
    weights = random_weights(model, 1)
    w, rows = parameters_of(weights), np.flatnonzero(~data.held_out)
    hidden = torch.tanh(w["W_E"][torch.tensor(data.sequences[rows])].sum(dim=1) @ w["W_in"])
    log_p = torch.log_softmax(hidden @ w["W_out"], dim=1)
    losses = -log_p[torch.arange(len(rows)), torch.tensor(data.labels[rows])]
    close(squares(derive(model, "exact"), data, weights), summed(losses, w, data.weights[rows]))


def test_equal_inputs_with_other_labels_are_not_merged():
    data, model = Dataset([[0, 1], [1, 0], [0, 1]], [2, 2, 3], 4, weights=[1.0, 2.0, 3.0]), EmbMLP(4, 3, 3)
    weights = random_weights(model, 1)
    flow = derive(model, "exact")
    found, mean = squares(flow, data, weights), flow.rhs(data, weights)
    assert (found["W_out"] > 1.01 * mean["W_out"] ** 2).any()
    one = [flow.rhs(Dataset([[0, 1]], [label], 4), weights)["W_out"] ** 2 for label in (2, 3)]
    np.testing.assert_allclose(found["W_out"], (one[0] + one[1]) / 2, rtol=1e-12)


def test_attention_at_every_position_written_by_hand():
    data, model = random_data(d_vocab=5, n=12, n_ctx=4), AttentionOnly(5, 4)
    weights = random_weights(model, 2)
    w, tokens = parameters_of(weights), torch.tensor(data.sequences)
    h = torch.nn.functional.one_hot(tokens, 5).to(torch.float64)
    distance = torch.arange(4)[:, None] - torch.arange(4)
    scores = h @ w["W_QK_1"] @ h.transpose(1, 2) + w["w_pos_1"][distance.clamp(min=0), 0]
    attention = torch.softmax(scores.masked_fill(distance < 0, -torch.inf), dim=2)
    log_p = torch.log_softmax((h + attention @ h @ w["W_OV_1"]) @ w["W_U"], dim=2)
    following = torch.cat([tokens[:, 1:], torch.tensor(data.labels)[:, None]], dim=1)
    losses = -log_p.gather(2, following[:, :, None]).mean(dim=(1, 2))
    close(squares(derive(model, "exact"), data, weights), summed(losses, w, data.weights))


@pytest.mark.parametrize("name", MODELS)
def test_every_model_against_its_network(name):
    model, data = MODELS[name][0], data_for(name, seed=3)
    weights = random_weights(model, seed=4, scale=0.6)
    net = network(model, weights)
    ((tokens, labels, omega),) = Batches(model, data, torch.float64, None, 0).full()
    one = torch.ones(1, dtype=torch.float64)
    losses = [loss(net, (tokens[[i]], labels[[i]], one)) for i in range(len(omega))]
    close(
        squares(derive(model, "exact"), data, weights),
        summed(losses, dict(net.named_parameters()), omega.numpy()),
    )


@pytest.mark.parametrize(("name", "closure"), CELLS)
def test_every_closure_against_its_flow_on_single_sequences(name, closure):
    model, data = MODELS[name][0], data_for(name, seed=3, n=6)
    against_single_sequences(derive(model, closure), data)


def test_sequences_with_padding():
    model, data = padded_case()
    against_single_sequences(derive(model, "exact"), data)


def test_rows_of_one_sequence_are_not_merged_with_those_of_another():
    model, data = own(X_ALL * E * U, cls=EveryPosition)
    against_single_sequences(derive(model, "exact"), data)


@pytest.mark.parametrize("name", OWN)
def test_models_of_ones_own(name):
    model, data = own(OWN[name])
    against_single_sequences(derive(model, "exact"), data)


def against_single_sequences(flow, data):
    """Single sequences are evaluated as the equations stand: nothing is compiled for each of them."""
    weights, wanted = random_weights(flow.model, 4, 0.6), {}
    for i in np.flatnonzero(~data.held_out):
        single = Dataset(data.sequences[[i]], data.labels[[i]], data.d_vocab)
        for name, g in slopes(flow, single, weights).items():
            wanted[name] = wanted.get(name, 0.0) + data.weights[i] * g**2
    close(squares(flow, data, weights), wanted)


def slopes(flow, data, weights):
    values = dict(flow.model.data_matrices(data)) | weights
    sizes = flow.model.sizes | {ROWS: values["omega"].shape[0], N_CTX: data.n_ctx}
    return {
        name: np.broadcast_to(
            full_array(evaluate(e, values, sizes | dimension_sizes(e, values))), weights[name].shape
        )
        for name, e in flow.right_hand_sides.items()
    }
