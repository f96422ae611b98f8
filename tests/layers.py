"""Reads a source tree: who imports whom, lazily or not, and what of that breaks the floors of the house."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

LAYERS = ("theory", "sim", "compare")
# Rooms of each layer from the ground up; rooms of one floor may use each other, but not in a circle.
FLOORS = {
    "theory": (
        ("base",), ("algebra", "exact"), ("printing", "data"), ("models",), ("flows",), ("language",),
    ),
    "sim": (
        ("kernel",), ("compile", "ode"), ("trajectory", "optimizers"), ("device", "reduced"), ("integration",),
        ("ensemble", "forecast"),
    ),
    "compare": (
        ("training", "plots"), ("proof", "overlays"), ("literature",), ("figures", "experiment"), ("sweep",),
        ("report",), ("commands",),
    ),
}  # fmt: skip
MOST_IN_ROOT, MOST_IN_ROOM = 5, 14


def modules(root: Path) -> dict[str, Path]:
    """Dotted name below the package -> file; a package is named like its folder, the root is ""."""
    files = [*root.glob("*.py"), *(p for layer in LAYERS for p in (root / layer).rglob("*.py"))]
    found = {}
    for path in sorted(files):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(root: Path) -> dict[str, set[str]]:
    """Module -> modules of the package that it imports, inside functions too; not for type checkers alone."""
    known = modules(root)
    return {name: set(_targets(name, path, known)) - {name} for name, path in known.items()}


def foreign(root: Path) -> dict[str, set[str]]:
    """Module -> other packages that it imports, inside functions too."""
    found: dict[str, set[str]] = {}
    for name, path in modules(root).items():
        used = found.setdefault(name, set())
        for node in _imported(path.read_text()):
            if isinstance(node, ast.Import):
                used.update(alias.name.split(".")[0] for alias in node.names)
            elif not node.level:
                used.add((node.module or "").split(".")[0])
    return found


def _targets(name: str, path: Path, known: dict[str, Path]) -> Iterator[str]:
    package = name.split(".") if name else []
    if path.name != "__init__.py":
        package = package[:-1]
    for node in _imported(path.read_text()):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "smallinit":
                    yield from _known(alias.name.split(".")[1:], known)
        elif node.level or (node.module or "").split(".")[0] == "smallinit":
            base = package[: len(package) - node.level + 1] if node.level else []
            base = base + (node.module or "").split(".")[0 if node.level else 1 :]
            base = [part for part in base if part]
            for alias in node.names:
                yield from _known([*base, alias.name], known)


def _known(parts: list[str], known: dict[str, Path]) -> Iterator[str]:
    """The module that a dotted path means: the last part may be a name in it."""
    for end in (len(parts), len(parts) - 1):
        if ".".join(parts[:end]) in known:
            yield ".".join(parts[:end])
            return


@cache
def _imported(text: str) -> tuple[ast.Import | ast.ImportFrom, ...]:
    """Import statements of a source text; a copy of the tree with one file changed is read quickly."""
    return tuple(_statements(ast.parse(text)))


@cache
def _classes(text: str) -> tuple[str, ...]:
    return tuple(node.name for node in ast.parse(text).body if isinstance(node, ast.ClassDef))


def _statements(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Import statements at any depth, except under ``if TYPE_CHECKING``."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for other in node.orelse:
                yield from _statements(ast.Module([other], []))
        else:
            yield from _statements(node)


def place(module: str) -> tuple[int, int, str]:
    """Layer, floor and room of a module; the root lies above all, a layer's own list above its rooms."""
    layer, _, rest = module.partition(".")
    if layer not in FLOORS:
        return len(LAYERS), 0, ""
    room = rest.partition(".")[0]
    floors = [i for i, rooms in enumerate(FLOORS[layer]) if room in rooms]
    return LAYERS.index(layer), floors[0] if floors else len(FLOORS[layer]), f"{layer}.{room}"


def upward(graph: dict[str, set[str]]) -> set[tuple[str, str]]:
    """Imports of a module on a higher floor, of a higher layer or of a list that loads everything."""
    return {(a, b) for a, used in graph.items() for b in used if place(b)[:2] > place(a)[:2]}


def room_circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Rooms of one floor that use each other."""
    rooms: dict[str, set[str]] = {}
    for a, used in graph.items():
        rooms.setdefault(place(a)[2], set()).update(
            place(b)[2] for b in used if place(b)[:2] == place(a)[:2] and place(b)[2] != place(a)[2]
        )
    return circles(rooms)


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Sets of modules that all reach each other: strongly connected components of more than one (Tarjan)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(a: str) -> None:
        order[a] = low[a] = len(order)
        stack.append(a)
        for b in sorted(graph.get(a, ())):
            if b not in order:
                visit(b)
                low[a] = min(low[a], low[b])
            elif b in stack:
                low[a] = min(low[a], order[b])
        if low[a] == order[a]:
            ring = set(stack[stack.index(a) :])
            del stack[stack.index(a) :]
            if len(ring) > 1:
                found.append(ring)

    for a in sorted(graph):
        if a not in order:
            visit(a)
    return found


def crowded(root: Path) -> dict[str, int]:
    """Folders with too many modules -> how many; the root, where a package's ``__init__`` counts, has its own limit."""
    counts = Counter(str(path.parent.relative_to(root)) for path in modules(root).values())
    return {f: n for f, n in counts.items() if n > (MOST_IN_ROOT if f == "." else MOST_IN_ROOM)}


def twice(root: Path) -> dict[str, list[str]]:
    """Names of modules and classes that more than one module has -> the modules; private ones apart."""
    where: dict[str, list[str]] = {}
    for name, path in modules(root).items():
        own = [] if path.name == "__init__.py" else [path.stem]
        own += _classes(path.read_text())
        for item in own:
            if not item.startswith("_"):
                where.setdefault(item, []).append(name)
    return {item: found for item, found in where.items() if len(found) > 1}
