from dataclasses import dataclass

import numpy as np
import pytest

from smallinit.theory import EmbMLP
from smallinit.theory.base.errors import FieldError

MODEL = EmbMLP(40, 30, 20)


def test_init_follows_A2():
    start = EmbMLP(400, 300, 200).init(gamma=0.8, seed=0)
    for value in start.values():
        assert value.dtype == np.float64
        assert value.std() == pytest.approx(value.shape[0] ** -0.8, rel=0.02)
        assert abs(value.mean()) < 4 * value.std() / np.sqrt(value.size)


def test_init_is_reproducible_and_streams_differ():
    a, b, c = MODEL.init(0.5, 0), MODEL.init(0.5, 0), MODEL.init(0.5, 1)
    assert all(np.array_equal(a[k], b[k]) for k in a)
    assert not np.array_equal(a["W_E"], c["W_E"])
    assert np.allclose(MODEL.init(0.9, 0)["W_in"], a["W_in"] * 30**-0.4)


@pytest.mark.parametrize(
    ("gamma", "seed", "message"),
    [
        (float("nan"), 0, "`gamma` must be a finite"),
        (0.5, -1, "`seed`"),
        (0.5, 1.5, "`seed`"),
        (0.5, True, "`seed`"),
    ],
)
def test_bad_init_arguments(gamma, seed, message):
    with pytest.raises(ValueError, match=message):
        MODEL.init(gamma, seed)


@pytest.mark.parametrize("field", ["d_vocab", "d_model", "d_mlp"])
@pytest.mark.parametrize("value", [0, -3, 2.0, True])
def test_bad_dimensions(field, value):
    with pytest.raises(ValueError, match=f"`{field}` must be an integer of at least 1"):
        EmbMLP(**({"d_vocab": 4, "d_model": 3, "d_mlp": 2} | {field: value}))


def test_validate_names_the_culprit():
    start = MODEL.init(0.8, 0)
    with pytest.raises(ValueError, match=r"unknown weight 'W_U'"):
        MODEL.validate(start | {"W_U": np.zeros(3)})
    with pytest.raises(ValueError, match=r"lacks the weight 'W_E'"):
        MODEL.validate({k: v for k, v in start.items() if k != "W_E"})
    with pytest.raises(ValueError, match=r"`start\['W_in'\]` must have shape \(30, 20\), got \(20, 30\)"):
        MODEL.validate(start | {"W_in": start["W_in"].T})
    with pytest.raises(
        ValueError, match=r"`start\['W_in'\]` must be an array of real numbers, got complex128"
    ):
        MODEL.validate(start | {"W_in": start["W_in"] * 1j})
    with pytest.raises(ValueError, match="must be a rectangular array, got rows of different lengths"):
        MODEL.validate(start | {"W_in": [[1, 2], [3]]})
    with pytest.raises(ValueError, match="`start` must map weight names"):
        MODEL.validate(None)
    with pytest.raises(ValueError, match="non-finite"):
        MODEL.validate(start | {"W_in": np.full((30, 20), np.nan)})
    clean = MODEL.validate({k: v.astype(np.float32) for k, v in start.items()})
    assert all(v.dtype == np.float64 and v.flags.c_contiguous for v in clean.values())


def test_spec_is_plain():
    assert MODEL.spec() == {
        "name": "EmbMLP",
        "d_vocab": 40,
        "loss": "cross_entropy",
        "d_model": 30,
        "d_mlp": 20,
        "activation": "tanh",
    }


@pytest.mark.parametrize("name", ["width", "outputs", "spec", "block"])
def test_no_field_takes_the_name_of_a_method(name):
    with pytest.raises(FieldError, match=f"`{name}` is a field of Wide and a method or property of every"):
        dataclass(frozen=True)(type("Wide", (EmbMLP,), {"__annotations__": {name: "int"}}))


def test_fields_may_be_declared_again():
    narrow = dataclass(frozen=True)(
        type("Narrow", (EmbMLP,), {"__annotations__": {"d_mlp": "int"}, "d_mlp": 3})
    )
    assert narrow(4, 5).d_mlp == 3
