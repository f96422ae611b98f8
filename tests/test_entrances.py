"""One validator at every entrance: what is no array of real numbers is refused in one sentence, tensors are read."""

import numpy as np
import pytest
import scipy.sparse as sparse
import torch
from helpers import random_data, random_weights

from smallinit.compare import (
    check,
    embedding_motion,
    overlay,
    plot_errors,
    plot_overlays,
    similarity_overlay,
    train,
)
from smallinit.compare.proof.residuals import autodiff_gradient
from smallinit.compare.training.networks import network
from smallinit.sim import (
    GD,
    StepEquations,
    alignment,
    balanced_start,
    certificate,
    check_flow,
    fluctuations,
    integrate,
    integrate_ensemble,
    integrate_modes,
    learning_times,
    measure_escape,
    mode_blow_ups,
    onset,
    predict_stages,
    reduce,
    scales,
    solve,
)
from smallinit.sim.kernel.problem import Problem
from smallinit.theory import (
    CompositeTask,
    Dataset,
    EmbedUnembed,
    EmbMLP,
    OneLayerTransformer,
    RowNorm,
    RowSoftmax,
    apply,
    derive,
    hadamard,
    key_label_law,
    shuffle_labels,
    signature_modes,
    subset,
    sum_law,
    uniform_sum_law,
    weight,
)
from smallinit.theory.base.arrays import real_array
from smallinit.theory.base.errors import FieldError, InputError
from smallinit.theory.exact import linear_mode


class Metres:
    """A quantity as unit packages make them."""

    units = "m"

    def __init__(self, magnitude):
        self.magnitude = magnitude

    def __array__(self, dtype=None, copy=None):
        return np.array(self.magnitude)


def masked(x):
    return np.ma.masked_array(x, mask=np.arange(x.size).reshape(x.shape) == 0)


ODD = {
    "complex": (lambda x: x.astype(complex), "must be an array of real numbers, got complex128"),
    "bool": (lambda x: x > 0, "must be an array of real numbers, got bool"),
    "text": (lambda x: x.astype(str), "must be an array of real numbers, got <U"),
    "bytes": (lambda x: x.astype(bytes), r"must be an array of real numbers, got \|S"),
    "objects": (
        lambda x: x.astype(object),
        "must be a rectangular array of numbers, got an array of objects",
    ),
    "dates": (lambda x: np.zeros(x.shape, "M8[s]"), "must be an array of real numbers, got datetime64"),
    "records": (lambda x: np.zeros(x.shape, [("a", float)]), "must be a rectangular array of numbers"),
    "masked": (masked, "has masked entries: fill them"),
    "units": (Metres, "has units, which would be lost"),
    "None": (lambda x: None, "must be a rectangular array of numbers, got an array of objects"),
    "complex tensor": (lambda x: torch.tensor(x).cfloat(), "must be an array of real numbers, got complex64"),
    "tensor nowhere": (
        lambda x: torch.empty(x.shape, device="meta"),
        "must be an array of numbers, got Tensor",
    ),
}
DATA = random_data()
MODEL = EmbMLP(7, 5, 6)
START = random_weights(MODEL)
FLOW = derive(MODEL, "leading")
PAIR = EmbedUnembed(7, 4)
REDUCTION = reduce(derive(PAIR), DATA, 2)
STAGED = OneLayerTransformer(7, 4, 3, 5, 3)


def stacked(start, whole=False):
    return {n: v if n == "W_E" and not whole else np.stack([v, v]) for n, v in start.items()}


