"""The figures of the full decoder, in a size of seconds: contract, data sets, and what their numbers mean."""

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from smallinit.compare.figures import figure_3a, figure_6, figure_8
from smallinit.compare.figures.arguments import FigureState
from smallinit.compare.figures.parts import anchors as _anchors
from smallinit.compare.figures.parts import curves as _curves
from smallinit.compare.figures.parts import first_layer as _first_layer
from smallinit.compare.figures.parts import laid_over as _laid_over
from smallinit.compare.figures.parts import memory_task as _memory
from smallinit.compare.figures.parts.curves import some_of
from smallinit.compare.figures.result import FigureResult
from smallinit.compare.training import training_run as _training_run
from smallinit.theory.data.frequencies import label_entropy

TINY = {"pairs": 400, "d_model": 8, "d_head": 4, "d_mlp": 8, "steps": 10, "warmup": 2}


@pytest.fixture(params=[figure_3a, figure_6, figure_8], ids=["3a", "6", "8"])
def module(request, monkeypatch):
    for table in ("REGIMES", "RANGE_REGIMES"):
        if hasattr(request.param, table):
            tiny = {"small": replace(getattr(request.param, table)["small"], **TINY)}
            monkeypatch.setattr(request.param, table, tiny)
    monkeypatch.setattr(request.param, "POINTS", 3)
    return request.param


def test_contract(module):
    said = []
    result = module.run("small", (0, 1), said.append)
    assert isinstance(result, FigureResult)
    assert said
    assert json.loads(json.dumps(result.settings))["seeds"] == [0, 1]
    for statistic in result.statistics:
        assert "reproduced if" in statistic.definition
        assert len(statistic.values) == 2
        assert type(statistic.reproduced) is bool
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = Figure(layout="constrained")
        result.draw(figure)
        figure.draw_without_rendering()
    assert figure.axes[-1].get_xlabel()
    assert sum(bool(ax.get_ylabel()) for ax in figure.axes) >= 2
    assert all(np.isfinite(value).all() for value in result.arrays.values())


def test_every_run_is_kept_and_taken_up(module, tmp_path, monkeypatch):
    kept, train = [], _curves.train
    monkeypatch.setattr(_curves, "train", lambda *a, **o: kept.append(o.get("checkpoint")) or train(*a, **o))
    first = module.run("small", (0,), state=FigureState(tmp_path))
    assert sorted(tmp_path.iterdir()) == sorted(kept)  # closures' runs too, each in a file of its own
    monkeypatch.setattr(_training_run, "loss_and_gradient", None)  # nothing is left to train
    again = module.run("small", (0,), state=FigureState(tmp_path))
    for name, values in first.arrays.items():
        np.testing.assert_array_equal(again.arrays[name], values, err_msg=name)


def test_some_of_a_data_set_keeps_groups_and_their_shares():
    data = figure_3a.REGIMES["small"].task(0).sampled(4000)
    some = some_of(data, 100, 0)
    assert some.group_names == data.group_names
    assert {group: (some.groups == group).sum() for group in some.group_names} == dict.fromkeys(
        data.group_names, 100
    )
    rows = {tuple(row) for row in data.sequences}
    assert all(tuple(row) in rows for row in some.sequences)
    share = [
        part.weights[(part.groups == "memory")].sum() / part.weights[~part.held_out].sum()
        for part in (some, data)
    ]
    assert share[0] == pytest.approx(share[1])
    assert len(some_of(data, 10**6, 0)) == len(data)


