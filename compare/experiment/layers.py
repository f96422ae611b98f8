"""Experiments from layers: defaults, under a preset, under a file, under flags; refused in one sentence."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ...theory.base.files import InputError
from .schema import SECTIONS, Experiment, fields

PRESETS = Path(__file__).with_name("presets")
FILE_BYTES = 2**24  # no experiment is larger
PATHS = (("data", "file"), ("init", "file"))  # keys that name files, relative to where they are written
FLAGS = "on the command line"


@dataclass(frozen=True)
class Loaded:
    """An experiment and where each of its keys was set.

    Attributes
    ----------
    experiment : Experiment
        The validated whole.
    sources : dict
        "section.key" -> "in FILE", "in preset NAME" or "on the command line"; keys left at their default
        are absent.
    """

    experiment: Experiment
    sources: Mapping[str, str]

    def where(self, section: str, message: str = "") -> str:
        """Name the place that set the key which a message quotes, else all that set keys of a section."""
        for word in re.findall(r"`(\w+)`", message):
            for key in (f"{section}.{word}", *(f"{other}.{word}" for other in SECTIONS)):
                if key in self.sources:
                    return self.sources[key]
        places = [place for key, place in self.sources.items() if key.split(".")[0] == section]
        return " and ".join(dict.fromkeys(places)) or "by default"


def load(
    file: Path | None = None, preset: str | None = None, flags: Mapping[str, Any] | None = None
) -> Loaded:
    """Merge the layers and validate the result.

    Parameters
    ----------
    file : Path, optional
        A TOML file; its keys override the preset's.
    preset : str, optional
        Name of a file in the package's presets.
    flags : dict, optional
        "section.key" -> value; overrides both.

    Raises
    ------
    InputError
        If a file cannot be read, or for the first key or value that the schema refuses.
    """
    layers = [] if preset is None else [(read_preset(preset), f"in preset {preset}")]
    if file is not None:
        layers.append((anchored(read_toml(file), file.absolute().parent), f"in {file}"))
    layers.append((anchored(nested(flags or {}), Path.cwd()), FLAGS))
    return stack(layers)


def stack(layers: Sequence[tuple[dict[str, Any], str]]) -> Loaded:
    """Merge layers, each with the words for its place, the later over the earlier, and validate the result.

    Raises
    ------
    InputError
        For the first key or value that the schema refuses.
    """
    merged: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for layer, place in layers:
        _merge(merged, sources, layer, place)
    try:
        return Loaded(Experiment.model_validate(merged), sources)
    except ValidationError as error:
        raise InputError(sentence(error, sources)) from error


def read_preset(name: str) -> dict[str, Any]:
    """Read a preset of the package."""
    known = sorted(path.stem for path in PRESETS.glob("*.toml"))
    if name not in known:
        raise InputError(f"there is no preset {name!r}{_hint(name, known)}")
    return read_toml(PRESETS / f"{name}.toml")


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file, refusing what is none."""
    try:
        if path.is_file() and path.stat().st_size > FILE_BYTES:
            raise InputError(f"{str(path)!r} is larger than {FILE_BYTES:,} bytes: it is no experiment file.")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"there is no experiment file {str(path)!r}: check the path; `smallinit overlay --preset demo` needs none."
        ) from None
    except OSError as error:
        raise InputError(f"cannot read the experiment file {str(path)!r}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{str(path)!r} is not a text file in UTF-8: give an experiment in TOML.") from error
    except (
        ValueError,
        RecursionError,
    ) as error:  # TOMLDecodeError is a ValueError; so are numbers and paths too long
        raise InputError(f"{str(path)!r} is not valid TOML: {str(error).rstrip('.')}.") from error


