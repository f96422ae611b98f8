"""Closures that would take minutes are refused in no time, with what they would take and what would do."""

import re
import time
from dataclasses import replace

import pytest

from smallinit.theory import Closure, EmbedUnembed, EmbMLP, OneLayerTransformer, derive
from smallinit.theory.base.errors import FieldError
from smallinit.theory.flows.affordable import affordable

MLP, PAIR, TRANSFORMER = EmbMLP(7, 3, 3), EmbedUnembed(7, 3), OneLayerTransformer(7, 3, 3, 3, 3)


@pytest.mark.parametrize(
    ("model", "closure"),
    [
        (MLP, "order=99"),
        (MLP, "order=1000000"),
        (PAIR, "order=99"),
        (EmbMLP(7, 3, 3, activation="identity"), "order=99"),
        (EmbMLP(7, 3, 3, loss="mse"), "order=499"),
        (TRANSFORMER, "order=99"),
        (TRANSFORMER, Closure(softmax=299, activation=3, attention=1)),
        (TRANSFORMER, "attention=99"),
        (TRANSFORMER, "softmax=9,attention=99"),
        (MLP, "activation=999"),
    ],
)
def test_what_takes_minutes_is_refused_at_once(model, closure):
    began = time.perf_counter()
    with pytest.raises(FieldError, match=r"would take (about|more than) [\d,.]+ minutes to derive") as caught:
        derive(model, closure)
    assert time.perf_counter() - began < 15.0  # seconds elsewhere; the machine may be busy
    name, best = re.search(r"use (\w+)=(\d+) or lower\.$", str(caught.value)).groups()
    part = {"softmax" if name == "order" else name: int(best)}
    assert affordable(
        replace(closure, name="", **part) if isinstance(closure, Closure) else Closure(**part), model
    )


@pytest.mark.parametrize(
    "closure",
    ["order=" + "9" * 5000, "activation=" + "9" * 5000, "order=0x10", "order="],
    ids=lambda c: c[:12],
)
def test_orders_that_nobody_can_mean(closure):
    with pytest.raises(FieldError, match=r"`closure` .* is unknown") as caught:
        derive(MLP, closure)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "value",
    [0, -1, 10**7, 10**5000, True, 1.0, "9", None],
    ids=lambda v: f"{v!r:.9}" if v.__class__ is not int or v < 10**9 else "huge",
)
def test_parts_out_of_range(value):
    with pytest.raises(FieldError, match="`softmax` must be 'exact' or an integer from 1 to 1000000, got"):
        Closure(softmax=value)


@pytest.mark.parametrize(
    ("model", "closure"), [(MLP, "order=21"), (PAIR, "order=20"), (TRANSFORMER, "order=12"), (MLP, "leading")]
)
def test_what_takes_seconds_is_derived(model, closure):
    assert derive(model, closure).closure == closure
