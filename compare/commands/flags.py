"""One flag for every key of an experiment that means something to a command."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar

from cyclopts import Group, Parameter

from ...theory.base.errors import InputError
from ..experiment.schema import fields

SHORT = {
    "task.seed": (),
    "data.file": ("--data",),
    "init.gamma": ("--gamma",),
    "init.seed": ("--seed",),
    "theory.closures": ("--closure",),
    "theory.t1": ("--t1",),
    "training.learning_rate": ("--learning-rate",),
    "model.name": ("--model",),
    "model.activation": ("--activation",),
    "training.optimizer": ("--optimizer",),
}
Command = TypeVar("Command", bound=Callable[..., int | None])
Overwrite = Annotated[bool, Parameter(negative=(), show_default=False)]
AcceptChanges = Annotated[bool, Parameter(negative=(), show_default=False)]


def flagged(*offered: str) -> Callable[[Command], Command]:
    """Give a command a flag ``--section.key`` for each key of an experiment that means something to it.

    Values stay text here: `read_flag` and the schema judge them, by the same rules as those of a file.

    Parameters
    ----------
    *offered : str
        Sections ("model") and single keys ("theory.closures"); all of both if none are given.
    """

    def decorate(function: Command) -> Command:
        own = [p for p in inspect.signature(function).parameters.values() if p.kind is not p.VAR_KEYWORD]
        known = inspect.get_annotations(function, eval_str=True)
        parameters = [p.replace(annotation=known[p.name]) for p in own]
        parameters += [
            _flag(section, key, field)
            for section, key, field in fields()
            if not offered or section in offered or f"{section}.{key}" in offered
        ]
        function.__signature__ = inspect.Signature(parameters)
        function.__annotations__ = {p.name: p.annotation for p in parameters}
        return function

    return decorate


def flag_names(section: str, key: str) -> tuple[str, ...]:
    """Spellings of a flag: ``--init.gamma`` and ``--gamma``."""
    name = f"{section}.{key}"
    return "--" + name.replace("_", "-"), *SHORT.get(name, ())


def of_another_command(flag: str, command: str) -> str | None:
    """Say what is wrong with a flag that is a key of an experiment, but means nothing to a command; else None."""
    for section, key, _ in fields():
        if flag in flag_names(section, key):
            return (
                f"`{flag}` means nothing to {command}, which does not look at it: leave it out "
                f"(smallinit {command} --help lists what it takes)."
            )
    return None


def _flag(section: str, key: str, field: Any) -> inspect.Parameter:
    name = f"{section}.{key}"
    shown = field.description
    if field.default is not None and not field.is_required() and not isinstance(field.default, tuple):
        shown += f" [{field.default}]"
    parameter = Parameter(
        name=flag_names(section, key), help=shown, negative=(), metavar="VALUE",
        group=Group(section, sort_key=10), show_default=False,
    )  # fmt: skip
    repeatable = list[str] if name == "theory.closures" else str
    return inspect.Parameter(
        f"{section}__{key}",
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[repeatable | None, parameter],
    )


def read_flag(text: str | list[str]) -> Any:
    """Read a flag's text: an integer, a number, true or false, a TOML array, else the text itself."""
    if isinstance(text, list):
        return ",".join(text)
    for reader in (int, float):
        try:
            return reader(text)
        except ValueError:
            continue
    if text in ("true", "false"):
        return text == "true"
    if text.lstrip().startswith("["):
        try:
            return tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError as error:
            raise InputError(f"cannot read {text!r} on the command line: {error}.") from error
    return text


def flag_values(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Values of the flags that were given, by "section.key"."""
    texts = {f"{section}__{key}" for section, key, field in fields() if field.annotation in (str, str | None)}
    return {
        name.replace("__", ".", 1): text if name in texts else read_flag(text)
        for name, text in flags.items()
        if text is not None
    }