def anchored(layer: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Make the layer's file names absolute, so that the resolved experiment means the same from anywhere."""
    for section, key in PATHS:
        part = layer.get(section)
        if isinstance(part, dict) and isinstance(part.get(key), str) and part[key]:
            part[key] = str(folder / part[key])
    return layer


def nested(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Sections of values that are keyed by "section.key"."""
    layer: dict[str, Any] = {}
    for name, value in flags.items():
        section, key = name.split(".")
        layer.setdefault(section, {})[key] = value
    return layer


def _merge(merged: dict[str, Any], sources: dict[str, str], layer: dict[str, Any], place: str) -> None:
    if "data" in layer and "task" not in layer:  # the user's data replace a task of a lower layer
        merged.pop("task", None)
    for section, part in layer.items():
        if isinstance(part, dict) and isinstance(merged.get(section), dict):
            merged[section] = merged[section] | part
        else:
            merged[section] = part
        keys = part if isinstance(part, dict) else ()
        sources.update({section: place} | {f"{section}.{key}": place for key in keys})


def sentence(error: ValidationError, sources: Mapping[str, str]) -> str:
    """Say the first thing that is wrong, where it was set and what to do."""
    first = error.errors(include_url=False)[0]
    location = first["loc"]
    name = ".".join(map(str, location[:2])) + "".join(f"[{i}]" for i in location[2:] if isinstance(i, int))
    place = sources.get(".".join(map(str, location[:2])), sources.get(str(location[0]) if location else ""))
    tail = "." if place is None else f" ({place})."
    if first["type"] == "extra_forbidden":
        return f"unknown key `{name}`{_hint_key(name)}{tail}"
    if first["type"] == "missing":
        return f"`{name}` is missing; set it{tail}"
    message = first["msg"].removeprefix("Value error, ").rstrip(".")
    if first["type"] in ("model_type", "model_attributes_type"):
        message = f"must be a table, written [{name}]"
    if message.startswith("`"):
        return f"{message}{tail}"
    if first["type"] == "value_error":
        return f"`{name}` {message}{tail}"
    hint = _hint_choice(first)
    message = message.replace("Input should", "should").replace("Tuple should", "should")
    return f"`{name}` {message[:1].lower()}{message[1:]}, got {shown(first['input'])}{hint}{tail}"


def shown(value: Any) -> str:
    """Show a value in one short line."""
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits
        return "a huge integer"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _hint_key(name: str) -> str:
    """Suggest the nearest key: of the same section, else of the same name elsewhere."""
    known = [*SECTIONS, *(f"{section}.{key}" for section, key, _ in fields())]
    section, _, key = name.rpartition(".")
    siblings = [k for k in known if k.rpartition(".")[0] == section]
    if near := get_close_matches(name, siblings, 1, 0.7):
        return f"; did you mean `{near[0]}`?"
    by_key = {k.rpartition(".")[2]: k for k in reversed(known)}
    if near := get_close_matches(key, by_key, 1):
        return f"; did you mean `{by_key[near[0]]}`?"
    return f"; choose from {', '.join(s.rpartition('.')[2] for s in siblings)}" if siblings else ""


def _hint_choice(first: Any) -> str:
    if first["type"] != "literal_error" or not isinstance(first["input"], str):
        return ""
    choices = [word for word in first["ctx"]["expected"].split("'") if word.isidentifier() and word != "or"]
    near = get_close_matches(first["input"], choices, 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _hint(word: str, known: list[str]) -> str:
    near = get_close_matches(word, known, 1)
    return f": did you mean {near[0]!r}?" if near else f": choose from {', '.join(known)}."


def to_toml(experiment: Experiment) -> str:
    """Write an experiment such that reading it gives the identical one; derived values are comments."""
    tables = experiment.model_dump(mode="json", exclude_none=True)
    derived = "" if experiment.training.steps else f"# derived: training.steps = {experiment.steps}\n"
    head = f"# A resolved experiment of smallinit; run it again with this file.\n{derived}\n"
    return head + write_tables(tables)


def write_tables(tables: Mapping[str, Mapping[str, Any]]) -> str:
    """Write tables of plain values as TOML; empty ones are left out."""
    blocks = [
        "\n".join([f"[{name}]", *(f"{_key(key)} = {_toml(value)}" for key, value in part.items())])
        for name, part in tables.items()
        if part
    ]
    return "\n\n".join(blocks) + "\n"


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml(name)


def _toml(value: Any) -> str:
    if isinstance(value, str):
        plain = "".join(c if c >= " " and c != "\x7f" else f"\\u{ord(c):04x}" for c in _escaped(value))
        return f'"{plain}"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return repr(value)  # int and finite float: Python's notation is TOML's


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
