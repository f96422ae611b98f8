import numpy as np
import pytest
import torch

from smallinit.compare import train
from smallinit.compare.training.batches import Batches, loss_and_gradient
from smallinit.compare.training.networks import network
from smallinit.compare.training.settings import save_steps
from smallinit.sim import IntegrationError
from smallinit.theory import EmbMLP

OPTIMIZERS = {"gd": {}, "sgd": {"batch_size": 7}, "adamw": {"batch_size": 7, "weight_decay": 0.01}}


def numpy_loss(weights, data, s=lambda z: z):
    f = s(data.counts @ weights["W_E"] @ weights["W_in"]) @ weights["W_out"]
    p = np.exp(f) / np.exp(f).sum(axis=1, keepdims=True)
    w = np.where(data.held_out, 0.0, data.weights)
    return -w @ np.log(p[np.arange(len(f)), data.labels]), p, w / w.sum()


def numpy_gradient(weights, data):
    C, (_, p, w) = data.counts.toarray(), numpy_loss(weights, data)
    E, W1, W2 = (weights[name] for name in ("W_E", "W_in", "W_out"))
    G = C.T @ (w[:, None] * (p - data.label_matrix.toarray()))
    return {"W_E": G @ W2.T @ W1.T, "W_in": E.T @ G @ W2.T, "W_out": W1.T @ E.T @ G}


def test_gradient_equals_finite_differences(weighted):
    model = EmbMLP(6, 4, 5)
    weights = model.init(0.2, seed=0)
    net = network(model, weights)
    loss = loss_and_gradient(net, Batches(model, weighted, torch.float64, None, 0).draw())
    assert loss == pytest.approx(numpy_loss(weights, weighted, np.tanh)[0], rel=1e-13)
    rng, h = np.random.default_rng(0), 1e-5
    for name, p in net.named_parameters():
        direction = rng.normal(size=p.shape)
        sides = [
            numpy_loss(weights | {name: weights[name] + e * direction}, weighted, np.tanh)[0] for e in (h, -h)
        ]
        assert (p.grad.numpy() * direction).sum() == pytest.approx((sides[0] - sides[1]) / (2 * h), rel=1e-7)


@pytest.mark.parametrize("decay", [0.0, 0.05])
def test_gd_equals_a_plain_loop(weighted, decay):
    model = EmbMLP(6, 4, 5, "identity")
    weights = model.init(0.4, seed=1)
    run = train(model, weighted, weights, steps=200, save_at=[0, 200], learning_rate=0.2, weight_decay=decay)
    for _ in range(200):
        gradient = numpy_gradient(weights, weighted)
        weights = {name: w - 0.2 * (gradient[name] + decay * w) for name, w in weights.items()}
    for name, value in weights.items():
        np.testing.assert_allclose(run.weights[name][-1], value, rtol=0, atol=1e-12)
    assert run.statistics["final_loss"] == pytest.approx(numpy_loss(weights, weighted)[0], rel=1e-12)


def test_chunks_add_up_to_the_whole(weighted, monkeypatch):
    model = EmbMLP(6, 4, 5)
    weights = model.init(0.3, seed=0)
    whole = train(model, weighted, weights, steps=5)
    monkeypatch.setattr("smallinit.compare.training.batches.CHUNK", 4)
    pieces = train(model, weighted, weights, steps=5)
    np.testing.assert_allclose(pieces.weights["W_E"], whole.weights["W_E"], rtol=1e-13)


def test_minibatches_follow_the_row_weights(weighted):
    batches = Batches(EmbMLP(6, 4, 5), weighted, torch.float64, 20_000, seed=0)
    drawn = np.array([(*row, *y) for chunk in batches.draw() for row, y in zip(*chunk[:2], strict=True)])
    rows = ~weighted.held_out
    wanted = np.column_stack([weighted.sequences, weighted.labels])[rows]
    share = [(drawn == row).all(axis=1).mean() for row in wanted]
    np.testing.assert_allclose(share, weighted.weights[rows], atol=0.01)


