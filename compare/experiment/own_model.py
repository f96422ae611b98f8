"""Models of the user's own, named by a file and a class in it: my_model.py:MyModel."""

from __future__ import annotations

import hashlib
import importlib
import re
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, Field, fields
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ...theory.base.disk.regular import read_regular
from ...theory.base.errors import FieldError, InputError
from ...theory.base.validate import did_you_mean

if TYPE_CHECKING:
    from ...theory.models.model import Model
    from .model_spec import ModelSpec

OWN = re.compile(r"(?P<file>.*\.py):(?P<name>\w+)")
OF_DATA = ("d_vocab", "n_ctx")  # sizes that follow from the data
FILE_BYTES = 2**24
LOCK = threading.RLock()


def own_file(name: Any) -> str | None:
    """The file of a model that is named by one; None of a built-in."""
    found = OWN.fullmatch(name) if isinstance(name, str) else None
    return None if found is None else found["file"]


def class_of(name: str) -> str:
    """The class of a model that is named by its file, any other name as it is."""
    found = OWN.fullmatch(name)
    return name if found is None else found["name"]


def file_digest(name: Any) -> str | None:
    """SHA-256 of the file of such a model; None of a built-in, and of a file that cannot be read."""
    file = own_file(name)
    try:
        return None if file is None else hashlib.sha256(read_regular(Path(file), FILE_BYTES)).hexdigest()
    except (OSError, InputError):
        return None


def build_own(spec: ModelSpec, sizes: Mapping[str, int]) -> Model:
    """Make a model of the user's own.

    Parameters
    ----------
    spec : ModelSpec
        Its file and class, and what is said of its fields.
    sizes : dict
        d_vocab and n_ctx of the data, for the fields of these names.

    Raises
    ------
    InputError, FieldError
        If the file cannot be run, is not the one it was, has no such model, or the model takes other fields.
    """
    kind = _class(spec)
    own = {f.name: f for f in fields(kind) if f.init}
    given = _given(spec, kind, own)
    given |= {name: size for name, size in sizes.items() if name in own}
    if absent := [f.name for f in own.values() if f.name not in given and _needed(f)]:
        raise FieldError(
            f"model.{absent[0]}",
            f"is missing, and {kind.__name__} has no default for it: set it, in [model.fields] if it is no key of "
            f'[model], or as a flag --model.fields "{absent[0]}=VALUE"',
        )
    with _running(spec.name):
        model = kind(**given)
        _ = model.weights, model.logits.shape
    return model


def _class(spec: ModelSpec) -> type[Model]:
    from ...theory.models.model import Model

    file, name = Path(own_file(spec.name) or ""), class_of(spec.name)
    module = _module(file, spec)
    kind = getattr(module, name, None)
    if kind is None:
        models = [
            n
            for n, k in vars(module).items()
            if isinstance(k, type) and issubclass(k, Model) and k is not Model
        ]
        hint = (
            did_you_mean(name, models) if models else "it has no Model at all; docs/own-model.md shows one."
        )
        raise InputError(f"{str(file)!r} has no class {name!r}: {hint}")
    if not (isinstance(kind, type) and issubclass(kind, Model)):
        raise InputError(
            f"{name!r} in {str(file)!r} is no Model: derive it from smallinit.theory.Model, as in docs/own-model.md."
        )
    if vars(kind).get("__annotations__") and "__dataclass_fields__" not in vars(kind):
        raise InputError(
            f"{name!r} in {str(file)!r} lacks its decorator: write @dataclass(frozen=True) above it."
        )
    return kind


def _module(file: Path, spec: ModelSpec) -> ModuleType:
    """Run the file, once for each content that it has had: what was derived of a class is kept by it."""
    try:
        source = read_regular(file, FILE_BYTES)
    except FileNotFoundError:
        raise InputError(f"there is no file {str(file)!r}: check the path of your model.") from None
    except OSError as error:
        raise InputError(f"cannot read the model's file {str(file)!r}: {error.strerror}.") from error
    digest = hashlib.sha256(source).hexdigest()
    if spec.sha256 not in (None, digest):
        raise FieldError(
            "model.sha256",
            f"is {spec.sha256[:12]}.. and that of {str(file)!r} is {digest[:12]}..: the file has changed since; "
            "restore it, or leave the key out to take it as it is",
        )
    name = f"smallinit_own_{hashlib.sha256(f'{file.absolute()} {digest}'.encode()).hexdigest()[:16]}"
    with LOCK:  # threads of a sweep: nobody may see a module that has run halfway
        if name not in sys.modules:
            module = ModuleType(name)
            module.__file__ = str(file)
            sys.modules[name] = module  # where dataclasses look for it
            try:
                with _running(spec.name), _beside(file):
                    exec(compile(source, str(file), "exec"), vars(module))  # noqa: S102 - the user's own, who asks for it
            except BaseException:
                del sys.modules[name]
                raise
        return sys.modules[name]


@contextmanager
def _beside(file: Path) -> Iterator[None]:
    """Let the file import what lies beside it, as a script may; another file finds its own of the same name."""
    folder, known = file.absolute().parent, set(sys.modules)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()  # what has been written just now is found too
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        new = set(sys.modules) - known
        tops = {name for name in new if "." not in name and _lies_in(folder, name)}
        for name in new:
            if name.partition(".")[0] in tops:
                del sys.modules[name]


def _lies_in(folder: Path, name: str) -> bool:
    """Whether a module is a file or a package of that folder itself, and not one installed somewhere below."""
    module, package = sys.modules[name], str(folder / name)
    return getattr(module, "__file__", None) == f"{package}.py" or package in getattr(module, "__path__", ())


@contextmanager
def _running(name: str) -> Iterator[None]:
    """Say in one sentence, with the line, how the user's code failed."""
    try:
        yield
    except (FieldError, InputError):
        raise
    except (Exception, SystemExit) as error:
        file = own_file(name) or ""
        lines = [
            frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file
        ]
        line = getattr(error, "lineno", None) or (lines[-1] if lines else None)
        place = "" if line is None else f" (line {line})"
        said = getattr(error, "msg", None) or str(error)
        raise InputError(f"{file!r} fails with {type(error).__name__}: {said}{place}.") from error


def _given(spec: ModelSpec, kind: type[Model], own: Mapping[str, Field[Any]]) -> dict[str, Any]:
    """What the experiment says of the model's fields; of those that need a value, else the default of [model]."""
    said = spec.said
    for where, names in (("", said), ("fields", spec.fields or {})):
        for name in names:
            field = f"model.{where or name}"
            says = f"says {name!r}, which " if where else ""
            if name in OF_DATA and where:
                raise FieldError(field, f"{says}follows from the data; leave it out")
            if name not in own and name not in OF_DATA:
                takes = [n for n in own if n not in OF_DATA]
                raise FieldError(field, f"{says}is no field of {kind.__name__}: {_remedy(name, takes)}")
    documented = type(spec).model_fields
    stand = {
        name: documented[name].default
        for name, f in own.items()
        if _needed(f) and name in documented and documented[name].default is not None
    }
    return stand | {name: value for name, value in said.items() if name in own} | dict(spec.fields or {})


def _remedy(name: str, takes: list[str]) -> str:
    return did_you_mean(name, takes, f"it takes {', '.join(takes)}").rstrip(".")


def _needed(f: Field[Any]) -> bool:
    return f.default is MISSING and f.default_factory is MISSING
