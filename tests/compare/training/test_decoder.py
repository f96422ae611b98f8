from math import erf

import numpy as np
import pytest
import torch

from smallinit.compare import Decoder, train
from smallinit.compare.training.networks import network
from smallinit.sim import WarmupCosine, load_trajectory
from smallinit.sim.optimizers.schedule import Clock
from smallinit.theory import Dataset, EmbMLP, subset

SIZES = {"d_model": 6, "d_head": 3, "d_mlp": 8, "n_ctx": 3}
ACTIVATIONS = {
    "gelu": lambda z: 0.5 * z * (1 + np.vectorize(erf)(z / np.sqrt(2))),
    "relu": lambda z: np.maximum(z, 0),
    "tanh": np.tanh,
}


def normalised(x, w, name):
    if f"{name}.w" not in w:
        return x
    centred = x - x.mean(axis=-1, keepdims=True)
    return (
        centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5) * w[f"{name}.w"] + w[f"{name}.b"]
    )


def attended(model, w, h):
    """Causal attention of one sequence (T, d_model), position by position, head by head."""
    out = np.zeros_like(h)
    for head in range(model.n_heads):
        mine = slice(head * model.d_head, (head + 1) * model.d_head)
        q, k, v = (h @ w[name][:, mine] for name in ("W_Q", "W_K", "W_V"))
        for i in range(len(h)):
            a = np.exp(k[: i + 1] @ q[i] / np.sqrt(model.d_head))
            out[i] += (a / a.sum()) @ v[: i + 1] @ w["W_O"][mine]
    return out


def numpy_logits(model, w, sequence):
    """Logits (T, d_vocab) of one sequence, written once more."""
    x = w["W_E"][sequence] + w.get("W_pos", 0.0)
    for l in range(model.n_layers):
        inner = {name.removeprefix(f"blocks.{l}."): value for name, value in w.items()}
        for part, name in ((attended, "ln1"), (hidden, "ln2")):
            if model.layer_norm == "post":
                x = normalised(x + part(model, inner, x), inner, name)
            else:
                x = x + part(model, inner, normalised(x, inner, name))
    return normalised(x, w, "ln_final") @ w["W_U"]


def hidden(model, w, h):
    return ACTIVATIONS[model.activation](h @ w["W_in"]) @ w["W_out"]


def numpy_signals(model, w, sequence):
    """What one sequence meets on its way, by block and kind, written once more."""
    found = {}
    x = w["W_E"][sequence] + w["W_pos"]
    for l in range(model.n_layers):
        inner = {name.removeprefix(f"blocks.{l}."): value for name, value in w.items()}
        pre, post = model.layer_norm == "pre", model.layer_norm == "post"
        h = normalised(x, inner, "ln1") if pre else x
        z = h @ inner["W_Q"] @ (h @ inner["W_K"]).T / np.sqrt(model.d_head)
        centred = [z[i, : i + 1] - z[i, : i + 1].mean() for i in range(len(sequence))]
        y = x + attended(model, inner, h)
        variances = [v.var(axis=1) for v in ((x, y) if pre else (y,))]
        y = normalised(y, inner, "ln1") if post else y
        g = (normalised(y, inner, "ln2") if pre else y) @ inner["W_in"]
        found |= {(l, "stream"): x, (l, "scores"): np.concatenate(centred), (l, "pre-activations"): g}
        x = y + ACTIVATIONS[model.activation](g) @ inner["W_out"]
        found[l, "variance"] = [*variances, *([x.var(axis=1)] if post else [])]
        x = normalised(x, inner, "ln2") if post else x
    return found


@pytest.mark.parametrize("layer_norm", ["pre", "post", None])
def test_signals_equal_a_plain_implementation(layer_norm):
    model = Decoder(7, 6, 3, 8, 5, layer_norm=layer_norm, next_token=True)
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(0.0, 0.5, shape) for name, shape in model.weights.items()}
    sequences = rng.integers(0, 7, (4, 5))
    found = model.signals(weights, sequences)
    wanted = [numpy_signals(model, weights, s) for s in sequences]
    for l in range(model.n_layers):
        for kind in ("stream", "scores", "pre-activations", *(["variance"] if layer_norm else [])):
            ours, theirs = found[f"blocks.{l}", kind], np.array([w[l, kind] for w in wanted])
            np.testing.assert_allclose(np.sort(ours.ravel()), np.sort(theirs.ravel()), rtol=1e-9, atol=1e-12)
    logits = np.concatenate([numpy_logits(model, weights, s) for s in sequences])
    np.testing.assert_allclose(found["ends", "logits"], logits, atol=1e-12)
    assert (("ends", "variance") in found) == (layer_norm == "pre")


