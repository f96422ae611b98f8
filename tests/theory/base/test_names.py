"""The sympy-free names agree with the registries that hold the things themselves."""

import subprocess
import sys
from dataclasses import fields

from hand_networks import HAND

from smallinit import theory
from smallinit.compare.experiment.model_spec import MODEL_KEYS, ModelSpec
from smallinit.sim.integration.step_plan import TOLERANCES
from smallinit.sim.ode.methods import METHODS
from smallinit.sim.optimizers.optimizer import Optimizer
from smallinit.sim.optimizers.specs import KINDS, RULES
from smallinit.theory.algebra.scalars.activations import BEYOND, KNOWN_BAD, NAMED
from smallinit.theory.base import names
from smallinit.theory.flows.closure import Closure
from smallinit.theory.models.losses import LOSSES


def test_names_are_those_of_the_registries():
    assert (*NAMED, *BEYOND) == names.ACTIVATIONS
    assert tuple(KNOWN_BAD) == names.BAD_ACTIVATIONS
    assert tuple(LOSSES) == names.LOSSES
    assert tuple(METHODS) == names.METHODS
    assert tuple(TOLERANCES) == names.STEP_METHODS
    assert set(RULES.values()) == set(KINDS.values())
    assert [f.name for f in fields(Closure)] == [*names.CLOSURE_PARTS, "norm", "name"]


def test_every_closure_is_read():
    model = theory.EmbMLP(4, 3, 2)
    assert [Closure.of(name, model).name for name in names.CLOSURES] == list(names.CLOSURES)


def test_keys_of_models_can_be_set_in_files():
    for name, keys in MODEL_KEYS.items():
        assert set(keys) <= set(ModelSpec.model_fields), name


def test_keys_of_optimizers_are_the_fields_of_their_classes():
    common = {f.name for f in fields(Optimizer)}
    for name, keys in names.OPTIMIZERS.items():
        assert {f.name for f in fields(RULES[name])} - common == set(keys) - {"batch_size"}, name


def test_all_models_of_the_theory_are_there():
    built_in = {
        cls.__name__
        for cls in theory.Model.__subclasses__()
        if cls.__module__.startswith("smallinit.theory.models.")
    }
    written = {cls.__name__ for cls in HAND if cls.__module__.startswith("smallinit.theory.models.")}
    assert set(names.MODELS) == built_in == written


def test_reading_names_loads_nothing():
    code = "import sys, smallinit.compare.experiment.layers, smallinit.compare.commands.flags; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"sympy", "numpy", "numba", "torch"} & set(loaded.split())


def test_what_is_said_of_methods_elsewhere_names_one_of_ours():
    told = [name for listed in names.METHODS_ELSEWHERE.values() for name in listed]
    assert len(set(told)) == len(told)
    assert not set(told) & set(names.METHODS)  # capitals aside, these are ours
    assert all(name == name.lower() for name in told)
    for said in names.METHODS_ELSEWHERE:
        assert said.startswith("leave it out") or said.split("'")[1] in names.METHODS
