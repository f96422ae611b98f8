"""The network of a closure takes the steps of the derived flow, on the same minibatches."""

import numpy as np
import pytest
import torch

from smallinit.compare import train
from smallinit.compare.training.decoders.closure_decoder import ClosureDecoder
from smallinit.compare.training.networks import SymbolicNetwork, network
from smallinit.sim import AdamW, integrate
from smallinit.theory import CompositeTask, Decoder, derive

DATA = CompositeTask(range(5, 9), (3, 4), (1, 2), length=4, masked=((1, 2),)).sampled(60)
MODEL = Decoder(DATA.d_vocab, 8, 4, 8, DATA.n_ctx, 2, 2, activation="gelu", biases=True)
UNREAD = (".W_Q", ".W_K")  # no averages read them: their gradients are rounding, whose signs AdamW follows


@pytest.mark.parametrize("norm", ["pre", None])
@pytest.mark.parametrize("closure", ["softmax", "activation=3,attention=0", "activation=2"])
def test_steps_are_those_of_the_derived_flow(norm, closure):
    model = Decoder(DATA.d_vocab, 8, 4, 8, DATA.n_ctx, 2, 2, norm, activation="gelu", biases=True)
    start, rule = model.init(0.4, 0, "d_model"), AdamW(1e-2)
    theory = integrate(
        derive(model, closure), DATA, start, steps=6, optimizer=rule, method="steps", batch_size=5, seed=3
    )
    run = train(
        ClosureDecoder.of(model, closure), DATA, start, rule, steps=6, save_at=7, batch_size=5, seed=3
    )
    for name in (w for w in model.weights if not w.endswith(UNREAD) or closure == "activation=2"):
        np.testing.assert_allclose(run.weights[name][-1], theory.weights[name][-1], atol=1e-9)
    np.testing.assert_allclose(run["loss"][-1], theory["loss"][-1], rtol=1e-12)


def test_weights_that_are_not_read_decay_as_the_others():
    start = MODEL.init(0.4, 0, "d_model")
    run = train(ClosureDecoder.of(MODEL, "softmax"), DATA, start, AdamW(1e-2, weight_decay=0.5), steps=6)
    for name in (w for w in MODEL.weights if w.endswith(UNREAD)):
        np.testing.assert_allclose(run.weights[name][-1], start[name] * (1 - 5e-3) ** 6, rtol=1e-12)


def test_the_network_is_that_of_the_symbolic_logits():
    model = ClosureDecoder.of(MODEL, "activation=3,attention=0")
    start = model.init(0.3, 1)
    sequences = torch.tensor(DATA.sequences[:9])
    quick, plain = network(model, start)(sequences), SymbolicNetwork(model, start)(sequences)
    torch.testing.assert_close(quick, plain)
    assert not torch.allclose(quick, network(MODEL, start)(sequences), rtol=1e-3)


def test_attention_without_scores_is_the_average():
    model = ClosureDecoder.of(MODEL, "softmax")
    patterns = network(model, model.init(0.3, 1)).patterns(torch.tensor(DATA.sequences[:2]))
    average = np.tril(np.ones((DATA.n_ctx,) * 2)) / np.arange(1, DATA.n_ctx + 1)[:, None]
    for pattern in patterns:
        np.testing.assert_allclose(pattern, np.broadcast_to(average, pattern.shape), atol=1e-15)


@pytest.mark.parametrize(
    "closure", ["exact", "leading", "order=4", "activation=1,attention=2", "softmax,norm=linear"]
)
def test_closures_that_are_no_such_network_are_refused(closure):
    with pytest.raises(ValueError, match=r"`closure`.* has no network here: take softmax"):
        ClosureDecoder.of(MODEL, closure)