def test_label_ranges_and_windows():
    regime = figure_8.SMALL_RANGES
    data = _memory.range_data(regime, 0)
    assert data.group_names == ("memory 1", "memory 2", "memory 3", "memory 4")
    for i, group in enumerate(data.group_names, start=1):
        labels = data.labels[data.groups == group]
        assert 30 <= labels.min() < 33
        assert 26 + 20 * i < labels.max() <= 29 + 20 * i
    task = regime.task(0)
    sampled = task.sampled(regime.pairs)
    rows, keys, anchors = _memory.memory_parts(task, sampled)
    np.testing.assert_array_equal(task.memory_labels(keys, anchors), sampled.labels[rows])
    both = _memory.window_data(figure_8.SMALL_WINDOWS, 0)
    task, window = figure_8.SMALL_WINDOWS.task(0), both["window"]
    rows, keys, anchors = _memory.memory_parts(task, window)
    assert (np.abs(window.labels[rows] - keys) <= anchors.sum(axis=1)).all()
    pairs = {(k, *a, y) for k, a, y in zip(keys, map(tuple, anchors), window.labels[rows], strict=True)}
    assert len(pairs) == len({p[:-1] for p in pairs})  # one label per key and anchors
    assert (
        both["uniform"].labels[both["uniform"].groups != "memory"] == window.labels[window.groups != "memory"]
    ).all()


def test_the_early_moment_of_figure_6_is_when_reasoning_is_known_better_than_its_labels_frequencies():
    data = replace(figure_6.REGIMES["small"], pairs=3000).task(0).sampled(3000)
    entropy = label_entropy(data, "reasoning-train")
    assert _first_layer.early_point(np.array([5.0, entropy + 0.01, entropy - 0.01, 1.0]), data) == 2
    assert _first_layer.early_point(np.full(3, 5.0), data) == -1
    values = np.arange(12.0).reshape(2, 3, 2)
    np.testing.assert_array_equal(
        figure_6.at_early({"a": values, "early": np.array([2, -1])}, "a"), [[4.0, 5.0], [np.nan, np.nan]]
    )


def test_label_laws_alone_put_the_kinds_of_anchors_on_opposite_sides():
    """About the uniform law the paper's kinds lie on one side; about the mean of all labels opposite."""
    data = replace(figure_6.REGIMES["small"], pairs=20_000).task(0).sampled(20_000)
    found = _anchors.values_from_laws(data)
    reasoning, memory = figure_6.KINDS
    assert found[f"laws/uniform/{memory}"].min() > 0.5
    assert found[f"laws/uniform/{reasoning}"].min() > 0.3
    assert found[f"laws/mean/{reasoning}"].min() > 0.7
    assert found[f"laws/mean/{memory}"].max() < -0.7
    assert found["overlap"] > 0.0


def of_figure_6(memory, when=1, drives=(0.2, -0.2), predicted=(0.2, -0.2)):
    """Arrays of figure 6 for one seed and two saved points, with this cosine of memory anchors; both kinds alike."""
    both, one = np.ones((1, 2)), np.ones((1, 2, 10))
    arrays = {"predicted alignment": 0.9 * both, "early": np.array([when])}
    arrays |= {"largest gap": 1e-3 * both, "mean gap": 1e-3 * both}
    arrays |= {"singular values": np.array([[[1.0, 0.9], [3.0, 1.0]]])}
    arrays |= {"training/reasoning-anchors": 0.8 * one, "training/memory-anchors": memory * one}
    arrays |= {"divergence": np.array([[0.4, 0.2]]), "drive": np.array([drives])}
    arrays |= {"divergence/theory": np.array([[0.4, 0.2]]), "drive/theory": np.array([predicted])}
    arrays |= {f"{figure_6.BARE}{name}": values for name, values in arrays.items()}
    arrays |= {f"laws/{law}/{kind}": one[:, 0] for law in ("uniform", "mean") for kind in figure_6.KINDS}
    arrays |= {"step": np.array([0, 20]), "overlap": both[:, 0], "label entropy": 3.0 * np.ones((1, 3))}
    for group in figure_6.GROUPS:
        arrays |= {f"loss/{group}": np.array([[4.0, 2.0 if group != "memory" else 2.5]])}
        arrays |= {f"theory/{closure}/{group}": arrays[f"loss/{group}"] for closure in figure_6.CLOSURES}
    return arrays