def test_the_gradient_is_that_of_the_loss():
    model = Decoder(7, 6, 3, 8, 3)
    rng = np.random.default_rng(1)
    data = Dataset(rng.integers(0, 7, (20, 3)), rng.integers(0, 7, 20), 7, weights=rng.uniform(0.5, 1.5, 20))
    weights = {name: rng.normal(0.0, 0.4, shape) for name, shape in model.weights.items()}
    gradient = model.gradient(data, weights)

    def loss(w):
        f = np.stack([numpy_logits(model, w, s)[-1] for s in data.sequences])
        return data.weights @ (np.log(np.exp(f).sum(axis=1)) - f[np.arange(20), data.labels])

    for name in ("W_pos", "blocks.0.W_Q", "blocks.1.W_out", "ln_final.w", "W_U"):
        moved = [dict(weights) | {name: weights[name] + step * gradient[name]} for step in (1e-5, -1e-5)]
        slope = (loss(moved[0]) - loss(moved[1])) / 2e-5
        assert slope == pytest.approx(np.sum(gradient[name] ** 2), rel=1e-6)


def test_the_eps_of_a_layer_norm_is_its_own():
    weights = Decoder(7, **SIZES).init(4.0, 0, "d_model")
    sequences = np.array([[1, 2, 3]])
    sizes = [
        np.abs(Decoder(7, **SIZES, layer_norm_eps=eps).signals(weights, sequences)["ends", "logits"]).max()
        for eps in (1e-12, 1e-5, 1e-1)
    ]
    assert sizes[0] > 2 * sizes[1] > 4 * sizes[2]
    with pytest.raises(ValueError, match="`layer_norm_eps` must be positive, got 0"):
        Decoder(7, **SIZES, layer_norm_eps=0)


@pytest.fixture(scope="module")
def small(data):
    return Decoder(data.d_vocab, **SIZES)


@pytest.mark.parametrize("layer_norm", ["pre", "post", None])
@pytest.mark.parametrize(
    ("heads", "activation", "positions"), [(1, "gelu", True), (2, "relu", False), (2, "tanh", True)]
)
def test_logits_equal_a_plain_implementation(layer_norm, heads, activation, positions):
    options = {"n_heads": heads, "layer_norm": layer_norm, "activation": activation, "positions": positions}
    model = Decoder(7, 6, 3, 8, 5, next_token=True, **options)
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(0.0, 0.5, shape) for name, shape in model.weights.items()}
    sequences = rng.integers(0, 7, (4, 5))
    wanted = np.stack([numpy_logits(model, weights, s) for s in sequences])
    found = network(model, weights, torch.float64)(torch.tensor(sequences))
    np.testing.assert_allclose(found.detach().numpy(), wanted.reshape(-1, 7), atol=1e-12)
    last = network(Decoder(7, 6, 3, 8, 5, **options), weights, torch.float64)(torch.tensor(sequences))
    np.testing.assert_allclose(last.detach().numpy(), wanted[:, -1], atol=1e-12)


def test_names_and_shapes():
    model = Decoder(11, 6, 3, 8, 5, n_layers=1, n_heads=2)
    assert list(model.weights)[:3] == ["W_E", "W_pos", "blocks.0.ln1.w"]
    assert model.weights["blocks.0.W_Q"] == (6, 6)
    assert model.weights["blocks.0.W_O"] == (6, 6)
    assert model.weights["W_U"] == (6, 11)
    assert not [name for name in Decoder(11, 6, 3, 8, 5, layer_norm=None).weights if "ln" in name]
    net = network(model, model.init(0.5, 0))
    assert set(net.weights()) == set(model.weights)


def test_first_attention_is_the_average_for_equal_scores():
    model = Decoder(7, 6, 3, 8, 5)
    weights = model.init(0.5, 0)
    weights["blocks.0.W_Q"][:] = 0.0
    (first, _) = network(model, weights, torch.float64).patterns(torch.tensor([[1, 2, 3, 4, 5]]))
    np.testing.assert_allclose(first[0, 0], np.tril(np.ones((5, 5))) / np.arange(1, 6)[:, None], atol=1e-15)


