"""Experiments from layers: defaults, under a preset, under a file, under flags; refused in one sentence."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from ...theory.base.disk.regular import read_regular
from ...theory.base.errors import FieldError, InputError
from ...theory.base.names import OPTIMIZERS
from ...theory.base.validate import brief, did_you_mean, kind_of
from .model_spec import COMMON_KEYS, FILE_KEYS, MODEL_KEYS, ModelSpec
from .own_model import file_digest, own_file
from .refused_values import sentence
from .schema import SECTIONS, Experiment, fields
from .sections import Training

PRESETS = Path(__file__).with_name("presets")
FILE_BYTES = 2**24  # no experiment is larger
# Keys that name files, relative to where they are written.
PATHS = (("data", "file"), ("init", "file"), ("training", "measure_on"), ("training", "checkpoint"))
FLAGS = "on the command line"
# Section -> the key that names one of several things, what each of them has for keys of its own, and the default.
ALTERNATIVES: dict[str, tuple[str, Mapping[str, tuple[str, ...]], str]] = {
    "model": ("name", MODEL_KEYS, ModelSpec.model_fields["name"].default),
    "training": ("optimizer", OPTIMIZERS, Training.model_fields["optimizer"].default),
}


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

    def where(self, section: str, field: str = "") -> str:
        """Name the place that set a key, of this section or of another one, else all that set keys of the section."""
        for key in (f"{section}.{field}", *(f"{other}.{field}" for other in SECTIONS)):
            if key in self.sources:
                return self.sources[key]
        places = [place for key, place in self.sources.items() if key.split(".")[0] == section]
        return " and ".join(dict.fromkeys(places)) or "by default"


@contextmanager
def refused(loaded: Loaded, section: str) -> Iterator[None]:
    """Turn a library's refusal into an input error that says where the value was set."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{str(error).rstrip('.')} ({loaded.where(section)}).") from error
    except ValueError as error:
        text = str(error).rstrip(".")
        named = re.match(r"`(?:\w+\.)?(\w+)`", text)  # an argument has the name of its key
        place = loaded.where(section, named[1] if named else "")
        said = in_flags(section, text) if place == FLAGS else f"[{section}] {text}"
        raise InputError(f"{said} ({place}).") from error


def in_flags(section: str, text: str) -> str:
    """Say a sentence on an argument in the words of the command line: `key` at its beginning, and key="value"."""
    for name, key, _ in fields():
        if name == section:
            flag = f"--{section}.{key}".replace("_", "-")
            text = re.sub(rf"^`(\w+\.)?{key}`", f"`{flag}`", text)
            text = re.sub(rf'\b{key}="([^"]*)"', rf"{flag} \1", text)
    return text if text.startswith("`--") else f"[{section}] {text}"


def load(
    file: Path | None = None,
    preset: str | None = None,
    flags: Mapping[str, Any] | None = None,
    between: tuple[Mapping[str, Any], str] | None = None,
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
    between : tuple of dict and str, optional
        Values that flags override and that override the rest, with the words for where they are from.

    Raises
    ------
    InputError
        If a file cannot be read, or for the first key or value that the schema refuses.
    """
    layers = [] if preset is None else [(read_preset(preset), f"in preset {preset}")]
    if file is not None:
        layers.append((anchored(read_toml(file), file.absolute().parent), f"in {file}"))
    if between is not None:
        layers.append((nested(between[0]), between[1]))
    layers.append((anchored(nested(flags or {}), Path.cwd()), FLAGS))
    loaded = pinned(stack(layers))
    if not loaded.experiment.counts_steps:
        return loaded
    refuse_idle_end(loaded, [place for _, place in layers])
    for layer, _ in layers:  # what a lower layer says of t1 goes, as the steps of a higher one replace it
        if isinstance(layer.get("theory"), dict):
            layer["theory"].pop("t1", None)
    return pinned(stack(layers))


def pinned(loaded: Loaded) -> Loaded:
    """Put down which content the file of a model of one's own has; what is put down already is left."""
    model = loaded.experiment.model
    digest = None if model.sha256 else file_digest(model.name)
    if digest is None:  # a built-in; of a file that is not there, the build says so
        return loaded
    model = model.model_copy(update={"sha256": digest})
    return replace(loaded, experiment=loaded.experiment.model_copy(update={"model": model}))


def refuse_idle_end(loaded: Loaded, places: Sequence[str]) -> None:
    """Refuse a t1 beside steps that are the end already, but for one of a lower layer, whose `places` come first.

    Raises
    ------
    InputError
        If t1 plays no part and was set with the steps or over them.
    """
    t1, steps = (loaded.sources.get(key) for key in ("theory.t1", "training.steps"))
    if loaded.experiment.counts_steps and t1 and steps and places.index(t1) >= places.index(steps):
        raise InputError(
            "`theory.t1` means nothing beside `training.steps`, the end of closures that are moved by the optimizer: "
            f"leave it out ({t1})."
        )


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
        raise InputError(f"there is no preset {name!r}: {did_you_mean(name, known)}")
    return read_toml(PRESETS / f"{name}.toml")


def read_toml(path: Path, what: str = "experiment", remedy: str = "or use --preset demo") -> dict[str, Any]:
    """Read a TOML file that a command takes for `what`, refusing what is none."""
    text = ""
    try:
        text = read_regular(path, FILE_BYTES).decode("utf-8-sig")
        return tomllib.loads(text)
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"there is no {what} file {str(path)!r}: check the path, {remedy}.") from None
    except OSError as error:
        raise InputError(f"cannot read the {what} file {str(path)!r}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{str(path)!r} is not a text file in UTF-8: give the {what} in TOML.") from error
    except (ValueError, RecursionError) as error:  # the parser's own is a ValueError; so are numbers too long
        raise InputError(f"{str(path)!r} is not valid TOML: {_said_of(text, str(error))}.") from error


