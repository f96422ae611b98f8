import numpy as np
import pytest

from smallinit.sim.ode.outcome import Outcome, Status
from smallinit.sim.trajectory.trajectory import Trajectory
from smallinit.theory import CompositeTask, Dataset, EmbMLP


@pytest.fixture(scope="session")
def data():
    """Four keys, two anchors of each kind: 32 rows, some held out."""
    return CompositeTask(
        keys=range(5, 9), memory_anchors=(1, 2), reasoning_anchors=(3, 4), masked=((3, 4),), seed=0
    ).dataset()


@pytest.fixture(scope="session")
def weighted():
    rng = np.random.default_rng(1)
    held_out = np.arange(30) % 7 == 0
    return Dataset(
        rng.integers(0, 6, (30, 4)),
        rng.integers(0, 6, 30),
        6,
        weights=rng.uniform(0.1, 3, 30),
        held_out=held_out,
    )


@pytest.fixture(scope="session")
def model(data):
    return EmbMLP(data.d_vocab, 5, 6)


@pytest.fixture(scope="session")
def start(model):
    return model.init(0.5, seed=3)


@pytest.fixture(scope="session")
def synthetic():
    """``synthetic(t, w)``: a trajectory of one 1 x 1 weight W with values `w`."""

    def make(t, w, outcome=None, **fields):
        t = np.asarray(t, dtype=float)
        values = np.asarray(w, dtype=float).reshape(len(t), 1, 1)
        outcome = outcome or Outcome(Status.REACHED_END, float(t[-1]))
        return Trajectory(t, {"W": values}, outcome, **fields)

    return make
