"""Results and specs go through pickle and copy unchanged, stay closed to writing, and work where they arrive."""

import multiprocessing
import pkgutil
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields, is_dataclass
from importlib import import_module

import numpy as np
import pytest
import scipy.sparse as sparse
import sympy as sp
from helpers import TRAVELS

from smallinit.compare import check, overlay, train
from smallinit.compare.sweep.plan import SweepPlan
from smallinit.sim import AdamW, IntegrationError, certificate, integrate, integrate_ensemble, reduce
from smallinit.theory import (
    Activation,
    Closure,
    CompositeTask,
    EmbMLP,
    Lexicon,
    Model,
    OneLayerTransformer,
    derive,
    signature_modes,
    weight,
)
from smallinit.theory.algebra.matrices import apply, product
from smallinit.theory.data.inputs import COUNTS

E, U = weight("W_E", "d_vocab", "d_model"), weight("W_U", "d_model", "d_vocab")
WAYS = pytest.mark.parametrize("travel", TRAVELS.values(), ids=TRAVELS)


@dataclass(frozen=True)
class Own(Model):
    """A model of the user's, with an array among its fields."""

    d_model: int = 3
    activation: object = "tanh"
    scale: object = None

    @property
    def weight_symbols(self):
        return E, U

    @property
    def logits(self):
        return product(apply(self.activation.lambda_(), product(COUNTS, E)), U)


TASK = CompositeTask(keys=range(5, 9), memory_anchors=[3, 4], reasoning_anchors=[1, 2], masked=[[1, 2]])


@pytest.fixture(scope="module")
def made():
    """One of each, from the same task."""
    data = TASK.dataset()
    model = EmbMLP(data.d_vocab, 4, 5)
    start, flow = model.init(0.6, 0), derive(model, "leading")
    theory = integrate(flow, data, start, 2.0, 9)
    training = train(model, data, start, learning_rate=0.25, steps=8, save_at=9)
    reduction = reduce(flow, data, 3)
    return {
        "task": TASK,
        "data": data,
        "lexicon": Lexicon.of("the cat saw the dog"),
        "model": model,
        "own model": Own(data.d_vocab, scale=np.arange(3.0)),
        "activation": Activation.of(sp.Symbol("u") + sp.Symbol("u") ** 3),
        "closure": Closure(activation=3, attention=1),
        "optimizer": AdamW(1e-3, betas=(0.8, 0.9)),
        "flow": flow,
        "exact flow": derive(OneLayerTransformer(5, 3, 2, 4, 3), "exact"),
        "theory": theory,
        "drive": integrate(derive(model, "drive"), data, start, 2.0, 9),
        "training": training,
        "ensemble": integrate_ensemble(
            flow, data, {w: np.stack([v, 2 * v]) for w, v in start.items()}, 1.0, 3
        ),
        "overlay": overlay(theory, training),
        "decomposition": overlay(theory, training, decompose=True),
        "verdict": check("dW_out = W_in.T @ W_E.T @ M", model, data),
        "reduction": reduction,
        "reduced": integrate(reduction, data, start, 1.0, 3),
        "certificate": certificate(flow, data, start, 2.0),
        "modes": signature_modes(data),
        "plan": SweepPlan((({"model": {"d_model": 4}}, "here"),), {"init.seed": (0, 1)}),
    }


NAMES = (
    *(
        "optimizer",
        "task",
        "data",
        "lexicon",
        "model",
        "own model",
        "activation",
        "closure",
        "flow",
        "exact flow",
        "theory",
    ),
    *("drive", "training", "ensemble", "overlay", "decomposition", "verdict", "reduction", "reduced"),
    *("certificate", "modes", "plan"),
)


def parts(thing, path=""):
    """Everything inside: (path, what) of every leaf."""
    if is_dataclass(thing) and not isinstance(thing, type):
        inside = {
            f.name: getattr(thing, f.name) for f in fields(thing) if f.name[0] != "_"
        }  # none is a cache
    elif sparse.issparse(thing):
        inside = {"data": thing.data, "indices": thing.indices, "indptr": thing.indptr}
    elif isinstance(thing, Mapping):
        inside = dict(thing)
    elif isinstance(thing, list | tuple):
        inside = dict(enumerate(thing))
    else:
        yield path, thing
        return
    for name, part in inside.items():
        yield from parts(part, f"{path}.{name}")


