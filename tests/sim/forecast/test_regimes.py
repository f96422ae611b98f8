"""Regimes of normalisations along a run, against mean squares of a network written by hand."""

import numpy as np
import pytest
import torch
from hand_decoder import HandDecoder

from smallinit.sim import integrate, norm_regimes
from smallinit.theory import Dataset, Decoder, EmbMLP, derive
from smallinit.theory.base.errors import FieldError

SIZES = {"d_model": 6, "d_head": 4, "d_mlp": 5, "n_ctx": 4}


def run_of(model, gamma=1.0, t1=3.0):
    rng = np.random.default_rng(0)
    data = Dataset(rng.integers(0, 9, (30, 4)), rng.integers(0, 4, 30), 9)
    return integrate(derive(model, "exact"), data, model.init(gamma, 0), t1, save_at=7)


@pytest.mark.parametrize(("eps", "regime"), [(1e-6, "direction"), (10.0, "linear"), (0.015, "between")])
def test_the_regime_is_that_of_the_mean_square(eps, regime):
    model = Decoder(9, **SIZES, n_layers=1, norm_eps=eps)
    run = run_of(model)
    found = norm_regimes(run)
    hand = HandDecoder(model, {w: torch.tensor(x) for w, x in run.state(0).items()})
    hand.logits(run.data.sequences)
    for block, ratio in found.ratios.items():
        wanted = torch.cat([v.flatten() for v in hand.seen[block, "variance"]]).numpy()
        if block != "ends":  # by hand all positions go on to the end
            assert wanted.min() / eps <= ratio[0] <= wanted.max() / eps
        assert found.start[block] == regime
    assert all(regime in line for line in str(found).splitlines()[1:])


def test_a_regime_is_left_when_the_stream_has_grown():
    found = norm_regimes(run_of(Decoder(9, **SIZES, n_layers=1, norm_eps=10.0), 1.0, 60.0))
    block = next(b for b, t in found.left.items() if np.isfinite(t))
    i = int(np.flatnonzero(found.t == found.left[block])[0])
    assert found.start[block] == "linear"
    assert found.ratios[block][i] > 0.1 >= found.ratios[block][i - 1]


@pytest.mark.parametrize("model", [EmbMLP(9, 4, 3), Decoder(9, **SIZES, n_layers=1, norm=None)])
def test_a_network_without_norms_is_refused(model):
    with pytest.raises(FieldError, match="without a normalisation"):
        norm_regimes(run_of(model, t1=0.1))
