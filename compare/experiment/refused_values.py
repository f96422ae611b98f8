"""What is wrong with an experiment, in one sentence: the key, the value, where it was set and what to do."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError

from ...theory.base.errors import FieldError
from ...theory.base.validate import brief, nearest
from .schema import SECTIONS, fields


def sentence(error: ValidationError, sources: Mapping[str, str]) -> str:
    """Say the first thing that is wrong, where it was set and what to do."""
    first = error.errors(include_url=False)[0]
    location, kind = first["loc"], first["type"]
    name = ".".join(map(str, location[:2])) + "".join(f"[{i}]" for i in location[2:] if isinstance(i, int))
    cause = first.get("ctx", {}).get("error")
    keys = [".".join(map(str, location[:2])), *(str(part) for part in location[:1])]
    if isinstance(cause, FieldError):  # of a part as a whole, which says itself which key it is about
        keys = [".".join([*map(str, location[:1]), cause.field]), cause.field, *keys]
    place = next((sources[key] for key in keys if key in sources), None)
    tail = "." if place is None else f" ({place})."
    if isinstance(cause, FieldError):
        return f"{str(cause).rstrip('.')}{tail}"
    if cause is not None:
        return f"`{name}` {str(cause).rstrip('.')}{tail}"
    if kind == "extra_forbidden":
        return f"unknown key `{name}`{_hint_key(name)}{tail}"
    if kind == "missing":
        return f"`{name}` is missing; set it{tail}"
    if kind in ("model_type", "model_attributes_type"):
        return f"`{name}` must be a table, written [{name}], got {brief(first['input'])}{tail}"
    if kind in ("tuple_type", "list_type"):
        return f"`{name}` must be a list in square brackets, got {brief(first['input'])}{tail}"
    message = first["msg"].rstrip(".").replace("Input should", "should").replace("Tuple should", "should")
    return f"`{name}` {message[:1].lower()}{message[1:]}, got {brief(first['input'])}{tail}"


def _hint_key(name: str) -> str:
    """Suggest the key of that name in another section, else the nearest one: of this section, of any."""
    known = [*SECTIONS, *(f"{section}.{key}" for section, key, _ in fields())]
    section, _, key = name.rpartition(".")
    by_key = {k.rpartition(".")[2]: k for k in reversed(known)}
    siblings = {k.rpartition(".")[2]: k for k in known if k.rpartition(".")[0] == section}
    for names in ({key: by_key[key]} if key in by_key else {}, siblings, by_key):
        if near := nearest(key, names):
            return f"; did you mean `{names[near]}`?"
    return f"; choose from {', '.join(siblings)}" if siblings else ""