# Every public function that takes weights: called with a changed W_E and the others as they should be.
ENTRANCES = {
    "validate": lambda w: MODEL.validate(START | {"W_E": w}),
    "integrate": lambda w: integrate(FLOW, DATA, START | {"W_E": w}, 0.1),
    "integrate, reduced": lambda w: integrate(REDUCTION, DATA, random_weights(PAIR) | {"W_E": w}, 0.1),
    "integrate_ensemble": lambda w: integrate_ensemble(FLOW, DATA, stacked(START | {"W_E": w}), 0.1),
    "rhs": lambda w: FLOW.rhs(DATA, START | {"W_E": w}),
    "train": lambda w: train(MODEL, DATA, START | {"W_E": w}, steps=1),
    "network": lambda w: network(MODEL, START | {"W_E": w}),
    "autodiff": lambda w: autodiff_gradient(MODEL, DATA, START | {"W_E": w}),
    "certificate": lambda w: certificate(FLOW, DATA, START | {"W_E": w}, 0.1),
    "scales": lambda w: scales(MODEL, START | {"W_E": w}, DATA),
    "check_flow": lambda w: check_flow(FLOW, START | {"W_E": w}, DATA),
    "project": lambda w: REDUCTION.project(random_weights(PAIR) | {"W_E": w}),
    "predict_stages": lambda w: predict_stages(STAGED, DATA, random_weights(STAGED) | {"W_E": w}),
    "mode_blow_ups": lambda w: mode_blow_ups(signature_modes(DATA), START | {"W_E": w}, 1.0),
    "blow_up_brackets": lambda w: signature_modes(DATA).blow_up_brackets(START | {"W_E": w}),
    "balanced_start": lambda w: balanced_start(REDUCTION, w),
    "solve": lambda w: solve(PROBLEM, w, t1=1.0),
    "solve, times": lambda w: solve(PROBLEM, [1.0] * 3, t1=1.0, save_at=w),
    "integrate_modes": lambda w: integrate_modes([1.0], w, 1.0),
    "Dataset, weights": lambda w: Dataset([[0], [1]], [0, 1], 2, weights=w),
    "closed forms": lambda w: linear_mode(w, 1.0, 0.1),
}


def still(t, y, out):
    for i in range(y.size):
        out[i] = 0.0


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("entrance", ENTRANCES)
def test_what_is_no_array_of_real_numbers_is_refused_by_name(entrance, odd):
    if odd == "None" and entrance in ("Dataset, weights", "solve, times"):
        return  # their default
    make, reason = ODD[odd]
    shapes = {"integrate_ensemble": (2, 7, 5), "balanced_start": (2,), "solve": (3,), "solve, times": (3,)}
    shapes |= {"integrate_modes": (2, 3, 1), "Dataset, weights": (2,), "closed forms": (3,)}
    shapes |= {"integrate, reduced": (7, 4), "project": (7, 4), "predict_stages": (7, 4)}
    reason = reason if entrance != "Dataset, weights" else "must hold real numbers|" + reason
    with pytest.raises(FieldError, match=reason):
        ENTRANCES[entrance](make(np.ones(shapes.get(entrance, (7, 5)))))


@pytest.mark.parametrize("entrance", ["validate", "integrate", "rhs", "train", "autodiff", "check_flow"])
@pytest.mark.parametrize(
    "make",
    [
        lambda x: torch.nn.Parameter(torch.tensor(x)),
        lambda x: torch.tensor(x, requires_grad=True) * 1.0,
        lambda x: torch.tensor(x.T).T,
        lambda x: x.astype(np.longdouble),
        lambda x: np.asfortranarray(x),
        lambda x: x.tolist(),
        lambda x: np.ma.masked_array(x),
    ],
)
def test_tensors_and_other_arrays_are_read_as_they_are(entrance, make):
    w = np.round(START["W_E"], 3)
    plain, other = ENTRANCES[entrance](w), ENTRANCES[entrance](make(w))
    if isinstance(plain, dict):
        np.testing.assert_array_equal(other["W_E"], plain["W_E"])
    elif plain is not None:
        np.testing.assert_array_equal(other.weights["W_E"], plain.weights["W_E"])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.int8])
def test_every_precision_of_torch_is_read_exactly(dtype):
    values = torch.tensor([[1.0, -2.0], [0.5, 3.0]]).to(dtype)
    found = real_array("x", torch.nn.Parameter(values) if values.is_floating_point() else values)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, values.double().numpy())


def test_a_validated_array_is_a_copy():
    for given in (np.ones(3), torch.ones(3, dtype=torch.float64)):
        found = real_array("x", given)
        given[0] = 5.0
        assert found.tolist() == [1.0, 1.0, 1.0]


