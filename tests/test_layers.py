"""The floors of the house: imports look down only, lazy ones too, in no circle; the reader finds what is planted."""

import shutil
from pathlib import Path

import layers
import pytest

ROOT = Path(__file__).resolve().parents[1]
# The root package is the one facade: it loads its layers on use, and this looks up to it.
FACADE = {("theory.flows.flow", "sim")}  # `Flow.rhs` is evaluated by the kernels


@pytest.fixture(scope="module")
def graph():
    return layers.imports(ROOT)


@pytest.fixture
def copy(tmp_path):
    """A copy of the sources to plant breaches in."""
    for path in layers.modules(ROOT).values():
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return tmp_path


def plant(root, file, text):
    with (root / file).open("a") as out:
        out.write(text)
    return layers.imports(root)


def test_no_import_looks_up(graph):
    assert layers.upward(graph) == FACADE


def test_no_circles_of_modules_or_rooms(graph):
    assert layers.circles(graph) == []
    assert layers.room_circles(graph) == []


def test_every_room_has_a_floor():
    rooms = {tuple(name.split(".")[:2]) for name in layers.modules(ROOT) if "." in name}
    assert rooms == {
        (layer, room) for layer, floors in layers.FLOORS.items() for floor in floors for room in floor
    }


def test_no_room_is_crowded():
    assert layers.crowded(ROOT) == {}


def test_no_name_is_there_twice():
    assert set(layers.twice(ROOT)) == set()


@pytest.mark.parametrize(
    ("layer", "forbidden"),
    [("theory", {"numba", "torch", "matplotlib", "xarray"}), ("sim", {"torch", "matplotlib", "sphinx"})],
)
def test_what_a_layer_may_not_need(layer, forbidden):
    used = {
        name: found & forbidden
        for name, found in layers.foreign(ROOT).items()
        if name.startswith(layer) and not name.startswith("sim.device.")  # loaded where a GPU is asked for
    }
    assert used
    assert {name: found for name, found in used.items() if found} == {}


IN_FUNCTION = "def f():\n    from {} import {}\n"
DEEP = "class A:\n    def f(self):\n        if 1:\n            from ..algebra.nodes import Matrix\n"
TRIED = "try:\n    from ...cli import run\nexcept ImportError:\n    pass\n"
OR_ELSE = "if TYPE_CHECKING:\n    pass\nelse:\n    from ..flows import flow\n"


@pytest.mark.parametrize(
    ("module", "text", "target"),
    [
        ("theory.models.spec", IN_FUNCTION.format("...sim.ode.solve", "solve"), "sim.ode.solve"),
        ("sim.ode.solve", IN_FUNCTION.format("..trajectory", "storage"), "sim.trajectory.storage"),
        ("sim.ode.solve", "import smallinit.compare.plots.panels\n", "compare.plots.panels"),
        ("sim.kernel.problem", "from smallinit.sim import solve\n", "sim"),
        ("theory.base.arrays", DEEP, "theory.algebra.nodes"),
        ("compare.training.train", TRIED, "cli"),
        ("theory.exact.closed_forms", OR_ELSE, "theory.flows.flow"),
    ],
)
def test_a_planted_upward_import_is_found(copy, module, text, target):
    file = f"{module.replace('.', '/')}.py"
    assert layers.upward(plant(copy, file, text)) - FACADE == {(module, target)}


def test_what_only_a_type_checker_reads_does_not_count(copy):
    text = "if TYPE_CHECKING:\n    from ...compare.plots.panels import GREY\n"
    assert layers.upward(plant(copy, "sim/ode/solve.py", text)) == FACADE


def test_planted_circles_are_found(copy):
    ring = plant(copy, "sim/trajectory/storage.py", "def f():\n    from .loading import load_trajectory\n")
    assert {"sim.trajectory.storage", "sim.trajectory.loading"} <= set().union(*layers.circles(ring))
    plant(copy, "sim/ode/outcome.py", "def f():\n    from ..compile.ordering import Piece\n")
    rooms = plant(copy, "sim/compile/ordering.py", "def f():\n    from ..ode.outcome import Outcome\n")
    assert {"sim.ode", "sim.compile"} in layers.room_circles(rooms)


def test_a_crowded_room_and_a_name_taken_twice_are_found(copy):
    before = len(list((copy / "sim" / "forecast").glob("*.py")))
    for i in range(layers.MOST_IN_ROOM):
        (copy / "sim" / "forecast" / f"m{i}.py").write_text("")
    (copy / "notes.py").write_text("class Trajectory:\n    pass\n")
    assert layers.crowded(copy) == {".": 6, "sim/forecast": before + layers.MOST_IN_ROOM}
    assert layers.twice(copy)["Trajectory"] == ["notes", "sim.trajectory.trajectory"]
    assert "stages" not in layers.twice(copy)
    (copy / "sim" / "ode" / "stages.py").write_text("")
    assert layers.twice(copy)["stages"] == ["sim.forecast.stages", "sim.ode.stages"]