def test_orthogonal_and_opposite_exclude_each_other_in_figure_6():
    def outcomes(*arguments):
        found = figure_6._statistics(of_figure_6(*arguments))
        values = [s.reproduced for s in found[4:14]]
        assert values[:5] == values[5:]
        return [*(s.reproduced for s in found[:2]), *values[:5]]

    assert outcomes(0.1) == [True, True, True, True, True, False, True]
    assert outcomes(-0.7) == [True, True, True, True, False, True, True]
    assert outcomes(0.7) == [True, True, True, True, False, False, True]
    assert outcomes(0.1, -1) == [True] + [False] * 6  # without an early moment nothing early is reproduced


@pytest.mark.parametrize(
    ("trained", "predicted", "outcomes"),
    [
        ((0.2, -0.2), (0.2, -0.2), [True, True]),  # both cross at 0.3
        ((0.2, -0.2), (0.3, -0.1), [True, True]),  # predicted at 0.25, within a fifth
        ((0.2, -0.2), (0.39, -0.01), [True, False]),
        ((0.2, -0.2), (0.2, 0.1), [True, False]),
        ((0.2, 0.1), (0.2, -0.2), [False, False]),
        (
            (-0.1, -0.2),
            (-0.1, -0.2),
            [False, True],
        ),  # past it from the start: there is no crossing on the way
    ],
)
def test_the_crossing_of_figure_6(trained, predicted, outcomes):
    found = figure_6._statistics(of_figure_6(0.1, 1, trained, predicted))
    assert [s.reproduced for s in found[14:16]] == outcomes
    np.testing.assert_allclose(
        figure_6.crossing(of_figure_6(0.1), "")[0], [0.3]
    )  # half of the way from 0.4 to 0.2


def test_drives_are_those_of_the_networks_outputs():
    """Without W_U outputs are uniform: the divergence is that of the uniform law, the drives those of A5."""
    regime = replace(figure_6.REGIMES["small"], **TINY)
    data = regime.task(0).sampled(400)
    run = regime.train(data, 0.8, 0, [0], "weights")
    run = replace(run, weights={n: w * (n not in ("W_U", "b_U")) for n, w in run.weights.items()})
    found = figure_6.drives(run)
    train = ~data.held_out
    labels, weights = np.eye(data.d_vocab)[data.labels[train]], data.weights[train]
    marginal = weights @ labels
    seen = marginal > 0
    assert found["divergence"][0] == pytest.approx(
        marginal[seen] @ np.log(marginal[seen] * data.d_vocab), rel=1e-4
    )
    pulls = []
    for kind in figure_6.KINDS:
        counts = np.isin(data.sequences[train], data.token_groups[kind]).sum(axis=1)
        pulls.append((counts * weights) @ (labels - 1 / data.d_vocab))
    cosine = pulls[0] @ pulls[1] / np.linalg.norm(pulls[0]) / np.linalg.norm(pulls[1])
    assert found["drive"][0] == pytest.approx(cosine, abs=1e-5)


def test_a_narrow_regime_keeps_starting_scale_and_motion():
    wide, narrow = figure_3a.REGIMES["paper"], figure_3a.REGIMES["small"]
    assert wide.exponent(0.3) == pytest.approx(0.3)
    assert narrow.d_model < wide.d_model
    for gamma in figure_3a.GAMMAS:
        product, motion = [], []
        for regime in (wide, narrow):
            data = replace(regime, pairs=200).task(0).sampled(200)
            std = regime.start(data, gamma, 0)["W_E"].std()
            product.append(std * np.sqrt(regime.d_model))
            motion.append(regime.learning_rate * regime.steps / std)
        assert product[1] == pytest.approx(product[0], rel=0.03)
        assert motion[1] == pytest.approx(motion[0], rel=0.03)
        assert product[0] == pytest.approx(200 ** (0.5 - gamma), rel=0.03)


