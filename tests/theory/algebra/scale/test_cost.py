"""The cost of an expansion is that of the expansion: the same powers, and as many products as it makes."""

import pytest
import sympy as sp
from helpers import MODELS

from smallinit.theory import EmbedUnembed, EmbMLP, OneLayerTransformer
from smallinit.theory.algebra.scale import expansion, series
from smallinit.theory.algebra.scale.cost import ExpansionCost
from smallinit.theory.flows.affordable import _count_loss
from smallinit.theory.flows.powers import model_logits
from smallinit.theory.models import losses


def counted(monkeypatch):
    made, multiply = [0], series.multiply

    def counting(a, b, order, *combine):
        made[0] += sum(i + j <= order for i in a for j in b)
        return multiply(a, b, order, *combine)

    for module in (series, expansion, losses):
        monkeypatch.setattr(module, "multiply", counting)
    return made


@pytest.mark.parametrize("order", [3, 8, 11])
@pytest.mark.parametrize("name", MODELS)
def test_powers_are_those_of_the_expansion(name, order):
    model = MODELS[name][0]
    found = ExpansionCost(model.weight_symbols, order)(model_logits(model))
    made = expansion.expand(model_logits(model), model.weight_symbols, order)
    assert set(made) <= {p for p in found if p <= order}
    assert min(made, default=order + 1) == min([p for p in found if p <= order], default=order + 1)


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
@pytest.mark.parametrize("order", [7, 14])
@pytest.mark.parametrize(
    "make",
    [lambda l: EmbMLP(7, 3, 3, loss=l), lambda l: EmbedUnembed(7, 3, loss=l),
     lambda l: OneLayerTransformer(7, 3, 3, 3, 3, loss=l)],
)  # fmt: skip
def test_products_are_those_of_the_expansion(monkeypatch, make, order, loss):
    model, made = make(loss), counted(monkeypatch)
    cost = ExpansionCost(model.weight_symbols, order)
    _count_loss(cost, model_logits(model), model)
    logits = expansion.expand(model_logits(model), model.weight_symbols, order)
    model.loss_function.series(logits, order)
    assert made[0] > 0
    assert cost.products == pytest.approx(made[0], rel=0.2)


def test_what_the_expansion_refuses_costs_nothing():
    W = sp.MatrixSymbol("W", 3, 3)
    constant = sp.Identity(3) + W
    assert ExpansionCost((W,), 5).raised(ExpansionCost((W,), 5)(constant)) == []