def test_sparse_arrays_and_ragged_rows_are_refused():
    with pytest.raises(FieldError, match="`x` is sparse: give it dense"):
        real_array("x", sparse.csr_array(np.eye(2)))
    with pytest.raises(FieldError, match="`x` must be a rectangular array, got rows of different lengths"):
        real_array("x", [[1.0], [1.0, 2.0]])
    with pytest.raises(FieldError, match="`x` must be finite, got 1 nan or inf"):
        real_array("x", [1.0, np.longdouble("1e400")])


SCALARS = [
    ({"t1": "5"}, "`t1` must be a finite flow time, got '5'"),
    ({"t1": None}, "`t1` is missing"),
    ({"t1": 10**400}, "`t1` must be a finite flow time, got 1000"),
    ({"t1": True}, "`t1` must be a finite flow time, got True"),
    ({"t1": 1 + 0j}, r"`t1` must be a finite flow time, got \(1\+0j\)"),
    ({"t0": "0"}, "`t0` must be a finite flow time, got '0'"),
    ({"rtol": "1e-6"}, "`rtol` must lie in .0, 1., got '1e-6'"),
    ({"rtol": True}, "`rtol` must lie in .0, 1., got True"),
    ({"rtol": 1e-200}, "`rtol` must be at least 1e-14, what float64 arithmetic can keep to, got 1e-200"),
    ({"rtol": 1e-16}, "`rtol` must be at least 1e-14"),
    ({"atol": "1e-9"}, "`atol` must be positive and finite, got '1e-9'"),
    ({"atol": 1e-320}, "`atol` must be at least 2.23e-308, the least normal number"),
    ({"first_step": "0.1"}, "`first_step` must be a positive flow time or None, got '0.1'"),
    ({"fixed_step": True}, "`fixed_step` must be a positive flow time or None, got True"),
    ({"max_seconds": "2"}, "`max_seconds` must be positive or None, got '2'"),
    ({"max_seconds": 0}, "`max_seconds` must be positive or None, got 0"),
    ({"max_steps": 10.0}, "`max_steps` must be an integer"),
    ({"progress": 3}, "`progress` must be a function or None, got 3"),
    ({"save_at": "5"}, "`save_at` must be an array of real numbers, got <U1"),
    ({"rtol": 10**400}, "`rtol` must lie in .0, 1., got"),
    ({"atol": 10**400}, "`atol` must be positive and finite, got"),
    ({"max_steps": 10**400}, "`max_steps` must be an integer of at most"),
    ({"save_at": 10**400}, "`save_at` must be from 1 to 10,000,000 as a number of times"),
    ({"save_at": 0}, "`save_at` must be from 1 to 10,000,000 as a number of times, got 0"),
    ({"first_step": [1.0]}, r"`first_step` must be a positive flow time or None, got \[1.0\]"),
    ({"first_step": np.ones(2)}, "`first_step` must be a positive flow time or None, got array"),
    ({"method": np.ones(2)}, r"`method` array\(\[1., 1.\]\) is unknown"),
    ({"throw": "no"}, "`throw` must be True or False, got 'no'"),
    ({"observables": 5}, "`observables` must be distinct names, such as"),
    ({"observables": "loss"}, "`observables` must be distinct names, such as .*, got 'loss'"),
    ({"observables": []}, "`observables` must be at least one"),
    ({"save_at": [0.5, 1.0 + 1e-9]}, r"`save_at` must lie within \[t0, t1\]"),
]


@pytest.mark.parametrize(("changed", "reason"), SCALARS, ids=lambda x: str(x)[:24])
def test_what_is_no_number_is_refused(changed, reason):
    with pytest.raises(ValueError, match=reason):
        integrate(FLOW, DATA, START, **({"t1": 1.0} | changed))