def laid(trained, predicted):
    """Two groups, one seed, ten steps apart; levels of 3."""
    curves = [np.array(side, dtype=float)[:, None] for side in (trained, predicted)]
    return _laid_over.Laid(np.arange(4) * 10, *curves, np.full((2, 1), 3.0), (0, 1))


def test_closures_are_held_against_losses_up_to_the_first_crossing():
    slow, fast = [4.0, 4.0, 4.0, 3.5], [4.0, 3.5, 2.5, 1.0]  # crosses at step 15
    same = _laid_over.of_closure("softmax", laid([slow, fast], [slow, fast]))
    assert [s.values for s in same] == [(0.0,), (0.0,), (1.0,)]
    assert all(s.reproduced for s in same)
    late = laid([slow, fast], [slow, [4.0, 3.5, 3.5, 1.0]])  # wrong at step 20 only, after the crossing
    assert late.errors(np.array([15.0])) == [0.0]
    assert late.errors(np.array([20.0])) == pytest.approx([0.4])
    assert late.first_apart() == pytest.approx([22.0 / 15.0 - 1.0])
    assert late.same_order().all()
    swapped = _laid_over.of_closure("softmax", laid([slow, fast], [fast, slow]))
    assert [s.reproduced for s in swapped] == [False, False, False]
    never = _laid_over.of_closure("softmax", laid([slow, slow], [slow, slow]))
    assert [s.reproduced for s in never] == [True, False, False]


def of_figure_8(inside, accuracy, windows=(80, 20), shift=0):
    """Arrays of figure 8 for one seed: steps at which ranges, then labels, of all groups are learnt, of 100."""
    steps, laws = np.arange(101.0), _memory.range_laws(120)
    arrays = {"step": steps, "step/window": steps}
    for j in range(1, 5):
        arrays[f"inside/{j}"] = np.where(steps >= inside, 0.95, 0.5)[None]
        arrays[f"accuracy/{j}"] = np.where(steps >= accuracy, 0.5, 0.05)[None]
        arrays[f"loss/memory {j}"] = np.full((1, 101), np.log(20 * j))
        for side in (*figure_8.CLOSURES, *(f"redrawn {i}" for i in range(3))):
            arrays[f"theory/{side}/memory {j}"] = arrays[f"loss/memory {j}"]
        arrays[f"output/{j}"] = np.tile(0.2 * laws[j - 1] + 0.8 * laws[(j - 1 + shift) % 4], (1, 101, 1))
    for kind, when in zip(("uniform", "window"), windows, strict=True):
        arrays[f"accuracy/{kind}"] = np.where(steps >= when, 0.5, 0.05)[None]
        arrays[f"loss/{kind}"] = np.where(steps >= when, 1.0, 4.0)[None]
    return arrays | {"level": np.log(20 * np.arange(1, 5.0))[None], "entropy/uniform": np.array([4.0])}


@pytest.mark.parametrize(
    ("arguments", "outcomes"),
    [
        ((10, 50), [True, True, True, True]),
        ((10, 1000), [True, True, True, True]),  # labels never
        ((50, 10), [False, True, True, True]),  # labels before ranges
        ((1000, 50), [False, False, False, True]),  # ranges never: nothing is measured there
        ((1000, 1000), [False, False, False, True]),
        ((10, 50, (80, 60)), [True, True, True, False]),
        ((10, 50, (1000, 60)), [True, True, True, True]),
        ((10, 50, (1000, 1000)), [True, True, True, False]),
        ((10, 50, (80, 20), 1), [True, True, False, True]),  # another group's law
    ],
)
def test_ranges_come_before_labels_in_figure_8(arguments, outcomes):
    found = figure_8._statistics(of_figure_8(*arguments))
    ranges, labels, (accuracy, loss) = found[:3], found[3], found[4:6]
    assert [s.reproduced for s in (*ranges, accuracy)] == outcomes
    assert accuracy.reproduced == loss.reproduced
    assert labels.reproduced == (arguments[1] <= 100)


