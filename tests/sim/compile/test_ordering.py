"""What a kernel is made of: few products, shared functions, sums multiplied out, counts and shares told apart."""

from collections import Counter
from dataclasses import dataclass
from itertools import islice, permutations

import numpy as np
import pytest
from helpers import MODELS, data_for, random_data, random_weights, relative, small_case

from smallinit.sim.compile.compiler import distinct_rows
from smallinit.sim.compile.lower import Lowering
from smallinit.sim.compile.multiply import READINGS
from smallinit.sim.compile.ordering import Tries, lower_flow
from smallinit.sim.compile.table.emit import Emitter
from smallinit.sim.kernel import operations
from smallinit.theory import CompositeTask, Dataset, EmbMLP, Model, OneLayerTransformer, derive
from smallinit.theory.algebra.evaluate import evaluate
from smallinit.theory.algebra.matrices import product
from smallinit.theory.data.inputs import C_MEAN, ROWS, weight


def operations_of(flow, data):
    """Names of the operations in a kernel's table, and the graph behind it."""
    model = flow.model
    values = distinct_rows(model, data)
    sizes = model.sizes | {ROWS: values["omega"].shape[0]}
    graph, outputs = lower_flow(flow.right_hand_sides, values, model.weights, sizes)
    layout, offset = {}, 0
    for name, shape in model.weights.items():
        layout[name] = (offset, shape)
        offset += shape[0] * shape[1]
    ints = Emitter(graph, layout, outputs).run().ints
    codes, place = [], 2
    for _ in range(ints[0]):
        codes.append(ints[place])
        place += ints[place + 1]
    assert place == ints[1]  # where the index arrays begin
    return Counter(codes), graph


def test_leading_takes_five_products():
    data, model, _ = small_case(sizes=(12, 12, 12))
    codes, _ = operations_of(derive(model, "leading"), data)
    assert codes == {operations.DOT: 5}


def test_softmax_takes_six_products_and_one_fused_softmax():
    data = CompositeTask().dataset()
    codes, graph = operations_of(derive(EmbMLP(161, 200, 400), "softmax"), data)
    assert codes[operations.DOT] == 6
    assert codes[operations.BAG_SOFTMAX] == 1
    largest = max(
        rows * cols for rows, cols in (node.shape for node in graph.nodes if node.op not in ("data", "diag"))
    )
    assert largest <= 200 * 400  # nothing of size sequences x labels


def test_sums_of_what_two_data_matrices_read_are_multiplied_out():
    """The transformer adds its last token to an average: no dense product may run over all sequences."""
    rng = np.random.default_rng(0)
    data = Dataset(rng.integers(0, 60, (400, 3)), rng.integers(0, 60, 400), 60)
    model = OneLayerTransformer(60, 60, 4, 5, 3, unembed=False)
    weights, flow = random_weights(model), derive(model, "softmax")
    values = distinct_rows(model, data)
    n = values["omega"].shape[0]
    graph, _ = lower_flow(flow.right_hand_sides, values, model.weights, model.sizes | {ROWS: n})
    assert n > 300
    products = [[graph.operand(ref) for ref in node.args] for node in graph.nodes if node.op == "matmul"]
    dense = [a.shape[0] * a.shape[1] * b.shape[1] for a, b in products if a.storage == b.storage == "dense"]
    assert max(dense) < n * 60 * 60 / 10
    kernel = flow.rhs(data, weights)
    values = model.data_matrices(data) | weights
    sizes = model.sizes | {ROWS: values["omega"].shape[0]}
    for name in sorted(flow.moving):
        expected = evaluate(flow.right_hand_sides[name], values, sizes)
        np.testing.assert_allclose(kernel[name], expected, rtol=0, atol=1e-12 * np.abs(kernel["W_E"]).max())


@pytest.mark.parametrize("activation", ["tanh", "gelu"])
def test_an_activation_and_its_slope_share_their_function(activation):
    """exp in GELU's slope is a function of its own; the softmax brings the weights' three products."""
    data, model, _ = small_case(activation)
    _, graph = operations_of(derive(model, "exact"), data)
    called = Counter(node.payload[0] for node in graph.nodes if node.op == "map")
    assert called == ({"tanh": 1} if activation == "tanh" else {"erf": 1, "exp": 1})


@dataclass(frozen=True)
class MeanOfTokens(Model):
    """Mean of embeddings, unembedded: a bag whose entries are no counts."""

    @property
    def weight_symbols(self):
        return weight("W_E", "d_vocab", "d_vocab"), weight("W_U", "d_vocab", "d_vocab")

    @property
    def logits(self):
        return product(C_MEAN, *self.weight_symbols)


def test_shares_of_tokens_are_not_taken_for_counts():
    """The fused softmax multiplies rows as often as a bag counts them; a third of a row is another matter."""
    data, model = random_data(n=30), MeanOfTokens(7)
    weights, flow = random_weights(model), derive(model, "softmax")
    values = model.data_matrices(data) | weights
    assert set(np.unique(values["C_mean"].toarray())) > {1 / 3}
    sizes = model.sizes | {ROWS: values["omega"].shape[0]}
    kernel = flow.rhs(data, weights)
    for name in flow.moving:
        assert relative(kernel[name], evaluate(flow.right_hand_sides[name], values, sizes)) < 1e-12


@pytest.mark.parametrize("how", READINGS)
@pytest.mark.parametrize("name", ["emb-mlp", "transformer"])
def test_orders_that_begin_alike_are_lowered_as_if_each_were_alone(name, how):
    model, values, sides, sizes = case(name)
    together = Tries(Lowering(values, model.weights, sizes, {}, how), sides)
    cheapest = np.inf
    for order in islice(permutations(sides), 30):
        alone = Tries(Lowering(values, model.weights, sizes, {}, how), sides)
        assert alone.lower(order, np.inf)
        assert together.lower(order, np.inf)
        assert (together.graph.nodes, together.outputs) == (alone.graph.nodes, alone.outputs)
        assert together.cost == alone.cost == alone.graph.cost
        cheapest = min(cheapest, alone.cost)
    assert not together.lower(order, cheapest)
    assert lower_flow(sides, values, model.weights, sizes)[0].cost <= cheapest


def case(name):
    """A model, its data, its equations under leading and the numbers of its dimensions."""
    model, data = MODELS[name][0], data_for(name)
    values = distinct_rows(model, data)
    sizes = model.sizes | {ROWS: values["omega"].shape[0]}
    return model, values, derive(model, "leading").right_hand_sides, sizes
