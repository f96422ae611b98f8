import numpy as np
import pytest
import sympy as sp
import torch

from smallinit import theory
from smallinit.compare import train
from smallinit.compare.training.networks import EmbMLPNetwork, SymbolicNetwork, network
from smallinit.compare.training.torch_function import torch_function
from smallinit.sim import AdamW, load_trajectory
from smallinit.sim.compile.logits import logits
from smallinit.theory.base.disk.npz import read_arrays

x = sp.Symbol("x", real=True)
EXPRESSIONS = [
    sp.tanh(x),
    sp.sin(x),
    sp.atan(x),
    sp.asinh(x),
    x,
    x / sp.sqrt(1 + x**2),
    x * (1 + sp.erf(x / sp.sqrt(2))),
    2 * x / (1 + sp.exp(-x)),
    4 / (1 + sp.exp(-x)) - 2,
    x + sp.log(1 + x**2),
    x + x**3 / 3 - sp.pi * x**2,
    x / (1 + x**2) ** sp.Rational(3, 2),
    sp.sin(x) * sp.exp(-(x**2)),
]


@pytest.mark.parametrize("expr", EXPRESSIONS, ids=str)
def test_activation_and_slope_equal_sympy(expr):
    z = torch.linspace(-4, 4, 33, dtype=torch.float64, requires_grad=True)
    value = torch_function(expr, x)(z)
    (slope,) = torch.autograd.grad(value.sum(), z)
    for ours, exact in ((value, expr), (slope, expr.diff(x))):
        expected = np.array([float(sp.N(exact.subs(x, sp.Rational(p)), 30)) for p in z.tolist()])
        np.testing.assert_allclose(ours.detach().numpy(), expected, rtol=1e-14, atol=1e-14)


def test_sigmoid_form_has_finite_gradients_far_out():
    z = torch.tensor([-900.0, 900.0], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(torch_function(2 * x / (1 + sp.exp(-x)), x)(z).sum(), z)
    np.testing.assert_array_equal(slope, [0.0, 2.0])


def test_unknown_function_and_second_symbol_are_refused():
    with pytest.raises(ValueError, match=r"no numerical form is known of the function besselj.*tanh"):
        torch_function(sp.besselj(1, x), x)
    with pytest.raises(ValueError, match="must depend on x alone"):
        torch_function(x * sp.Symbol("a"), x)


def test_parameters_are_the_weights(model, start):
    net = network(model, start)
    assert isinstance(net, EmbMLPNetwork)
    assert {name: tuple(p.shape) for name, p in net.named_parameters()} == model.weights
    assert all(p.dtype == torch.float64 for p in net.parameters())
    for name, value in net.weights().items():
        np.testing.assert_array_equal(value, start[name])


def test_the_start_is_copied(model, start):
    net = network(model, start)
    with torch.no_grad():
        net.W_E.add_(1.0)
    np.testing.assert_array_equal(network(model, start).weights()["W_E"], start["W_E"])


@pytest.mark.parametrize("activation", ["tanh", "gelu", "softsign"])
def test_logits_equal_the_theory_model(data, activation):
    model = theory.EmbMLP(data.d_vocab, 5, 6, activation)
    start = model.init(0.3, seed=0)
    ours = network(model, start)(torch.tensor(data.sequences)).detach().numpy()
    np.testing.assert_allclose(ours, logits(model, start, data.sequences), rtol=1e-12, atol=1e-14)


def test_a_model_of_ones_own_gets_its_twin_from_its_logits(data, model, start):
    class Other(theory.EmbMLP):
        pass

    ours = network(Other(model.d_vocab, 5, 6), start)
    assert isinstance(ours, SymbolicNetwork)
    tokens = torch.tensor(data.sequences)
    expected = network(model, start)(tokens)
    torch.testing.assert_close(ours(tokens), expected, rtol=1e-12, atol=1e-14)


class OneBased(theory.EmbMLP):
    """A user's model whose tokens count from one; it works in place, as one does in a notebook."""

    def inputs(self, sequences):
        sequences -= 1
        return super().inputs(sequences)


def test_a_network_of_symbols_sees_what_is_written_to_its_batch_and_lets_nobody_write_to_it():
    model = OneBased(5, 3, 4)
    start = model.init(0.5, 0)
    net = SymbolicNetwork(model, start)
    batch = torch.tensor([[1, 2], [3, 3]])
    before = net(batch)
    assert batch.tolist() == [[1, 2], [3, 3]]
    batch[0, 0] = 4  # the same tensor, other tokens
    expected = SymbolicNetwork(model, start)(torch.tensor([[4, 2], [3, 3]]))
    assert torch.equal(net(batch), expected)
    assert not torch.equal(before, expected)


class OwnDecoder(theory.Decoder):
    """Nobody knows it: it gets the network of its symbolic logits."""


@pytest.mark.parametrize("options", [{"n_heads": 2, "positions": "rotary"}, {"norm": "post", "padding": 0}])
def test_weights_with_dots_in_their_names(options, tmp_path):
    sizes = {"d_vocab": 7, "d_model": 6, "d_head": 4, "d_mlp": 5, "n_ctx": 3, "biases": True} | options
    known, own = theory.Decoder(**sizes), OwnDecoder(**sizes)
    start = own.init(0.4, 0)
    rows = np.array([[1, 2, 3], [4, 4, 5], [6, 1, 2]])
    data = theory.Dataset(rows, [1, 2, 3], 7)
    net = network(own, start)
    assert isinstance(net, SymbolicNetwork)
    assert {name: tuple(p.shape) for name, p in net.named_parameters()} == own.weights
    wanted = network(known, start)(torch.tensor(rows)).detach().numpy()
    np.testing.assert_allclose(net(torch.tensor(rows)).detach().numpy(), wanted, rtol=1e-11)
    run = train(own, data, start, AdamW(1e-2), steps=6, save_at=[0, 3, 6])
    file = tmp_path / "state.npz"
    train(own, data, start, AdamW(1e-2), steps=3, save_at=[0, 3], checkpoint=file)
    again = train(own, data, start, AdamW(1e-2), steps=6, save_at=[0, 3, 6], checkpoint=file, resume=True)
    loaded = load_trajectory(run.save(tmp_path / "run.nc"), own, data)
    table = run.to_dataframe()
    for name in own.weights:
        np.testing.assert_array_equal(again.weights[name], run.weights[name])
        np.testing.assert_array_equal(loaded.weights[name], run.weights[name])
        assert f"norm/{name}" in table
    np.savez(tmp_path / "start.npz", **run.state(-1))
    stored = read_arrays(tmp_path / "start.npz", (), tuple(own.weights))
    np.testing.assert_array_equal(stored["blocks.1.W_O"], run.weights["blocks.1.W_O"][-1])
