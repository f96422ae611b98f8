"""Places of intermediate results: none over another, none in a part of the result that is written already."""

from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from smallinit.sim.compile.compiler import compile_flow
from smallinit.sim.compile.table.memory import Need, Slot, placed
from smallinit.sim.kernel.operations import OUT
from smallinit.theory import Dataset, EmbMLP, derive

LIVES = st.tuples(st.integers(1, 9), st.integers(0, 12), st.integers(0, 6))


@given(st.lists(LIVES, max_size=12), st.lists(st.tuples(st.integers(1, 9), st.integers(0, 13)), max_size=3))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_what_is_wanted_at_the_same_time_lies_apart(lives, parts):
    needs = {k: Need(size, made, made + kept) for k, (size, made, kept) in enumerate(lives)}
    slots, start = [], 0
    for size, until in parts:
        slots.append(Slot(start, size, until))
        start += size
    places, work = placed(needs, slots)
    assert places.keys() == needs.keys()
    for k, (buffer, first) in places.items():
        if buffer == OUT:
            slot = next(s for s in slots if s.start == first)
            assert needs[k].size <= slot.size
            assert needs[k].read < slot.until
        else:
            assert first + needs[k].size <= work
    for i, j in combinations(needs, 2):
        together = needs[i].made <= needs[j].read and needs[j].made <= needs[i].read
        (a, p), (b, q) = places[i], places[j]
        assert not together or a != b or p + needs[i].size <= q or q + needs[j].size <= p


def test_the_scratch_of_a_large_vocabulary_is_one_array_of_its_size():
    rng = np.random.default_rng(0)
    data = Dataset(rng.integers(0, 2000, (4000, 1)), rng.integers(0, 2000, 4000), d_vocab=2000)
    model = EmbMLP(2000, 64, 64)
    flow, start = derive(model, "leading"), model.init(0.8, 0)
    problem = compile_flow(flow, data, start)
    assert problem.work.size <= 2000 * 64
    y, out = problem.pack(start), np.full(problem.n, np.nan)
    problem(0.0, y, out)
    signature = data.signature()
    found, (A, B, C) = problem.unpack(out), (start[w] for w in ("W_E", "W_in", "W_out"))
    expected = {"W_E": signature @ C.T @ B.T, "W_in": A.T @ signature @ C.T, "W_out": B.T @ A.T @ signature}
    for w, slope in expected.items():
        np.testing.assert_allclose(found[w], slope, rtol=1e-10, atol=1e-12 * np.abs(slope).max())
