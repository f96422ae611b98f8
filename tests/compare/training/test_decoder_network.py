"""The decoder's torch network in training: losses, ragged minibatches, checkpoints, files; attention patterns."""

import numpy as np
import pytest
import torch
from hand_decoder import HandDecoder, hand_gradient, hand_loss

from smallinit.compare import train
from smallinit.compare.training.networks import network
from smallinit.sim import AdamW, WarmupCosine, integrate, load_trajectory
from smallinit.sim.optimizers.schedule import Clock
from smallinit.theory import Dataset, Decoder, EmbMLP, derive, subset

SIZES = {"d_model": 6, "d_head": 3, "d_mlp": 8, "n_ctx": 3}


def numpy_logits(model, weights, sequence):
    """Logits of the rows of one sequence, by hand."""
    return (
        HandDecoder(model, {name: torch.tensor(w) for name, w in weights.items()}).logits([sequence]).numpy()
    )


@pytest.fixture(scope="module")
def small(data):
    return Decoder(data.d_vocab, **SIZES)


def ragged(n=30, n_ctx=5, seed=0):
    """Sequences of one to five tokens, behind or between padding 0."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(1, 7, (n, n_ctx))
    for row in tokens:
        row[rng.permutation(n_ctx)[: rng.integers(0, n_ctx)]] = 0
    groups = np.where(np.arange(n) % 3, "many", "few")
    return Dataset(tokens, rng.integers(1, 7, n), 7, weights=rng.uniform(0.5, 2.0, n), groups=groups)


@pytest.mark.parametrize("predict", ["last", "all"])
@pytest.mark.parametrize("keep", ["weights", "observables"])
def test_losses_of_ragged_sequences(predict, keep):
    model, data = Decoder(7, 6, 4, 5, 5, padding=0, predict=predict), ragged()
    start = model.init(0.3, 0)
    run = train(model, data, start, "gd", 0.1, 1, [0, 1], keep=keep)
    leaves = {name: torch.tensor(w) for name, w in start.items()}
    assert run["loss"][0] == pytest.approx(float(hand_loss(model, leaves, data)), rel=1e-12)
    few = np.flatnonzero(data.groups == "few")
    some = Dataset(data.sequences[few], data.labels[few], 7, weights=data.weights[few])
    assert run["loss/few"][0] == pytest.approx(float(hand_loss(model, leaves, some)), rel=1e-12)
    assert 0.0 <= run["accuracy/many"][0] <= 1.0


def test_minibatches_of_ragged_sequences():
    """Each is a batch whose sequences count alike, however many rows they have."""
    model, data = Decoder(7, 6, 4, 5, 5, padding=0, predict="all"), ragged()
    start = model.init(0.3, 0)
    run = train(model, data, start, "sgd", 1.0, 3, range(4), batch_size=4, seed=5)
    generator = np.random.default_rng(np.random.SeedSequence(5))
    share = np.cumsum(data.weights)
    for step in range(3):
        drawn = np.minimum(
            np.searchsorted(share, generator.random(4) * share[-1], side="right"), len(data) - 1
        )
        batch = Dataset(data.sequences[drawn], data.labels[drawn], 7)
        gradient = hand_gradient(model, run.state(step), batch)
        for name, g in gradient.items():
            moved = run.weights[name][step] - run.weights[name][step + 1]
            np.testing.assert_allclose(moved, g, atol=1e-12, err_msg=name)


def test_adamw_steps_of_the_theory_are_those_of_the_twin():
    model, data = Decoder(7, 6, 4, 5, 5, n_heads=2, biases=True, padding=0), ragged()
    start, rule = model.init(0.3, 0), AdamW(1e-2, weight_decay=0.1)
    run = train(model, data, start, rule, steps=20, save_at=[0, 20])
    path = integrate(
        derive(model, "exact"), data, start, steps=20, optimizer=rule, method="steps", save_at=[0, 20]
    )
    for name in model.weights:
        np.testing.assert_allclose(path.weights[name][-1], run.weights[name][-1], atol=1e-9, err_msg=name)


def test_names_and_shapes():
    model = Decoder(11, 6, 3, 8, 5, n_layers=1, n_heads=2)
    assert list(model.weights)[:3] == ["W_E", "W_pos", "blocks.0.ln1.w"]
    assert model.weights["blocks.0.W_Q"] == (6, 6)
    assert model.weights["blocks.0.W_O"] == (6, 6)
    assert model.weights["W_U"] == (6, 11)
    assert not [name for name in Decoder(11, 6, 3, 8, 5, norm=None).weights if "ln" in name]
    net = network(model, model.init(0.5, 0))
    assert {name: tuple(p.shape) for name, p in net.named_parameters()} == model.weights
    assert set(net.state_dict()) == set(model.weights)


def test_first_attention_is_the_average_for_equal_scores():
    model = Decoder(7, 6, 3, 8, 5)
    weights = model.init(0.5, 0)
    weights["blocks.0.W_Q"][:] = 0.0
    (first, _) = network(model, weights).patterns(torch.tensor([[1, 2, 3, 4, 5]]))
    np.testing.assert_allclose(first[0, 0], np.tril(np.ones((5, 5))) / np.arange(1, 6)[:, None], atol=1e-15)


@pytest.mark.parametrize("positions", ["learned", "rotary"])
@pytest.mark.parametrize("norm", ["pre", "post", None])
def test_patterns_are_those_of_the_scores_by_hand(norm, positions):
    model = Decoder(7, 6, 4, 8, 5, n_heads=2, norm=norm, positions=positions, predict="all")
    weights = {name: 3.0 * w for name, w in model.init(0.3, 0).items()}
    hand = HandDecoder(model, {name: torch.tensor(w) for name, w in weights.items()})
    hand.logits([[1, 2, 3, 3, 1]])
    patterns = network(model, weights).patterns(torch.tensor([[1, 2, 3, 3, 1]]))
    for l, pattern in enumerate(patterns):
        scores = iter(hand.seen[f"blocks.{l}", "scores"])
        for head in range(2):
            for i in range(5):
                wanted = torch.softmax(next(scores), dim=0).numpy()
                np.testing.assert_allclose(pattern[0, head, i, : i + 1], wanted, rtol=1e-10)
                assert (pattern[0, head, i, i + 1 :] == 0.0).all()


def test_init_takes_an_exponent_per_block():
    model = Decoder(400, 100, 50, 80, 9, biases=True)
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


def test_measured_losses_are_those_of_the_logits(data, small):
    run = train(small, data, small.init(0.3, 0), "adamw", 0.01, 5, save_at=[0, 5], dtype="float64")
    w = run.state(1)
    logits = np.stack([numpy_logits(small, w, s)[0] for s in data.sequences])
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(data)), data.labels]
    for group in data.group_names:
        rows = data.groups == group
        assert run[f"loss/{group}"][1] == pytest.approx(np.average(losses[rows], weights=data.weights[rows]))
        right = logits[rows].argmax(axis=1) == data.labels[rows]
        assert run[f"accuracy/{group}"][1] == pytest.approx(np.average(right, weights=data.weights[rows]))
    assert run["loss"][1] == pytest.approx(losses @ data.training_weights)
    assert run["loss"][1] == pytest.approx(run.statistics["final_loss"])
    assert run.model_and_data() == (small, data)


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
    model = Decoder(data.d_vocab, **SIZES, predict="all")
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
    "schedule": WarmupCosine(5, 30),
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