def test_init_takes_an_exponent_per_block():
    model = Decoder(400, 100, 50, 80, 9)
    one = model.init(0.8, 3)
    assert one["W_E"].std() == pytest.approx(400**-0.8, rel=0.02)
    assert one["blocks.1.W_out"].std() == pytest.approx(80**-0.8, rel=0.05)
    assert (one["blocks.0.ln1.w"] == 1.0).all()
    assert (one["ln_final.b"] == 0.0).all()
    exponents = {"embed": 0.8, "positions": 0.8, "blocks.0": 0.8, "blocks.1": 0.4, "unembed": 0.8}
    other = model.init(exponents, 3)
    for name, value in one.items():
        moved = name.startswith("blocks.1.W")
        np.testing.assert_allclose(other[name], value * (model.weights[name][0] ** 0.4 if moved else 1.0))
    with pytest.raises(
        ValueError, match=r"`gamma` must give one number to each of embed.*'unembed' is missing"
    ):
        model.init({k: v for k, v in exponents.items() if k != "unembed"}, 3)
    with pytest.raises(ValueError, match="'head' is none of them"):
        model.init(exponents | {"head": 1.0}, 3)
    with pytest.raises(ValueError, match=r"`gamma\['embed'\]` must be a finite number"):
        model.init(exponents | {"embed": float("inf")}, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer_norm": "before"}, "`layer_norm` 'before' is unknown"),
        ({"activation": "rleu"}, "`activation` 'rleu' is unknown: did you mean 'relu'"),
        ({"n_heads": 0}, "`n_heads` must be an integer of at least 1"),
        ({"positions": 1}, "`positions` must be True or False"),
    ],
)
def test_bad_specs_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Decoder(7, 6, 3, 8, 5, **options)


def test_measured_losses_are_those_of_the_logits(data, small):
    run = train(small, data, small.init(0.3, 0), "adamw", 0.01, 5, save_at=[0, 5], dtype="float64")
    w = run.state(1)
    logits = np.stack([numpy_logits(small, w, s)[-1] for s in data.sequences])
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(data)), data.labels]
    for group in data.group_names:
        rows = data.groups == group
        assert run[f"loss/{group}"][1] == pytest.approx(np.average(losses[rows], weights=data.weights[rows]))
        right = logits[rows].argmax(axis=1) == data.labels[rows]
        assert run[f"accuracy/{group}"][1] == pytest.approx(np.average(right, weights=data.weights[rows]))
    assert run["loss"][1] == pytest.approx(losses @ data.training_weights)
    assert run["loss"][1] == pytest.approx(run.statistics["final_loss"])
    with pytest.raises(ValueError, match="a Decoder, for which there is no theory"):
        run.model_and_data()
    assert not [name for name in run.observable_names if name.startswith("invariant")]


def test_losses_are_measured_where_one_asks(data, small):
    """Training is the same; the losses of some rows, in a run that another choice of rows cannot resume."""
    some = subset(data, np.arange(len(data)) % 3 > 0)
    arguments = (small, data, small.init(0.3, 0), "adamw", 0.01, 4)
    whole, part = (train(*arguments, save_at=[0, 4], measure_on=rows) for rows in (None, some))
    np.testing.assert_array_equal(part.weights["W_E"], whole.weights["W_E"])
    on_some = train(small, some, part.state(1), "adamw", 0.01, 0, save_at=[0])
    assert part["loss/memory"][1] == pytest.approx(on_some["loss/memory"][0], rel=1e-5)
    assert part["loss/memory"][1] != whole["loss/memory"][1]
    assert part.provenance["config_hash"] != whole.provenance["config_hash"]
    with pytest.raises(ValueError, match="d_vocab` is 2 but"):
        train(*arguments, measure_on=Dataset([[0]], [1], 2))


def test_next_token_loss_is_the_mean_over_positions(data):
    model = Decoder(data.d_vocab, **SIZES, next_token=True)
    start = model.init(0.3, 0)
    run = train(model, data, start, "adamw", 0.01, 0, dtype="float64")
    total = 0.0
    for s, y, weight in zip(data.sequences, data.labels, data.training_weights, strict=True):
        logits = numpy_logits(model, start, s)
        rows = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(3), [*s[1:], y]]
        total += weight * rows.mean()
    assert run["loss"][0] == pytest.approx(total)


def test_observables_alone_equal_those_of_kept_weights(data, model, start):
    whole = train(model, data, start, steps=20, learning_rate=0.5, save_at=5)
    slim = train(model, data, start, steps=20, learning_rate=0.5, save_at=5, keep="observables")
    assert isinstance(model, EmbMLP)
    assert slim.weights == {}
    assert "norm/W_E" not in slim.observable_names
    for name in ("loss", "loss/memory", "accuracy/reasoning-test"):
        np.testing.assert_allclose(slim[name], whole[name], rtol=1e-12)


ARGUMENTS = {
    "optimizer": "adamw",
    "learning_rate": 0.01,
    "batch_size": 7,
    "weight_decay": 0.1,
    "clip": 0.5,
    "betas": (0.8, 0.95),
    "schedule": WarmupCosine(5, 25),
}


