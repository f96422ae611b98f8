"""Logits of a model of one's own that could not be evaluated are refused where they are first read."""

from dataclasses import dataclass

import numpy as np
import pytest

from smallinit.theory import Model, derive, hadamard, weight
from smallinit.theory.data.inputs import COUNTS


@dataclass(frozen=True)
class Linear(Model):
    d_model: int

    @property
    def weight_symbols(self):
        return weight("W_E", "d_vocab", "d_model"), weight("W_U", "d_model", "d_vocab")

    @property
    def logits(self):
        W_E, W_U = self.weight_symbols
        return self.made(W_E, W_U)

    def made(self, W_E, W_U):
        return COUNTS * W_E * W_U


class Ragged(Linear):
    def made(self, W_E, W_U):
        return COUNTS * W_E * W_U.T


class RaggedSum(Linear):
    def made(self, W_E, W_U):
        return (COUNTS * W_E + COUNTS * W_U.T * W_U) * W_U


class RaggedProduct(Linear):
    def made(self, W_E, W_U):
        return hadamard(COUNTS * W_E, COUNTS) * W_U


class NoData(Linear):
    def made(self, W_E, W_U):
        return W_E * W_U


class Numbers(Linear):
    def made(self, W_E, W_U):
        return np.ones((3, 3))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (
            Ragged,
            r"`logits` multiply W_E \(d_vocab x d_model\) and W_U\.T \(d_vocab x d_model\), which do not fit",
        ),
        (RaggedSum, r"`logits` add or multiply entry by entry .* which do not fit"),
        (RaggedProduct, r"`logits` add or multiply entry by entry .* which do not fit"),
        (NoData, "`logits` have d_vocab rows, and need one for each sequence: begin with a data matrix"),
        (Numbers, "`logits` must be a matrix expression in weights and data matrices, got"),
    ],
)
def test_logits_that_cannot_be_evaluated_are_refused(model, said):
    with pytest.raises(ValueError, match=said):
        derive(model(13, 8), "leading")
    with pytest.raises(ValueError, match=said):
        _ = model(13, 8).weights


def test_logits_that_fit_are_taken():
    assert derive(Linear(13, 8), "leading").equations.keys() == {"W_E", "W_U"}


def test_sizes_that_are_equal_by_chance_do_not_fit():
    with pytest.raises(ValueError, match="which do not fit: dimensions that meet have one name"):
        derive(Ragged(8, 8), "leading")