def test_an_order_that_minibatches_decide_is_said():
    arrays, falling = of_figure_8(10, 50), np.linspace(5.0, 2.0, 101)[None]
    for side in ("loss", *(f"theory/redrawn {i}" for i in range(3))):
        arrays[f"{side}/memory 1"], arrays[f"{side}/memory 4"] = falling, falling - 0.5
    same = figure_8._statistics(arrays)[-1]
    assert same.values == (1.0,)
    assert same.reproduced
    first, last = arrays["theory/redrawn 1/memory 1"], arrays["theory/redrawn 1/memory 4"] + 1.6
    arrays |= {"theory/redrawn 1/memory 1": first - 3.0, "theory/redrawn 1/memory 4": last}
    mixed = figure_8._statistics(arrays)[-1]
    assert mixed.values == (pytest.approx(2 / 3),)
    assert not mixed.reproduced


def test_losses_of_figure_8_are_held_against_the_label_laws():
    arrays = of_figure_8(10, 50)
    arrays["loss/memory 3"] = 1.2 * arrays["loss/memory 3"]
    assert figure_8._statistics(arrays)[1].values == pytest.approx([0.2])
    np.testing.assert_allclose(_memory.range_laws(120).sum(axis=1), 1.0)
    assert figure_8.learnt(arrays).tolist() == [10]


def synthetic(memory, reasoning, test):
    """Arrays of figure 3a with loss curves of these learning times (steps) at gamma .3 and .8."""
    steps = np.arange(101.0)
    arrays = {"step": steps, "label entropy": np.full((1, 3), 3.0)}
    for k, gamma in enumerate(figure_3a.GAMMAS):
        for name, times in zip(figure_3a.GROUPS, (memory, reasoning, test), strict=True):
            t = times[k]
            arrays[f"loss/{name}/{gamma}"] = np.where(steps >= t, 0.5, 4.0)[None]
            for closure in figure_3a.CLOSURES:
                arrays[f"theory/{closure}/{name}/{gamma}"] = arrays[f"loss/{name}/{gamma}"][:, :60] + 0.5 * (
                    k == 0
                )
    return arrays


def test_statistics_of_figure_3a_decide_both_ways():
    never = 1000
    paper = figure_3a._statistics(synthetic((50, 50, 80), (45, 20, 10), (never, never, 12)))
    assert [s.reproduced for s in paper[:6]] == [True] * 6
    assert [s.reproduced for s in paper[6:]] == [True] * 7  # theory is training at .8, and off by .5 at .3
    other = figure_3a._statistics(synthetic((50, 50, 10), (10, 20, 10), (10, 20, never)))
    assert [s.reproduced for s in other[:6]] == [False] * 6


@pytest.mark.parametrize(
    ("memory", "reasoning", "test", "outcomes"),
    [
        ((1000, 50), (1000, 20), (1000, 12), {0: False, 2: True, 3: True}),  # neither is learnt: not together
        ((20, 50), (50, 20), (1000, 12), {0: False}),  # memory long before reasoning
        ((30, 50), (50, 20), (1000, 12), {0: True}),
        ((50, 1000), (45, 20), (1000, 12), {0: True, 2: True}),  # memory never: reasoning is before it
        ((50, 1000), (45, 1000), (1000, 1000), {2: False, 3: False}),
        ((50, 50), (45, 1000), (1000, 12), {2: False, 3: False}),
        ((50, 50), (1000, 20), (1000, 1000), {0: False, 2: True, 3: False}),
    ],
)
def test_what_is_never_learnt_is_not_together_with_anything(memory, reasoning, test, outcomes):
    """Learning times at gamma .3 and .8; a run has 100 steps."""
    found = figure_3a._statistics(
        synthetic(*((large, large, small) for large, small in (memory, reasoning, test)))
    )
    assert {i: found[i].reproduced for i in outcomes} == outcomes