def test_trajectory_says_what_it_is(model, data, start):
    run = train(model, data, start, steps=30, learning_rate=0.25, save_at=[0, 10, 30])
    assert run.kind == "training"
    assert run.outcome.success
    np.testing.assert_array_equal(run.steps, [0, 10, 30])
    np.testing.assert_array_equal(run.t, [0.0, 2.5, 7.5])
    np.testing.assert_array_equal(run.weights["W_in"][0], start["W_in"])
    assert run["loss"][-1] < run["loss"][0]
    assert run["loss"][-1] == pytest.approx(run.statistics["final_loss"], rel=1e-12)
    assert {"optimizer", "learning_rate", "seed", "config_hash", "data", "start"} <= set(run.provenance)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_same_seed_same_bits(model, data, start, optimizer):
    runs = [train(model, data, start, optimizer, 0.05, 20, **OPTIMIZERS[optimizer]) for _ in range(2)]
    assert all(np.array_equal(runs[0].weights[name], runs[1].weights[name]) for name in start)


def test_another_seed_draws_other_batches(model, data, start):
    runs = [train(model, data, start, "sgd", 0.05, 20, seed=seed) for seed in (0, 1)]
    assert not np.array_equal(runs[0].weights["W_E"], runs[1].weights["W_E"])


def test_global_torch_state_is_untouched(model, data, start):
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    with torch.no_grad():
        train(model, data, start, "adamw", 0.01, 3, batch_size=4)
        assert not torch.is_grad_enabled()
    with torch.inference_mode():
        train(model, data, start, steps=3)
        assert torch.is_inference_mode_enabled()
    assert torch.equal(before, torch.random.get_rng_state())
    assert (threads, dtype) == (torch.get_num_threads(), torch.get_default_dtype())


def test_divergence_keeps_what_came_before(weighted):
    model = EmbMLP(6, 4, 5, "identity")
    start = model.init(0.0, seed=0)
    arguments = {"learning_rate": 1e6, "steps": 50, "save_at": range(51)}
    run = train(model, weighted, start, throw=False, **arguments)
    assert not run.outcome.success
    assert "diverged" in str(run.outcome)
    assert "lower `learning_rate`" in str(run.outcome)
    assert 1 <= len(run.t) <= 50
    assert all(np.isfinite(value).all() for value in run.weights.values())
    with pytest.raises(IntegrationError, match="training diverged") as caught:
        train(model, weighted, start, **arguments)
    np.testing.assert_array_equal(caught.value.trajectory.weights["W_E"], run.weights["W_E"])


def test_no_steps_returns_the_start(model, data, start):
    run = train(model, data, start, steps=0)
    np.testing.assert_array_equal(run.t, [0.0])
    np.testing.assert_array_equal(run.weights["W_E"][0], start["W_E"])


def test_float32_warns_of_denormals(model, data, start):
    small = {name: 1e-12 * value for name, value in start.items()}
    with pytest.warns(UserWarning, match=r'denormal.*use dtype="float64"'):
        run = train(model, data, small, steps=1, dtype="float32")
    assert run.weights["W_E"].dtype == np.float64