def test_save_times_that_rounding_put_past_the_ends_are_taken():
    tenth = 0.1 * 3  # 0.30000000000000004
    path = integrate(FLOW, DATA, START, 0.3, save_at=[0.0, 0.1, tenth])
    assert path.t.tolist() == [0.0, 0.1, 0.3]
    path = integrate(FLOW, DATA, START, 0.5, t0=tenth, save_at=[0.3, 0.5])
    assert path.t.tolist() == [tenth, 0.5]
    many = integrate_ensemble(FLOW, DATA, {n: v[None] for n, v in START.items()}, 0.3, save_at=[tenth])
    assert many.t.tolist() == [[0.3]]


@pytest.mark.parametrize("starts", [None, [1.0], {}, "W_E"])
def test_starts_of_an_ensemble_that_map_nothing(starts):
    with pytest.raises(FieldError, match=r"`starts` must map weight names to arrays, got .*np\.stack"):
        integrate_ensemble(FLOW, DATA, starts, 1.0)


NO_NUMBERS = ["5", [1.0], np.ones(2), 1 + 2j, float("nan"), -1.5, object(), b"1", (), {}]
SOFTMAX = derive(PAIR, "softmax")
THEORY = integrate(SOFTMAX, DATA, random_weights(PAIR), 1.0, save_at=6)
RUN = train(PAIR, DATA, random_weights(PAIR), steps=5, learning_rate=0.2)
PROBLEM = Problem.from_function(still, 3)
MODES = signature_modes(DATA)
ATTENDING = integrate(derive(STAGED), DATA, random_weights(STAGED), 0.1, save_at=2)
NUMBERS = {  # every public function that takes numbers, and which of its arguments are
    "integrate": (
        lambda **k: integrate(FLOW, DATA, START, **({"t1": 0.1} | k)),
        "t1 t0 rtol atol max_steps first_step fixed_step max_seconds optimizer steps method progress throw observables "
        "device",
    ),
    "integrate_ensemble": (
        lambda **k: integrate_ensemble(FLOW, DATA, stacked(START, True), **({"t1": 0.1} | k)),
        "t0 rtol atol max_steps max_seconds threads method progress throw keep_weights observables",
    ),
    "integrate, optimizer": (
        lambda **k: integrate(FLOW, DATA, START, **({"steps": 2, "optimizer": GD(0.1)} | k)),
        "t0 t1 atol first_step fixed_step steps",
    ),
    "integrate_ensemble, optimizer": (
        lambda **k: integrate_ensemble(
            FLOW, DATA, stacked(START, True), **({"steps": 2, "optimizer": GD(0.1)} | k)
        ),
        "t0 t1 atol steps",
    ),
    "train": (
        lambda **k: train(MODEL, DATA, START, **({"steps": 1} | k)),
        "learning_rate steps batch_size seed dtype weight_decay schedule clip betas device keep measure_on checkpoint "
        "checkpoint_every resume accept_changes max_seconds progress throw optimizer",
    ),
    "reduce": (lambda **k: reduce(derive(PAIR), DATA, **k), "modes seed"),
    "certificate": (
        lambda **k: certificate(SOFTMAX, DATA, random_weights(PAIR), **({"t1": 0.1} | k)),
        "t1 tol weight learning_rate points",
    ),
    "overlay": (lambda **k: overlay(THEORY, RUN, **k), "decompose"),
    "solve": (
        lambda **k: solve(PROBLEM, [1.0] * 3, **({"t1": 0.1} | k)),
        "t1 t0 rtol atol max_steps first_step fixed_step max_seconds method progress view",
    ),
    "init": (lambda **k: MODEL.init(**({"gamma": 0.8, "seed": 0} | k)), "gamma seed"),
    "predict_stages": (
        lambda **k: predict_stages(STAGED, DATA, random_weights(STAGED), **({"t1": 1e-3, "factor": 2.0} | k)),
        "t1 factor",
    ),
    "onset": (lambda **k: onset(ATTENDING, **k), "factor"),
    "mode_blow_ups": (lambda **k: mode_blow_ups(MODES, START, **k), "t1"),
    "learning_times": (lambda **k: learning_times(THEORY, MODES, **k), "share"),
    "measure_escape": (
        lambda **k: measure_escape(MODEL, DATA, START, ["W_E"], **({"scales": [0.1, 0.2]} | k)),
        "scales growth",
    ),
    "check_flow": (lambda **k: check_flow(FLOW, START, DATA, **k), "t"),
    "balanced_start": (lambda **k: balanced_start(REDUCTION, [0.1, 0.1], **k), "seed"),
    "check": (lambda **k: check("dW_E = M", MODEL, DATA, **k), "seed"),
    "fluctuations": (
        lambda **k: fluctuations(
            SOFTMAX, DATA, random_weights(PAIR), optimizer=GD(0.1), batch_size=2, **({"steps": 1} | k)
        ),
        "steps rank draws intervals seed",
    ),
    "scales": (lambda **k: scales(MODEL, START, DATA, GD(0.1), **k), "steps"),
    "certificate, optimizer": (
        lambda **k: certificate(SOFTMAX, DATA, random_weights(PAIR), optimizer=GD(0.1), **k),
        "steps",
    ),
    "save": (lambda **k: THEORY.save("theory.nc", **k), "overwrite"),
    "plot_errors": (lambda **k: plot_errors(overlay(THEORY, RUN), **k), "tolerance labels"),
    "plot_overlays": (lambda **k: plot_overlays(overlay(THEORY, RUN), **k), "times tolerance"),
    "horizon": (lambda **k: overlay(THEORY, RUN).horizon(**({"tol": 0.05} | k)), "tol name"),
    "embedding_motion": (lambda **k: embedding_motion([THEORY], RUN, **k), "frames"),
    "key_label_law": (
        lambda **k: key_label_law(CompositeTask(), **({"key": 21} | k)),
        "key part training",
    ),
    "uniform_sum_law": (lambda **k: uniform_sum_law(**({"n_terms": 2, "size": 3} | k)), "n_terms size"),
    "CompositeTask": (CompositeTask, "length n_anchors seed d_vocab"),
    "weight": (lambda **k: weight("W_X", **({"rows": "d_vocab", "cols": "d_model"} | k)), "rows cols"),
    "RowNorm": (lambda **k: RowNorm(MODEL.weight_symbols[0], **k), "eps"),
    "signature_modes": (lambda **k: signature_modes(DATA, **k), "groups n_modes"),
    "shuffle_labels": (lambda **k: shuffle_labels(DATA, **({"group": "all"} | k)), "group seed"),
    "subset": (lambda **k: subset(DATA, np.ones(len(DATA), bool), **k), "shares"),
    "sum_law": (lambda **k: sum_law(**k), "sizes"),
}
TAKEN = {  # what means something there
    *{("integrate", name, -1.5) for name in ("t0",)}, ("integrate_ensemble", "t0", -1.5), ("solve", "t0", -1.5),
    ("init", "gamma", -1.5), ("train", "checkpoint", "5"),
    ("check_flow", "t", -1.5), ("subset", "shares", "{}"), ("sum_law", "sizes", "b'1'"),
    ("learning_times", "share", -1.5), ("signature_modes", "n_modes", repr(10**400)),
    ("RowNorm", "eps", repr(10**400)), ("weight", "rows", repr(10**400)), ("weight", "cols", repr(10**400)),
    *{(f, "observables", "()") for f in ("integrate_ensemble",)},
}  # fmt: skip


