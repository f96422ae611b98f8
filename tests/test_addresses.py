"""Names of files and modules, wherever they are written, lead somewhere; the pages for contributors are true."""

import importlib
import re
import tomllib
from pathlib import Path

import layers
import pytest

ROOT = Path(__file__).parents[1]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs").glob("api/*.md")),
]
SOURCES = [
    *ROOT.glob("*.py"),
    *(path for part in ("theory", "sim", "compare", "tests", "docs") for path in (ROOT / part).rglob("*.py")),
]
FILE = re.compile(r"(?<![\w./-])(?:theory|sim|compare|tests|docs)/[\w./-]*\w")
MODULE = re.compile(r"(?<![\w.\"'/])smallinit\.(?:theory|sim|compare)(?:\.\w+)*")
INSIDE = re.compile(
    r"`+(?:smallinit\.)?((?:theory|sim|compare)(?:\.\w+)+)`+"
)  # as docstrings and comments write it
BUILT = ("docs/_build", "docs/jupyter_execute")
# What the scripts of docs write, whether it was written here or not.
WRITTEN = {
    f"docs/{n}" for p in (ROOT / "docs").glob("*.py") for n in re.findall(r'"(\w+\.json)"', p.read_text())
}


def resolves(dotted):
    """Whether a dotted name is a module, or something that a module has."""
    parts = dotted.split(".")
    for end in range(len(parts), 1, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for name in parts[end:]:
            if not hasattr(found, name):
                return name in getattr(found, "__annotations__", {})
            found = getattr(found, name)
        return True
    return False


def lost(text):
    """Addresses in a text that lead nowhere."""
    files = [name.rstrip(".") for name in FILE.findall(text)]
    known = [f for f in files if "NAME" in f or f.startswith(BUILT) or f in WRITTEN or (ROOT / f).exists()]
    gone = [f for f in files if f not in known]
    names = [*MODULE.findall(text), *(f"smallinit.{name}" for name in INSIDE.findall(text))]
    return gone + [name for name in dict.fromkeys(names) if not resolves(name) and "NAME" not in name]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_addresses_on_pages(page):
    assert lost(page.read_text()) == []


def test_addresses_in_sources():
    words = {
        path.relative_to(ROOT).as_posix(): "\n".join(
            [*re.findall(r'"""(.*?)"""', text, re.S), *re.findall(r"#.*", text)]
        )
        for path in SOURCES
        if not any(part in path.as_posix() for part in BUILT) and (text := path.read_text())
    }
    assert {path: gone for path, text in words.items() if (gone := lost(text))} == {}


def test_a_lost_address_is_found():
    assert lost("see `theory/nowhere.py` and smallinit.theory.nowhere") == [
        "theory/nowhere.py",
        "smallinit.theory.nowhere",
    ]
    assert lost("`sim.trajectory.observables`, `theory/models/NAME.py`, tests/compare/proof.") == []


def test_the_floors_are_drawn_as_they_are():
    page = (ROOT / "docs" / "architecture.md").read_text()
    drawn = next(
        block for block in re.findall(r"```text\n(.*?)```", page, re.S) if block.startswith("compare")
    )
    floors, layer = {}, ""
    for line in drawn.splitlines():
        layer = line[:11].strip() or layer
        floors.setdefault(layer, []).insert(0, tuple(room.strip() for room in line[11:].split(",")))
    assert {name: tuple(rooms) for name, rooms in floors.items()} == layers.FLOORS


def test_every_room_is_described():
    page = (ROOT / "docs" / "architecture.md").read_text()
    rooms = {
        f"{layer}/{room}" for layer, floors in layers.FLOORS.items() for floor in floors for room in floor
    }
    assert rooms == set(re.findall(r"`((?:theory|sim|compare)/\w+)`", page.split("| room |")[1]))


def test_the_rows_of_the_table_count_their_files():
    rows = re.findall(
        r"^\| (an? [^|]*) \| ([\d or]+) \| (.*) \|$", (ROOT / "CONTRIBUTING.md").read_text(), re.M
    )
    assert len(rows) >= 11
    for what, count, touch in rows:
        files = set(re.findall(r"`((?:theory|sim|compare)/[\w/]+\.pyi?|cli\.py)`", touch.split("Tests:")[0]))
        given = {name for name in files if what.startswith("a method") and name == "sim/ode/stepper.py"}
        folders = set(re.findall(r"`(compare/literature|sim/kernel/calls)`", touch))
        assert len(files - given) + len(folders) == max(map(int, count.split(" or "))), (what, files)


def test_the_citation_names_this_version():
    text = (ROOT / "CITATION.cff").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"version: {project['version']}\n" in text
    assert f"license: {project['license']}\n" in text
    assert f"- name: {project['authors'][0]['name']}\n" in text