@pytest.mark.parametrize("keep", ["weights", "observables"])
@pytest.mark.parametrize("stop", [0, 3, 20])
def test_resumed_decoder_equals_straight_run_bit_for_bit(data, small, tmp_path, keep, stop):
    start, saves = small.init(0.5, 0), [0, 3, 12, 20, 30]

    def go(steps, **options):
        mine = [s for s in saves if s <= steps]
        return train(small, data, start, steps=steps, save_at=mine, keep=keep, **ARGUMENTS, **options)

    straight = go(30)
    go(stop, checkpoint=tmp_path / "run.npz")
    resumed = go(30, checkpoint=tmp_path / "run.npz", resume=True)
    np.testing.assert_array_equal(resumed.t, straight.t)
    for name, value in (straight.measured | straight.weights).items():
        np.testing.assert_array_equal((resumed.measured | resumed.weights)[name], value)
    with pytest.raises(ValueError, match=r"clip was 0.5 and is 0.7"):
        train(
            small,
            data,
            start,
            steps=30,
            save_at=saves,
            keep=keep,
            **(ARGUMENTS | {"clip": 0.7}),
            checkpoint=tmp_path / "run.npz",
            resume=True,
        )


def test_saved_and_loaded(data, small, tmp_path):
    run = train(small, data, small.init(0.5, 0), steps=6, save_at=3, **ARGUMENTS)
    again = load_trajectory(run.save(tmp_path / "run.nc"), small, data)
    np.testing.assert_array_equal(again["loss/memory"], run["loss/memory"])
    np.testing.assert_array_equal(again.weights["blocks.1.W_in"], run.weights["blocks.1.W_in"])


def test_warm_up_and_cosine():
    schedule = WarmupCosine(4, 24, final=0.2)
    factors = [schedule.factor(step) for step in range(30)]
    np.testing.assert_allclose(factors[:5], [0.25, 0.5, 0.75, 1.0, 1.0])
    assert factors[14] == pytest.approx(0.6)  # half way down
    np.testing.assert_allclose(factors[24:], 0.2)
    assert (np.diff(factors[4:25]) < 0).all()
    np.testing.assert_allclose(Clock.of(1.0, schedule, 5).times[[0, 3, 5]], [0.0, 1.5, 3.5])


def test_schedule_and_clip_act_on_every_step(data, model, start):
    """Of gradient descent, whose steps are plain: their lengths are clipped and follow the schedule."""
    schedule = WarmupCosine(2, 6, final=0.5)
    run = train(model, data, start, "gd", 0.1, 6, range(7), schedule=schedule, clip=1e-3)
    moved = np.sqrt(sum(np.sum(np.diff(w, axis=0) ** 2, axis=(1, 2)) for w in run.weights.values()))
    np.testing.assert_allclose(moved, [1e-4 * schedule.factor(k) for k in range(6)], rtol=1e-4)
    np.testing.assert_allclose(np.diff(run.t), [0.1 * schedule.factor(k) for k in range(6)])
    assert run.outcome.t == run.t[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"schedule": "cosine"},
            "`schedule` must be a WarmupCosine, a Linear, a function of the step or None, got 'cosine'.",
        ),
        ({"clip": 0.0}, "`clip` must be positive, got 0.0."),
        ({"betas": (0.9, 1.0)}, r"`betas` must lie in \[0, 1\), got 0.9 and 1."),
        ({"betas": 0.9}, "`betas` must be two numbers, got 0.9."),
        ({"device": "gpu"}, "`device` 'gpu' is unknown"),
        ({"keep": "all"}, "`keep` 'all' is unknown"),
    ],
)
def test_bad_settings_are_named(data, model, start, arguments, message):
    with pytest.raises(ValueError, match=message):
        train(model, data, start, steps=1, **arguments)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_cuda_auto_is_the_cpu(data, model, start):
    with pytest.raises(ValueError, match='`device` is "cuda" but torch finds no such device'):
        train(model, data, start, steps=1, device="cuda")
    assert train(model, data, start, steps=1, device="auto").provenance["device"] == "cpu"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_cuda_follows_the_cpu(data, small):
    runs = [train(small, data, small.init(0.5, 0), steps=20, device=d, **ARGUMENTS) for d in ("cpu", "cuda")]
    np.testing.assert_allclose(runs[1]["loss"], runs[0]["loss"], rtol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, 5), "`warmup` must be an integer of at least 0"),
        ((5, 5), "`total` must be an integer of at least 6"),
        ((1, 5, 0.0), r"`final` must lie in \(0, 1\]"),
    ],
)
def test_bad_schedules_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        WarmupCosine(*arguments)
