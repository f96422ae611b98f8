"""Every writer of the package, with an old and a new state and the reader that says which of them is there."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import faults
import numpy as np

from smallinit.compare.commands.figure_command import kept_state
from smallinit.compare.sweep.store import Store
from smallinit.compare.sweep.surroundings import Surroundings
from smallinit.compare.training.checkpoint import TrainingState, load_checkpoint, save_checkpoint
from smallinit.sim import Outcome, Status, Trajectory, load_trajectory
from smallinit.theory.base.disk.files import write_whole
from smallinit.theory.base.disk.npz import open_sealed_npz, write_npz
from smallinit.theory.base.disk.sealed import html_with_seal, read_sealed
from smallinit.theory.base.folders import recover, staged
from smallinit.theory.base.records import read_record, record_bytes, write_record


@dataclass
class Writer:
    """A writer under test.

    Attributes
    ----------
    name : str
        What it writes.
    put : callable
        ``put(root, state)`` writes state 1 or 2; writing the same twice is allowed.
    look : callable
        ``look(root)`` reads by the public reader, and returns the state; FileNotFoundError if nothing is there.
    olds : bool
        Whether there is an older state when the writer begins.
    can_exchange : bool
        Whether two names can be swapped in one step.
    new : object
        What `look` returns of the new state.
    between : tuple
        What it may return where several files are written one by one, each whole in itself.
    """

    name: str
    put: Callable[[Path, int], Any]
    look: Callable[[Path], Any]
    olds: bool = True
    can_exchange: bool = True
    new: Any = 2
    between: tuple = ()
    clean: dict = field(default_factory=dict)
    calls: list = field(default_factory=list)

    def begin(self, root):
        if self.olds:
            self.put(root, 1)

    def write(self, root):
        self.put(root, 2)

    def read(self, root):
        try:
            return self.look(root)
        except FileNotFoundError:
            return None


def trajectory(state):
    weights = {"W": np.full((3, 2, 2), float(state))}
    return Trajectory(np.arange(3.0), weights, Outcome(Status.REACHED_END, 2.0), label=str(state))


def put_results(root, state):
    """A results folder as the commands write it, over an older one."""
    files = {
        "summary.json": lambda path: path.write_bytes(record_bytes({"state": state})),
        "experiment.toml": lambda path: path.write_text(f"state = {state}\n", encoding="utf-8"),
        "data.npz": lambda path: write_npz(path, {"x": np.full(3, state)}),
    }
    with staged(root / "out", overwrite=True) as staging:
        for name, write in files.items():
            write(staging / name)


def look_results(root):
    """All files of one state."""
    recover(root / "out")  # as every command does that reads or writes results
    if not (root / "out").exists():
        return None
    states = {read_record(root / "out" / "summary.json")["state"]}
    with open_sealed_npz(root / "out" / "data.npz") as arrays:
        states |= {int(arrays["x"][0])}
    states |= {int((root / "out" / "experiment.toml").read_text().split()[2])}
    return states.pop() if len(states) == 1 else states


def put_sweep(root, state):
    """A sweep of two shards and a failed point; the older one has the first shard."""
    store = Store(root / "sweep", {"fixed": 1}, Surroundings({"code": "1"}, {}))
    store.record({"axes": state})
    for point in ("aa", "bb")[:state]:
        if point not in store.places:
            store.write({point: {"x": np.full(4, ord(point[0]))}})
    if state == 2 and "cc" not in store.failures():
        store.write_failure("cc", "it cannot be done")


def look_sweep(root):
    """How many points are done: whatever was finished counts, and is what it was."""
    if not (root / "sweep" / "manifest.json").exists():
        return None
    store = Store(root / "sweep")
    found = store.read(list(store.places))
    assert store.n_damaged == 0
    assert all((value["x"] == ord(point[0])).all() for point, value in found.items())
    return len(found), "cc" in store.failures()


def put_state(root, state):
    """Trainings that a figure keeps until its results are there."""
    with suppress(ZeroDivisionError), kept_state(root / "figure") as kept:
        path = kept.folder / "run.npz"
        save_checkpoint(path, {"c": 1}, TrainingState(state, {"W": np.full((2, 2), float(state))}))
        if state == 1:
            raise ZeroDivisionError  # the figure was not finished
        kept.used.append(path)


def look_state(root):
    path = root / "figure.state" / "run.npz"
    return load_checkpoint(path, {"c": 1}).step if path.exists() else None


def look_npz(root):
    with open_sealed_npz(root / "a.npz") as archive:
        return int(archive["x"][0])


def look_text(root):
    text = (root / "a").read_text()
    return int(text[0]) if text in ("1" * 9, "2" * 9) else text


WRITERS = [
    Writer("a text", lambda r, s: write_whole(r / "a", str(s) * 9), look_text),
    Writer("a record", lambda r, s: write_record(r / "a", {"s": s}), lambda r: read_record(r / "a")["s"]),
    Writer(
        "a page",
        lambda r, s: write_whole(r / "a", html_with_seal(f"{s}<p>")),
        lambda r: int(read_sealed(r / "a", 999)[:1]),
    ),
    Writer("arrays", lambda r, s: write_npz(r / "a.npz", {"x": np.full(9, s)}), look_npz),
    Writer(
        "a checkpoint",
        lambda r, s: save_checkpoint(
            r / "a.npz", {"c": 1}, TrainingState(s, {"W": np.full((2, 2), float(s))})
        ),
        lambda r: load_checkpoint(r / "a.npz", {"c": 1}).step,
    ),
    Writer(
        "a trajectory",
        lambda r, s: trajectory(s).save(r / "a.nc", overwrite=True),
        lambda r: int(load_trajectory(r / "a.nc").label),
    ),
    Writer("new results", put_results, look_results, olds=False),
    Writer("results over old ones, exchanged", put_results, look_results),
    Writer("results over old ones, in two steps", put_results, look_results, can_exchange=False),
    Writer("a figure's trainings", put_state, look_state, new=None, between=(2,)),
    Writer("a sweep", put_sweep, look_sweep, new=(2, True), between=((2, False),)),
    Writer(
        "a new sweep",
        put_sweep,
        look_sweep,
        olds=False,
        new=(2, True),
        between=((0, False), (1, False), (2, False)),
    ),
]


def measured(writer, folder):
    """Number and names of the calls of a write that goes well; keeps what it leaves in ``writer.clean``."""
    root = faults.prepared(writer, folder)
    with faults.failing(root, None, "EIO", writer.can_exchange) as disk:
        writer.write(root)
    assert writer.read(root) == writer.new, (writer.name, writer.read(root))
    writer.clean, writer.calls = faults.content(root), disk.calls
    return disk.calls