def test_progress_bar_is_shown_on_request(model, data, start, capsys):
    train(model, data, start, steps=2)
    assert capsys.readouterr().err == ""
    train(model, data, start, steps=2, progress=True)
    assert "training: 2 steps" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("save_at", "steps", "expected"),
    [
        (None, 4, [0, 1, 2, 3, 4]),
        (None, 1000, range(0, 1001, 10)),
        (None, 0, [0]),
        (3, 10, [0, 5, 10]),
        (1, 10, [10]),
        (50, 3, [0, 1, 2, 3]),
        ([2, 7], 10, [2, 7]),
        (np.array([0.0, 5.0]), 10, [0, 5]),
        (range(3), 2, [0, 1, 2]),
    ],
)
def test_save_at(save_at, steps, expected):
    np.testing.assert_array_equal(save_steps(save_at, steps), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"optimizer": "adam"}, "`optimizer` 'adam' is unknown: did you mean 'adamw'"),
        ({"optimizer": 3}, "`optimizer` 3 is unknown: choose one of gd"),
        ({"learning_rate": 0.0}, "`learning_rate` must be positive, got 0.0."),
        ({"learning_rate": float("nan")}, "`learning_rate` must be a finite number, got nan."),
        ({"learning_rate": "fast"}, "`learning_rate` must be a finite number, got 'fast'."),
        ({"steps": -1}, "`steps` must be an integer of at least 0, got -1."),
        ({"steps": 2.5}, "`steps` must be an integer of at least 0, got 2.5."),
        ({"steps": True}, "`steps` must be an integer of at least 0, got True."),
        ({"save_at": 0}, "`save_at` must be an integer of at least 1, got 0."),
        ({"save_at": []}, "`save_at` must be None, a count, or an increasing list of steps, got an array"),
        ({"save_at": "all"}, "`save_at` must be None, a count, or an increasing list of steps, got 'all'."),
        ({"save_at": [0.5]}, "got 0.5: divide flow times by the learning rate"),
        ({"save_at": [3, 1]}, "got repeated or unordered steps"),
        ({"save_at": [1, 1]}, "got repeated or unordered steps"),
        ({"save_at": [0, 11]}, r"`save_at` must lie in \[0, steps\] = \[0, 10\], got 11."),
        ({"batch_size": 5}, "`batch_size` is 5 but 'gd' takes the full batch"),
        ({"optimizer": "sgd", "batch_size": 0}, "`batch_size` must be an integer of at least 1, got 0."),
        ({"optimizer": "sgd", "batch_size": 999}, "`batch_size` is 999 but the data has"),
        ({"seed": -1}, "`seed` must be an integer of at least 0, got -1."),
        ({"dtype": "float16"}, "`dtype` 'float16' is unknown: did you mean 'float"),
        ({"weight_decay": -0.1}, "`weight_decay` must not be negative, got -0.1."),
        ({"checkpoint_every": 5}, "`checkpoint` is None although `checkpoint_every` is set"),
        ({"resume": True}, "`checkpoint` is None although `resume` is set"),
        ({"checkpoint_every": 0}, "`checkpoint_every` must be an integer of at least 1, got 0."),
        ({"checkpoint": "no/such/folder/run.npz"}, "folder that does not exist"),
    ],
)
def test_bad_arguments_are_named(model, data, start, arguments, message):
    with pytest.raises(ValueError, match=message):
        train(model, data, start, **({"steps": 10} | arguments))


def test_data_and_start_must_fit_the_model(model, data, weighted, start):
    with pytest.raises(ValueError, match=r"`data.d_vocab` is 6"):
        train(model, weighted, start)
    with pytest.raises(ValueError, match="lacks the weight 'W_out'"):
        train(model, data, {name: start[name] for name in ("W_E", "W_in")})


@pytest.mark.parametrize("size", [1e10, 1e100])
def test_equal_logits_have_the_loss_of_a_guess_however_large(weighted, size):
    model = EmbMLP(6, 4, 5)
    start = {name: np.full(shape, size if name == "W_out" else 1.0) for name, shape in model.weights.items()}
    path = train(model, weighted, start, steps=0)
    assert path["loss"][0] == pytest.approx(np.log(6), rel=1e-14)
    assert path.statistics["final_loss"] == pytest.approx(np.log(6), rel=1e-14)


def test_weights_that_the_precision_cannot_hold_are_refused(weighted):
    model = EmbMLP(6, 4, 5)
    start = model.init(0.5, seed=0) | {"W_in": np.full((4, 5), 1e100)}
    with pytest.raises(ValueError, match=r"`start\['W_in'\]` reaches 1e\+100, which float32 cannot hold"):
        train(model, weighted, start, steps=1, dtype="float32")