def _said_of(text: str, message: str) -> str:
    """What the parser says of a text; of what is set twice, which."""
    twice = r"Cannot (?:overwrite a value|declare .* twice) \(at (?:line (\d+), .*|end of document\))"
    if not (found := re.fullmatch(twice, message)):
        return message.rstrip(".")
    lines = text.rstrip().split("\n")  # as the parser counts them: other separators may stand in strings
    number = int(found[1] or len(lines))
    key = lines[number - 1].partition("=")[0].strip()
    return f"line {number} sets `{key}` a second time; keep one of the two"


def anchored(layer: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Make the layer's file names absolute, so that the resolved experiment means the same from anywhere."""
    for section, key in PATHS:
        part = layer.get(section)
        if isinstance(part, dict) and isinstance(part.get(key), str) and part[key]:
            part[key] = str(folder / part[key])
    model = layer.get("model")
    if isinstance(model, dict) and (file := own_file(model.get("name"))):
        model["name"] = str(folder / file) + model["name"].removeprefix(file)
    return layer


def nested(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Sections of values that are keyed by "section.key".

    Raises
    ------
    FieldError
        If they are keyed by anything else.
    """
    layer: dict[str, Any] = {}
    for name, value in kind_of("flags", flags, Mapping, 'such as {"init.gamma": 0.8}').items():
        section, point, key = name.partition(".") if isinstance(name, str) else ("", "", "")
        if not point or not key or "." in key:
            raise FieldError(
                "flags", f'must have keys "section.key", such as "init.gamma", got {brief(name)}.'
            )
        layer.setdefault(section, {})[key] = value
    return layer


def _merge(merged: dict[str, Any], sources: dict[str, str], layer: dict[str, Any], place: str) -> None:
    if "data" in layer and "task" not in layer:  # the user's data replace a task of a lower layer
        merged.pop("task", None)
    _leave_others_keys(merged, sources, layer)
    for section, part in layer.items():
        if isinstance(part, dict) and isinstance(merged.get(section), dict):
            merged[section] = merged[section] | part
        else:
            merged[section] = part
        keys = part if isinstance(part, dict) else ()
        sources.update({section: place} | {f"{section}.{key}": place for key in keys})


def _leave_others_keys(merged: dict[str, Any], sources: dict[str, str], layer: Mapping[str, Any]) -> None:
    """Drop the keys of lower layers that describe another model or optimizer than the one that this layer names."""
    for section, (selector, known, default) in ALTERNATIVES.items():
        below, above = merged.get(section), layer.get(section)
        name = above.get(selector) if isinstance(above, dict) else None
        if not isinstance(below, dict) or not isinstance(name, str) or not (name in known or own_file(name)):
            continue
        other = str(below.get(selector, default))
        lost = _keys_of(other, known, below) - set(known.get(name, ()))
        if other != name and "Decoder" in (other, name):
            lost |= {"positions"}  # a kind there, a flag elsewhere
        merged[section] = {key: value for key, value in below.items() if key not in lost}
        for key in lost:
            sources.pop(f"{section}.{key}", None)


def _keys_of(name: str, known: Mapping[str, tuple[str, ...]], below: Mapping[str, Any]) -> set[str]:
    """Keys that describe a model or an optimizer; of a model of one's own, all that are set."""
    if own_file(name):
        return {*FILE_KEYS, *below} - set(COMMON_KEYS)
    return set(known.get(name, ()))


def to_toml(experiment: Experiment) -> str:
    """Write an experiment such that reading it gives the identical one; derived values are comments."""
    tables = experiment.model_dump(mode="json", exclude_none=True)
    if experiment.counts_steps:
        del tables["theory"]["t1"]
    derived = "" if experiment.training.steps else f"# derived: training.steps = {experiment.steps}\n"
    head = f"# A resolved experiment of smallinit; run it again with this file.\n{derived}\n"
    return head + write_tables(tables)


def write_tables(tables: Mapping[str, Mapping[str, Any]]) -> str:
    """Write tables of plain values as TOML; empty ones are left out."""
    return tomli_w.dumps({name: dict(part) for name, part in tables.items() if part})