@pytest.mark.parametrize(
    ("entrance", "field"), [(e, f) for e, (_, fields) in NUMBERS.items() for f in fields.split()]
)
def test_one_sentence_names_the_argument_that_is_no_number(entrance, field, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for value in [
        *NO_NUMBERS,
        10**400 if field not in ("seed", "threads", "max_seconds", "optimizer") else "x",
    ]:
        told = value if isinstance(value, float | str) else repr(value)
        if (entrance, field, told) in TAKEN:
            continue
        with pytest.raises((FieldError, InputError)) as caught:
            NUMBERS[entrance][0](**{field: value})
        sentence = str(caught.value)
        assert field in sentence or (field, "steps") == ("optimizer", "steps")
        assert len(sentence) < 400
        assert "\n" not in sentence
    assert list(tmp_path.iterdir()) == []


OBJECTS = {  # every public function that takes objects of ours: called with them in their places
    "integrate": (lambda flow, data, start: integrate(flow, data, start, 0.1), (FLOW, DATA, START)),
    "integrate_ensemble": (
        lambda flow, data, start: integrate_ensemble(flow, data, start, 0.1),
        (FLOW, DATA, stacked(START, True)),
    ),
    "certificate": (
        lambda flow, data, start: certificate(flow, data, start, 0.1),
        (SOFTMAX, DATA, random_weights(PAIR)),
    ),
    "reduce": (reduce, (derive(PAIR), DATA)),
    "train": (lambda model, data, start: train(model, data, start, steps=1), (MODEL, DATA, START)),
    "overlay": (overlay, (THEORY, RUN)),
    "derive": (derive, (MODEL, "leading")),
    "check_flow": (check_flow, (FLOW, START, DATA)),
    "check": (lambda model, data: check("dW_E = M", model, data), (MODEL, DATA)),
    "fluctuations": (
        lambda flow, data: fluctuations(
            flow, data, random_weights(PAIR), steps=1, optimizer=GD(0.1), batch_size=2
        ),
        (SOFTMAX, DATA),
    ),
    "balanced_start": (lambda reduction: balanced_start(reduction, [0.1, 0.1]), (REDUCTION,)),
    "mode_blow_ups": (lambda modes, start: mode_blow_ups(modes, start, 1.0), (MODES, START)),
    "learning_times": (learning_times, (THEORY, MODES)),
    "measure_escape": (
        lambda direction: measure_escape(MODEL, DATA, direction, ["W_E"], [0.1, 0.2]),
        (START,),
    ),
    "alignment": (alignment, (ATTENDING,)),
    "onset": (onset, (ATTENDING,)),
    "similarity_overlay": (similarity_overlay, (RUN, {"leading": THEORY})),
    "embedding_motion": (embedding_motion, ([THEORY], RUN)),
    "StepEquations": (StepEquations, (FLOW, GD(0.1))),
    "apply": (lambda x: apply("tanh", x), MODEL.weight_symbols[:1]),
    "hadamard": (hadamard, (MODEL.weight_symbols[0], MODEL.weight_symbols[0])),
    "RowSoftmax": (RowSoftmax, MODEL.weight_symbols[:1]),
}


@pytest.mark.parametrize("alone", [np.array(0.5), torch.tensor(0.5)])
@pytest.mark.parametrize("field", ["t1", "t0", "rtol", "atol", "first_step"])
def test_an_array_without_axes_is_told_how_to_become_a_number(field, alone):
    with pytest.raises(FieldError, match=rf"^`{field}` must .*: give its `\.item\(\)`\.$"):
        integrate(FLOW, DATA, START, **({"t1": 1.0} | {field: alone}))


def test_no_groups_at_all_have_no_modes():
    with pytest.raises(FieldError, match="`groups` must not be empty: leave it out"):
        signature_modes(DATA, [])


@pytest.mark.parametrize("entrance", OBJECTS)
def test_one_sentence_for_objects_of_other_kinds(entrance):
    call, right = OBJECTS[entrance]
    for place in range(len(right)):
        for wrong in ("leading", None, 5, DATA, MODEL, START, [1.0]):
            if entrance == "hadamard" and isinstance(wrong, int):
                continue  # a number is a factor
            same = wrong is right[place] or (isinstance(wrong, str) and wrong == right[place])
            if same or (entrance, place) == ("integrate_ensemble", 2):
                continue
            given = [*right[:place], wrong, *right[place + 1 :]]
            with pytest.raises(ValueError, match=r"^[^\n]{1,400}$"):
                call(*given)


@pytest.mark.parametrize("gamma", [-500, 500, 1e308, {"W_E": 1.0, "W_in": -500.0, "W_out": 1.0}])
def test_a_scale_that_floats_cannot_hold_is_refused(gamma):
    with pytest.raises(
        FieldError, match=r"`gamma` is .*, which gives the \d rows of 'W_\w+' entries of about 10\^"
    ):
        MODEL.init(gamma, 0)
    small = MODEL.init(100, 0)
    assert all(np.all(w != 0.0) for w in small.values())
