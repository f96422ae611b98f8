"""The bounds of the dependencies are those that `make test-oldest` runs with."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = [name for key in ("cluster", "process") for name in PROJECT["optional-dependencies"][key]]
PINS = dict(
    line.split("==") for line in (ROOT / "constraints-oldest.txt").read_text().splitlines() if line[0] != "#"
)


@pytest.mark.parametrize("bound", [*PROJECT["dependencies"], *EXTRAS])
def test_the_oldest_version_allowed_is_the_oldest_tried(bound):
    name, version = bound.split(">=")
    pinned = PINS[name].removesuffix(".*")
    if name == "torch":  # no older build for the CPU alone: see constraints-oldest.txt
        return
    assert re.fullmatch(rf"{re.escape(version)}(\.0)*", pinned) or version == f"{pinned}.0"