@WAYS
@pytest.mark.parametrize("name", NAMES)
def test_it_arrives_equal_and_closed_to_writing(made, name, travel):
    here, there = made[name], travel(made[name])
    assert type(there) is type(here)
    ours, theirs = list(parts(here)), list(parts(there))
    assert [path for path, _ in ours] == [path for path, _ in theirs]
    for (path, a), (_, b) in zip(ours, theirs, strict=True):
        if isinstance(a, np.ndarray):
            np.testing.assert_array_equal(a, b, err_msg=path)
            assert (a.dtype, a.shape) == (b.dtype, b.shape), path
            assert not a.flags.writeable, f"{path} can be written to"
            assert not b.flags.writeable, f"{path} can be written to where it arrives"
        else:
            assert a == b, path
    for owner in (here, there):
        with pytest.raises((AttributeError, ValueError), match=r"cannot assign|is no field"):
            setattr(owner, fields(owner)[0].name, None)


@WAYS
def test_what_is_computed_from_it_is_the_same_there(made, travel):
    data, flow, theory, both = (made[name] for name in ("data", "flow", "theory", "overlay"))
    there = travel(data)
    assert there.fingerprint == data.fingerprint
    np.testing.assert_array_equal(there.signature(), data.signature())
    assert str(travel(flow)) == str(flow)
    assert travel(flow).latex() == flow.latex()
    np.testing.assert_array_equal(travel(theory)["loss/memory"], theory["loss/memory"])
    assert travel(both).summary() == both.summary()
    assert str(travel(made["verdict"])) == str(made["verdict"])
    lifted = travel(made["reduction"]).lift(travel(made["reduced"]))
    np.testing.assert_array_equal(
        lifted.weights["W_E"], made["reduction"].lift(made["reduced"]).weights["W_E"]
    )


@WAYS
def test_a_fingerprint_taken_before_is_not_carried_to_other_content(made, travel):
    """What the fingerprint says is taken from the content that arrived, not from a note that travelled along."""
    assert made["data"].fingerprint
    assert "fingerprint" not in vars(travel(made["data"]))


def test_a_weight_that_stands_still_travels_as_one_row(made):
    path = made["drive"]
    assert path.weights["W_in"].strides[0] == 0
    for name, travel in TRAVELS.items():
        assert travel(path).weights["W_in"].strides[0] == 0, name


def solved(flow, data, start):
    return integrate(flow, data, start, 2.0, 9)


def test_a_process_pool_integrates_a_flow(made):
    flow, data = made["flow"], made["data"]
    start = made["model"].init(0.6, 0)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        there = pool.submit(integrate, flow, data, start, 2.0, 9).result(timeout=240)
        error = pool.submit(integrate, flow, data, start, 2.0, 9, max_steps=1).exception(timeout=240)
    for name, value in made["theory"].weights.items():
        np.testing.assert_array_equal(there.weights[name], value)
    assert isinstance(error, IntegrationError)
    assert len(error.trajectory.t) >= 1
    assert str(error) == str(error.trajectory.outcome)


def errors():
    """All error classes of the package."""
    found = set()
    for room in ("theory", "sim", "compare"):
        package = import_module(f"smallinit.{room}")
        for module in pkgutil.walk_packages(package.__path__, f"smallinit.{room}."):
            if "figures" not in module.name:
                found |= {
                    thing
                    for thing in vars(import_module(module.name)).values()
                    if isinstance(thing, type) and issubclass(thing, Exception)
                }
    return sorted((e for e in found if e.__module__.startswith("smallinit.")), key=lambda e: e.__name__)


@WAYS
def test_errors_travel(travel):
    given = {
        "ClaimError": ("`claim` cannot go on.", "dW = *", 5),
        "FieldError": ("rtol", "is no number."),
        "CheckpointError": ("checkpoint", "is damaged."),
        "InputError": ("no such file.", ("a", "b")),
        "NothingEscapes": ("part", "is too large."),
        "NotFiniteAtStart": (0.5,),
        "UnsoundFile": ("theory.nc", "ends early"),
    }
    kinds = errors()
    assert {"FieldError", "InputError", "IntegrationError", "ClaimError"} <= {e.__name__ for e in kinds}
    for kind in kinds:
        error = kind(*given.get(kind.__name__, ("what is wrong.",)))
        there = travel(error)
        assert type(there) is kind
        assert str(there) == str(error)
        assert vars(there) == vars(error)
